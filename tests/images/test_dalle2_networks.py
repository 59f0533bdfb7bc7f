"""Sizes, precision, memory layout and determinism of DALL·E 2's networks; learning on tiny data."""

import math
from dataclasses import replace

import dalle2_tiny as tiny
import pytest
import torch
from dalle2_tiny import BATCH, embedding, normal, text
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import gaussian, torch_generator
from anfinsen.diffusion import (
    EULER_SAMPLER,
    HEUN_SAMPLER,
    CosineNoise,
    DiscreteNoise,
    LogNormalNoise,
    apply_preconditioning,
    inpainting_denoiser,
    invert,
    sample,
    training_target,
)
from anfinsen.images.dalle2 import (
    DECODER_PRESETS,
    PRIOR_PRESETS,
    UPSAMPLER_PRESETS,
    Decoder,
    DegradationConfig,
    DiffusionConfig,
    Prior,
    UNetConfig,
    Upsampler,
    UpsamplerConfig,
    to_base,
)
from anfinsen.images.dalle2.upsampler import blur
from anfinsen.images.transformer import TransformerConfig

SIGMA = torch.tensor(0.7)
PICTURES = normal(BATCH, 3, 8, 8)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_mini_presets_have_the_sizes_that_fit_one_core() -> None:
    with torch.device("meta"):
        prior, decoder = Prior(PRIOR_PRESETS["mini"]), Decoder(DECODER_PRESETS["mini"])
        upsampler = Upsampler(UPSAMPLER_PRESETS["mini"])
    sizes = [parameters(model) / 1e6 for model in (prior, decoder, upsampler)]
    assert sizes == pytest.approx([1.38, 3.41, 0.83], abs=0.06)


def test_a_forward_pass_of_mini_is_below_half_a_gigaflop() -> None:
    decoder = Decoder(DECODER_PRESETS["mini"]).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        decoder.denoiser(None, None)(torch.zeros(1, 3, 32, 32), SIGMA)
    assert 0.2e9 < counter.get_total_flops() < 0.5e9


@pytest.mark.parametrize("name", ["mini", "small"])
def test_presets_survive_yaml_form_and_agree(name: str) -> None:
    prior, decoder, upsampler = PRIOR_PRESETS[name], DECODER_PRESETS[name], UPSAMPLER_PRESETS[name]
    for config in (prior, decoder, upsampler):
        assert from_mapping(type(config), to_mapping(config)) == config
    assert prior.c_clip == decoder.c_clip == upsampler.c_clip
    assert prior.c_text == decoder.c_text
    assert upsampler.unet.size == 2 * decoder.unet.size == 64


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"size": 10}, "multiple of 4"),
        ({"attention": (True,)}, "2 levels"),
        ({"blocks": (1,)}, "'blocks' 1"),
        ({"channels": (16, 48), "c_head": 32, "attention": (False, False)}, "for its transformer"),
        ({"channels": (12, 32)}, "12 channels"),
        ({"channels": (16, 40)}, "40 channels"),
    ],
)
def test_impossible_u_nets_are_refused(change: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(tiny.UNET, **change)


def test_other_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="sampling_level"):
        DegradationConfig(level_max=0.1, sampling_level=0.2)
    with pytest.raises(ConfigError, match="'blur_share' 2"):
        DegradationConfig(blur_share=2.0)
    with pytest.raises(ConfigError, match="text transformer is 32 wide"):
        replace(tiny.DECODER, text=TransformerConfig(32, 2, 1))
    with pytest.raises(ConfigError, match="behind block 2 of the U-Net's transformer: expected 1 to 1"):
        replace(tiny.DECODER, c_aligned=7, aligned_block=2)
    with pytest.raises(ConfigError, match="12 and 0"):
        UpsamplerConfig(unet=UNetConfig(size=64, patch=4))
    with pytest.raises(ConfigError, match="0 < lowest < highest"):
        DiffusionConfig(sigma_min=3.0, sigma_max=2.0)
    with pytest.raises(ConfigError, match="'noise_std' is 0"):
        DiffusionConfig(noise_std=0.0)


def test_levels_of_a_config_stand_in_its_range() -> None:
    kinds = {"log-normal": LogNormalNoise, "cosine": CosineNoise, "linear": DiscreteNoise}
    for noise, kind in kinds.items():
        config = DiffusionConfig(noise=noise, sigma_max=40.0)
        sigmas, trained = config.sigmas(20), config.training_noise()
        assert isinstance(trained, kind)
        assert len(sigmas) == 21
        assert sigmas[-1] == 0
        assert 30 < sigmas[0] <= 40 + 1e-9
        drawn = trained.sample(4000, torch_generator(0))
        if noise == "log-normal":
            assert drawn.log().mean().item() == pytest.approx(-1.2, abs=0.08)
        else:
            assert config.sigma_min <= drawn.min()
            assert 5 < drawn.max() <= 40 + 1e-5


def test_loss_weights_are_edms_in_any_prediction() -> None:
    sigma = torch.tensor([0.05, 0.5, 5.0])
    edm = DiffusionConfig()
    torch.testing.assert_close(edm.loss_weight(sigma), torch.ones(3))
    in_denoiser = 1 / edm.preconditioning().c_out(sigma) ** 2
    for prediction in ("epsilon", "x0", "v"):
        config = DiffusionConfig(prediction=prediction)
        weight = config.loss_weight(sigma) / config.preconditioning().c_out(sigma) ** 2
        torch.testing.assert_close(weight, in_denoiser)
    clipped = DiffusionConfig(prediction="x0", weight_max=30.0).loss_weight(sigma)
    torch.testing.assert_close(clipped, torch.tensor([30.0, 8.0, 4.04]))
    assert torch.equal(PRIOR_PRESETS["mini"].diffusion.loss_weight(sigma), torch.ones(3))
    with pytest.raises(ConfigError, match="'weight_max' is 0"):
        DiffusionConfig(weight_max=0.0)


def networks() -> list[tuple[nn.Module, Tensor, tuple]]:
    level = torch.full((BATCH,), 0.1)
    return [
        (tiny.prior(), normal(BATCH, tiny.C_CLIP), (text(),)),
        (tiny.decoder(), PICTURES, (embedding(), text())),
        (tiny.upsampler(), normal(BATCH, 3, 16, 16), (PICTURES, level, embedding())),
    ]


def test_bfloat16_and_channels_last_are_close_to_float32() -> None:
    for model, x, conditions in networks():
        with torch.no_grad():
            expected = model.denoiser(*conditions)(x, SIGMA)
            model.to(memory_format=torch.channels_last)
            torch.testing.assert_close(model.denoiser(*conditions)(x, SIGMA), expected, rtol=1e-4, atol=1e-4)
            with torch.autocast("cpu", torch.bfloat16):
                rough = model.denoiser(*conditions)(x, SIGMA)
        assert rough.dtype == torch.float32
        error = ((rough - expected).norm() / expected.norm()).item()
        assert 0 < error < 0.03


def test_same_seed_same_bits_and_pictures_do_not_depend_on_their_neighbours() -> None:
    decoder = tiny.decoder()
    sigmas = decoder.config.diffusion.sigmas(6)

    def run(entries: list[int]) -> Tensor:
        generators = [torch_generator(4, entry) for entry in entries]
        x = sigmas[0].float() * gaussian((len(entries), 3, 8, 8), generators)
        denoiser = decoder.denoiser(embedding(batch=1), None)
        return sample(denoiser, x, sigmas, HEUN_SAMPLER, generators)

    together = run([0, 1, 2])
    assert torch.equal(together, run([0, 1, 2]))
    torch.testing.assert_close(together[1:2], run([1]), rtol=1e-3, atol=1e-3)
    assert (together[0] - together[1]).abs().max() > 0.01


def train(model: nn.Module, clean: Tensor, conditions: tuple, steps: int, rate: float = 1e-2) -> list[float]:
    """Return the mean squared errors of F, which are EDM's weighted losses."""
    generator = torch_generator(0, "training")
    noise = model.config.diffusion.training_noise()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    losses = []
    for _ in range(steps):
        sigma = noise.sample(len(clean), generator)
        noisy = clean + sigma.view(-1, *[1] * (clean.ndim - 1)) * torch.randn(clean.shape, generator=generator)
        scaled = model.preconditioning.c_in(sigma).view(-1, *[1] * (clean.ndim - 1)) * noisy
        answer = model.network(*conditions)(scaled, model.preconditioning.c_noise(sigma))
        loss = (answer - training_target(model.preconditioning, clean, noisy, sigma)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def two_pictures() -> Tensor:
    left, top = -torch.ones(3, 8, 8), -torch.ones(3, 8, 8)
    left[:, :, :4] = 1
    top[:2, :4] = 1
    return torch.stack([left, top])


@pytest.fixture(scope="module")
def trained() -> Decoder:
    """A decoder that has learned one picture for each of two embeddings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(replace(tiny.DECODER, diffusion=DiffusionConfig(noise_mean=-0.2)))
    clean, image, words = two_pictures().repeat(8, 1, 1, 1), embedding(batch=2).repeat(8, 1), text(batch=1)
    words = replace(
        words,
        embedding=words.embedding.expand(16, -1),
        encodings=words.encodings.expand(16, -1, -1),
        mask=words.mask.expand(16, -1),
    )
    losses = train(decoder, clean, (image, words), 120)
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    return decoder.eval()


def test_a_trained_decoder_paints_the_picture_that_is_asked_for(trained: Decoder) -> None:
    sigmas = trained.config.diffusion.sigmas(12)
    generator = torch_generator(8)
    x = sigmas[0].float() * torch.randn((2, 3, 8, 8), generator=generator)
    painted = sample(trained.denoiser(embedding(batch=2), text(batch=1)), x, sigmas, HEUN_SAMPLER, generator)
    errors = (painted[:, None] - two_pictures()).square().mean((2, 3, 4))
    assert errors.diagonal().max() < 0.3 * errors.flip(1).diagonal().min()


def test_a_trained_decoder_inverts_and_inpaints(trained: Decoder) -> None:
    sigmas = trained.config.diffusion.sigmas(20)
    denoiser = trained.denoiser(embedding(batch=2), text(batch=1))
    picture = two_pictures() + 0.05 * normal(2, 3, 8, 8)
    noise = invert(denoiser, picture, sigmas, refinements=3)
    back = sample(denoiser, noise, sigmas, EULER_SAMPLER, torch_generator(0))
    plain = sample(denoiser, sigmas[0].float() * normal(2, 3, 8, 8), sigmas, EULER_SAMPLER, torch_generator(0))
    assert (back - picture).square().mean() < 0.5 * (plain - picture).square().mean()

    mask = torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    mask[..., 4:] = True
    painter = inpainting_denoiser(denoiser, two_pictures(), mask)
    painted = sample(painter, sigmas[0].float() * normal(2, 3, 8, 8), sigmas, HEUN_SAMPLER, torch_generator(0))
    torch.testing.assert_close(painted[mask], two_pictures()[mask], rtol=0, atol=1e-4)


@pytest.mark.parametrize("prediction", ["edm", "epsilon", "x0", "v"])
def test_each_preconditioning_learns(prediction: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(replace(tiny.DECODER, diffusion=DiffusionConfig(prediction=prediction, noise="cosine")))
    clean, conditions = two_pictures().repeat(8, 1, 1, 1), (embedding(batch=2).repeat(8, 1), None)
    losses = train(decoder, clean, conditions, 60)
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])
    # what it was trained for is what its denoiser returns
    sigma = torch.tensor([0.05])
    noisy = clean + 0.05 * normal(16, 3, 8, 8)
    answer = apply_preconditioning(decoder.preconditioning, decoder.network(*conditions), noisy, sigma.expand(16))
    assert (answer - clean).square().mean() < 0.5
    assert torch.equal(answer, decoder.denoiser(*conditions)(noisy, sigma[0]))


def test_prior_and_upsampler_learn_one_batch() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior, upsampler = Prior(tiny.PRIOR), Upsampler(tiny.UPSAMPLER)
    losses = train(prior, prior.to_scaled(embedding()), (text(),), 80)
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
    fine = torch.nn.functional.interpolate(two_pictures(), scale_factor=2)
    low, level = upsampler.degraded(to_base(fine), torch_generator(0))
    losses = train(upsampler, fine, (low, level, None), 80)
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_embeddings_are_scaled_there_and_back() -> None:
    prior = tiny.prior()
    scaled = prior.to_scaled(embedding())
    assert scaled.square().mean().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(prior.to_unit(scaled), embedding())


def test_degradation_has_its_level_and_half_is_blurred() -> None:
    upsampler, flat = tiny.upsampler(), torch.full((400, 3, 8, 8), 0.25)
    spoilt, level = upsampler.degraded(flat, torch_generator(0))
    torch.testing.assert_close((spoilt - flat).flatten(1).std(1), level, rtol=0.35, atol=0.002)
    assert level.min() >= 0
    assert level.max() <= upsampler.config.degradation.level_max
    assert level.mean().item() == pytest.approx(upsampler.config.degradation.level_max / 2, abs=0.02)
    stripes = torch.ones(400, 3, 8, 8)
    stripes[..., ::2] = -1
    amplitude = (upsampler.degraded(stripes, torch_generator(0))[0] * stripes).mean((1, 2, 3))
    assert ((amplitude > 0.8).float().mean() - 0.5).abs() < 0.1
    noised, level = upsampler.noised(flat, torch_generator(0))
    assert torch.equal(level, torch.full((400,), upsampler.config.degradation.sampling_level))
    assert (noised - flat).std().item() == pytest.approx(level[0].item(), rel=0.05)


def test_blur_is_a_gaussian_of_three_pixels() -> None:
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 1
    spread = blur(point, 0.6)[0, 0]
    side = math.exp(-0.5 / 0.36)
    row = torch.tensor([0, side, 1, side, 0]) / (1 + 2 * side)
    torch.testing.assert_close(spread, row[:, None] * row)
    torch.testing.assert_close(blur(torch.ones(1, 3, 4, 4), 0.6), torch.ones(1, 3, 4, 4))


def test_base_pictures_are_means_of_four_pixels() -> None:
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert to_base(picture).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize("noise", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [4, 24, 80])
def test_sampling_goes_to_no_level_below_those_of_training(noise, steps):
    config = replace(DECODER_PRESETS["mini"].diffusion, noise=noise)
    levels = config.sigmas(steps)
    assert levels[-1] == 0
    assert levels[-2] == pytest.approx(config.sigma_min)
    assert bool((levels.diff() < 0).all())
    seen = config.training_noise().sample(4000, torch_generator(0))
    assert float(levels[-2]) >= 0.9 * float(seen.min())
    prior = PRIOR_PRESETS["mini"].diffusion  # whose lowest level is below the schedule's
    assert len(prior.sigmas(steps)) == steps + 1
    assert prior.sigmas(steps)[-2] > prior.sigma_min


def test_a_decoder_guesses_tokens_from_a_hidden_state_and_draws_the_same() -> None:
    model = tiny.aligned_decoder()
    network = model.network(embedding(), text())
    levels = torch.tensor([0.5, 1.0, 2.0])
    answer, guessed = model.watched(network, PICTURES, levels)
    assert guessed.shape == (BATCH, 4, 7)  # the lowest level of 8 pixels in patches of 2, halved once
    assert torch.equal(answer, network(PICTURES, levels))
    # What it guesses depends on the picture and on the conditions, and is learnt through the block that it looks at.
    other = model.watched(model.network(embedding("other"), text()), PICTURES, levels)[1]
    assert not torch.allclose(guessed, other)
    guessed.square().sum().backward()
    assert model.unet.transformer[0].feed_forward.contract.weight.grad.abs().sum() > 0
    assert model.unet.out.weight.grad is None
    with pytest.raises(ConfigError, match="no head for CLIP's picture tokens"):
        tiny.decoder().watched(network, PICTURES, levels)
