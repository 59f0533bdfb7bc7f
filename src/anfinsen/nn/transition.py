"""Transition: a two-layer network with a SwiGLU, on every position alone (AlphaFold 3, Algorithm 11)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .adaptive_layer_norm import lecun_
from .memory import chunk_length, in_place, scratch


class Transition(nn.Module):
    """Algorithm 11: Linear(swish(Linear(x)) * Linear(x)) of the normalised input.

    The two maps into the hidden layer are one matrix: the first half of the rows of ``expand`` is swished.
    """

    def __init__(self, c: int, factor: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c)
        self.expand = nn.Linear(c, 2 * factor * c, bias=False)
        self.contract = nn.Linear(factor * c, c, bias=False)
        lecun_(self.expand.weight)
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
        """Return the update of ``x``."""
        if in_place(x):
            return self.accumulate_(x, torch.zeros_like(x))
        gate, value = self.expand(self.norm(x)).chunk(2, dim=-1)
        update: Tensor = self.contract(F.silu(gate) * value)
        return update

    def accumulate_(self, x: Float[Tensor, "*batch c"], out: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
        """Add the update of ``x`` to the contiguous ``out`` (which may be ``x``) and return it; without gradients."""
        c, hidden = x.shape[-1], self.contract.in_features
        positions, updated = x.reshape(-1, c), out.view(-1, c)
        total = positions.shape[0]
        length = chunk_length(total, 2 * hidden * x.element_size(), x.device)
        buffer = scratch().take("hidden", (2 * length * hidden,), x)
        expand, contract = self.expand.weight.t(), self.contract.weight.t()
        for start in range(0, total, length):
            chunk = slice(start, min(start + length, total))
            z = self.norm(positions[chunk])
            both = torch.mm(z, expand, out=buffer[: 2 * z.shape[0] * hidden].view(-1, 2 * hidden))
            gate, value = both.chunk(2, dim=-1)
            updated[chunk].addmm_(F.silu(gate, inplace=True).mul_(value), contract)
        return out
