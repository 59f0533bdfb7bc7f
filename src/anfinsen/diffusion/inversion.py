"""Inversion: from data back to the noise that a deterministic sampler would have started from."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import ConfigError, NonFiniteError

from .samplers import Denoise, checked_levels


def invert(
    denoise: Denoise,
    x: Float[Tensor, "*shape"],
    sigmas: Float[Tensor, "levels"],
    refinements: int = 0,
) -> Float[Tensor, "*shape"]:
    """Walk data up the levels and return the x of level ``sigmas[0]`` that Euler's sampler leads back to it.

    Args:
        denoise: D(x, sigma), called ``1 + refinements`` times per step.
        x: data, or x at the last of the levels.
        sigmas: the decreasing levels that the sampler will walk down; the last may be 0.
        refinements: rounds of fixed-point iteration in each step. Without any, a step takes its slope at the lower
            level (the upper one where the lower is 0, at which no slope is defined), so that sampling returns to the
            data only to the first order in the length of the steps. Each round brings the slope nearer to the one that
            the sampler will take at the step's end, and with many of them the way back is exact.

    Raises:
        ConfigError: the levels do not decrease, or ``refinements`` is negative.
        NonFiniteError: x became NaN or infinite.

    Source: Song et al. 2021 (DDIM), section 4.3; Ramesh et al. 2022 (unCLIP), section 3.1; the fixed-point rounds are
    those of Pan et al. 2023 ("Effective real image editing with accelerated iterative diffusion inversion").
    """
    if refinements < 0:
        raise ConfigError(f"The number of refinements is {refinements}: expected 0 or more.")
    levels = checked_levels(sigmas)
    with torch.no_grad():
        for now, following in pairwise(reversed(levels)):
            slope = _slope(denoise, x, now if now > 0 else following)
            ahead = x + (following - now) * slope
            for _ in range(refinements):
                ahead = x + (following - now) * _slope(denoise, ahead, following)
            x = ahead
    if not bool(torch.isfinite(x).all()):
        raise NonFiniteError("Inversion produced NaN or infinity: the model's weights or inputs are damaged.")
    return x


def _slope(denoise: Denoise, x: Tensor, sigma: float) -> Tensor:
    return (x - denoise(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))) / sigma
