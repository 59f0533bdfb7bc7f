"""Torsions against the true ones, and the names of symmetric atoms (AlphaFold 2 supplement, algorithms 26 and 27)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.geometry import ResidueTables, ResidueTorsions, pairwise_distances

from .atoms import masked_mean

_FIRST_CHI = 3
_NORM_EPSILON = 1e-6  # under the root, so that pairs of length 0 have a gradient; as published


def chi_loss(
    predicted: Float[Tensor, "layers n 7 2"], true: ResidueTorsions, symmetric: Bool[Tensor, "n 4"]
) -> Float[Tensor, ""]:
    """Return the mean squared difference of chi1 to chi4 as points on a circle, over layers and known chis.

    A chi that looks the same after half a turn counts from the nearer of the two.

    Args:
        predicted: (sine, cosine), unit length, of every layer.
        true: torsions of n residues.
        symmetric: ``tables.chi_symmetric[residue_type]``.

    Source: AlphaFold 2 supplement, algorithm 27, lines 3-4; as in the released code, backbone torsions do not count.
    """
    chis, wanted = predicted[..., _FIRST_CHI:, :], true.values[..., _FIRST_CHI:, :]
    error, turned = ((chis - sign * wanted).square().sum(-1) for sign in (1, -1))
    nearer = torch.where(symmetric, torch.minimum(error, turned), error)
    return masked_mean(nearer, true.mask[..., _FIRST_CHI:].expand(nearer.shape))


def angle_norm_loss(unnormalised: Float[Tensor, "layers n 7 2"], mask: Bool[Tensor, "n"]) -> Float[Tensor, ""]:
    """Return how far the pairs' lengths are from 1, a mean over layers, residues in ``mask``, and torsions.

    Source: AlphaFold 2 supplement, algorithm 27, line 5.
    """
    length = (unnormalised.square().sum(-1) + _NORM_EPSILON).sqrt()
    return masked_mean((length - 1).abs(), mask[:, None].expand(length.shape))


def rename_symmetric_atoms(
    predicted: Float[Tensor, "n 14 3"],
    true: Float[Tensor, "n 14 3"],
    mask: Bool[Tensor, "n 14"],
    residue_type: Int[Tensor, "n"],
    tables: ResidueTables,
) -> Float[Tensor, "n 14 3"]:
    """Return the true atoms, with names exchanged in residues (Asp, Glu, Phe, Tyr) that then fit the prediction better.

    What is compared are distances from the residue's symmetric atoms to all atoms whose names are certain; no
    superposition is needed. Names stay where an atom of a pair is not known. No gradient flows through.

    Args:
        predicted, true: Å.
        mask: which true atoms are known (the same after renaming).
        residue_type: row of the tables.
        tables: of the same type and device.

    Source: AlphaFold 2 supplement, algorithm 26.
    """
    with torch.no_grad():
        partner = tables.atom_partner[residue_type]
        other = true.take_along_dim(partner.unsqueeze(-1), dim=-2)
        ambiguous = (partner != torch.arange(14, device=partner.device)) & mask & mask.take_along_dim(partner, dim=-1)
        certain = mask & (partner == torch.arange(14, device=partner.device))
        residue, _ = ambiguous.nonzero(as_tuple=True)
        found = pairwise_distances(predicted[ambiguous], predicted[certain])
        better = torch.zeros_like(residue_type, dtype=predicted.dtype)
        for sign, atoms in ((1.0, true), (-1.0, other)):
            error = (pairwise_distances(atoms[ambiguous], true[certain]) - found).abs().sum(-1)
            better = better.index_add(0, residue, sign * error)
        exchange = (better > 0)[:, None] & ambiguous
        return torch.where(exchange.unsqueeze(-1), other, true)
