"""`Structure`: the one description of molecules in this package, with or without coordinates.

A structure read from a file, a complex assembled from a job (nothing resolved yet) and a prediction are all
`Structure` objects. Tables are columnar numpy arrays; atoms of a residue and residues of a chain are contiguous
and in order. Only heavy atoms are held. Coordinates are in ångström.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray


class ChainKind(StrEnum):
    """What a chain is made of. Ions, glycans and every other non-polymer are ligands."""

    PROTEIN = "protein"
    DNA = "dna"
    RNA = "rna"
    LIGAND = "ligand"

    @property
    def is_polymer(self) -> bool:
        """Whether residues of such a chain are linked by polymer bonds."""
        return self is not ChainKind.LIGAND


class BondOrder(IntEnum):
    """Bond orders as mmCIF names them (``value_order``); metal coordination is kept apart."""

    UNKNOWN = 0
    SINGLE = 1
    DOUBLE = 2
    TRIPLE = 3
    QUADRUPLE = 4
    AROMATIC = 5
    COORDINATION = 6


@dataclass(frozen=True)
class Chain:
    """One copy of one entity.

    Attributes:
        chain_id: label (mmCIF ``label_asym_id``), unique in the structure.
        entity_id: 1-based; chains with the same entity have the same sequence of components.
        symmetry_id: 1-based copy number within the entity.
        kind: polymer type, or ligand.
        author_id: the depositors' chain name; equals ``chain_id`` where none is known.
        sequence: one letter per residue (modified residues as their parent, unknown as X or N); empty for ligands.
        cyclic: whether the last residue of a polymer is bonded to the first as its successor.
    """

    chain_id: str
    entity_id: int
    symmetry_id: int
    kind: ChainKind
    author_id: str = ""
    sequence: str = ""
    cyclic: bool = False


@dataclass(frozen=True)
class Residues:
    """Residue table with R rows.

    Attributes:
        chain: index into ``Structure.chains``, ascending.
        name: chemical component code.
        number: 1-based position in the chain (``label_seq_id``; for ligands the component's position).
        author_number: depositors' number as text ("" where unknown); insertion_code likewise.
    """

    chain: Int[np.ndarray, "R"]
    name: NDArray[np.character]
    number: Int[np.ndarray, "R"]
    author_number: NDArray[np.character]
    insertion_code: NDArray[np.character]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class AtomTable:
    """Atom table with A rows.

    Attributes:
        residue: index into the residue table, ascending.
        name: atom name, unique within the residue.
        element: atomic number (0 = unknown, CCD's ``X``).
        charge: formal charge.
        coordinates: Å; 0 where not resolved.
        resolved: whether the coordinates are known.
        b_factor: Å² (or pLDDT, 0-100, in a prediction).
        occupancy: 0 to 1.
    """

    residue: Int[np.ndarray, "A"]
    name: NDArray[np.character]
    element: UInt8[np.ndarray, "A"]
    charge: Int[np.ndarray, "A"]
    coordinates: Float[np.ndarray, "A 3"]
    resolved: Bool[np.ndarray, "A"]
    b_factor: Float[np.ndarray, "A"]
    occupancy: Float[np.ndarray, "A"]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class Bonds:
    """Bond table with B rows: every covalent and coordination bond, within residues, along polymers and across.

    Attributes:
        atoms: two atom indices per bond, smaller first; no duplicates.
        order: `BondOrder` values.
        is_inter: whether the bond joins two residues.
    """

    atoms: Int[np.ndarray, "B 2"]
    order: UInt8[np.ndarray, "B"]
    is_inter: Bool[np.ndarray, "B"]

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class Structure:
    """Chains, residues, atoms and bonds of one model.

    Attributes:
        name: what the structure is called (entry id, job name).
        notes: what a reader dropped, chose or corrected, one sentence each: nothing is guessed silently.
        release_date: ISO date, or "" where unknown. resolution: Å, or None.
    """

    name: str
    chains: tuple[Chain, ...]
    residues: Residues
    atoms: AtomTable
    bonds: Bonds
    notes: tuple[str, ...] = ()
    release_date: str = ""
    resolution: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def atom_chain(self) -> Int[np.ndarray, "A"]:
        """Index into ``chains`` for every atom."""
        chain: Int[np.ndarray, "A"] = self.residues.chain[self.atoms.residue]
        return chain
