"""Which noise levels a model is trained at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from .noise import SIGMA_DATA, power_sigmas


@runtime_checkable
class TrainingNoise(Protocol):
    """A distribution of noise levels."""

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count"]:
        """Return ``count`` levels, float32, on the generator's device."""


@dataclass(frozen=True)
class LogNormalNoise:
    """scale * exp(mean + std * N(0, 1)).

    The defaults are AlphaFold 3's (supplement, section 3.7.1); EDM's are mean -1.2, std 1.2, scale 1.
    """

    mean: float = -1.2
    std: float = 1.5
    scale: float = SIGMA_DATA

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count"]:
        """Return ``count`` levels."""
        normal = torch.randn(count, generator=generator, device=generator.device)
        return self.scale * torch.exp(self.mean + self.std * normal)


@dataclass(frozen=True)
class UniformPowerNoise:
    """The level at a uniform time of EDM's schedule: training sees levels as often as a sampler does."""

    sigma_min: float
    sigma_max: float
    rho: float = 7.0

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count"]:
        """Return ``count`` levels between ``sigma_min`` and ``sigma_max``."""
        times = torch.rand(count, generator=generator, device=generator.device)
        return power_sigmas(times.cpu(), self.sigma_min, self.sigma_max, self.rho).float().to(times.device)


@dataclass(frozen=True)
class CosineNoise:
    """sigma = tan(pi t / 2) at a uniform time: the continuous cosine schedule, cut off at both ends.

    Source: Kingma and Gao 2023, table 1 ("cosine").
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count"]:
        """Return ``count`` levels between ``sigma_min`` and ``sigma_max``."""
        low, high = math.atan(self.sigma_min), math.atan(self.sigma_max)
        times = torch.rand(count, generator=generator, device=generator.device)
        return torch.tan(low + times * (high - low))


@dataclass(frozen=True)
class DiscreteNoise:
    """One of the given levels, each as likely: the training steps of DDPM.

    Attributes:
        sigmas: the levels, in any order.
    """

    sigmas: tuple[float, ...]

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count"]:
        """Return ``count`` of the levels, drawn with replacement."""
        index = torch.randint(len(self.sigmas), (count,), generator=generator, device=generator.device)
        return torch.tensor(self.sigmas, dtype=torch.float32, device=index.device)[index]
