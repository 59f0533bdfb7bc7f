"""Noise levels: decreasing sequences of sigma that a sampler walks down.

Every schedule returns ``steps + 1`` levels in float64, from high to low, so that ``steps`` steps lead from the first
to the last. Levels are those of the variance-exploding form x = x0 + sigma * noise; a variance-preserving schedule
is given by the sigma = sqrt((1 - alpha_bar) / alpha_bar) that has the same signal-to-noise ratio.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import ConfigError

SIGMA_DATA = 16.0  # Å, standard deviation of atom positions (AlphaFold 3 supplement, section 3.7)
Final = Literal["minimum", "zero"]


def power_sigmas(times: Float[Tensor, "n"], sigma_min: float, sigma_max: float, rho: float = 7.0) -> Float[Tensor, "n"]:
    """Return EDM's level at each time of [0, 1]: ``sigma_max`` at 0, ``sigma_min`` at 1.

    Source: Karras et al. 2022 (EDM), equation 5; AlphaFold 3 supplement, section 3.7.1, equation 7.
    """
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas: Tensor = (high + times.double() * (low - high)) ** rho
    return sigmas


def edm_sigmas(
    steps: int,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    final: Final = "zero",
) -> Float[Tensor, "levels"]:
    """Return EDM's schedule.

    Args:
        steps: number of steps; ``steps + 1`` levels come back.
        sigma_min, sigma_max: lowest and highest level.
        rho: how much the steps are shortened near ``sigma_min``.
        final: "zero" puts ``steps`` levels from highest to lowest and appends 0 (EDM, algorithm 1); "minimum" puts
            ``steps + 1`` levels and ends at ``sigma_min``.

    Raises:
        ConfigError: ``steps`` is not positive, or the levels are not 0 < sigma_min < sigma_max.
    """
    _check(steps, sigma_min, sigma_max)
    if final == "minimum":
        return power_sigmas(torch.arange(steps + 1, dtype=torch.float64) / steps, sigma_min, sigma_max, rho)
    times = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    return _with_zero(power_sigmas(times, sigma_min, sigma_max, rho))


def alphafold3_sigmas(
    steps: int,
    sigma_data: float = SIGMA_DATA,
    s_max: float = 160.0,
    s_min: float = 4e-4,
    rho: float = 7.0,
    final: Final = "minimum",
) -> Float[Tensor, "levels"]:
    """Return AlphaFold 3's schedule, in Å: from ``sigma_data * s_max`` down.

    Args:
        steps: number of steps; ``steps + 1`` levels come back.
        sigma_data: standard deviation of the data, Å.
        s_max, s_min: highest and lowest level in units of ``sigma_data``.
        rho: exponent of the schedule.
        final: "minimum" ends at ``sigma_data * s_min`` = 0.0064 Å as AlphaFold 3's code; "zero" replaces that last
            level by 0 as Protenix does.

    Raises:
        ConfigError: ``steps`` is not positive, or the levels are not 0 < s_min < s_max.

    Source: supplement, section 3.7.1, equation 7.
    """
    _check(steps, s_min * sigma_data, s_max * sigma_data)
    times = torch.arange(steps + 1, dtype=torch.float64) / steps
    sigmas = sigma_data * power_sigmas(times, s_min, s_max, rho)
    return sigmas if final == "minimum" else _with_zero(sigmas[:-1])


def linear_alphas_bar(
    training_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> Float[Tensor, "training_steps"]:
    """Return the cumulated products of 1 - beta for betas in a straight line.

    Source: Ho et al. 2020 (DDPM), section 4.
    """
    betas = torch.linspace(beta_start, beta_end, training_steps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


def cosine_alphas_bar(
    training_steps: int = 1000, offset: float = 0.008, beta_max: float = 0.999
) -> Float[Tensor, "training_steps"]:
    """Return the cosine schedule's alpha_bar at each training step, no beta above ``beta_max``.

    Source: Nichol and Dhariwal 2021 (improved DDPM), equation 17.
    """
    times = torch.arange(training_steps + 1, dtype=torch.float64) / training_steps
    signal = torch.cos((times + offset) / (1 + offset) * math.pi / 2) ** 2
    betas = (1 - signal[1:] / signal[:-1]).clamp(max=beta_max)
    return torch.cumprod(1 - betas, dim=0)


def sigmas_from_alphas_bar(alphas_bar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the level with the signal-to-noise ratio of ``alphas_bar``: sqrt((1 - alpha_bar) / alpha_bar)."""
    return ((1 - alphas_bar) / alphas_bar).sqrt()


def linear_sigmas(
    steps: int,
    training_steps: int = 1000,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    final: Final = "zero",
    sigma_max: float = math.inf,
) -> Float[Tensor, "levels"]:
    """Return levels of the linear variance-preserving schedule, at evenly spaced training steps up to ``sigma_max``.

    Raises:
        ConfigError: ``steps`` is not in 1..training_steps (one less with ``final="minimum"``), or is more than there
            are up to ``sigma_max``.
    """
    return _respaced(linear_alphas_bar(training_steps, beta_start, beta_end), steps, final, sigma_max)


def cosine_sigmas(
    steps: int,
    training_steps: int = 1000,
    offset: float = 0.008,
    beta_max: float = 0.999,
    final: Final = "zero",
    sigma_max: float = math.inf,
) -> Float[Tensor, "levels"]:
    """Return levels of the cosine variance-preserving schedule, at evenly spaced training steps up to ``sigma_max``.

    Raises:
        ConfigError: ``steps`` is not in 1..training_steps (one less with ``final="minimum"``), or is more than there
            are up to ``sigma_max``.
    """
    return _respaced(cosine_alphas_bar(training_steps, offset, beta_max), steps, final, sigma_max)


def _respaced(alphas_bar: Float[Tensor, "n"], steps: int, final: Final, sigma_max: float) -> Float[Tensor, "levels"]:
    available = int((sigmas_from_alphas_bar(alphas_bar) <= sigma_max).sum())
    wanted = steps if final == "zero" else steps + 1
    if steps < 1 or wanted > available:
        most = available if final == "zero" else available - 1
        raise ConfigError(f"The number of sampling steps is {steps}: expected 1 to {most}, as many as were trained.")
    chosen = torch.linspace(available - 1, 0, wanted, dtype=torch.float64).round().long()
    sigmas = sigmas_from_alphas_bar(alphas_bar[chosen])
    return _with_zero(sigmas) if final == "zero" else sigmas


def _with_zero(sigmas: Float[Tensor, "n"]) -> Float[Tensor, "m"]:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def _check(steps: int, sigma_min: float, sigma_max: float) -> None:
    if steps < 1:
        raise ConfigError(f"The number of sampling steps is {steps}: expected at least 1.")
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ConfigError(f"The noise levels are {sigma_min} to {sigma_max}: expected 0 < lowest < highest.")
