"""One step of diffusion, of atoms and of pictures, and the loss that ties pictures to words."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anfinsen.common.seeding import gaussian, torch_generator
from anfinsen.diffusion import (
    ALPHAFOLD3_SAMPLER,
    EULER_SAMPLER,
    EdmPreconditioning,
    GuidanceConfig,
    Network,
    Preconditioning,
    SamplerConfig,
    VariancePreserving,
    as_denoiser,
    classifier_free_guidance,
)
from anfinsen.images.dalle2 import Decoder
from anfinsen.models.alphafold3 import AlphaFold3

from ..slots import Names
from ..trace import Function, capture, step, trace_function
from .entry import Entry, Losses, Recorded, Sources

SIGMA_DATA = 16.0  # Å
MODEL_ATOMS = 8
LAST_NORM = "diffusion.decoder.norm"
CALL = 10  # of the denoiser, of 20: a half-finished structure
SHRINKS = 0.7  # the next level, as a share of this one
GUIDANCE = GuidanceConfig(weight=3.0)
PICTURE_LEVEL = 0.5


def walked(denoise: Network, x: Tensor, levels: tuple[Tensor, Tensor], noise: Tensor, sampler: SamplerConfig) -> Tensor:
    """Return x after one step from the first level to the second, the levels being cells too.

    What :func:`anfinsen.diffusion.sample` does in one step of a sampler without Heun's correction and fresh noise
    (Abramson et al. 2024, Algorithm 18, lines 5-11); a test holds the two together.
    """
    now, following = levels
    raised = now
    if sampler.churn.gamma:
        with step("raise the level, add the noise that is missing (lines 5-7)"):
            raised = now * (1 + sampler.churn.gamma)
            x = x + sampler.noise_scale * torch.sqrt(raised**2 - now**2) * noise
    with step("denoise (line 8)"):
        clean = denoise(x, raised)
    with step("slope (line 9)"):
        slope = (x - clean) / raised
    with step("one step along it (lines 10-11)"):
        return x + sampler.step_scale * (following - raised) * slope


def _atoms(preconditioning: Preconditioning, *, trained: bool) -> Function:
    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        def network(scaled: Tensor, feature: Tensor) -> Tensor:
            if not trained:
                return torch.matmul(scaled, weights["W"].T) + feature * weights["v"]
            with step("the decoder's last layer"):
                atoms = inputs["atoms"]
                normal = F.layer_norm(atoms, atoms.shape[-1:], weights["norm"])
                return torch.matmul(normal, weights["to_position"].T)

        denoise = as_denoiser(preconditioning, network)
        levels = inputs["level"], inputs["next level"]
        return {"x after one step": walked(denoise, inputs["x"], levels, inputs["noise"], ALPHAFOLD3_SAMPLER)}

    return function


_ATOM_AXES = {"x": "a c", "noise": "a c"}
_XYZ = ("x", "y", "z")


def _small_atoms(losses: Losses) -> Recorded:
    inputs = {
        "x": torch.tensor([[8.0, 0, -4], [2, 6, 0], [-3, 1, 5]]),
        "noise": torch.tensor([[1.0, 0, -1], [0, 2, 1], [-1, 1, 0]]),
        "level": torch.tensor(10.0),
        "next level": torch.tensor(6.0),
    }
    weights = {"W": torch.tensor([[1.0, 0, -1], [0, 2, 0], [1, 0, 1]]), "v": torch.tensor([1.0, 0, -1])}
    names = Names({"atom": ("N", "CA", "C"), "channel": _XYZ})
    axes = _ATOM_AXES | {"W": "c d", "v": "c"}
    function = _atoms(EdmPreconditioning(SIGMA_DATA), trained=False)
    return Recorded(trace_function(function, inputs, weights, axes=axes, names=names))


def _model_atoms(sources: Sources) -> Recorded:
    """The denoiser's last layer is shown; what comes to it is an input."""
    network = sources.network("alphafold3")
    model = network.model
    assert isinstance(model, AlphaFold3)
    seen: list[tuple[Tensor, Tensor]] = []
    handle = model.diffusion.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    try:
        (atoms,) = capture(model, lambda: network.run("confidence_head"), LAST_NORM, call=CALL).args
    finally:
        handle.remove()
    positions, levels = seen[-1]
    sampler = ALPHAFOLD3_SAMPLER
    raised = levels.flatten()[0].double()
    now = raised / (1 + sampler.churn.gamma)
    noise = gaussian((MODEL_ATOMS, 3), torch_generator(0, "gallery", "churn"), torch.float64)
    noisy = positions.flatten(0, -3)[0, :MODEL_ATOMS].double()
    inputs = {
        "x": noisy - sampler.noise_scale * torch.sqrt(raised**2 - now**2) * noise,
        "noise": noise,
        "level": now,
        "next level": SHRINKS * now,
        "atoms": atoms.flatten(0, -3)[0, :MODEL_ATOMS],
    }
    decoder = model.diffusion.decoder
    weights = {"norm": decoder.norm.weight.detach(), "to_position": decoder.to_position.weight.detach()}
    function = _atoms(EdmPreconditioning(model.config.diffusion.sigma_data), trained=True)
    # Hidden channels are named in a family of their own: x, y and z are channels too.
    names = Names({"channel": _XYZ, "sequence": tuple(f"h{n}" for n in range(atoms.shape[-1]))})
    axes = _ATOM_AXES | {"atoms": "a s", "norm": "s", "to_position": "c s"}
    recorded = trace_function(function, inputs, weights, axes=axes, names=names)
    about = f"{network.name}, the first {MODEL_ATOMS} atoms half-way through sampling"
    return Recorded(recorded, about=about)


def _picture(preconditioning: Preconditioning, *, trained: bool, size: int = 1) -> Function:
    """A step with guidance: the network with its condition, and without; ``size``: pixels on the side of a patch."""

    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        def network(condition: str) -> Network:
            def one(scaled: Tensor, feature: Tensor) -> Tensor:
                with step(f"network {condition} the condition"):
                    if trained:
                        # The convolution at one place: the channels of its nine patches in one row.
                        hidden = F.silu(inputs[f"normal channels, {condition}"])
                        answer = torch.matmul(weights["filters"], hidden) + weights["offset"]
                        return answer.reshape(1, -1, size, size)  # pixels of the patch from channels
                    made = torch.conv2d(scaled, weights["filters"], weights["offset"], padding=1)
                    return made + inputs["condition"] if condition == "with" else made

            return one

        with_, without = (as_denoiser(preconditioning, network(condition)) for condition in ("with", "without"))

        def denoise(x: Tensor, level: Tensor) -> Tensor:
            # Guidance reads the level to see whether it acts there, and so gets one without gradient.
            guided = classifier_free_guidance(
                lambda noisy, _: with_(noisy, level), lambda noisy, _: without(noisy, level), GUIDANCE
            )
            return guided(x, level.detach())

        levels = inputs["level"], inputs["next level"]
        moved = walked(denoise, inputs["x"], levels, torch.zeros(()), EULER_SAMPLER)
        return {"x after one step": moved}

    return function


def _small_picture(losses: Losses) -> Recorded:
    inputs = {
        "x": torch.tensor([[[[2.0, -1, 0], [1, 3, -2], [0, 1, 1]]]]),
        "condition": torch.tensor([[[[0.0, 0, 0], [0, 2, 0], [0, 0, 0]]]]),
        "level": torch.tensor(2.0),
        "next level": torch.tensor(1.0),
    }
    weights = {"filters": torch.tensor([[[[0.0, 1, 0], [1, 2, 1], [0, 1, 0]]]]), "offset": torch.tensor([1.0])}
    axes = {"x": "1 1 h w", "condition": "1 1 h w", "filters": "1 1 h w", "offset": "c"}
    function = _picture(VariancePreserving("x0"), trained=False)
    return Recorded(trace_function(function, inputs, weights, axes=axes))


def shown_patch(decoder: Decoder) -> int:
    """Return the number, down and right, of the patch that is shown: the picture's middle, where it has neighbours."""
    return decoder.config.unet.side // 2 - 1


def _model_picture(sources: Sources) -> Recorded:
    """The U-Net's last convolution is shown for one patch; what comes to it is an input."""
    source = sources.decoder()
    decoder: Decoder = source.model
    noise = gaussian(source.picture.shape, torch_generator(0, "gallery", "picture"), source.picture.dtype)
    noisy = source.picture + PICTURE_LEVEL * noise
    level = torch.tensor(PICTURE_LEVEL)
    size, middle = decoder.config.unet.patch, shown_patch(decoder)
    place, pixels = slice(middle - 1, middle + 2), slice(size * middle, size * (middle + 1))
    inputs = {
        "x": noisy[:, :, pixels, pixels],
        "level": level,
        "next level": SHRINKS * level,
    }
    for condition, embedding in (("with", source.embedding), ("without", None)):
        made: list[Tensor] = []
        handle = decoder.unet.norm.register_forward_hook(lambda _, __, out, made=made: made.append(out))
        try:
            with torch.no_grad():
                decoder.denoiser(embedding, None)(noisy, level)
        finally:
            handle.remove()
        inputs[f"normal channels, {condition}"] = made[-1][0, :, place, place].flatten()
    last = decoder.unet.out
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    weights = {"filters": last.weight.detach().flatten(1), "offset": last.bias.detach()}
    axes = {"x": "1 c h w", "filters": "c d", "offset": "c"}
    axes |= {name: "d" for name in inputs if name.startswith("normal")}
    function = _picture(decoder.preconditioning, trained=True, size=size)
    recorded = trace_function(function, inputs, weights, axes=axes)
    return Recorded(recorded, about=f"{source.name}, one patch of {size} x {size} pixels of a picture")


def _contrastive(losses: Losses, *, normalised: bool) -> Function:
    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        images, texts = inputs["images"], inputs["texts"]
        if not normalised:
            with step("to unit length"):
                images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
        with step("inverse temperature"):
            scale = torch.exp(weights["log_scale"])
        with step("loss"):
            loss = losses.contrastive(images, texts, scale)
        sources = {"images": inputs["images"], "texts": inputs["texts"], "log_scale": weights["log_scale"]}
        gradients = torch.autograd.grad(loss, list(sources.values()))
        results = {f"gradient of {name}": each for name, each in zip(sources, gradients, strict=True)}
        return {"loss": loss, **results}

    return function


def _small_contrastive(losses: Losses) -> Recorded:
    inputs = {"images": torch.tensor([[3.0, 4], [1, -1], [-4, 3]]), "texts": torch.tensor([[1.0, 1], [2, -1], [-3, 4]])}
    names = Names({"sample": ("pair A", "pair B", "pair C")})
    function = _contrastive(losses, normalised=False)
    weights = {"log_scale": torch.tensor(1.0)}
    return Recorded(trace_function(function, inputs, weights, axes={"images": "b c", "texts": "b c"}, names=names))


def _model_contrastive(sources: Sources) -> Recorded:
    pairs = sources.pairs()
    inputs = {"images": pairs.images, "texts": pairs.texts}
    weights = {"log_scale": torch.tensor(math.log(float(pairs.scale)), dtype=torch.float64)}
    function = _contrastive(sources.losses, normalised=True)
    axes = {"images": "b c", "texts": "b c"}
    recorded = trace_function(function, inputs, weights, axes=axes, names=Names({"sample": pairs.captions}))
    return Recorded(recorded, about=pairs.name)


GENERATION = (
    Entry(
        "alphafold3_diffusion_step",
        "One diffusion step of AlphaFold 3",
        "Noisy atoms get a little more noise; the denoiser guesses where they belong, from its network's answer and "
        "the noise level by EDM's four factors; the step leads past it by half. In the model's workbook the "
        "network's last layer is shown, and what it reads is an input.",
        "Abramson et al. 2024 (AlphaFold 3), Algorithms 18 and 20; Karras et al. 2022, equation 7",
        _small_atoms,
        _model_atoms,
    ),
    Entry(
        "dalle2_diffusion_step",
        "One diffusion step of DALL·E 2",
        "The decoder is asked twice, with its condition and without; guidance goes on in the direction from the one "
        "answer to the other, and the picture takes a step towards it. In the model's workbook the U-Net's last "
        "convolution is shown for one patch of pixels, and what it reads is an input.",
        "Ramesh et al. 2022 (DALL·E 2), section 2.1; Ho and Salimans 2022, equation 6; Song et al. 2021, equation 12",
        _small_picture,
        _model_picture,
    ),
    Entry(
        "clip_loss",
        "CLIP's contrastive loss",
        "Every picture is compared with every caption; each picture should find its caption, and each caption its "
        "picture: the mean of the two cross-entropies, and its gradient by every embedding and the temperature.",
        "Radford et al. 2021, figure 3",
        _small_contrastive,
        _model_contrastive,
    ),
)
