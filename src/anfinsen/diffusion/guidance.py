"""Guidance: steering a denoiser with a condition it was also trained without."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import ConfigError

from .samplers import Denoise


@dataclass(frozen=True)
class GuidanceConfig:
    """Classifier-free guidance.

    Attributes:
        weight: w of D_u + w (D_c - D_u); 1 is the conditional model itself, 0 the unconditional one.
        rescale: share of the correction that gives the guided estimate the conditional one's standard deviation
            (Lin et al. 2024, section 3.4); 0 leaves it.
        sigma_min, sigma_max: guidance acts where sigma_min < sigma <= sigma_max, elsewhere w is 1
            (Kynkäänniemi et al. 2024).

    Raises:
        ConfigError: ``rescale`` is not in 0..1, or the interval is empty.
    """

    weight: float = 1.0
    rescale: float = 0.0
    sigma_min: float = 0.0
    sigma_max: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.rescale <= 1:
            raise ConfigError(f"Guidance setting 'rescale' is {self.rescale}: expected 0 to 1.")
        if not self.sigma_min < self.sigma_max:
            raise ConfigError(
                f"Guidance acts from level {self.sigma_min} to {self.sigma_max}: expected the first to be the lower."
            )


def classifier_free_guidance(conditional: Denoise, unconditional: Denoise, config: GuidanceConfig) -> Denoise:
    """Return a denoiser guided by ``config``.

    The unconditional denoiser is not called where w is 1; there the result is the conditional one's, bit for bit.

    Source: Ho and Salimans 2022, equation 6 (which counts w from 0: its w is ours minus 1).
    """

    def denoise(x: Float[Tensor, "*shape"], sigma: Float[Tensor, ""]) -> Float[Tensor, "*shape"]:
        with_condition = conditional(x, sigma)
        if config.weight == 1 or not config.sigma_min < float(sigma) <= config.sigma_max:
            return with_condition
        without = unconditional(x, sigma)
        guided = without + config.weight * (with_condition - without)
        if config.rescale:
            guided = _rescaled(guided, with_condition, config.rescale)
        return guided

    return denoise


def _rescaled(guided: Tensor, reference: Tensor, share: float) -> Tensor:
    """Pull the standard deviation of each item (first axis) to that of ``reference``."""
    axes = tuple(range(1, guided.ndim)) or (0,)
    spread = guided.std(dim=axes, keepdim=True).clamp(min=torch.finfo(guided.dtype).tiny)
    factor = reference.std(dim=axes, keepdim=True) / spread
    return guided * (share * factor + (1 - share))
