"""Bonds between residues that a file records: struct_conn, branch links, LINK, SSBOND, CONECT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import gemmi

from .elements import is_metal
from .polymers import link_atoms
from .read_components import Named
from .read_content import Content
from .read_polymers import FileChain
from .read_residues import Address
from .structure import BondOrder, ChainKind

# CONECT carries neither kind nor length: what is longer than this (Å) is an interaction, not a bond.
_MAX_COVALENT, _MAX_COORDINATION = 2.4, 3.2
# A disulfide's length is 2.05 Å; the range allows for poor models.
_DISULFIDE = (1.7, 2.5)
_ORDERS = {
    "sing": BondOrder.SINGLE,
    "doub": BondOrder.DOUBLE,
    "trip": BondOrder.TRIPLE,
    "quad": BondOrder.QUADRUPLE,
    "arom": BondOrder.AROMATIC,
}


class Place(NamedTuple):
    """An atom: index into the file's chains, residue number in the chain, component atom name."""

    chain: int
    number: int
    atom: str


@dataclass(frozen=True)
class FileBond:
    """One bond between residues."""

    first: Place
    second: Place
    order: BondOrder


@dataclass(frozen=True)
class Recorded:
    """What a file records: bonds across residues, and the chains whose ends are linked to each other."""

    bonds: tuple[FileBond, ...]
    cyclic: frozenset[int]


def read_bonds(content: Content, chains: list[FileChain], named: Named, notes: list[str]) -> Recorded:
    """Collect bonds between residues; polymer links are left to the sequence."""
    reader = _Bonds(content, chains, named)
    for first, second, order in reader.connections():
        reader.add(first, second, order)
    for first, second, order in reader.branch_links():
        reader.add(first, second, order)
    if content.serials:
        for first, second in reader.conect():
            reader.add_close(first, second)
    if not len(content.structure.connections):
        found = [pair for pair in reader.close_cysteines() if reader.add(*pair, BondOrder.SINGLE)]
        if found:
            notes.append(
                f"{len(found)} disulfide bond{'s'[: len(found) > 1]} inferred from sulfur distances: "
                "the file records no bonds."
            )
    notes.extend(reader.remarks())
    return Recorded(tuple(reader.bonds.values()), frozenset(reader.cyclic))


class _Bonds:
    def __init__(self, content: Content, chains: list[FileChain], named: Named) -> None:
        self.library = named.library
        self.content = content
        self.chains = chains
        self.places: dict[tuple[Address, str], Place] = {}
        self.atoms: dict[Place, gemmi.Atom] = {}
        self.serials: dict[int, Place] = {}
        for index, chain in enumerate(chains):
            for number, site in enumerate(chain.sites, start=1):
                for atom, name in zip(site.atoms, named.names.get(id(site), ()), strict=False):
                    if name and site.address is not None:
                        place = Place(index, number, name)
                        self.places[site.address, atom.name] = place
                        self.atoms[place] = atom
                        self.serials[atom.serial] = place
        self.bonds: dict[frozenset[Place], FileBond] = {}
        self.cyclic: set[int] = set()
        self.lost = self.symmetric = self.far = 0

    def add(self, first: Place, second: Place, order: BondOrder) -> bool:
        """Record a bond unless it is known, within a residue, or a polymer link."""
        a, b = self.atoms[first], self.atoms[second]
        # Two alternatives take turns at one place.
        if first[:2] == second[:2] or (a.has_altloc() and b.has_altloc() and a.altloc != b.altloc):
            return False
        key = frozenset((first, second))
        if key in self.bonds or self._is_polymer_link(first, second) or self._is_polymer_link(second, first):
            return False
        self.bonds[key] = FileBond(first, second, order)
        return True

    def add_close(self, first: Place, second: Place) -> None:
        """Record a CONECT bond if its atoms are near enough for one."""
        a, b = self.atoms[first], self.atoms[second]
        metal = is_metal(a.element.atomic_number) or is_metal(b.element.atomic_number)
        if a.pos.dist(b.pos) <= (_MAX_COORDINATION if metal else _MAX_COVALENT):
            self.add(first, second, BondOrder.COORDINATION if metal else BondOrder.SINGLE)
        elif first[:2] != second[:2] and frozenset((first, second)) not in self.bonds:
            self.far += 1

    def _is_polymer_link(self, first: Place, second: Place) -> bool:
        chain = self.chains[first.chain]
        if first.chain != second.chain or chain.kind is ChainKind.LIGAND:
            return False
        tail, head = (link_atoms(self.library.get(self._code(place)), chain.kind) for place in (first, second))
        if (first.atom, second.atom) != (tail[1], head[0]):
            return False
        if second.number == first.number + 1:
            return True
        if second.number == 1 and first.number == len(chain.sites) > 2:
            self.cyclic.add(first.chain)
            return True
        return False

    def connections(self) -> Iterator[tuple[Place, Place, BondOrder]]:
        """struct_conn, LINK and SSBOND, as gemmi reads them; hydrogen bonds and salt bridges are no bonds."""
        orders = self._orders()
        for link in self.content.structure.connections:
            if link.type == gemmi.ConnectionType.Hydrog:
                continue
            if link.asu == gemmi.Asu.Different:
                self.symmetric += 1
                continue
            first, second = self._find(link.partner1), self._find(link.partner2)
            if first is None or second is None:
                self.lost += first is not second
                continue
            order = orders.get(link.name, BondOrder.UNKNOWN)
            coordination = link.type == gemmi.ConnectionType.MetalC or (
                order is BondOrder.UNKNOWN
                and any(is_metal(self.atoms[place].element.atomic_number) for place in (first, second))
            )
            if coordination:
                order = BondOrder.COORDINATION
            yield first, second, order or BondOrder.SINGLE

    def _orders(self) -> dict[str, BondOrder]:
        if self.content.block is None:
            return {}
        rows = self.content.block.find("_struct_conn.", ["id", "pdbx_value_order"])
        return {row.str(0): _ORDERS.get(row.str(1).lower(), BondOrder.UNKNOWN) for row in rows}

    def _find(self, partner: gemmi.AtomAddress) -> Place | None:
        seqid = partner.res_id.seqid
        address = (partner.chain_name, seqid.num, seqid.icode.strip(), partner.res_id.name)
        return self.places.get((address, partner.atom_name))

    def branch_links(self) -> Iterator[tuple[Place, Place, BondOrder]]:
        """Linkages within branched entities, for each chain of the entity."""
        if self.content.block is None:
            return
        tags = ["entity_id", "entity_branch_list_num_1", "comp_id_1", "atom_id_1"]
        tags += ["entity_branch_list_num_2", "comp_id_2", "atom_id_2", "?value_order"]
        for row in self.content.block.find("_pdbx_entity_branch_link.", tags):
            order = _ORDERS.get(row.str(7).lower(), BondOrder.SINGLE) if row.has(7) else BondOrder.SINGLE
            ends = [(gemmi.cif.as_int(row[k], 0), row.str(k + 1), row.str(k + 2)) for k in (1, 4)]
            for index, chain in enumerate(self.chains):
                if chain.entity and chain.entity == row.str(0):
                    places = [
                        Place(index, number, atom)
                        for number, code, atom in ends
                        if 1 <= number <= len(chain.sites)
                        and chain.sites[number - 1].name == code
                        and Place(index, number, atom) in self.atoms
                    ]
                    if len(places) == 2:
                        yield places[0], places[1], order
                    else:
                        self.lost += 1

    def conect(self) -> Iterator[tuple[Place, Place]]:
        """CONECT records between atoms that were kept."""
        for serial, partners in self.content.structure.conect_map.items():
            for partner in partners:
                if serial in self.serials and partner in self.serials:
                    yield self.serials[serial], self.serials[partner]

    def close_cysteines(self) -> Iterator[tuple[Place, Place]]:
        """Pairs of cysteine sulfurs at bonding distance, each used once, nearest first."""
        sulfurs = [place for place in self.atoms if place.atom == "SG" and self._code(place) == "CYS"]
        pairs = []
        for index, first in enumerate(sulfurs):
            for second in sulfurs[:index]:
                distance = self.atoms[first].pos.dist(self.atoms[second].pos)
                if _DISULFIDE[0] <= distance <= _DISULFIDE[1]:
                    pairs.append((distance, second, first))
        used = {place for bond in self.bonds.values() for place in (bond.first, bond.second)}
        for _, first, second in sorted(pairs):
            if first not in used and second not in used:
                used |= {first, second}
                yield first, second

    def _code(self, place: Place) -> str:
        return self.chains[place.chain].sites[place.number - 1].name

    def remarks(self) -> Iterator[str]:
        """What was left out."""
        if self.lost:
            yield f"{_bonds(self.lost)} to atoms that were dropped or are not modelled left out."
        if self.symmetric:
            yield f"{_bonds(self.symmetric)} to symmetry copies left out."
        if self.far:
            yield f"{self.far} CONECT record{'s'[: self.far > 1]} between distant atoms of two residues left out."


def _bonds(number: int) -> str:
    return f"{number} recorded bond{'s'[: number > 1]}"
