"""The reference state: how far residues lie from each other in proteins at large, by separation and chain length.

Senior et al. 2020 train a second network without the sequence for this; counts over the training chains say the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

LENGTH_LIMITS = (80, 120, 160, 220, 300)  # residues; chains as long as a limit belong to the class above it
_EXACT = 32  # separations up to this have a class each
_COARSE_LIMITS = (40, 48, 64, 80, 112, 160, 240)
SEPARATION_CLASSES = _EXACT + 1 + len(_COARSE_LIMITS)
_PRIOR = 64.0  # counts of the separation's distribution over all lengths that every class begins with


def separation_class(separation: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Return 0..32 for separations up to 32, then one number per range."""
    coarse = torch.bucketize(separation, torch.tensor(_COARSE_LIMITS, device=separation.device), right=True)
    return torch.where(separation <= _EXACT, separation, _EXACT + coarse)


def length_class(length: int) -> int:
    """Return the class of a chain's length."""
    return sum(length >= limit for limit in LENGTH_LIMITS)


class ReferenceDistribution(nn.Module):
    """Distributions of the CB-CB distance by class of length and separation; uniform until fitted."""

    probability: Float[Tensor, "lengths separations distances"]

    def __init__(self, distances: int) -> None:
        super().__init__()
        shape = (len(LENGTH_LIMITS) + 1, SEPARATION_CLASSES, distances)
        self.register_buffer("probability", torch.full(shape, 1.0 / distances))

    def fit(self, counts: Float[Tensor, "lengths separations distances"]) -> None:
        """Take over counts of pairs; sparse classes lean on all lengths, and these on nearby separations."""
        overall = counts.sum(0)
        # A class that no chain has takes the distribution of all separations.
        overall = overall + 1e-3 * overall.sum(0) / overall.sum().clamp(min=1.0) + 1e-6
        overall = overall / overall.sum(-1, keepdim=True)
        mixed = counts + _PRIOR * overall
        self.probability.copy_(mixed / mixed.sum(-1, keepdim=True))

    def maps(self, length: int) -> Float[Tensor, "L L distances"]:
        """Return the distribution of every pair of a chain."""
        place = torch.arange(length, device=self.probability.device)
        separation = (place[:, None] - place).abs()
        return self.probability[length_class(length)][separation_class(separation)]
