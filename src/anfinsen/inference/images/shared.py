"""What the image pipelines share: samplers by name, seeds of pictures, prompts, and what a call returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.common.errors import ConfigError
from anfinsen.common.progress import Progress
from anfinsen.common.seeding import Generators, torch_generator
from anfinsen.diffusion import (
    ANCESTRAL_SAMPLER,
    EULER_SAMPLER,
    HEUN_SAMPLER,
    Denoise,
    SamplerConfig,
    ddim_sampler,
    edm_stochastic_sampler,
    sample,
)

from .files import to_pil

if TYPE_CHECKING:
    from PIL.Image import Image

# The first is the default: on validation captions 16 of Euler's steps draw as well as 24 of Heun's, in a third of the
# calls.
SAMPLERS = ("euler", "heun", "ddim", "ancestral", "edm-stochastic")
MAX_PICTURES, MAX_STEPS, MAX_GUIDANCE = 64, 1000, 30.0
PICTURES_AT_ONCE = 64  # of candidates: memory does not grow with their number
CANDIDATES = 4  # drawn for each picture (DALL·E 1's paper draws 512); CLIP keeps one
MAX_PICTURE_SEED = 2**53  # whole numbers that every reader of JSON keeps

StepCallback = Callable[[Any, int, float, Mapping[str, Any]], object]
"""Called after each step with the pipeline, the step's number (from 0 in each stage), the noise level that the step
started at, and "stage" ("prior", "decoder" or "upsampler"), "latents" (x at that level) and "clean" (D(x, sigma)).
The signature is diffusers'; what it returns is not looked at."""


@dataclass(frozen=True)
class ImagePipelineOutput:
    """The pictures of one call, those of one prompt next to each other.

    Attributes:
        images: a list of PIL images, or with ``output_type="pt"`` a float tensor [n, 3, 64, 64] in [-1, 1].
        clip_scores: cosine of each picture's CLIP embedding with that of its prompt; empty where there was no prompt.
        seeds: that each picture's randomness came from.
    """

    images: list[Image] | Float[Tensor, "n 3 64 64"]
    clip_scores: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()


def image_sampler(name: str, steps: int, eta: float = 0.0) -> SamplerConfig:
    """Return the core's sampler of that name; ``eta`` is DDIM's share of fresh noise.

    Raises:
        ConfigError: there is no such sampler, or the number of steps or eta is out of range.
    """
    check_number("steps", steps, 1, MAX_STEPS)
    if name not in SAMPLERS:
        raise ConfigError(f"Unknown sampler {name!r}: expected one of {', '.join(SAMPLERS)}.")
    if not 0 <= eta <= 1:
        raise ConfigError(f"DDIM's eta is {eta}: expected 0 (deterministic) to 1 (ancestral).")
    if name == "ddim":
        return ddim_sampler(eta)
    if name == "edm-stochastic":
        return edm_stochastic_sampler(steps)
    return {"heun": HEUN_SAMPLER, "euler": EULER_SAMPLER, "ancestral": ANCESTRAL_SAMPLER}[name]


def check_number(name: str, value: float | int, least: float | int, most: float | int) -> None:
    """Refuse a number outside ``least`` to ``most``; NaN is outside.

    Raises:
        ConfigError: it is.
    """
    if not least <= value <= most:
        kind = "whole number" if isinstance(least, int) else "number"
        raise ConfigError(f"Option {name!r} is {value}: expected a {kind} from {least:.10g} to {most:.10g}.")


def check_call(prompts: Sequence[str], pictures: int, guidance: float, output_type: str) -> None:
    """Refuse what no call can use.

    Raises:
        ConfigError: a prompt is empty, or a number or the type of the output is out of range.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise ConfigError('The prompt is empty: say what to draw, such as "a small red circle above a blue square".')
    check_number("samples", pictures, 1, MAX_PICTURES)
    check_number("guidance", guidance, 0.0, MAX_GUIDANCE)
    if output_type not in ("pil", "pt"):
        raise ConfigError(f"Output type {output_type!r} is not known: expected 'pil' or 'pt'.")


def picture_seeds(generator: Generators | None, count: int) -> tuple[int, ...]:
    """Return a seed for each picture; the first ones are the same however many are drawn.

    Args:
        generator: one for all, or one for each picture (diffusers' convention). None: PyTorch's own random numbers.
        count: number of pictures.

    Raises:
        ConfigError: there are several generators, but not one for each picture.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return tuple(_seed(generator) for _ in range(count))
    if len(generator) != count:
        raise ConfigError(f"{len(generator)} generators are given for {count} pictures: give one, or one for each.")
    return tuple(_seed(each) for each in generator)


def _seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(MAX_PICTURE_SEED, (), generator=generator, device=device))


def candidate_seeds(seeds: Sequence[int], candidates: int) -> tuple[int, ...]:
    """Return the seeds of several candidates for each picture, next to each other; the first is the picture's own."""
    return tuple(
        _seed(torch_generator(seed, "candidate", number)) if number else seed
        for seed in seeds
        for number in range(candidates)
    )


def best_candidates(scores: Float[Tensor, "n"], candidates: int) -> Int[Tensor, "pictures"]:
    """Return the row of the highest score among each picture's candidates, which stand next to each other."""
    best = scores.reshape(-1, candidates).argmax(1)
    return best + candidates * torch.arange(len(best), device=best.device)


def at_once(count: int) -> list[slice]:
    """Return ``count`` pictures cut into as many at a time as memory should hold the making of."""
    return [slice(start, start + PICTURES_AT_ONCE) for start in range(0, count, PICTURES_AT_ONCE)]


def stage_generators(seeds: Sequence[int], stage: str) -> list[torch.Generator]:
    """Return a generator for each picture and one stage, so that a stage draws the same whatever the others draw."""
    return [torch_generator(seed, stage) for seed in seeds]


def walk(
    pipeline: Any,
    stage: str,
    denoise: Denoise,
    start: Tensor,
    sigmas: Float[Tensor, "levels"],
    sampler: SamplerConfig,
    generators: Generators,
    callback: StepCallback | None,
) -> Tensor:
    """Run the core's sampler, telling the pipeline's ``progress`` and ``callback`` of each step.

    Args:
        pipeline: whose stage this is, with an attribute ``progress``. stage: its name. callback: see `StepCallback`.
        denoise, start, sigmas, sampler, generators: as in `diffusion.sample`.
    """
    seen: list[tuple[Tensor, Tensor, float]] = []
    numbers = itertools.count()
    progress: Progress = pipeline.progress

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        clean = denoise(x, sigma)
        if not seen:  # the second call of one of Heun's steps is not where the step starts
            seen.append((x, clean, float(sigma)))
        return clean

    def on_step() -> None:
        noisy, clean, sigma = seen.pop()
        progress.advance()
        if callback is not None:
            callback(pipeline, next(numbers), sigma, {"stage": stage, "latents": noisy, "clean": clean})

    progress.stage(stage.capitalize(), len(sigmas) - 1)
    return sample(watched, start, sigmas, sampler, generators, on_step=on_step)


def output(
    pictures: Float[Tensor, "n 3 h w"], output_type: str, scores: Sequence[float], seeds: Sequence[int]
) -> ImagePipelineOutput:
    """Return pictures in the form that was asked for; [-1, 1] is all there is of brightness."""
    pictures = pictures.float().clamp(-1, 1).cpu().contiguous()
    images = pictures if output_type == "pt" else to_pil(pictures)
    return ImagePipelineOutput(images, tuple(scores), tuple(seeds))
