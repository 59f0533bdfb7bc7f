"""Preconditioning: from what a network predicts to the denoiser D(x, sigma).

A network F sees a scaled input and a noise feature; the denoiser is (EDM, equation 7)

    D(x, sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma))

with x = x0 + sigma * noise. EDM's choice and the noise-, data- and velocity-predicting networks of the
variance-preserving literature differ in the four functions only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import ConfigError

from .noise import SIGMA_DATA

Network = Callable[[Tensor, Tensor], Tensor]
"""F(scaled x, noise feature)."""


@runtime_checkable
class Preconditioning(Protocol):
    """The four functions of the noise level, each elementwise on a tensor of any shape."""

    def c_skip(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the weight of the noisy input in the output."""

    def c_out(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the weight of the network's output."""

    def c_in(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the scale of the network's input."""

    def c_noise(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the noise feature that the network sees."""


@dataclass(frozen=True)
class EdmPreconditioning:
    """EDM's functions (table 1 of Karras et al. 2022), with AlphaFold 3's noise feature (algorithm 21, line 8).

    Input and training target of the network have unit variance for data of standard deviation ``sigma_data``.

    Attributes:
        sigma_data: standard deviation of the data (Å for atoms).
        relative_noise: the noise feature is ln(sigma / sigma_data) / 4 (AlphaFold 3), otherwise ln(sigma) / 4 (EDM).
    """

    sigma_data: float = SIGMA_DATA
    relative_noise: bool = True

    def c_skip(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return sigma_data² / (sigma² + sigma_data²)."""
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def c_out(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return sigma sigma_data / sqrt(sigma² + sigma_data²)."""
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2).sqrt()

    def c_in(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return 1 / sqrt(sigma² + sigma_data²)."""
        return 1 / (sigma**2 + self.sigma_data**2).sqrt()

    def c_noise(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return a quarter of the logarithm of the (relative) level."""
        return torch.log(sigma / self.sigma_data if self.relative_noise else sigma) / 4

    def loss_weight(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return 1 / c_out², under which every level has the same expected loss at initialisation."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2


@dataclass(frozen=True)
class VariancePreserving:
    """A network of the variance-preserving kind, seen as D(x, sigma).

    Its input is x / sqrt(1 + sigma²) = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise.

    Attributes:
        prediction: what the network returns: "epsilon" the noise, "x0" the data, "v" the velocity
            sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022).
        timestep_sigmas: ascending levels of the training steps 0, 1, …; the noise feature is then the (fractional)
            step of a level, interpolated in ln(sigma). Empty: the noise feature is ln(sigma) / 4.

    Raises:
        ConfigError: ``timestep_sigmas`` do not ascend from above 0.
    """

    prediction: Literal["epsilon", "x0", "v"]
    timestep_sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        levels = self.timestep_sigmas
        if levels and (levels[0] <= 0 or any(b <= a for a, b in pairwise(levels))):
            raise ConfigError("The noise levels of the training steps must be above 0 and strictly ascending.")

    def c_skip(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return 1 (epsilon), 0 (x0) or 1 / (1 + sigma²) (v)."""
        if self.prediction == "v":
            return 1 / (1 + sigma**2)
        return torch.ones_like(sigma) if self.prediction == "epsilon" else torch.zeros_like(sigma)

    def c_out(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -sigma (epsilon), 1 (x0) or -sigma / sqrt(1 + sigma²) (v)."""
        if self.prediction == "v":
            return -sigma / (1 + sigma**2).sqrt()
        return -sigma if self.prediction == "epsilon" else torch.ones_like(sigma)

    def c_in(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return 1 / sqrt(1 + sigma²)."""
        return 1 / (1 + sigma**2).sqrt()

    def c_noise(self, sigma: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the training step of the level, or ln(sigma) / 4."""
        if not self.timestep_sigmas:
            return torch.log(sigma) / 4
        table = torch.tensor(self.timestep_sigmas, dtype=torch.float64, device=sigma.device).log()
        value = sigma.double().log()
        right = torch.searchsorted(table, value.contiguous()).clamp(1, max(len(table) - 1, 1))
        if len(table) == 1:
            return torch.zeros_like(sigma)
        below, above = table[right - 1], table[right]
        step = (right - 1) + ((value - below) / (above - below)).clamp(0, 1)
        return step.to(sigma.dtype)


def apply_preconditioning(
    preconditioning: Preconditioning,
    network: Network,
    x: Float[Tensor, "..."],
    sigma: Float[Tensor, "..."],
) -> Float[Tensor, "..."]:
    """Return D(x, sigma).

    Args:
        preconditioning: the four functions.
        network: F, called with the scaled input and the noise feature (shape of ``sigma``).
        x: noisy data, leading axes as ``sigma``.
        sigma: one level, or one for each leading index of ``x``.
    """
    level = sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim))
    output = network(preconditioning.c_in(level) * x, preconditioning.c_noise(sigma))
    return preconditioning.c_skip(level) * x + preconditioning.c_out(level) * output


def training_target(
    preconditioning: Preconditioning,
    clean: Float[Tensor, "*shape"],
    noisy: Float[Tensor, "*shape"],
    sigma: Float[Tensor, "..."],
) -> Float[Tensor, "*shape"]:
    """Return what F must answer so that D(noisy, sigma) is ``clean``."""
    level = sigma.reshape(sigma.shape + (1,) * (clean.ndim - sigma.ndim))
    return (clean - preconditioning.c_skip(level) * noisy) / preconditioning.c_out(level)


def as_denoiser(preconditioning: Preconditioning, network: Network) -> Network:
    """Return D(x, sigma) of a network: the form that samplers and guidance take."""

    def denoise(x: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return apply_preconditioning(preconditioning, network, x, sigma)

    return denoise
