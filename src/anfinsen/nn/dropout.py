"""Dropout whose mask is shared along an axis (AlphaFold 3, section 3.6; AlphaFold 2, section 1.11.6).

Masks come from PyTorch's global generator, which the training loop seeds before every step: only so can activation
checkpointing draw the same mask again.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SharedDropout(nn.Module):
    """Drop entries with probability ``rate``, alike along ``axis``; identity outside training.

    Args:
        rate: probability of zero; what is kept is scaled by 1 / (1 - rate).
        axis: -3 for DropoutRowwise (all rows share a mask), -2 for DropoutColumnwise.
    """

    def __init__(self, rate: float, axis: int) -> None:
        super().__init__()
        self.rate = rate
        self.axis = axis

    def forward(self, x: Float[Tensor, "*batch rows columns c"]) -> Float[Tensor, "*batch rows columns c"]:
        """Return ``x`` with dropped entries set to zero."""
        if not self.training or self.rate == 0.0:
            return x
        shape = list(x.shape)
        shape[self.axis] = 1
        keep = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1.0 - self.rate)
        return x * (keep / (1.0 - self.rate))
