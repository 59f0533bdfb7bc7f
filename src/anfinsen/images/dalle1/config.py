"""Sizes and training constants of DALL·E 1: `mini` as bundled, `small` for a longer training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from anfinsen.common.errors import ConfigError

from ..transformer import TransformerConfig

PATCH = 4  # pixels along each side that the first convolution takes as one, and the last one gives
GROUP = 16  # channels of a group of every GroupNorm; fewer are slow in bfloat16 on a CPU
RGB = 3


@dataclass(frozen=True)
class DiscreteVaeConfig:
    """Shape and loss of a `DiscreteVae`.

    Attributes:
        codes: size K of the codebook. code_width: numbers of a code's vector.
        channels: of the residual blocks at each resolution; the first is a quarter of the picture's, each further one
            half of the one before, and the last has one code at each place.
        blocks: residual blocks at each resolution, in the encoder and in the decoder.
        picture_size: pixels along each side of a picture.
        kl_weight: weight of the mean divergence from the uniform code (nats a code) against the mean difference of
            pixels in [-1, 1]. A Laplace likelihood of scale b, summed over pixels, makes the bound's own weight
            b times the codes over the numbers of a picture: 1e-4 at b = 0.02. This is β = 5 times as much; Ramesh et
            al. (appendix A.2) end at 6.6.
        first_temperature, last_temperature: of the Gumbel-softmax, at the start and the end of its annealing (Ramesh
            et al. 2021, appendix A.2).
        annealing: share of the training after which the temperature is the last one.
    """

    codes: int = 1024
    code_width: int = 16
    channels: tuple[int, ...] = (64, 128)
    blocks: int = 1
    picture_size: int = 64
    kl_weight: float = 5e-4
    first_temperature: float = 1.0
    last_temperature: float = 1 / 16
    annealing: float = 0.9

    def __post_init__(self) -> None:
        if (
            min(self.codes, self.code_width) < 2
            or not self.channels
            or any(c < 1 or c % GROUP for c in self.channels)
            or self.blocks < 1
        ):
            raise ConfigError(f"{self} is no discrete VAE: expected 2 codes or more and channels in sixteens.")
        if self.picture_size % self.stride:
            raise ConfigError(f"Pictures of {self.picture_size} pixels cannot be cut into codes of {self.stride}.")
        if not 0 < self.last_temperature <= self.first_temperature or not 0 < self.annealing <= 1:
            raise ConfigError(f"{self} has no falling, positive temperature, or anneals it in no time.")

    @property
    def stride(self) -> int:
        """Pixels along each side of a code."""
        return PATCH << (len(self.channels) - 1)

    @property
    def grid(self) -> int:
        """Codes along each side of a picture."""
        return self.picture_size // self.stride

    def temperature(self, progress: float) -> float:
        """Return the Gumbel-softmax's temperature after a share ``progress`` of the training, along a cosine (A.2)."""
        share = min(max(progress / self.annealing, 0.0), 1.0)
        fall = self.first_temperature - self.last_temperature
        return self.last_temperature + fall * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class ImageTransformerConfig:
    """Shape and loss of an `ImageTransformer`.

    Attributes:
        transformer: width, heads and depth.
        vocabulary: size of the tokenizer's vocabulary, at most. length: tokens of a caption, with its padding.
        codes: size of the codebook. grid: codes along each side of a picture; both are the discrete VAE's.
        image_weight: weight of the codes' cross-entropy where the words' is 1 (Ramesh et al. 2021, section 2.2).
        caption_dropout: share of the captions that training hides, for guidance; 0 as published.
    """

    transformer: TransformerConfig
    vocabulary: int = 1024
    length: int = 24
    codes: int = 1024
    grid: int = 8
    image_weight: float = 7.0
    caption_dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.length, self.codes, self.grid) < 1 or self.length < 2:
            raise ConfigError(f"{self} is no image transformer: expected words, two tokens or more, and codes.")
        if self.image_weight <= 0 or not 0 <= self.caption_dropout < 1:
            raise ConfigError(f"{self} needs a positive image_weight and a caption_dropout of 0 to below 1.")


DVAE_PRESETS: dict[str, DiscreteVaeConfig] = {
    "mini": DiscreteVaeConfig(),
    "small": DiscreteVaeConfig(channels=(128, 256), blocks=2),
}

TRANSFORMER_PRESETS: dict[str, ImageTransformerConfig] = {
    "mini": ImageTransformerConfig(TransformerConfig(width=224, heads=7, depth=6)),
    "small": ImageTransformerConfig(TransformerConfig(width=448, heads=14, depth=10)),
}
