"""Random Fourier features of the noise level."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.common.seeding import torch_generator


class FourierEmbedding(nn.Module):
    """cos(2π(t·w + b)) with fixed random w and b (AlphaFold 3, Algorithm 22).

    The numbers are buffers, drawn once from a fixed seed and stored with the weights: a trained model is bound to them.
    """

    w: Tensor
    b: Tensor

    def __init__(self, c: int) -> None:
        super().__init__()
        generator = torch_generator(0, "fourier embedding")
        self.register_buffer("w", torch.randn(c, generator=generator))
        self.register_buffer("b", torch.randn(c, generator=generator))

    def forward(self, t: Float[Tensor, "*samples"]) -> Float[Tensor, "*samples c"]:
        """Return the features of each number."""
        return torch.cos(2 * math.pi * (t[..., None] * self.w + self.b))
