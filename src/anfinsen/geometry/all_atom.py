"""All atoms of amino acids from backbone frames and torsions. Å; torsions are (sine, cosine) pairs.

Residues have up to 14 atoms in 8 rigid groups; which, and where in the group, `ResidueTables` says (made from
`chemistry.rigid_groups`: this room knows no molecules). Everything is differentiable, in float32 and float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from .frames import Frames, compose_frames


@dataclass(frozen=True)
class ResidueTables:
    """`chemistry.RigidGroups` as tensors; see there for what the fields mean. T residue types."""

    atom_mask: Bool[Tensor, "T 14"]
    atom_group: Int[Tensor, "T 14"]
    atom_position: Float[Tensor, "T 14 3"]
    atom_radius: Float[Tensor, "T 14"]
    atom37: Int[Tensor, "T 14"]
    atom_partner: Int[Tensor, "T 14"]
    group_mask: Bool[Tensor, "T 8"]
    group_rotation: Float[Tensor, "T 8 3 3"]
    group_origin: Float[Tensor, "T 8 3"]
    group_atoms: Int[Tensor, "T 8 3"]
    chi_atoms: Int[Tensor, "T 4 4"]
    chi_mask: Bool[Tensor, "T 4"]
    chi_symmetric: Bool[Tensor, "T 4"]

    @staticmethod
    def of(arrays: Mapping[str, NDArray[np.generic]], like: Tensor) -> ResidueTables:
        """Return the tables on the device of ``like``, lengths in its (floating) type.

        Args:
            arrays: by field name: ``chemistry.rigid_groups().arrays()``.
            like: any floating tensor.

        Raises:
            KeyError: a table is missing.
        """
        made = {field.name: torch.tensor(arrays[field.name]) for field in fields(ResidueTables)}
        return ResidueTables(**made).to(like)

    def to(self, like: Tensor) -> ResidueTables:
        """Return the tables on the device of ``like``, lengths in its (floating) type."""
        moved = {name: table.to(like.device) for name, table in vars(self).items()}
        return ResidueTables(**{k: v.to(like.dtype) if v.is_floating_point() else v for k, v in moved.items()})


def torsion_frames(
    backbone: Frames, torsions: Float[Tensor, "*batch 7 2"], residue_type: Int[Tensor, "*batch"], tables: ResidueTables
) -> Frames:
    """Return the 8 frames of each residue, [*batch, 8].

    Groups that a residue type lacks get a proper frame all the same, without meaning (``tables.group_mask``).

    Args:
        backbone: N-CA-C frames, [*batch].
        torsions: (sine, cosine) of pre-omega, phi, psi and chi1 to chi4, unit length.
        residue_type: row of the tables.
        tables: of the same type and device.

    Source: AlphaFold 2 supplement, algorithm 24, lines 1-10.
    """
    fixed = torch.tensor([0.0, 1.0], dtype=torsions.dtype, device=torsions.device).expand(*torsions.shape[:-2], 1, 2)
    turned = compose_frames(
        Frames(tables.group_rotation[residue_type], tables.group_origin[residue_type]),
        _turns(torch.cat([fixed, torsions], dim=-2)),
    )
    groups = [Frames(turned.rotation[..., k, :, :], turned.origin[..., k, :]) for k in range(8)]
    for chi in range(5, 8):
        groups[chi] = compose_frames(groups[chi - 1], groups[chi])
    local = Frames(torch.stack([g.rotation for g in groups], -3), torch.stack([g.origin for g in groups], -2))
    return compose_frames(Frames(backbone.rotation.unsqueeze(-3), backbone.origin.unsqueeze(-2)), local)


def atom14_positions(
    frames: Frames, residue_type: Int[Tensor, "*batch"], tables: ResidueTables
) -> Float[Tensor, "*batch 14 3"]:
    """Return every atom, Å; 0 where the type has no such atom.

    Args:
        frames: [*batch, 8].
        residue_type: row of the tables.
        tables: of the same type and device.

    Source: AlphaFold 2 supplement, algorithm 24, line 11.
    """
    group = tables.atom_group[residue_type]
    rotation = frames.rotation.take_along_dim(group[..., None, None], dim=-3)
    origin = frames.origin.take_along_dim(group[..., None], dim=-2)
    # No matrix product: autocast would round coordinates.
    placed = (rotation * tables.atom_position[residue_type].unsqueeze(-2)).sum(-1) + origin
    return placed * tables.atom_mask[residue_type].unsqueeze(-1)


def atom14_to_atom37(
    values: Float[Tensor, "*batch 14 c"], residue_type: Int[Tensor, "*batch"], tables: ResidueTables
) -> Float[Tensor, "*batch 37 c"]:
    """Return the values of each atom (coordinates, say) at the 37 places of all atom names; 0 elsewhere."""
    place = tables.atom37[residue_type].unsqueeze(-1).expand(values.shape)
    known = values * tables.atom_mask[residue_type].unsqueeze(-1)
    return values.new_zeros((*values.shape[:-2], 37, values.shape[-1])).scatter_add(-2, place, known)


def atom37_to_atom14(
    values: Float[Tensor, "*batch 37 c"], residue_type: Int[Tensor, "*batch"], tables: ResidueTables
) -> Float[Tensor, "*batch 14 c"]:
    """Return the values at the 14 places of the residue type; 0 where it has no such atom."""
    taken = values.take_along_dim(tables.atom37[residue_type].unsqueeze(-1), dim=-2)
    return taken * tables.atom_mask[residue_type].unsqueeze(-1)


def _turns(torsions: Float[Tensor, "*batch 2"]) -> Frames:
    """Rotations about the first axis (algorithm 25)."""
    sine, cosine = torsions.unbind(-1)
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    rows = (
        torch.stack([one, zero, zero], dim=-1),
        torch.stack([zero, cosine, -sine], dim=-1),
        torch.stack([zero, sine, cosine], dim=-1),
    )
    return Frames(torch.stack(rows, dim=-2), torch.stack([zero, zero, zero], dim=-1))
