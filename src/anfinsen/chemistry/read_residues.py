"""Residues of a parsed file: one conformer of each, what it is a monomer of, and what it is linked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gemmi

from .elements import is_metal
from .structure import ChainKind

# Longer than any covalent backbone bond in any model; two residues further apart are not linked.
_MAX_LINK = 2.6
_MAX_COVALENT = 2.1

# A residue as LINK, CONECT and struct_conn name it: depositors' chain, number, insertion code, component.
Address = tuple[str, int | None, str, str]


@dataclass(frozen=True)
class Site:
    """One residue of the file's sequence: ``atoms`` are its heavy atoms, one conformer, none where not modelled."""

    name: str
    author_number: str
    insertion_code: str
    address: Address | None
    atoms: tuple[gemmi.Atom, ...]


def choose_conformer(atoms: list[gemmi.Atom]) -> tuple[list[gemmi.Atom], list[str]]:
    """Keep one conformer of a residue: the highest mean occupancy, the first letter among equals.

    Returns the atoms kept, in file order, and the letters of all conformers, the chosen one first (empty where the
    residue has one conformer). Atoms without a letter belong to every conformer.
    """
    letters = sorted({atom.altloc for atom in atoms if atom.has_altloc()})
    if not letters:
        return atoms, []
    plain = {atom.name for atom in atoms if not atom.has_altloc()}
    # Some files leave the first alternative without a letter.
    shared = {atom.name for atom in atoms if atom.has_altloc()}
    members = {letter: [atom for atom in atoms if atom.altloc == letter] for letter in letters}
    if shared <= plain:
        members["\0"] = [atom for atom in atoms if not atom.has_altloc() and atom.name in shared]
    best: str = min(members, key=lambda letter: (-round(mean_occupancy(members[letter]), 4), letter))
    if best == "\0":
        kept = [atom for atom in atoms if not atom.has_altloc()]
    else:
        own = {atom.name for atom in members[best]}
        kept = [atom for atom in atoms if atom.altloc == best or (not atom.has_altloc() and atom.name not in own)]
    names = [best, *(letter for letter in members if letter != best)]
    return kept, [name if name != "\0" else "blank" for name in names]


def mean_occupancy(atoms: Sequence[gemmi.Atom]) -> float:
    """Mean occupancy of the heavy atoms, 0 where there is none."""
    heavy = [atom.occ for atom in atoms if not atom.is_hydrogen()]
    return sum(heavy) / len(heavy) if heavy else 0.0


def linked(first: Site, second: Site, number: int | None, following: int | None) -> bool:
    """Whether two residues, neighbours among the atoms, are neighbours in the chain."""
    before = {atom.name.replace("*", "'"): atom.pos for atom in first.atoms}
    after = {atom.name.replace("*", "'"): atom.pos for atom in second.atoms}
    for end, start in (("C", "N"), ("O3'", "P")):
        if end in before and start in after:
            return bool(before[end].dist(after[start]) <= _MAX_LINK)
    return number is None or following is None or following - number in (0, 1)


def monomer_kind(name: str) -> ChainKind | None:
    """Which polymer a well-known component is a monomer of."""
    info = gemmi.find_tabulated_residue(name)
    if info.is_amino_acid():
        return ChainKind.PROTEIN
    if info.kind == gemmi.ResidueKind.DNA:
        return ChainKind.DNA
    return ChainKind.RNA if info.is_nucleic_acid() else None


def is_monomer(name: str) -> bool:
    """Whether a well-known component is an amino acid or a nucleotide."""
    return monomer_kind(name) is not None


def is_stray(residue: gemmi.Residue, neighbours: Sequence[gemmi.Residue]) -> bool:
    """Whether a HETATM residue is no monomer and is not covalently linked to its neighbours among the atoms."""
    if residue.het_flag != "H" or is_monomer(residue.name):
        return False
    if len(residue) == 1 and is_metal(residue[0].element.atomic_number):
        return True
    near = [other for other in neighbours if len(other) > 1 or not is_metal(other[0].element.atomic_number)]
    return not any(a.pos.dist(b.pos) <= _MAX_COVALENT for other in near for a in residue for b in other)


def without_strays(residues: list[gemmi.Residue]) -> tuple[list[gemmi.Residue], list[gemmi.Residue]]:
    """Set aside ligands that a file without TER and sequence records lists among the residues of a polymer."""
    kept: list[gemmi.Residue] = []
    strays: list[gemmi.Residue] = []
    for index, residue in enumerate(residues):
        near = residues[max(0, index - 1) : index] + residues[index + 1 : index + 2]
        (strays if is_stray(residue, near) else kept).append(residue)
    return (kept, strays) if kept else (strays, [])
