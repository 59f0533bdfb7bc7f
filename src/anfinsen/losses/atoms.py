"""What several losses need to know about atoms: their kind and their inclusion radius."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.nn.batch import Batch

RNA, DNA, LIGAND = 1, 2, 3  # values of `Batch.kind`
RADIUS, NUCLEOTIDE_RADIUS = 15.0, 30.0  # Å, inclusion radii of lDDT (algorithm 27; section 4.3.1)


def atom_kind(batch: Batch) -> Int[Tensor, "a"]:
    """Return the kind of chain each atom is in."""
    return batch.kind[batch.atom_to_token]


def is_nucleotide(kind: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Return whether a kind is RNA or DNA."""
    return (kind == RNA) | (kind == DNA)


def inclusion_radius(kind: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return how far, in Å, neighbours count for an atom (or token) of that kind."""
    return torch.where(is_nucleotide(kind), NUCLEOTIDE_RADIUS, RADIUS)


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean of ``values`` where ``mask``; 0 (without gradient) where nothing is."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)
