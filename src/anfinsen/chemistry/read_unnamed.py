"""Letters for chains that a PDB file leaves without a name, as simulation programs do.

gemmi keeps its book by names: a chain without one has no entity, and would be read as ligands.
"""

from __future__ import annotations

from collections.abc import Iterator

import gemmi

from .read_residues import is_monomer


def has_unnamed(structure: gemmi.Structure) -> bool:
    """Whether a chain has a blank for a name."""
    return any(not chain.name.strip() for model in structure for chain in model)


def name_chains(structure: gemmi.Structure) -> tuple[str, ...]:
    """Give every chain without a name the next free letter, the same in all models; return the letters.

    Args:
        structure: parsed with a chain for each TER, so that chains without a name are known apart. Changed in place;
            parts of a chain that has a name are put together again.
    """
    taken = {chain.name.strip() for model in structure for chain in model}
    free = (letter for letter in letters() if letter not in taken)
    given: list[str] = []
    for model in structure:
        unnamed = [chain for chain in model if not chain.name.strip()]
        given += [next(free) for _ in unnamed[len(given) :]]
        for chain, letter in zip(unnamed, given, strict=False):
            chain.name = letter
    first = [chain for chain in structure[0] if chain.name in given]
    for connection in structure.connections:
        for partner in (connection.partner1, connection.partner2):
            if not partner.chain_name.strip():
                partner.chain_name = _owner(first, partner.res_id)
    polymers = [chain.name for chain in first if any(is_monomer(residue.name) for residue in chain)]
    for entity in structure.entities:
        if not entity.name.strip():
            if len(polymers) == 1:
                entity.name = polymers[0]
            else:  # one record for all: nothing says where a chain ends
                entity.full_sequence = []
    structure.merge_chain_parts()
    return tuple(given)


def letters() -> Iterator[str]:
    """A, B, … Z, AA, AB, … without end."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    length = 1
    while True:
        for number in range(26**length):
            yield "".join(alphabet[number // 26**place % 26] for place in reversed(range(length)))
        length += 1


def _owner(chains: list[gemmi.Chain], wanted: gemmi.ResidueId) -> str:
    """The chain that has a residue; where several do, nothing tells which is meant, and the first is taken."""
    for chain in chains:
        if any(residue.seqid == wanted.seqid and residue.name == wanted.name for residue in chain):
            return str(chain.name)
    return ""
