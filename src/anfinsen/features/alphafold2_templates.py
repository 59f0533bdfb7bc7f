"""Known structures laid over protein chains, as AlphaFold 2 reads them: distances, frames and torsions."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.chemistry import RESIDUE_TYPES, atom14_names, rigid_groups
from anfinsen.geometry import ResidueTables, residue_torsions
from anfinsen.jobs import TemplateAlignment

from .complexes import Complex
from .residue_atoms import residue_atoms
from .templates import read_template

_GLYCINE, _UNKNOWN = RESIDUE_TYPES.index("GLY"), RESIDUE_TYPES.index("UNK")
_GAP = len(RESIDUE_TYPES)  # type of a residue that nothing is laid over
_BACKBONE = [0, 1, 2]  # places of N, CA and C among the 14 atoms
_CA, _CB = 1, atom14_names("ALA").index("CB")
_FIRST_CHI = 3  # of the seven torsions


@dataclass(frozen=True)
class _Laid:
    """T templates over N residues; fields are those of `AlphaFold2Batch`, without ``template_``. Float32."""

    aatype: Int[Tensor, "T N"]
    pseudo_beta: Float[Tensor, "T N 3"]
    pseudo_beta_mask: Bool[Tensor, "T N"]
    backbone: Float[Tensor, "T N 3 3"]
    backbone_mask: Bool[Tensor, "T N"]
    torsions: Float[Tensor, "T N 7 2"]
    alternative_torsions: Float[Tensor, "T N 7 2"]
    torsion_mask: Bool[Tensor, "T N 7"]


def alphafold2_templates(complex_: Complex, most: int, *, pad: bool = False) -> dict[str, Tensor]:
    """Return the ``template_*`` fields of an `AlphaFold2Batch`.

    Slot t holds template t of every chain. T is the largest number that any chain has, or ``most`` with ``pad``: the
    multimer averages over empty slots too, where the released code has alanine without atoms.

    Args:
        complex_: protein chains only. most: templates of each chain at most.

    Raises:
        StructureError: a template cannot be read, or has coordinates that are no numbers.
        AlignmentError: its indices do not fit the query or the template.
    """
    structure = complex_.structure
    given = [entry.templates[:most] for entry in complex_.alignments]
    known = max(len(templates) for templates in given)
    slots, n = most if pad else known, len(structure.residues)
    result = _empty(slots, n, 0 if pad else _GAP)
    tables = ResidueTables.of(rigid_groups().arrays(), torch.zeros((), dtype=torch.float64))
    for index, (chain, templates) in enumerate(zip(structure.chains, given, strict=True)):
        where = torch.from_numpy(np.flatnonzero(structure.residues.chain == index))
        for slot, template in enumerate(templates):
            laid = _lay_over(template, len(where), f"template {slot + 1} of chain {chain.chain_id!r}", tables)
            for each in fields(_Laid):
                getattr(result, each.name)[slot, where] = getattr(laid, each.name)[0]
    return {
        "template_mask": torch.arange(slots) < known,
        **{f"template_{each.name}": getattr(result, each.name) for each in fields(_Laid)},
    }


def _empty(slots: int, n: int, kind: int) -> _Laid:
    return _Laid(
        aatype=torch.full((slots, n), kind),
        pseudo_beta=torch.zeros(slots, n, 3),
        pseudo_beta_mask=torch.zeros(slots, n, dtype=torch.bool),
        backbone=torch.zeros(slots, n, 3, 3),
        backbone_mask=torch.zeros(slots, n, dtype=torch.bool),
        torsions=torch.zeros(slots, n, 7, 2),
        alternative_torsions=torch.zeros(slots, n, 7, 2),
        torsion_mask=torch.zeros(slots, n, 7, dtype=torch.bool),
    )


def _lay_over(template: TemplateAlignment, length: int, name: str, tables: ResidueTables) -> _Laid:
    """Return one template over one chain of ``length`` residues (T = 1)."""
    read = read_template(template, length, name)
    found = residue_atoms(read.structure, read.chain)
    kind = torch.full((length,), _GAP)
    atoms = torch.zeros(length, 14, 3, dtype=torch.float64)
    mask = torch.zeros(length, 14, dtype=torch.bool)
    query = torch.from_numpy(read.query)
    kind[query] = torch.from_numpy(found.residue_type[read.hit])
    atoms[query] = torch.from_numpy(found.atoms[read.hit])
    mask[query] = torch.from_numpy(found.mask[read.hit])
    return _features_of(kind, atoms, mask, tables)


def _features_of(
    kind: Int[Tensor, "N"], atoms: Float[Tensor, "N 14 3"], mask: Bool[Tensor, "N 14"], tables: ResidueTables
) -> _Laid:
    """Return the features of atoms laid over one chain.

    Args:
        kind: residue types, 21 where nothing is laid. atoms: Å. mask: which are known.
        tables: of the type of ``atoms``.
    """
    beta = torch.where(kind == _GLYCINE, _CA, _CB)[:, None]
    beta_mask = mask.take_along_dim(beta, dim=1)[:, 0]
    backbone_mask = mask[:, _BACKBONE].all(-1)
    row = kind.clamp(max=_UNKNOWN)
    # Neighbours in the query count as bonded, whatever lies between them in the template (released code).
    angles = residue_torsions(atoms, mask, row, torch.ones_like(kind, dtype=torch.bool), tables)
    turn = torch.ones(len(kind), 7, 1, dtype=atoms.dtype)
    turn[:, _FIRST_CHI:] = torch.where(tables.chi_symmetric[row], -1.0, 1.0)[..., None].to(atoms.dtype)
    return _Laid(
        aatype=kind[None],
        pseudo_beta=(atoms.take_along_dim(beta[..., None], dim=1)[:, 0] * beta_mask[:, None]).float()[None],
        pseudo_beta_mask=beta_mask[None],
        backbone=(atoms[:, _BACKBONE] * backbone_mask[:, None, None]).float()[None],
        backbone_mask=backbone_mask[None],
        torsions=angles.values.float()[None],
        alternative_torsions=(angles.values * turn).float()[None],
        torsion_mask=angles.mask[None],
    )
