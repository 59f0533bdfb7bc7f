"""A discrete variational autoencoder: pictures as a grid of codes.

Source: Ramesh et al. 2021, "Zero-shot text-to-image generation", section 2.1 and appendix A. The likelihood falls
exponentially with the absolute difference of pixels and with its square: the former keeps the edges of flat drawings
sharp, the latter is to keep a short training from blank pictures, the median of mostly white ones. The paper's
logit-Laplace keeps natural colours from the ends of their range, where these drawings' white lies, and learns a scale
for each pixel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anfinsen.common.seeding import Generators

from .config import GROUP, PATCH, RGB, DiscreteVaeConfig
from .noise import exponential

# Cosines times this are the first logits: a sample then lies half-way between the encoder's direction and noise.
INITIAL_SCALE = 16.0
WHITE = 1.0  # what the decoder begins with: most pixels are


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each after GroupNorm and SiLU, beside the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(channels // GROUP, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(channels // GROUP, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "batch c height width"]) -> Float[Tensor, "batch c height width"]:
        """Return the input with its update."""
        updated: Tensor = x + self.layers(x)
        return updated


class DiscreteVae(nn.Module):
    """Encoder to logits over codes at each place, and decoder from (weights of) codes to a picture.

    A code is a unit vector, which the decoder receives and with which the encoder's own unit vector is compared: the
    logits are their cosines times a learned scale (Yu et al. 2022, "Vector-quantized image modeling with improved
    VQGAN", section 3.2). One minute of training with free logits, as published, and the absolute difference alone ended
    at blank pictures of ten codes; with this and the square, at 130 codes (not told apart which helps).
    """

    def __init__(self, config: DiscreteVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config)
        self.codebook = nn.Parameter(F.normalize(torch.randn(config.codes, config.code_width), dim=1))
        self.spread = nn.Linear(config.code_width, config.code_width)
        nn.init.eye_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.decoder = _decoder(config)

    def vectors(self) -> Float[Tensor, "codes c"]:
        """Return the codes' unit vectors.

        One linear map of all of them moves the codes that no picture uses along with the others, so that they stay
        within reach (Zhu et al. 2024, "Addressing representation collapse in vector quantized models").
        """
        with _single_precision(self.codebook):
            return F.normalize(self.spread(self.codebook), dim=1)

    def logits(
        self, pictures: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch codes {self.config.grid} {self.config.grid}"]:
        """Return unnormalised log probabilities of each code at each place; pictures are RGB in [-1, 1].

        Raises:
            ValueError: the pictures are not ``config.picture_size`` pixels wide and high.
        """
        size = self.config.picture_size
        if pictures.shape[2:] != (size, size):
            raise ValueError(f"pictures are {tuple(pictures.shape[2:])} pixels: expected {size} x {size}")
        directions = self.encoder(pictures)
        with _single_precision(pictures):
            cosines = F.conv2d(F.normalize(directions.float(), dim=1), self.vectors()[:, :, None, None].float())
            return self.log_scale.exp() * cosines

    def codes(
        self, pictures: Float[Tensor, "batch 3 height width"]
    ) -> Int[Tensor, "batch {self.config.grid} {self.config.grid}"]:
        """Return the most probable code at each place; pictures are RGB in [-1, 1]."""
        return self.logits(pictures).argmax(1)

    def decode(self, weights: Float[Tensor, "batch codes h w"]) -> Float[Tensor, "batch 3 height width"]:
        """Return the pictures of ``weights`` of the codes, one-hot or soft; about in [-1, 1], not clamped."""
        vectors = F.conv2d(weights, self.vectors().T[:, :, None, None])
        decoded: Tensor = self.decoder(vectors)
        return decoded.float()

    def decode_codes(self, codes: Int[Tensor, "batch h w"]) -> Float[Tensor, "batch 3 height width"]:
        """Return the pictures of ``codes``, RGB in [-1, 1]."""
        one_hot = F.one_hot(codes, self.config.codes).movedim(-1, 1)
        return self.decode(one_hot.to(next(self.parameters()).dtype)).clamp(-1, 1)

    def relaxed(
        self, logits: Float[Tensor, "batch codes h w"], temperature: float, generator: Generators
    ) -> Float[Tensor, "batch codes h w"]:
        """Return weights of the codes: a sample of the Gumbel-softmax, one-hot in the limit of temperature 0.

        Source: Jang et al. 2017, equation 2; Maddison et al. 2017. The logarithm of an exponential variate is minus a
        Gumbel one.

        Raises:
            ValueError: ``temperature`` is not positive.
        """
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: expected a positive number")
        gumbel = -exponential(logits.shape, generator).to(logits.device).log()
        return torch.softmax((logits + gumbel) / temperature, dim=1)


def kl_to_uniform(logits: Float[Tensor, "batch codes h w"]) -> Float[Tensor, "batch h w"]:
    """Return KL(q, uniform) in nats at each place: log K minus the entropy of the codes' probabilities (equation 1)."""
    log_probability = torch.log_softmax(logits, dim=1)
    return math.log(logits.shape[1]) + (log_probability.exp() * log_probability).sum(1)


def perplexity(codes: Int[Tensor, "*shape"], size: int) -> Float[Tensor, ""]:
    """Return exp(entropy) of how often each of ``size`` codes stands in ``codes``: 1 (collapsed) to ``size``."""
    share = torch.bincount(codes.flatten(), minlength=size).float() / max(codes.numel(), 1)
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()


def _single_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which codes are told apart by more than bfloat16's two or three digits."""
    return torch.autocast(tensor.device.type, enabled=False)


def _encoder(config: DiscreteVaeConfig) -> nn.Sequential:
    layers: list[nn.Module] = [nn.PixelUnshuffle(PATCH)]
    before = RGB * PATCH**2
    for level, channels in enumerate(config.channels):
        layers.append(nn.Conv2d(before, channels, 3, stride=1 if level == 0 else 2, padding=1))
        layers.extend(ResidualBlock(channels) for _ in range(config.blocks))
        before = channels
    return nn.Sequential(
        *layers, nn.GroupNorm(before // GROUP, before), nn.SiLU(), nn.Conv2d(before, config.code_width, 1)
    )


def _decoder(config: DiscreteVaeConfig) -> nn.Sequential:
    before = config.channels[-1]
    first = nn.Conv2d(config.code_width, before, 1)
    nn.init.normal_(first.weight)  # so that unit vectors become features of unit variance
    layers: list[nn.Module] = [first]
    for level, channels in enumerate(reversed(config.channels)):
        if level:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, channels, 3, padding=1)]
        layers.extend(ResidualBlock(channels) for _ in range(config.blocks))
        before = channels
    last = nn.Conv2d(before, RGB * PATCH**2, 3, padding=1)
    if last.bias is not None:
        nn.init.constant_(last.bias, WHITE)
    return nn.Sequential(*layers, nn.GroupNorm(before // GROUP, before), nn.SiLU(), last, nn.PixelShuffle(PATCH))
