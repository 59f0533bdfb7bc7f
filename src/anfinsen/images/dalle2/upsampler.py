"""The upsampler: from a small picture to one of twice the height and width (Ramesh et al. 2022, section 2.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import Generators, gaussian
from anfinsen.diffusion import Denoise, Network, as_denoiser

from .config import PICTURES, DiffusionConfig, expand_noise
from .decoder import ImageEmbedding
from .unet import NoiseEmbedding, UNet, UNetConfig

FACTOR = 2
LEVEL_FLOOR = 1e-3  # below it levels are alike, so that the logarithm of none at all is finite


@dataclass(frozen=True)
class DegradationConfig:
    """How the small picture is spoilt in training, so that the faults of a decoder's pictures do no harm.

    Attributes:
        level_max: highest level of the Gaussian noise; training draws levels evenly from 0.
        blur_share: share of the pictures in training that are also blurred.
        blur: standard deviation of the blur, pixels; the kernel has three a side (Saharia et al. 2021, SR3).
        sampling_level: level of noise in sampling, without blur.

    Raises:
        ConfigError: a level is negative, or ``sampling_level`` is above ``level_max``.
    """

    level_max: float = 0.3
    blur_share: float = 0.5
    blur: float = 0.6
    sampling_level: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.sampling_level <= self.level_max < math.inf:
            raise ConfigError(
                f"The small picture's noise is {self.sampling_level} in sampling and up to {self.level_max} in "
                "training: expected 0 <= sampling_level <= level_max."
            )
        if not 0 <= self.blur_share <= 1 or not self.blur > 0:
            raise ConfigError(
                f"Degradation settings 'blur_share' {self.blur_share} and 'blur' {self.blur}: expected 0 to 1, and "
                "above 0."
            )


@dataclass(frozen=True)
class UpsamplerConfig:
    """Sizes of an `Upsampler`.

    Attributes:
        c_clip: width of CLIP's embeddings.
        unet: the network, on the large pictures; its ``c_extra`` channels hold the small one, and it has no context.
        degradation: what is done to the small picture. diffusion: levels and prediction.

    Raises:
        ConfigError: ``unet`` has no room for the small picture.
    """

    c_clip: int = 128
    unet: UNetConfig = field(
        default_factory=lambda: UNetConfig(
            size=64,
            patch=4,
            c_extra=12,
            channels=(64, 96),
            attention=(False, False),
            blocks=(1, 1),
            middle=0,
            c_embedding=128,
            c_context=0,
        )
    )
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    diffusion: DiffusionConfig = PICTURES

    def __post_init__(self) -> None:
        wanted = self.unet.c_picture * (self.unet.patch // FACTOR) ** 2
        if self.unet.patch % FACTOR or self.unet.c_extra != wanted or self.unet.c_context:
            raise ConfigError(
                f"The upsampler's U-Net has patches of {self.unet.patch} pixels, {self.unet.c_extra} extra and "
                f"{self.unet.c_context} context channels: expected patches of a multiple of {FACTOR}, {wanted} and 0."
            )


def to_base(pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Return pictures at half the height and width, each pixel the mean of four: what the decoder is trained on."""
    return F.avg_pool2d(pictures, FACTOR)


class Upsampler(nn.Module):
    """A U-Net under the small picture, the level of its noise, and the image embedding."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.preconditioning = config.diffusion.preconditioning()
        c_embedding = config.unet.c_embedding
        self.noise = NoiseEmbedding(c_embedding)
        self.level = NoiseEmbedding(c_embedding)
        self.image = ImageEmbedding(config.c_clip)
        self.image_embedding = nn.Linear(config.c_clip, c_embedding)
        self.unet = UNet(config.unet)

    def degraded(
        self, low: Float[Tensor, "b 3 low low"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "b 3 low low"], Float[Tensor, "b"]]:
        """Return small pictures spoilt for training, each at a level of its own, and the levels.

        Source: Ho et al. 2021 (cascaded diffusion models), section 4.2; the blur is Ramesh et al. 2022's.
        """
        config = self.config.degradation
        blurred = torch.rand(len(low), generator=generator, device=generator.device) < config.blur_share
        low = torch.where(blurred.to(low.device)[:, None, None, None], blur(low, config.blur), low)
        level = config.level_max * torch.rand(len(low), generator=generator, device=generator.device)
        level = level.to(low.device)
        noise = gaussian(low.shape, generator, low.dtype).to(low.device)
        return low + level[:, None, None, None] * noise, level

    def noised(
        self, low: Float[Tensor, "b 3 low low"], generator: Generators
    ) -> tuple[Float[Tensor, "b 3 low low"], Float[Tensor, "b"]]:
        """Return small pictures under the little noise of sampling, and its levels."""
        level = self.config.degradation.sampling_level
        noise = gaussian(low.shape, generator, low.dtype).to(low.device)
        return low + level * noise, low.new_full((len(low),), level)

    def network(
        self,
        low: Float[Tensor, "b 3 low low"],
        level: Float[Tensor, "b"],
        image_embedding: Float[Tensor, "b c_clip"] | None,
        drop_embedding: Bool[Tensor, "b"] | None = None,
    ) -> Network:
        """Return F(scaled picture, noise feature) under conditions.

        Args:
            low: small pictures, under noise. level: standard deviation of that noise.
            image_embedding: of unit length; None for the learned one that stands for none.
            drop_embedding: items whose embedding is to be left out all the same.
        """
        vector = self.image_embedding(self.image(image_embedding, drop_embedding))
        vector = vector + self.level(torch.log(level + LEVEL_FLOOR) / 4)
        # Unshuffled in smaller patches than the large picture, it has the same height and width.
        extra = F.pixel_unshuffle(low, self.config.unet.patch // FACTOR)

        def network(x: Float[Tensor, "b 3 size size"], noise: Float[Tensor, "..."]) -> Float[Tensor, "b 3 size size"]:
            embedding = self.noise(expand_noise(noise, len(x))) + vector
            result: Tensor = self.unet(x, embedding, extra=extra)
            return result

        return network

    def denoiser(
        self,
        low: Float[Tensor, "b 3 low low"],
        level: Float[Tensor, "b"],
        image_embedding: Float[Tensor, "b c_clip"] | None,
    ) -> Denoise:
        """Return D(x, sigma) for the core's samplers."""
        return as_denoiser(self.preconditioning, self.network(low, level, image_embedding))


def blur(pictures: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Return pictures under a Gaussian blur of three by three pixels; at the border the outermost are repeated."""
    side = math.exp(-0.5 / sigma**2)
    kernel = pictures.new_tensor([side, 1.0, side]) / (1 + 2 * side)
    channels = pictures.shape[1]
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    down = F.conv2d(padded, kernel.view(1, 1, 3, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(down, kernel.view(1, 1, 1, 3).expand(channels, -1, -1, -1), groups=channels)
