"""From AlphaFold 2's 14 places of each residue to every atom of a structure.

What the 14 places lack is the second oxygen at the end of a chain, and atoms of modified residues: these grow from the
atoms that the network placed, with bond lengths, angles and torsions of the component's ideal conformer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.chemistry import RESIDUE_TYPES, Component, ComponentLibrary, Structure, atom14_names
from anfinsen.common.errors import JobError
from anfinsen.geometry import angles, dihedrals, place_atom

_BACKBONE = ("N", "CA", "C", "O")
# The carboxylate at the end of a chain is flat (Engh and Huber 2001).
_OXT_LENGTH, _OXT_ANGLE, _FLAT = 1.25, math.radians(117.0), math.pi


@dataclass(frozen=True)
class _Growth:
    """An atom, the three that it is placed by, and how (see `geometry.place_atom`). Å and radians."""

    atom: int
    by: tuple[int, int, int]
    length: float
    angle: float
    dihedral: float


@dataclass(frozen=True)
class AtomPlan:
    """Where every atom of a structure comes from, worked out once for all predictions.

    Attributes:
        atom, residue, place: atoms that the network places, and their place among the 14 of their residue.
        growth: the others, in the order in which they are placed.
        atoms: number of atoms.
    """

    atom: Int[np.ndarray, "k"]
    residue: Int[np.ndarray, "k"]
    place: Int[np.ndarray, "k"]
    growth: tuple[_Growth, ...]
    atoms: int

    def coordinates(self, predicted: Float[Tensor, "N 14 3"]) -> Float[np.ndarray, "A 3"]:
        """Return the coordinates of all atoms, Å, in the structure's order."""
        result = torch.zeros(self.atoms, 3, dtype=torch.float64)
        result[torch.from_numpy(self.atom)] = predicted.cpu().double()[self.residue, self.place]
        for step in self.growth:
            first, second, third = (result[index] for index in step.by)
            result[step.atom] = place_atom(first, second, third, step.length, step.angle, step.dihedral)
        return result.float().numpy()


def plan_atoms(structure: Structure, library: ComponentLibrary, kind: Int[np.ndarray, "N"]) -> AtomPlan:
    """Return the plan for ``structure``, all of whose chains are proteins.

    Args:
        structure: molecules. library: their components. kind: residue types (rows of `chemistry.RESIDUE_TYPES`).

    Raises:
        JobError: an atom cannot be placed; the message names it.
    """
    starts = np.searchsorted(structure.atoms.residue, np.arange(len(structure.residues) + 1))
    network: list[tuple[int, int, int]] = []
    growth: list[_Growth] = []
    for residue in range(len(structure.residues)):
        rows = {str(structure.atoms.name[row]): int(row) for row in range(starts[residue], starts[residue + 1])}
        parent, code = RESIDUE_TYPES[kind[residue]], str(structure.residues.name[residue])
        kept = atom14_names(parent)
        if code != parent:
            kept = _kept(library.get(code), library.get(parent), rows)
        places = {name: place for place, name in enumerate(atom14_names(parent))}
        network += [(row, residue, places[name]) for name, row in rows.items() if name in kept]
        missing = [name for name in rows if name not in kept]
        growth += _grown(structure, library.get(code), rows, missing) if missing else []
    atom, of, place = np.array(network, dtype=np.int64).T
    return AtomPlan(atom, of, place, tuple(growth), len(structure.atoms))


def _kept(component: Component, parent: Component, rows: dict[str, int]) -> tuple[str, ...]:
    """Return the atoms of a modified residue that stand where its parent's would.

    Those are the ones bonded to the backbone through atoms that the parent has too; but only the backbone itself if
    the residue is of the other hand, or closes a ring that the parent does not have.
    """
    shared = {name for name in atom14_names(parent.code) if name in rows}
    bonds, parents = _bonds(component), _bonds(parent)
    kept, last = {"CA"}, set[str]()
    while kept != last:
        last = set(kept)
        kept |= {name for name in shared if any(frozenset((name, other)) in bonds for other in last)}
    closes = any(pair <= kept and pair not in parents for pair in bonds)
    if closes or _hand(component) * _hand(parent) < 0:
        kept &= set(_BACKBONE)
    return tuple(kept)


def _bonds(component: Component) -> set[frozenset[str]]:
    return {frozenset(str(component.atom_names[end]) for end in pair) for pair in component.bonds}


def _hand(component: Component) -> float:
    """Return the signed volume of N, C and CB about CA; 0 where there is none."""
    geometry, names = _geometry(component), component.atom_names.tolist()
    if geometry is None or not {"N", "CA", "C", "CB"} <= set(names):
        return 0.0
    ca = geometry[names.index("CA")]
    arms = np.stack([geometry[names.index(name)] - ca for name in ("N", "C", "CB")])
    return float(np.linalg.det(arms))


def _geometry(component: Component) -> Float[np.ndarray, "n 3"] | None:
    for coordinates in (component.ideal, component.model):
        if coordinates is not None and np.isfinite(coordinates).all() and np.ptp(coordinates, axis=0).any():
            return coordinates
    return None


def _grown(structure: Structure, component: Component, rows: dict[str, int], missing: list[str]) -> list[_Growth]:
    """Return how the ``missing`` atoms of a residue are placed, one after another."""
    steps, left = [], list(missing)
    if "OXT" in left and {"O", "CA", "C"} <= set(rows) - set(left):
        steps.append(_Growth(rows["OXT"], (rows["O"], rows["CA"], rows["C"]), _OXT_LENGTH, _OXT_ANGLE, _FLAT))
        left.remove("OXT")
    ideal = _Ideal(component.atom_names.tolist(), _geometry(component), _bonds(component))
    while left:
        present = {name: row for name, row in rows.items() if name not in left}
        found = [(name, step) for name in left if (step := _step(structure, ideal, present, name, rows[name]))]
        if not found:
            break
        name, step = found[0]
        steps.append(step)
        left.remove(name)
    if left:
        row = rows[left[0]]
        residue = int(structure.atoms.residue[row])
        table = structure.residues
        chain = structure.chains[table.chain[residue]].chain_id
        raise JobError(
            f"Atom {left[0]} of residue {table.number[residue]} ({table.name[residue]}) of chain {chain} in job "
            f"{structure.name!r} cannot be placed by AlphaFold 2: give the unmodified residue, or choose an "
            "AlphaFold 3 model."
        )
    return steps


@dataclass(frozen=True)
class _Ideal:
    """A component's atom names, their coordinates (None where there are none) and its bonds."""

    names: list[str]
    geometry: Float[np.ndarray, "n 3"] | None
    bonds: set[frozenset[str]]

    def point(self, name: str) -> Float[Tensor, "3"]:
        """Return the coordinates of an atom."""
        assert self.geometry is not None
        return torch.tensor(self.geometry[self.names.index(name)], dtype=torch.float64)

    def neighbours(self, name: str, among: dict[str, int]) -> list[str]:
        """Return the atoms ``among`` which ``name`` has bonds to."""
        return [other for other in among if frozenset((other, name)) in self.bonds]


def _step(structure: Structure, ideal: _Ideal, present: dict[str, int], name: str, row: int) -> _Growth | None:
    """Return how to place atom ``name`` by those that are ``present``, None if they do not suffice."""
    if ideal.geometry is None or name not in ideal.names:
        return None
    for third in ideal.neighbours(name, present):
        before = _residue_before(structure, present[third]) if third == "N" else None
        for second in ideal.neighbours(third, present):
            # Another neighbour of the atom it is bonded to tells its side best; else one further along the chain.
            beside = [other for other in ideal.neighbours(third, present) if other != second]
            beside += [other for other in ideal.neighbours(second, present) if other != third]
            if not beside and before is None:
                continue
            b, c, d = (ideal.point(each) for each in (second, third, name))
            # A nitrogen within the chain is flat, whatever that of the free amino acid was.
            dihedral = _FLAT if before is not None else float(dihedrals(ideal.point(beside[0]), b, c, d))
            first = present[beside[0]] if before is None else before
            return _Growth(
                row, (first, present[second], present[third]), float((d - c).norm()), float(angles(b, c, d)), dihedral
            )
    return None


def _residue_before(structure: Structure, nitrogen: int) -> int | None:
    """Return the atom of the residue before that a backbone nitrogen is bonded to."""
    residue, bonds = structure.atoms.residue, structure.bonds.atoms
    mine = bonds[(bonds == nitrogen).any(axis=1)].ravel()
    others = mine[residue[mine] == residue[nitrogen] - 1]
    return int(others[0]) if len(others) else None
