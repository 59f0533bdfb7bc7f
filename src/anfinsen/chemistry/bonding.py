"""Making bonds between residues: what leaves, what the valence allows, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8

from ..common.errors import ChemistryError
from ..common.text import listed
from .component import Component
from .elements import is_metal
from .structure import BondOrder

_CARBON, _NITROGEN, _OXYGEN, _SULFUR = 6, 7, 8, 16
_SHOWN_ATOMS = 40
# Leaving oxygens of polymers, for components whose table lacks the flag.
_POLYMER_LEAVING = frozenset({"OXT", "OP3"})
_BOND_ORDERS = {int(BondOrder.SINGLE): 1, int(BondOrder.DOUBLE): 2, int(BondOrder.TRIPLE): 3}


@dataclass(frozen=True)
class AtomRef:
    """One atom: chain id, 1-based residue number in the chain (component number in a ligand), atom name."""

    chain_id: str
    residue_number: int
    atom_name: str

    def __str__(self) -> str:
        return f"atom {self.atom_name!r} of residue {self.residue_number} of chain {self.chain_id}"


@dataclass(frozen=True)
class BondSpec:
    """A bond between two atoms of a complex."""

    first: AtomRef
    second: AtomRef
    order: BondOrder = BondOrder.SINGLE


class Bonder:
    """The atoms of all residues while bonds are made between them.

    Atoms are numbered as the components list them; ``kept`` says which are still there.
    """

    def __init__(self, components: Sequence[Component], places: Sequence[tuple[str, int]]) -> None:
        sizes = [len(component) for component in components]
        self._components = components
        self._places = places
        self._index = {place: row for row, place in enumerate(places)}
        self._chains = {chain: sum(1 for other, _ in places if other == chain) for chain in dict(places)}
        self._start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._name_index = [_name_index(component) for component in components]
        self.residue = np.repeat(np.arange(len(components), dtype=np.int64), sizes)
        self.names = np.concatenate([component.atom_names for component in components])
        self.elements = np.concatenate([component.elements for component in components]).astype(np.uint8)
        self.charges = np.concatenate([component.charges for component in components])
        self._leaving = np.concatenate([component.leaving for component in components])
        self._hydrogens = np.concatenate([component.hydrogens for component in components])
        self._bonds = np.concatenate(
            [component.bonds + start for component, start in zip(components, self._start[:-1], strict=True)]
        ).reshape(-1, 2)
        self._orders = np.concatenate([component.orders for component in components]).astype(np.uint8)
        bond_counts = [len(component.bonds) for component in components]
        self._bond_start = np.concatenate([[0], np.cumsum(bond_counts)]).astype(np.int64)
        self._made: dict[tuple[int, int], BondOrder] = {}
        self._needed: set[int] = set()
        self.kept = np.ones(len(self.names), dtype=bool)
        self.notes: list[str] = []

    def atom(self, residue: int, name: str) -> int:
        """Return the number of an atom that is known to exist."""
        return int(self._start[residue]) + self._name_index[residue][name]

    def drop(self, residue: int, name: str) -> None:
        """Take an atom away."""
        self.kept[self.atom(residue, name)] = False

    def resolve(self, bond: BondSpec) -> tuple[int, int]:
        """Return the two atom numbers of a bond.

        Raises:
            ChemistryError: there is no such chain, residue or atom; or both ends are one atom.
        """
        first, second = self._find(bond.first), self._find(bond.second)
        if first == second:
            raise ChemistryError(f"A bond joins {bond.first} to itself: give two different atoms.")
        return first, second

    def reserve(self, ends: Sequence[tuple[int, int]]) -> None:
        """Keep these atoms from leaving at other bonds."""
        self._needed.update(atom for pair in ends for atom in pair)

    def bond(self, first: int, second: int, order: BondOrder = BondOrder.SINGLE) -> None:
        """Bond two atoms; what must leave does.

        Raises:
            ChemistryError: they are bonded already, one of them has left, or a valence would be exceeded.
        """
        pair = (min(first, second), max(first, second))
        same = self.residue[first] == self.residue[second]
        if pair in self._made or (
            same and (np.sort(self._bonds_of(int(self.residue[first])), axis=1) == pair).all(1).any()
        ):
            raise ChemistryError(
                f"{self._say(first, True)} and {self._say(second)} are bonded already: give each bond once."
            )
        for atom in (first, second):
            if not self.kept[atom]:
                raise ChemistryError(
                    f"{self._say(atom, True)} left when its residue was linked, so it cannot be bonded: choose one of "
                    f"{self._atom_list(int(self.residue[atom]))}."
                )
        coordination = is_metal(int(self.elements[first])) or is_metal(int(self.elements[second]))
        if coordination and order == BondOrder.SINGLE:
            # Coordination takes a lone pair: nothing leaves, no valence is used.
            self._made[pair] = BondOrder.COORDINATION
            return
        for atom, other in ((first, second), (second, first)):
            self._make_room(atom, other, _BOND_ORDERS.get(int(order), 1))
        for atom, other in ((first, second), (second, first)):
            # The nitrogen of an amide holds no charge, as that of an amine does.
            if int(self.elements[atom]) == _NITROGEN and self._is_acyl(other):
                while self.charges[atom] > 0 and self._hydrogens[atom] > 0:
                    self.charges[atom] -= 1
                    self._hydrogens[atom] -= 1
        self._made[pair] = order

    def table(self) -> tuple[Int[np.ndarray, "B 2"], UInt8[np.ndarray, "B"], Bool[np.ndarray, "B"]]:
        """Return the bonds between kept atoms, sorted: atom pairs in the numbering of kept atoms, orders, is_inter."""
        place = np.cumsum(self.kept) - 1
        made = np.array(list(self._made), dtype=np.int64).reshape(-1, 2)
        pairs = np.concatenate([np.sort(self._bonds, axis=1), made])
        orders = np.concatenate([self._orders, np.array([int(o) for o in self._made.values()], dtype=np.uint8)])
        there = self.kept[pairs].all(axis=1)
        pairs, orders = pairs[there], orders[there]
        rows = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, orders = pairs[rows], orders[rows]
        is_inter = self.residue[pairs[:, 0]] != self.residue[pairs[:, 1]]
        return place[pairs].astype(np.int64), orders, is_inter

    def _bonds_of(self, residue: int) -> np.ndarray:
        return self._bonds[self._bond_start[residue] : self._bond_start[residue + 1]]

    def _neighbours(self, atom: int) -> list[tuple[int, int]]:
        """Return (neighbour, row of the bond table) of an atom within its residue, kept atoms only."""
        residue = int(self.residue[atom])
        rows = np.flatnonzero((self._bonds_of(residue) == atom).any(axis=1)) + self._bond_start[residue]
        found = []
        for row in rows.tolist():
            a, b = self._bonds[row].tolist()
            neighbour = b if a == atom else a
            if self.kept[neighbour]:
                found.append((neighbour, row))
        return found

    def _make_room(self, atom: int, other: int, order: int) -> None:
        """Give up ``order`` bonds of ``atom``: leaving atoms first, then hydrogens, charges, and multiple bonds."""
        for _ in range(order):
            neighbours = self._neighbours(atom)
            leaving = [
                neighbour
                for neighbour, _ in neighbours
                if neighbour not in self._needed
                and len(self._neighbours(neighbour)) == 1
                and (self._leaving[neighbour] or str(self.names[neighbour]) in _POLYMER_LEAVING)
            ]
            # A linkage releases the oxygen made for it before any other leaving atom.
            leaving.sort(key=lambda n: (str(self.names[n]) not in _POLYMER_LEAVING, n))
            multiple = [(n, row) for n, row in neighbours if self._orders[row] in (BondOrder.DOUBLE, BondOrder.TRIPLE)]
            released = self._released(atom, other)
            if leaving:
                self.kept[leaving[0]] = False
            elif released is not None:
                self.kept[released] = False
                self.notes.append(
                    f"{self._say(released, True)} left for the bond between {self._say(atom)} and {self._say(other)}."
                )
            elif self._hydrogens[atom] > 0:
                self._hydrogens[atom] -= 1
            elif self.charges[atom] < 0:
                self.charges[atom] += 1
            elif multiple and self._adds(atom, neighbours):
                neighbour, row = max(multiple, key=lambda item: (self.elements[item[0]] != 6, -item[0]))
                self._orders[row] -= 1
                self._hydrogens[neighbour] += 1
                self.notes.append(
                    f"{self._say(atom, True)} had no hydrogen to give for its bond to {self._say(other)}: its multiple "
                    f"bond to {self.names[neighbour]} was lowered by one."
                )
            elif not self._neighbours(atom) and not any(atom in pair for pair in self._made):
                return  # a bare ion or atom
            else:
                raise ChemistryError(
                    f"{self._say(atom, True)} cannot be bonded to {self._say(other)}: its valence is full and it has "
                    "no leaving atom or hydrogen to give; the residue's atoms are "
                    f"{self._atom_list(int(self.residue[atom]))}."
                )

    def _is_acyl(self, atom: int) -> bool:
        """Whether an atom is a carbon with a double bond to an oxygen: acid, amide, ester, ketone."""
        return int(self.elements[atom]) == _CARBON and any(
            self._orders[row] == BondOrder.DOUBLE and int(self.elements[n]) == _OXYGEN
            for n, row in self._neighbours(atom)
        )

    def _released(self, atom: int, other: int) -> int | None:
        """Return what an acid or primary amide gives up for an amine, alcohol or thiol: its hydroxyl or amino group.

        These are isopeptide bonds (aspartate, glutamate, asparagine or glutamine to lysine), esters and thioesters.
        """
        if int(self.elements[other]) not in (_NITROGEN, _OXYGEN, _SULFUR) or not self._is_acyl(atom):
            return None
        groups = [
            n
            for n, row in self._neighbours(atom)
            if self._orders[row] == BondOrder.SINGLE
            and n not in self._needed
            and len(self._neighbours(n)) == 1
            and not any(n in pair for pair in self._made)
            and (
                (int(self.elements[n]) == _OXYGEN and self._hydrogens[n] - self.charges[n] == 1)
                or (int(self.elements[n]) == _NITROGEN and self._hydrogens[n] == 2)
            )
        ]
        return max(groups, key=lambda n: (int(self.elements[n]), -n), default=None)

    def _adds(self, atom: int, neighbours: list[tuple[int, int]]) -> bool:
        """Whether a carbon's multiple bond takes up a partner: ketone, nitrile, alkene; not an acid, ester or amide."""
        singly = [n for n, row in neighbours if self._orders[row] == BondOrder.SINGLE]
        singly += [b if a == atom else a for a, b in self._made if atom in (a, b)]
        return int(self.elements[atom]) == _CARBON and all(int(self.elements[n]) == _CARBON for n in singly)

    def _find(self, ref: AtomRef) -> int:
        if ref.chain_id not in self._chains:
            raise ChemistryError(
                f"A bond names {ref}, but there is no such chain: chains are {', '.join(self._chains)}."
            )
        residue = self._index.get((ref.chain_id, ref.residue_number))
        if residue is None:
            raise ChemistryError(f"A bond names {ref}, but that chain has residues 1 to {self._chains[ref.chain_id]}.")
        row = self._name_index[residue].get(ref.atom_name)
        if row is None or not self.kept[self._start[residue] + row]:
            raise ChemistryError(
                f"A bond names {ref}, but the residue ({self._components[residue].code}) has no such atom: it has "
                f"{self._atom_list(residue)}."
            )
        return int(self._start[residue]) + row

    def _atom_list(self, residue: int) -> str:
        rows = range(int(self._start[residue]), int(self._start[residue + 1]))
        return listed((self.names[row] for row in rows if self.kept[row]), _SHOWN_ATOMS)

    def _say(self, atom: int, capital: bool = False) -> str:
        residue = int(self.residue[atom])
        chain, number = self._places[residue]
        word = "Atom" if capital else "atom"
        return f"{word} {self.names[atom]} of residue {number} ({self._components[residue].code}) of chain {chain}"


def _name_index(component: Component) -> dict[str, int]:
    return {str(name): row for row, name in enumerate(component.atom_names)}
