"""Torsions and rigid-group frames of residues, read off their coordinates. Å; torsions are (sine, cosine) pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .all_atom import ResidueTables
from .frames import EPSILON, Frames, gram_schmidt_frames

_N, _CA, _C, _O = range(4)  # places among the 14 atoms, the same for every residue type
_LEAST_AREA = 1e-3  # Å², of a parallelogram: less is a line, and its frame noise


@dataclass(frozen=True)
class ResidueTorsions:
    """Pre-omega, phi, psi and chi1 to chi4 of residues.

    Attributes:
        values: (sine, cosine), unit length; 0 where not known.
        mask: whether all four atoms are known, and not on a line.
    """

    values: Float[Tensor, "*batch 7 2"]
    mask: Bool[Tensor, "*batch 7"]


def residue_torsions(
    atoms: Float[Tensor, "*batch n 14 3"],
    mask: Bool[Tensor, "*batch n 14"],
    residue_type: Int[Tensor, "*batch n"],
    follows: Bool[Tensor, "*batch n"],
    tables: ResidueTables,
) -> ResidueTorsions:
    """Return the seven torsions of each residue, [*batch, n]; finite gradients everywhere.

    Psi is that of the carbonyl oxygen turned by half a turn (the next residue's N is not asked for), so that building
    with it puts the oxygen where it was.

    Args:
        atoms: Å, in the 14 places of the type.
        mask: which are known.
        residue_type: row of the tables.
        follows: whether residue i is bonded to residue i - 1; the first one's entry is not used.
        tables: of the same type and device.

    Source: AlphaFold 2 supplement, table 2; released code, ``atom37_to_torsion_angles``.
    """
    before, known_before = atoms.roll(1, dims=-3), mask.roll(1, dims=-2)
    linked = follows.clone()
    linked[..., 0] = False
    quartets = [
        torch.stack([before[..., _CA, :], before[..., _C, :], atoms[..., _N, :], atoms[..., _CA, :]], dim=-2),
        torch.stack([before[..., _C, :], atoms[..., _N, :], atoms[..., _CA, :], atoms[..., _C, :]], dim=-2),
        atoms[..., [_N, _CA, _C, _O], :],
    ]
    known = [
        linked & known_before[..., [_CA, _C]].all(-1) & mask[..., [_N, _CA]].all(-1),
        linked & known_before[..., _C] & mask[..., [_N, _CA, _C]].all(-1),
        mask[..., [_N, _CA, _C, _O]].all(-1),
    ]
    chi_atoms, chi_mask = tables.chi_atoms[residue_type], tables.chi_mask[residue_type]
    for chi in range(chi_atoms.shape[-2]):
        place = chi_atoms[..., chi, :]
        quartets.append(atoms.take_along_dim(place.unsqueeze(-1), dim=-2))
        known.append(chi_mask[..., chi] & mask.take_along_dim(place, dim=-1).all(-1))
    values, defined = _sine_cosine(torch.stack(quartets, dim=-3))
    turn = values.new_tensor([1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0]).unsqueeze(-1)
    complete = torch.stack(known, dim=-1) & defined
    return ResidueTorsions(torch.where(complete.unsqueeze(-1), values * turn, torch.zeros_like(values)), complete)


def residue_frames(
    atoms: Float[Tensor, "*batch 14 3"],
    mask: Bool[Tensor, "*batch 14"],
    residue_type: Int[Tensor, "*batch"],
    tables: ResidueTables,
) -> tuple[Frames, Bool[Tensor, "*batch 8"]]:
    """Return the 8 frames of each residue, [*batch, 8], and which of them its atoms define.

    The others (pre-omega, phi, chis the type lacks, unknown atoms or three on a line) are the identity at 0.

    Args:
        atoms: Å, in the 14 places of the type.
        mask: which are known.
        residue_type: row of the tables.
        tables: of the same type and device.

    Source: AlphaFold 2 supplement, algorithm 21; released code, ``atom37_to_frames``.
    """
    place = tables.group_atoms[residue_type]
    points = atoms.unsqueeze(-3).take_along_dim(place.unsqueeze(-1), dim=-2)
    aside, origin, axis = points.unbind(-2)
    # The backbone's first axis points to its third atom, the others' away from it.
    away = torch.ones(place.shape[-2], dtype=torch.bool, device=atoms.device)
    away[0] = False
    third = torch.where(away.unsqueeze(-1), 2 * origin - axis, axis)
    across = torch.linalg.cross(third - origin, aside - origin).detach()
    complete = mask.unsqueeze(-2).take_along_dim(place, dim=-1).all(-1) & tables.group_mask[residue_type]
    complete &= across.norm(dim=-1) > _LEAST_AREA
    # Points that define a frame in place of those that do not, so that no gradient is lost in them.
    spare = torch.eye(3, dtype=atoms.dtype, device=atoms.device)
    first, zero, second = spare[1], torch.zeros_like(spare[0]), spare[0]
    keep = complete.unsqueeze(-1)
    frames = gram_schmidt_frames(
        torch.where(keep, aside, first), torch.where(keep, origin, zero), torch.where(keep, third, second)
    )
    return frames, complete


def _sine_cosine(points: Float[Tensor, "*batch 4 3"]) -> tuple[Float[Tensor, "*batch 2"], Bool[Tensor, "*batch"]]:
    """Sine and cosine of the dihedral, and whether it is defined; 0 where it is not."""
    a, b, c, d = points.unbind(-2)
    axis = c - b
    u, v = torch.linalg.cross(b - a, axis), torch.linalg.cross(axis, d - c)
    defined = (u.detach().norm(dim=-1) > _LEAST_AREA) & (v.detach().norm(dim=-1) > _LEAST_AREA)
    safe = torch.where(defined.unsqueeze(-1), axis, torch.ones_like(axis))
    y = (torch.linalg.cross(u, v) * safe).sum(-1) / safe.norm(dim=-1)
    pair = torch.stack([y, (u * v).sum(-1)], dim=-1)
    pair = torch.where(defined.unsqueeze(-1), pair, torch.ones_like(pair))
    return pair / pair.norm(dim=-1, keepdim=True).clamp(min=EPSILON), defined
