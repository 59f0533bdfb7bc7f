"""Samplers: from noise to data along decreasing noise levels, given a denoiser D(x, sigma).

There is one loop. With a churn rule, a step scale, fresh noise after the step (eta) and Heun's correction as options it
is AlphaFold 3's sampler, EDM's stochastic and deterministic ones, Euler, DDIM and DDPM's ancestral sampler.
It knows no network: ``denoise`` is any function, x has any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.common.seeding import Generators, gaussian

Denoise = Callable[[Tensor, Tensor], Tensor]
"""D(x, sigma): the expected clean data, for x of any shape and a 0-d ``sigma`` of x's type."""

BeforeStep = Callable[[Tensor, Generators], Tensor]
"""Called at the start of each step with x and the sampler's randomness; returns the x to go on with (molecules: centre,
rotate, translate)."""


@dataclass(frozen=True)
class Churn:
    """How much noise is added back before a step: the level is raised from sigma to (1 + gamma) sigma.

    Attributes:
        gamma: relative rise of the level where the gate is open.
        minimum, maximum: the gate is open where minimum < level <= maximum.
        gate: which level is compared: the one the step starts at ("now": EDM), or the one it leads to ("next":
            AlphaFold 3; one step fewer is churned).
    """

    gamma: float = 0.0
    minimum: float = 0.0
    maximum: float = math.inf
    gate: Literal["now", "next"] = "now"

    def __call__(self, sigma_now: float, sigma_next: float) -> float:
        """Return gamma for the step from ``sigma_now`` to ``sigma_next``."""
        level = sigma_now if self.gate == "now" else sigma_next
        return self.gamma if self.minimum < level <= self.maximum else 0.0


@dataclass(frozen=True)
class SamplerConfig:
    """One sampler.

    Attributes:
        churn: noise added before a step.
        noise_scale: factor on the churn noise (EDM's S_noise).
        step_scale: factor on the step (1: the probability-flow equation; AlphaFold 3 steps further).
        eta: share of fresh noise after a step; 0 is Euler's step (deterministic DDIM), 1 is DDPM's ancestral one.
        correction: "heun" averages the slopes at both ends of a step (one more call of the denoiser, second order).

    Raises:
        ConfigError: a factor is negative, or eta is combined with Heun's correction.
    """

    churn: Churn = field(default_factory=Churn)
    noise_scale: float = 1.0
    step_scale: float = 1.0
    eta: float = 0.0
    correction: Literal["none", "heun"] = "none"

    def __post_init__(self) -> None:
        for name, value in (
            ("churn.gamma", self.churn.gamma),
            ("noise_scale", self.noise_scale),
            ("step_scale", self.step_scale),
            ("eta", self.eta),
        ):
            if not 0 <= value < math.inf:
                raise ConfigError(f"Sampler setting {name!r} is {value}: expected a finite number, at least 0.")
        if self.eta and self.correction == "heun":
            raise ConfigError("Heun's correction needs eta = 0: fresh noise after the step undoes the second order.")


# Algorithm 18 with the released code's values: gamma_0, gamma_min, noise scale lambda and step scale eta.
ALPHAFOLD3_SAMPLER = SamplerConfig(churn=Churn(gamma=0.8, minimum=1.0, gate="next"), noise_scale=1.003, step_scale=1.5)
EULER_SAMPLER = SamplerConfig()
HEUN_SAMPLER = SamplerConfig(correction="heun")
ANCESTRAL_SAMPLER = SamplerConfig(eta=1.0)


def ddim_sampler(eta: float = 0.0) -> SamplerConfig:
    """Return DDIM's sampler (Song et al. 2021, equation 16).

    In the variance-exploding form its fresh noise is eta * sqrt(s² (t² - s²) / t²) for a step from t to s, and the
    rest of the step is Euler's; at eta = 0 it is :data:`EULER_SAMPLER`, at eta = 1 :data:`ANCESTRAL_SAMPLER`.
    """
    return SamplerConfig(eta=eta)


def edm_stochastic_sampler(
    steps: int, s_churn: float = 40.0, s_min: float = 0.05, s_max: float = 50.0, s_noise: float = 1.003
) -> SamplerConfig:
    """Return EDM's stochastic sampler (Karras et al. 2022, algorithm 2; defaults of its table 5 for ImageNet)."""
    gamma = min(s_churn / steps, math.sqrt(2) - 1)
    return SamplerConfig(churn=Churn(gamma, s_min, s_max), noise_scale=s_noise, correction="heun")


def sample(
    denoise: Denoise,
    x: Float[Tensor, "*shape"],
    sigmas: Float[Tensor, "levels"],
    config: SamplerConfig,
    generator: Generators,
    before_step: BeforeStep | None = None,
    on_step: Callable[[], None] | None = None,
) -> Float[Tensor, "*shape"]:
    """Walk ``x`` down the levels and return it at the last one; no gradients are kept.

    Args:
        denoise: D(x, sigma), called once per step (twice with Heun's correction).
        x: noise of level ``sigmas[0]`` (plus data, for a start part of the way).
        sigmas: decreasing levels, the last may be 0.
        config: which sampler.
        generator: draws all randomness, also that of ``before_step``; it may live on another device than ``x``. Given
            one generator for each entry of x's first axis, an entry's numbers do not depend on how many there are.
        before_step: changes x at the start of each step.
        on_step: called after each step.

    Raises:
        ConfigError: the levels do not decrease.
        NonFiniteError: x became NaN or infinite; the message names the step.

    Source: AlphaFold 3 supplement, algorithm 18 (line 9 as the released code has it: the slope is taken at the noisy
    positions); EDM, algorithm 2; DDIM, equation 12.
    """
    levels = checked_levels(sigmas)
    with torch.no_grad():
        for step, (now, following) in enumerate(pairwise(levels)):
            if before_step is not None:
                x = before_step(x, generator)
            x = _step(denoise, x, now, following, config, generator)
            if not bool(torch.isfinite(x).all()):
                raise NonFiniteError(
                    f"Sampling produced NaN or infinity at step {step + 1} of {len(levels) - 1} "
                    f"(noise level {now:.4g}): the model's weights or inputs are damaged; nothing is written."
                )
            if on_step is not None:
                on_step()
    return x


def checked_levels(sigmas: Float[Tensor, "levels"]) -> list[float]:
    """Return the levels as Python floats.

    Raises:
        ConfigError: they do not decrease.
    """
    levels = [float(level) for level in sigmas]
    if len(levels) < 2 or levels[-1] < 0 or not all(a > b for a, b in pairwise(levels)):
        raise ConfigError("Noise levels must be at least two, strictly decreasing, and end at 0 or above.")
    return levels


def _step(
    denoise: Denoise, x: Tensor, now: float, following: float, config: SamplerConfig, generator: Generators
) -> Tensor:
    """One step from level ``now`` to ``following``; levels stay Python floats (double) whatever x is."""
    # Algorithm 18, lines 5-7: raise the level, add the noise that is missing.
    raised = now * (1 + config.churn(now, following))
    if raised > now:
        x = x + config.noise_scale * math.sqrt(raised**2 - now**2) * _noise_like(x, generator)
    # Fresh noise of DDIM and ancestral steps: the deterministic part goes further down, to `target`.
    fresh = min(following, config.eta * following * math.sqrt(1 - (following / raised) ** 2))
    target = math.sqrt(following**2 - fresh**2)
    # Lines 8-11: slope, then an Euler step.
    slope = (x - denoise(x, _level(raised, x))) / raised
    step = config.step_scale * (target - raised)
    ahead = x + step * slope
    if config.correction == "heun" and target > 0:
        slope_ahead = (ahead - denoise(ahead, _level(target, x))) / target
        ahead = x + step * (slope + slope_ahead) / 2
    if fresh > 0:
        ahead = ahead + fresh * _noise_like(x, generator)
    return ahead


def _level(sigma: float, x: Tensor) -> Tensor:
    return torch.tensor(sigma, dtype=x.dtype, device=x.device)


def _noise_like(x: Tensor, generator: Generators) -> Tensor:
    # Drawn where the generator lives: a CPU generator gives the same noise whatever device computes.
    return gaussian(x.shape, generator, x.dtype).to(x.device)
