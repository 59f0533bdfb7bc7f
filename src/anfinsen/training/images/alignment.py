"""CLIP's picture tokens, which the decoder's hidden states learn to guess from noise."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.images.clip import Clip

from .data import ImageData

CALIBRATION = 512  # pictures that the tokens' mean and spread are taken from


class PictureTokens:
    """CLIP's tokens of pictures, each less the mean of its place, every channel at unit variance.

    What is the same in all pictures (a white corner) is then near zero, and objects stand out.
    """

    def __init__(self, clip: Clip, data: ImageData, device: torch.device) -> None:
        """Take mean and spread from the first scenes of ``data``."""
        self._clip, self._data, self._device = clip, data, device
        rows = torch.arange(min(CALIBRATION, len(data)))
        tokens = self._encoded(rows)
        self._mean = tokens.mean(0)
        self._spread = (tokens - self._mean).square().mean((0, 1)).sqrt().clamp(min=1e-6)

    def of(self, rows: Int[Tensor, "b"]) -> Float[Tensor, "b n c"]:
        """Return the tokens of these pictures, without gradient."""
        return (self._encoded(rows) - self._mean) / self._spread

    @torch.no_grad()
    def _encoded(self, rows: Int[Tensor, "b"]) -> Float[Tensor, "b n c"]:
        return self._clip.image.tokens(self._data.pictures(rows, self._device))
