"""Which diffusion a network of DALL·E 2 is trained for, in terms of the core's objects."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.errors import ConfigError
from anfinsen.diffusion import (
    CosineNoise,
    DiscreteNoise,
    EdmPreconditioning,
    LogNormalNoise,
    Preconditioning,
    TrainingNoise,
    VariancePreserving,
    cosine_sigmas,
    edm_sigmas,
    linear_alphas_bar,
    linear_sigmas,
    sigmas_from_alphas_bar,
)


@dataclass(frozen=True)
class DiffusionConfig:
    """One diffusion: what the network predicts, at which levels it is trained, and along which it is sampled.

    Attributes:
        prediction: EDM's preconditioning, or a network of the variance-preserving form that predicts the noise
            ("epsilon"), the data ("x0") or the velocity ("v").
        sigma_data: standard deviation of the data, for EDM's preconditioning.
        sigma_min, sigma_max: lowest and highest level, of training (but for the log-normal, which has tails) and of
            sampling.
        noise: levels of training: EDM's log-normal, or the cosine or linear schedule of the variance-preserving form;
            sampling follows EDM's schedule with the first, and the schedule itself with the others.
        noise_mean, noise_std: of ln(sigma), for the log-normal.
        loss: squared errors of the denoiser are weighted as EDM's, 1 / sigma² + 1 / sigma_data² ("edm"), or those of
            the network itself count alike ("simple": DDPM, and the prior's loss in the paper).
        weight_max: EDM's weights are clipped here, as min-SNR's are (Hang et al. 2023, section 3.4), or not if None. A
            network that predicts the data cannot pass small noise on exactly, and would train for nothing else.

    Raises:
        ConfigError: the levels are not 0 < sigma_min < sigma_max, the mean is not finite, or a standard deviation or
            weight is not above 0.
    """

    prediction: Literal["edm", "epsilon", "x0", "v"] = "edm"
    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    noise: Literal["log-normal", "cosine", "linear"] = "log-normal"
    noise_mean: float = -1.2
    noise_std: float = 1.2
    loss: Literal["edm", "simple"] = "edm"
    weight_max: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ConfigError(
                f"The noise levels are {self.sigma_min} to {self.sigma_max}: expected 0 < lowest < highest."
            )
        for name in ("sigma_data", "noise_std"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"Diffusion setting {name!r} is {value}: expected a finite number above 0.")
        if not math.isfinite(self.noise_mean):
            raise ConfigError(f"Diffusion setting 'noise_mean' is {self.noise_mean}: expected a finite number.")
        if self.weight_max is not None and not self.weight_max > 0:
            raise ConfigError(f"Diffusion setting 'weight_max' is {self.weight_max}: expected a number above 0.")

    def preconditioning(self) -> Preconditioning:
        """Return the four functions."""
        if self.prediction == "edm":
            return EdmPreconditioning(self.sigma_data, relative_noise=False)
        return VariancePreserving(self.prediction)

    def training_noise(self) -> TrainingNoise:
        """Return the distribution of levels in training."""
        if self.noise == "log-normal":
            return LogNormalNoise(self.noise_mean, self.noise_std, scale=1.0)
        if self.noise == "cosine":
            return CosineNoise(self.sigma_min, self.sigma_max)
        levels = sigmas_from_alphas_bar(linear_alphas_bar())
        return DiscreteNoise(tuple(levels[levels <= self.sigma_max].tolist()))

    def loss_weight(self, sigma: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """Return the weight of each level in the mean squared error of the network's own answer."""
        if self.loss == "simple":
            return torch.ones_like(sigma)
        weight = 1 / sigma**2 + 1 / self.sigma_data**2
        if self.weight_max is not None:
            weight = weight.clamp(max=self.weight_max)
        return weight * self.preconditioning().c_out(sigma) ** 2

    def sigmas(self, steps: int) -> Float[Tensor, "levels"]:
        """Return ``steps + 1`` levels to sample along, the last 0.

        Levels of the cosine or linear schedule below ``sigma_min`` become one at it, so that there may be fewer.

        Raises:
            ConfigError: ``steps`` is not positive, or is more than the schedule has levels.
        """
        if self.noise == "log-normal":
            return edm_sigmas(steps, self.sigma_min, self.sigma_max)
        schedule = cosine_sigmas if self.noise == "cosine" else linear_sigmas
        levels = schedule(steps, sigma_max=self.sigma_max)
        # The schedules go on below what training sees, where a network that predicts the data says anything.
        above = levels[levels > self.sigma_min]
        return torch.cat(
            [above, levels.new_tensor([self.sigma_min] if len(above) < len(levels) - 1 else []), levels[-1:]]
        )


# Flat pictures on white. A network that predicts the data learns them several times faster than EDM's, whose output is
# mostly noise to be copied; the lowest level is one that training still sees, since the last answer of such a network
# is the picture.
PICTURES = DiffusionConfig(prediction="x0", sigma_min=0.02, noise_mean=-0.5, noise_std=1.5, weight_max=30.0)
# What the decoder has to decide, and the upsampler is told: where things are, and what they are. A disc of 12 pixels
# is a hundred numbers that agree, and is still seen in noise ten times its contrast: most is decided at levels above 1,
# higher than in photographs (Hoogeboom et al. 2023 shift schedules likewise where pixels agree).
LAYOUTS = replace(PICTURES, noise_mean=0.8, noise_std=1.6)


def expand_noise(noise: Float[Tensor, "..."], batch: int) -> Float[Tensor, "batch"]:
    """Return one noise feature for each item: samplers give a single one, training one for each."""
    return torch.broadcast_to(noise, (batch,))
