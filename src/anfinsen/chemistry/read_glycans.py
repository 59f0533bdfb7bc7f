"""Glycans in PDB files: linked sugars, which mmCIF holds as one branched chain, are joined into one."""

from __future__ import annotations

from dataclasses import replace

from .ccd import ComponentLibrary
from .read_bonds import FileBond, Place, Recorded
from .read_polymers import FileChain
from .structure import ChainKind


def merge_glycans(
    chains: list[FileChain], recorded: Recorded, library: ComponentLibrary, notes: list[str]
) -> tuple[list[FileChain], Recorded]:
    """Join ligand chains of saccharides that are bonded to each other; bonds are renumbered to match."""
    root = list(range(len(chains)))

    def find(index: int) -> int:
        while root[index] != index:
            index = root[index]
        return index

    sugars = [_is_sugar(chain, library) for chain in chains]
    for bond in recorded.bonds:
        first, second = find(bond.first.chain), find(bond.second.chain)
        if sugars[bond.first.chain] and sugars[bond.second.chain] and first != second:
            root[max(first, second)] = min(first, second)
    if root == list(range(len(chains))):
        return chains, recorded
    merged: list[FileChain] = []
    moved: dict[int, tuple[int, int]] = {}
    position: dict[int, int] = {}
    for index, chain in enumerate(chains):
        top = find(index)
        if top == index:
            position[index] = len(merged)
            merged.append(chain)
            moved[index] = (position[index], 0)
        else:
            target = position[top]
            moved[index] = (target, len(merged[target].sites))
            merged[target] = replace(merged[target], sites=merged[target].sites + chain.sites)
    joined = sum(len(merged[position[top]].sites) for top in {find(i) for i in range(len(chains)) if find(i) != i})
    notes.append(f"{joined} linked sugars were joined into chains of their own.")

    def move(place: Place) -> Place:
        chain, shift = moved[place.chain]
        return Place(chain, place.number + shift, place.atom)

    bonds = tuple(FileBond(move(bond.first), move(bond.second), bond.order) for bond in recorded.bonds)
    return merged, Recorded(bonds, frozenset(moved[index][0] for index in recorded.cyclic))


def _is_sugar(chain: FileChain, library: ComponentLibrary) -> bool:
    return chain.kind is ChainKind.LIGAND and all(
        site.name in library and "SACCHARIDE" in library.get(site.name).type for site in chain.sites
    )
