"""From a list of chains and bonds to a `Structure` without coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.errors import ChemistryError
from .bonding import AtomRef, Bonder, BondSpec
from .ccd import ComponentLibrary
from .component import Component
from .polymers import UNKNOWN_AMINO_ACID_ATOMS, chain_sequence, link_atoms
from .structure import AtomTable, Bonds, Chain, ChainKind, Residues, Structure

__all__ = ["AtomRef", "BondSpec", "ChainSpec", "assemble"]


@dataclass(frozen=True)
class ChainSpec:
    """One chain to assemble.

    Attributes:
        chain_id, entity_id, symmetry_id, kind, cyclic: as in `Chain`.
        components: component codes, one per residue of a polymer; the linked parts of a ligand.
    """

    chain_id: str
    entity_id: int
    symmetry_id: int
    kind: ChainKind
    components: tuple[str, ...]
    cyclic: bool = False


def assemble(name: str, chains: Sequence[ChainSpec], bonds: Sequence[BondSpec], library: ComponentLibrary) -> Structure:
    """Return the structure of ``chains`` and ``bonds``: every heavy atom and bond, nothing resolved.

    Residues of polymers are linked; at each link and each of ``bonds`` the atoms leave that the CCD marks so.
    As in AlphaFold 3's released code, a protein keeps OXT at its last residue and a nucleic acid OP3 at its first.
    Where an atom has neither a leaving atom nor a hydrogen to give for a bond, a multiple bond beside it is lowered
    (as when a thiol adds to a nitrile or ketone), and the structure's notes say so.

    Raises:
        ChemistryError: an unknown component; a bond to an atom that does not exist, from an atom to itself, given
            twice, or beyond what the atom's valence allows; the message names chain, residue and atom.
    """
    _check_chains(name, chains)
    components = [[_usable(library, code, chain) for code in chain.components] for chain in chains]
    bonder = Bonder(
        [component for row in components for component in row],
        [(chain.chain_id, n + 1) for chain in chains for n in range(len(chain.components))],
    )
    first = 0
    for chain, row in zip(chains, components, strict=True):
        _drop_unknown_side_chains(bonder, chain, row, first)
        first += len(row)
    # Atoms that a bond needs do not leave at another one.
    resolved = [bonder.resolve(bond) for bond in bonds]
    bonder.reserve(resolved)
    first = 0
    for chain, row in zip(chains, components, strict=True):
        if chain.kind.is_polymer:
            _link_polymer(bonder, chain, row, first)
        first += len(row)
    for bond, ends in zip(bonds, resolved, strict=True):
        bonder.bond(*ends, bond.order)
    return _structure(name, chains, components, bonder, [*_obsolete(library, chains), *bonder.notes])


def _check_chains(name: str, chains: Sequence[ChainSpec]) -> None:
    if not chains:
        raise ChemistryError(f"Complex {name!r} has no chains: give at least one.")
    seen: set[str] = set()
    for chain in chains:
        if chain.chain_id in seen:
            raise ChemistryError(f"Complex {name!r} has two chains called {chain.chain_id!r}: chain ids must differ.")
        seen.add(chain.chain_id)
        if not chain.components:
            raise ChemistryError(f"Chain {chain.chain_id} has no residues: give at least one component.")
        if chain.cyclic and (not chain.kind.is_polymer or len(chain.components) < 2):
            raise ChemistryError(
                f"Chain {chain.chain_id} cannot be cyclic: only polymers of at least two residues can, and it is a "
                f"{chain.kind.value} of {len(chain.components)}."
            )


def _usable(library: ComponentLibrary, code: str, chain: ChainSpec) -> Component:
    component = library.get(code)
    if len(component) == 0:
        raise ChemistryError(
            f"Component {code} of chain {chain.chain_id} has no heavy atoms, so nothing can be modelled: leave it out."
        )
    return component


def _drop_unknown_side_chains(bonder: Bonder, chain: ChainSpec, row: list[Component], first: int) -> None:
    if chain.kind is not ChainKind.PROTEIN:
        return
    for offset, component in enumerate(row):
        if component.code == "UNK":
            for atom in component.atom_names.tolist():
                if atom not in UNKNOWN_AMINO_ACID_ATOMS:
                    bonder.drop(first + offset, atom)


def _link_polymer(bonder: Bonder, chain: ChainSpec, row: list[Component], first: int) -> None:
    links = [link_atoms(component, chain.kind) for component in row]
    pairs = [(n, n + 1) for n in range(len(row) - 1)] + ([(len(row) - 1, 0)] if chain.cyclic else [])
    for before, after in pairs:
        tail, head = links[before][1], links[after][0]
        if tail is None or head is None:
            bonder.notes.append(
                f"Chain {chain.chain_id}: residues {before + 1} ({row[before].code}) and {after + 1} "
                f"({row[after].code}) have no pair of atoms that a {chain.kind.value} links by; no bond was made "
                "between them."
            )
            continue
        bonder.bond(bonder.atom(first + before, tail), bonder.atom(first + after, head))


def _obsolete(library: ComponentLibrary, chains: Sequence[ChainSpec]) -> list[str]:
    notes = []
    for code in sorted({code for chain in chains for code in chain.components}):
        successor = library.replaced_by(code)
        if successor is not None:
            instead = f"; its successor is {successor}" if successor else ""
            notes.append(f"Component {code} is obsolete in the Chemical Component Dictionary{instead}.")
    return notes


def _structure(
    name: str, chains: Sequence[ChainSpec], components: list[list[Component]], bonder: Bonder, notes: list[str]
) -> Structure:
    flat = [component for row in components for component in row]
    kept = bonder.kept
    n = int(kept.sum())
    sizes = [len(row) for row in components]
    residues = Residues(
        chain=np.repeat(np.arange(len(chains), dtype=np.int64), sizes),
        name=np.array([component.code for component in flat], dtype=np.str_),
        number=np.concatenate([np.arange(1, size + 1, dtype=np.int64) for size in sizes]),
        author_number=np.full(len(flat), "", dtype=np.str_),
        insertion_code=np.full(len(flat), "", dtype=np.str_),
    )
    atoms = AtomTable(
        residue=bonder.residue[kept],
        name=bonder.names[kept],
        element=bonder.elements[kept],
        charge=bonder.charges[kept],
        coordinates=np.zeros((n, 3)),
        resolved=np.zeros(n, dtype=bool),
        b_factor=np.zeros(n),
        occupancy=np.ones(n),
    )
    ends, order, is_inter = bonder.table()
    return Structure(
        name=name,
        chains=tuple(
            Chain(
                chain_id=chain.chain_id,
                entity_id=chain.entity_id,
                symmetry_id=chain.symmetry_id,
                kind=chain.kind,
                author_id=chain.chain_id,
                sequence=chain_sequence(tuple(row), chain.kind),
                cyclic=chain.cyclic,
            )
            for chain, row in zip(chains, components, strict=True)
        ),
        residues=residues,
        atoms=atoms,
        bonds=Bonds(atoms=ends, order=order, is_inter=is_inter),
        notes=tuple(notes),
    )
