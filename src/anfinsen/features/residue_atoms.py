"""Protein chains of a structure as AlphaFold 2 holds atoms: in the 14 places of each residue's type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from anfinsen.chemistry import RESIDUE_TYPES, ChainKind, Structure, atom14_names
from anfinsen.common.errors import ChemistryError

_UNKNOWN = RESIDUE_TYPES.index("UNK")
# Selenocysteine counts as cysteine, as in alignments.
# Atoms of modified residues that stand where their parents have others (as AlphaFold 2 reads structures).
_NAME_IN_PARENT = {("MSE", "SE"): "SD"}
_PARENT_OF_LETTER = {**dict(zip("ARNDCQEGHILKMFPSTWYV", RESIDUE_TYPES, strict=False)), "U": "CYS"}


@dataclass(frozen=True)
class ResidueAtoms:
    """Residues of one chain.

    Attributes:
        residue_type: row of `chemistry.RESIDUE_TYPES`; that of the parent for a modified residue.
        number: of the residue in the chain. atoms: Å, 0 where there is none. mask: which are resolved.
    """

    residue_type: Int[np.ndarray, "L"]
    number: Int[np.ndarray, "L"]
    atoms: Float[np.ndarray, "L 14 3"]
    mask: Bool[np.ndarray, "L 14"]


def residue_atoms(structure: Structure, chain: int) -> ResidueAtoms:
    """Return the atoms of chain number ``chain``; of a modified residue those that its parent has, too.

    Selenium of selenomethionine counts as methionine's sulphur.

    Raises:
        ChemistryError: the chain is not a protein.
    """
    this = structure.chains[chain]
    if this.kind is not ChainKind.PROTEIN:
        raise ChemistryError(
            f"Chain {this.chain_id} of {structure.name!r} is {this.kind.value}: AlphaFold 2 knows proteins only."
        )
    rows = np.flatnonzero(structure.residues.chain == chain)
    names = [str(structure.residues.name[row]) for row in rows]
    codes = [_code(name, letter) for name, letter in zip(names, this.sequence, strict=True)]
    places = {code: {name: place for place, name in enumerate(atom14_names(code))} for code in set(codes)}
    atoms, mask = np.zeros((len(rows), 14, 3)), np.zeros((len(rows), 14), dtype=bool)
    table = structure.atoms
    first, last = np.searchsorted(table.residue, [rows[0], rows[-1] + 1]) if len(rows) else (0, 0)
    for atom in range(int(first), int(last)):
        at = int(table.residue[atom] - rows[0])
        name = str(table.name[atom])
        place = places[codes[at]].get(_NAME_IN_PARENT.get((names[at], name), name))
        if place is not None and table.resolved[atom]:
            atoms[at, place], mask[at, place] = table.coordinates[atom], True
    return ResidueAtoms(
        np.array([RESIDUE_TYPES.index(code) for code in codes], dtype=np.int64),
        structure.residues.number[rows].astype(np.int64),
        atoms,
        mask,
    )


def _code(name: str, letter: str) -> str:
    if name in RESIDUE_TYPES:
        return name
    return _PARENT_OF_LETTER.get(letter, RESIDUE_TYPES[_UNKNOWN])
