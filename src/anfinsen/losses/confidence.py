"""Losses of the distogram and confidence heads (AlphaFold 3 supplement, sections 4.3 and 4.4).

Targets are computed without gradient; predicted coordinates come from a mini roll-out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.geometry import (
    angles,
    bin_boundaries,
    bin_index,
    bisector_frames,
    express_in_frames,
    pairwise_distances,
)
from anfinsen.nn.batch import Batch, Labels

from .atoms import LIGAND, inclusion_radius, masked_mean
from .config import LossConfig

DISTOGRAM_FIRST, DISTOGRAM_LAST = 2.3125, 21.6875  # Å, inner boundaries of 64 bins from 2 to 22 Å (section 4.4)
ERROR_BIN = 0.5  # Å, bins of PAE and PDE (sections 4.3.2, 4.3.3)
LDDT_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å
LEAST_FRAME_ANGLE = math.radians(25.0)  # a frame whose atoms are this close to a line is not used (section 4.3.2)


@dataclass(frozen=True)
class ConfidenceLoss:
    """The confidence part of the objective: ``total`` = plddt + pde + resolved + pae weight * pae (equation 15)."""

    total: Float[Tensor, ""]
    plddt: Float[Tensor, ""]
    pae: Float[Tensor, ""]
    pde: Float[Tensor, ""]
    resolved: Float[Tensor, ""]


def distogram_loss(logits: Float[Tensor, "n n bins"], batch: Batch, labels: Labels) -> Float[Tensor, ""]:
    """Return the cross-entropy of the distances between the tokens' representative atoms (section 4.4)."""
    atom = batch.distogram_atom
    known = labels.resolved[atom] & batch.token_mask
    boundaries = bin_boundaries(DISTOGRAM_FIRST, DISTOGRAM_LAST, logits.shape[-1])
    target = bin_index(pairwise_distances(labels.coordinates[atom].float()), boundaries.to(logits.device))
    return masked_mean(_cross_entropy(logits, target), known[:, None] & known[None, :])


def confidence_loss(
    plddt: Float[Tensor, "samples a plddt_bins"],
    pae: Float[Tensor, "samples n n pae_bins"],
    pde: Float[Tensor, "samples n n pde_bins"],
    resolved: Float[Tensor, "samples a 2"],
    coordinates: Float[Tensor, "samples a 3"],
    batch: Batch,
    labels: Sequence[Labels],
    config: LossConfig,
) -> ConfidenceLoss:
    """Return the losses of the confidence logits for predicted structures.

    Args:
        plddt, pae, pde, resolved: logits of the confidence head.
        coordinates: the predicted structures, Å; no gradient flows into them.
        batch: the complex.
        labels: the true structure, permuted to match each sample.
        config: weights; with ``pae`` 0 the PAE loss is reported all the same.
    """
    parts = []
    for sample, true in enumerate(labels):
        x = coordinates[sample].detach().float()
        scores, scored = plddt_target(x, batch, true)
        errors, framed = pae_target(x, batch, true)
        deviations, known = pde_target(x, batch, true)
        parts.append(
            torch.stack(
                [
                    masked_mean(_cross_entropy(plddt[sample], _lddt_bin(scores, plddt.shape[-1])), scored),
                    masked_mean(_cross_entropy(pae[sample], _error_bin(errors, pae.shape[-1])), framed),
                    masked_mean(_cross_entropy(pde[sample], _error_bin(deviations, pde.shape[-1])), known),
                    masked_mean(_cross_entropy(resolved[sample], true.resolved.long()), batch.atom_mask),
                ]
            )
        )
    plddt_part, pae_part, pde_part, resolved_part = torch.stack(parts).mean(0).unbind()
    total = plddt_part + pde_part + resolved_part + config.pae * pae_part
    return ConfidenceLoss(total, plddt_part, pae_part, pde_part, resolved_part)


def plddt_target(x: Float[Tensor, "a 3"], batch: Batch, labels: Labels) -> tuple[Float[Tensor, "a"], Bool[Tensor, "a"]]:
    """Return lDDT of every atom, 0 to 1, and the mask of atoms that have one.

    Neighbours are CA atoms of standard amino acids within 15 Å and C1' atoms of standard nucleotides within 30 Å of the
    atom in the true structure (section 4.3.1, equation 10).
    """
    resolved = labels.resolved & batch.atom_mask
    tokens = (batch.is_standard & batch.token_mask & (batch.kind != LIGAND)).nonzero()[:, 0]
    tokens = tokens[resolved[batch.center_atom[tokens]]]
    atoms = batch.center_atom[tokens]
    true = pairwise_distances(labels.coordinates.float(), labels.coordinates[atoms].float())
    near = (true < inclusion_radius(batch.kind[tokens])) & resolved[:, None]
    near &= torch.arange(len(x), device=x.device)[:, None] != atoms
    error = (pairwise_distances(x, x[atoms]) - true).abs()
    score = torch.stack([error < threshold for threshold in LDDT_THRESHOLDS]).float().mean(0)
    count = near.sum(-1)
    return (score * near).sum(-1) / count.clamp(min=1), count > 0


def pae_target(
    x: Float[Tensor, "a 3"], batch: Batch, labels: Labels
) -> tuple[Float[Tensor, "n n"], Bool[Tensor, "n n"]]:
    """Return the error in Å of token j's centre seen from token i's frame, and where it is known (algorithm 30)."""
    resolved = labels.resolved & batch.atom_mask
    true = labels.coordinates.float()
    first, second, third = batch.frame_atoms.unbind(-1)
    local = [express_in_frames(y[batch.center_atom], bisector_frames(y[first], y[second], y[third])) for y in (x, true)]
    error = (local[0] - local[1]).square().sum(-1).sqrt()
    bend = angles(true[first], true[second], true[third])
    straight = (bend < LEAST_FRAME_ANGLE) | (bend > math.pi - LEAST_FRAME_ANGLE)
    frame = batch.frame_mask & batch.token_mask & resolved[batch.frame_atoms].all(-1) & ~straight
    centre = batch.token_mask & resolved[batch.center_atom]
    return error, frame[:, None] & centre[None, :]


def pde_target(
    x: Float[Tensor, "a 3"], batch: Batch, labels: Labels
) -> tuple[Float[Tensor, "n n"], Bool[Tensor, "n n"]]:
    """Return the error in Å of distances between representative atoms, and where it is known (section 4.3.3)."""
    atom = batch.distogram_atom
    known = labels.resolved[atom] & batch.token_mask
    error = (pairwise_distances(x[atom]) - pairwise_distances(labels.coordinates[atom].float())).abs()
    return error, known[:, None] & known[None, :]


def _lddt_bin(score: Float[Tensor, "*shape"], bins: int) -> Int[Tensor, "*shape"]:
    return (score * bins).long().clamp(max=bins - 1)


def _error_bin(error: Float[Tensor, "*shape"], bins: int) -> Int[Tensor, "*shape"]:
    return (error / ERROR_BIN).clamp(max=bins - 1).long()


def _cross_entropy(logits: Float[Tensor, "*shape bins"], target: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    flat = F.cross_entropy(logits.float().flatten(0, -2), target.flatten(), reduction="none")
    return flat.reshape(target.shape)
