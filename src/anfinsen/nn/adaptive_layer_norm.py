"""Adaptive layer normalisation: a vector normalised, then scaled and shifted by what a second vector says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .linear import linear

Modulation = tuple[Tensor, Tensor]
"""Scale and shift of an adaptive layer norm."""

GATE_BIAS = -2.0  # paper, Algorithms 24 and 25: output gates start at sigmoid(-2) = 0.12


def lecun_(weight: Tensor, fan_in: int | None = None, gain: float = 1.0) -> None:
    """Fill ``weight`` [out, in] in place with N(0, gain/fan_in) cut off at two deviations (AlphaFold 3 code)."""
    # 0.8796 is the deviation of a unit normal truncated at ±2.
    std = gain**0.5 * (fan_in or weight.shape[-1]) ** -0.5 / 0.8796
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class OutputGate(nn.Linear):
    """sigmoid(Linear(s)) with zero weights and bias −2 at first (AlphaFold 3, Algorithms 24 and 25)."""

    def __init__(self, c_s: int, c_a: int) -> None:
        super().__init__(c_s, c_a)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, GATE_BIAS)

    def forward(self, s: Float[Tensor, "*samples n c_s"]) -> Float[Tensor, "*samples n c_a"]:
        """Return the gate, between 0 and 1."""
        return linear(s, self.weight, self.bias, "sigmoid")


class AdaptiveLayerNorm(nn.Module):
    """Adaptive layer norm (AlphaFold 3, Algorithm 26): sigmoid(scale(s)) · LayerNorm(a) + shift(s).

    The two maps of s are one matrix: the first ``c_a`` rows of ``scale_shift`` are the scale.
    """

    def __init__(self, c_a: int, c_s: int) -> None:
        super().__init__()
        self.c_a = c_a
        self.norm_s = nn.LayerNorm(c_s, bias=False)
        self.scale_shift = nn.Linear(c_s, 2 * c_a, bias=False)
        self.scale_bias = nn.Parameter(torch.zeros(c_a))
        nn.init.zeros_(self.scale_shift.weight)

    def forward(
        self, a: Float[Tensor, "*samples n c_a"], s: Float[Tensor, "*s_samples n c_s"]
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return ``a`` normalised and modulated by ``s``; the sample axes of ``s`` must broadcast to those of ``a``."""
        return self.modulate(a, self.modulation(s))

    def modulation(self, s: Float[Tensor, "*samples n c_s"]) -> Modulation:
        """Return what ``s`` says: the scale and the shift."""
        of_scale, of_shift = self.scale_shift.weight.chunk(2)
        normal = self.norm_s(s)
        return linear(normal, of_scale, self.scale_bias, "sigmoid"), linear(normal, of_shift)

    def modulate(self, a: Float[Tensor, "*samples n c_a"], modulation: Modulation) -> Float[Tensor, "*samples n c_a"]:
        """Return ``a`` normalised and modulated."""
        scale, shift = modulation
        normal = F.layer_norm(a, (self.c_a,))
        if torch.is_grad_enabled():
            return torch.addcmul(shift, normal, scale)
        return torch.addcmul(shift, normal, scale, out=normal)
