"""Transition: a two-layer network on every position alone (AlphaFold 3, Algorithm 11; AlphaFold 2, 9 and 15)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .adaptive_layer_norm import lecun_
from .linear import product
from .memory import chunk_length, in_place, scratch

HiddenLayer = Literal["swiglu", "relu"]


class Transition(nn.Module):
    """Two linear maps of the normalised input with a hidden layer of ``factor`` times its width between them.

    "swiglu" (AlphaFold 3): Linear(swish(Linear(x)) * Linear(x)), no biases; the two maps into the hidden layer are one
    matrix, and the first half of the rows of ``expand`` is swished. "relu" (AlphaFold 2): Linear(relu(Linear(x))), both
    with biases.
    """

    def __init__(self, c: int, factor: int = 4, hidden: HiddenLayer = "swiglu") -> None:
        super().__init__()
        self.swiglu = hidden == "swiglu"
        self.norm = nn.LayerNorm(c)
        self.expand = nn.Linear(c, (2 if self.swiglu else 1) * factor * c, bias=not self.swiglu)
        self.contract = nn.Linear(factor * c, c, bias=not self.swiglu)
        lecun_(self.expand.weight, gain=1.0 if self.swiglu else 2.0)
        nn.init.zeros_(self.contract.weight)
        if not self.swiglu:
            nn.init.zeros_(self.expand.bias)
            nn.init.zeros_(self.contract.bias)

    def forward(self, x: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
        """Return the update of ``x``."""
        if in_place(x):
            return self.accumulate_(x, torch.zeros_like(x))
        hidden = self.expand(self.norm(x))
        if self.swiglu:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * value
        else:
            hidden = F.relu(hidden)
        update: Tensor = self.contract(hidden)
        return update

    def accumulate_(self, x: Float[Tensor, "*batch c"], out: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
        """Add the update of ``x`` to the contiguous ``out`` (which may be ``x``) and return it; without gradients."""
        c, width = x.shape[-1], self.expand.out_features
        positions, updated = x.reshape(-1, c), out.view(-1, c)
        total = positions.shape[0]
        length = chunk_length(total, width * x.element_size(), x.device)
        buffer = scratch().take("hidden", (length * width,), x)
        expand, contract = self.expand.weight.t(), self.contract.weight.t()
        for start in range(0, total, length):
            chunk = slice(start, min(start + length, total))
            z = self.norm(positions[chunk])
            hidden = product(z, expand, self.expand.bias, out=buffer[: z.shape[0] * width].view(-1, width))
            if self.swiglu:
                gate, value = hidden.chunk(2, dim=-1)
                hidden = F.silu(gate, inplace=True).mul_(value)
            else:
                hidden.relu_()
                updated[chunk] += self.contract.bias
            updated[chunk].addmm_(hidden, contract)
        return out
