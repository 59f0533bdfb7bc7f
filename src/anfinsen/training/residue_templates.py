"""Everything a `Batch` says about the atoms of a standard amino acid, computed once per residue type.

Featurising a chain of standard residues repeats the same twenty blocks of atoms. `ResidueTemplates` cuts these blocks
out of batches that the general path (`complex_from_structure` and `featurise`) made, so that both paths agree by
construction; the fast path of the chain data set then only copies rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.chemistry import ChainKind, ChainSpec, ComponentLibrary, assemble
from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.features import Complex, FeatureConfig, complex_from_structure, featurise, frame_rotations
from anfinsen.nn.batch import Batch

_ATOM_FIELDS = ("ref_pos", "ref_mask", "ref_element", "ref_charge", "ref_atom_name_chars")
_N_TYPES = len(AMINO_ACIDS)


@dataclass(frozen=True)
class ResidueTemplates:
    """Atom blocks of 2 x 20 residues: type t inside a chain at t, at its C-terminal end at t + 20.

    Attributes:
        start, count: first row and number of rows of each block in the atom tables below.
        atoms: the per-atom fields of `Batch`, blocks one after another.
        center, distogram, frame: per block, offsets of those atoms in it.
        is_backbone: rows that are N, CA, C or O, as 0..3; 4 for CB; -1 for other atoms.
        local: Å; each atom in the frame of its residue's N, CA and C (see `frame_rotations`), CA at the origin.
    """

    start: Int[np.ndarray, "T"]
    count: Int[np.ndarray, "T"]
    atoms: dict[str, Tensor]
    center: Int[np.ndarray, "T"]
    distogram: Int[np.ndarray, "T"]
    frame: Int[np.ndarray, "T 3"]
    is_backbone: Int[np.ndarray, "M"]
    local: Float[np.ndarray, "M 3"]

    def blocks(self, restype: Int[np.ndarray, "n"], is_end: np.ndarray) -> Int[np.ndarray, "n"]:
        """Return the block of each residue from its type (0..19) and whether it ends the chain."""
        return np.asarray(restype + _N_TYPES * is_end)


def residue_templates(library: ComponentLibrary, config: FeatureConfig, conformer_seed: int) -> ResidueTemplates:
    """Build the templates from the general path's own features of twenty short peptides."""
    slices = []
    for is_end in (False, True):
        for code in AMINO_ACIDS:
            complex_ = _peptide(code, library, conformer_seed)
            slices.append(_slice(complex_, featurise(complex_, config, conformer_seed), token=2 if is_end else 1))
    counts = np.array([len(piece.names) for piece in slices])
    names = [name for piece in slices for name in piece.names]
    roles = {"N": 0, "CA": 1, "C": 2, "O": 3, "CB": 4}
    return ResidueTemplates(
        start=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        count=counts,
        atoms={field: torch.cat([piece.fields[field] for piece in slices]) for field in _ATOM_FIELDS},
        center=np.array([piece.center for piece in slices]),
        distogram=np.array([piece.distogram for piece in slices]),
        frame=np.stack([piece.frame for piece in slices]),
        is_backbone=np.array([roles.get(name, -1) for name in names]),
        local=np.concatenate([_local(piece) for piece in slices]),
    )


@dataclass(frozen=True)
class _Slice:
    names: list[str]
    fields: dict[str, Tensor]
    center: int
    distogram: int
    frame: Int[np.ndarray, "3"]


def _peptide(code: str, library: ComponentLibrary, seed: int) -> Complex:
    chain = ChainSpec("A", 1, 1, ChainKind.PROTEIN, (code,) * 3)
    return complex_from_structure(assemble(f"peptide of {code}", (chain,), (), library), library, {}, seed)


def _slice(complex_: Complex, batch: Batch, token: int) -> _Slice:
    rows = torch.nonzero(batch.atom_to_token == token).squeeze(1)
    first = int(rows[0])
    return _Slice(
        [str(complex_.structure.atoms.name[row]) for row in rows.tolist()],
        {field: getattr(batch, field)[rows] for field in _ATOM_FIELDS},
        int(batch.center_atom[token]) - first,
        int(batch.distogram_atom[token]) - first,
        batch.frame_atoms[token].numpy() - first,
    )


def _local(piece: _Slice) -> Float[np.ndarray, "m 3"]:
    position = piece.fields["ref_pos"].numpy().astype(np.float64)
    n, ca, c = (position[piece.names.index(name)] for name in ("N", "CA", "C"))
    return np.asarray((position - ca) @ frame_rotations(n, ca, c))
