"""One chemical component: atoms, bonds and ideal geometry, as the Chemical Component Dictionary describes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray


@dataclass(frozen=True)
class Component:
    """A residue, base, ligand or ion; heavy atoms only.

    Attributes:
        code: component code ("ALA", "HEM", or one made for a SMILES or SDF ligand).
        name: chemical name. type: CCD type in capitals ("L-PEPTIDE LINKING", "NON-POLYMER").
        one_letter: one-letter code, "" where none. parent: code of the standard parent residue, "" where none.
        atom_names, elements (atomic numbers), charges: n atoms, CCD order.
        leaving: atoms that leave when the component is linked. stereo: "R", "S" or "N" per atom.
        bonds: b pairs of atom indices; orders: `BondOrder`; bond_stereo: "E", "Z" or "N".
        ideal, model: CCD coordinates in Å, None where missing.
        smiles, molblock: what the component was made from, "" for CCD components.
        hydrogens: n numbers of attached hydrogens (dropped from the tables), so that RDKit can rebuild valence.
    """

    code: str
    name: str
    type: str
    one_letter: str
    parent: str
    atom_names: NDArray[np.character]
    elements: UInt8[np.ndarray, "n"]
    charges: Int[np.ndarray, "n"]
    leaving: Bool[np.ndarray, "n"]
    stereo: NDArray[np.character]
    bonds: Int[np.ndarray, "b 2"]
    orders: UInt8[np.ndarray, "b"]
    bond_stereo: NDArray[np.character]
    ideal: Float[np.ndarray, "n 3"] | None
    model: Float[np.ndarray, "n 3"] | None
    hydrogens: Int[np.ndarray, "n"]
    smiles: str = ""
    molblock: str = ""

    def __len__(self) -> int:
        return len(self.atom_names)
