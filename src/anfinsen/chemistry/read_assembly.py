"""Biological assemblies: which chains are copied, and where to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..common.errors import StructureError
from .read_content import Content
from .read_polymers import FileChain
from .structure import ChainKind

# Copies nearer than this (Å, every atom) are one molecule on a symmetry axis.
_SAME_PLACE = 0.5


@dataclass(frozen=True)
class Copy:
    """One chain of the result: a chain of the file under one operator.

    Attributes:
        chain: index into the file's chains. chain_id: unique name.
        operator: equal for chains moved together, so that bonds between them are copied.
        rotation, translation: x -> rotation @ x + translation, Å.
    """

    chain: int
    chain_id: str
    operator: str
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, 3]


def copies(content: Content, chains: list[FileChain], assembly: str | None, notes: list[str]) -> list[Copy]:
    """List the chains of the assembly, or of the asymmetric unit for None.

    Raises:
        StructureError: the file describes assemblies, but not this one, or the assembly names no chain with atoms.
    """
    known = {entry.name: entry for entry in content.structure.assemblies}
    if assembly is not None and not known:
        notes.append(
            f"The file describes no assemblies; its chains were read as they are (assembly {assembly!r} asked)."
        )
    if assembly is None or not known:
        return [Copy(index, chain.chain_id, "", np.eye(3), np.zeros(3)) for index, chain in enumerate(chains)]
    if assembly not in known:
        raise StructureError(f"{content.name} has no assembly {assembly!r}: it describes {', '.join(sorted(known))}.")
    moves = _moves(content, known[assembly], chains)
    if not moves:
        raise StructureError(f"{content.name}: assembly {assembly!r} names no chain that has atoms.")
    kept = _without_overlaps(chains, moves, notes)
    result = _named(chains, kept)
    if len(result) != len(chains) or any(copy.operator for copy in result):
        missing = len(chains) - len({copy.chain for copy in result})
        left = f", {missing} of the file's chains are no part of it" if missing else ""
        notes.append(f"Assembly {assembly}: {len(result)} chains made from {len(chains)} chains of the file{left}.")
    return result


_Move = tuple[int, str, Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]


def _moves(content: Content, assembly: object, chains: list[FileChain]) -> list[_Move]:
    """(chain, operator, rotation, translation), operators in the file's order, each pair once."""
    moves: list[_Move] = []
    seen = set()
    # Files that name label chains use them; PDB files name the depositors' chains.
    for generator in assembly.generators:  # type: ignore[attr-defined]  # gemmi is not typed
        labels, authors = set(generator.subchains), {name.strip() for name in generator.chains}
        for operator in generator.operators:
            rotation = np.array(operator.transform.mat.tolist(), dtype=np.float64)
            translation = np.array(operator.transform.vec.tolist(), dtype=np.float64)
            if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
                raise StructureError(f"{content.name}: an assembly operator has a number that is not finite.")
            identity = np.allclose(rotation, np.eye(3), atol=1e-6) and np.allclose(translation, 0, atol=1e-6)
            name = "" if identity else str(np.round(np.column_stack([rotation, translation]), 5).tolist())
            for index, chain in enumerate(chains):
                member = chain.chain_id in labels if labels else chain.author_id in authors
                if member and (index, name) not in seen:
                    seen.add((index, name))
                    moves.append((index, name, rotation, translation))
    return moves


def _without_overlaps(chains: list[FileChain], moves: list[_Move], notes: list[str]) -> list[_Move]:
    """Drop copies of ligands that coincide with an earlier copy (ions on a symmetry axis)."""
    kept: list[_Move] = []
    places: dict[int, list[Float[np.ndarray, "n 3"]]] = {}
    dropped = 0
    for move in moves:
        index, _, rotation, translation = move
        if chains[index].kind is ChainKind.LIGAND:
            atoms = [atom.pos.tolist() for site in chains[index].sites for atom in site.atoms]
            moved = np.array(atoms, dtype=np.float64) @ rotation.T + translation
            others = places.setdefault(index, [])
            if any(np.linalg.norm(moved - other, axis=1).max() < _SAME_PLACE for other in others):
                dropped += 1
                continue
            others.append(moved)
        kept.append(move)
    if dropped:
        notes.append(f"{dropped} cop{'ies' if dropped > 1 else 'y'} of ligands on a symmetry element left out.")
    return kept


def _named(chains: list[FileChain], moves: list[_Move]) -> list[Copy]:
    """The first copy of a chain keeps its id, the others get "-2", "-3", … (as the PDB names them)."""
    taken = {chain.chain_id for chain in chains}
    seen: set[int] = set()
    result = []
    # Copies stand together: all chains of the first operator, then of the second.
    order: dict[str, int] = {}
    for move in moves:
        order.setdefault(move[1], len(order))
    for index, operator, rotation, translation in sorted(moves, key=lambda move: (order[move[1]], move[0])):
        name = chains[index].chain_id
        number = 1
        if index in seen:
            number = 2
            while f"{name}-{number}" in taken:
                number += 1
            name = f"{name}-{number}"
        seen.add(index)
        taken.add(name)
        result.append(Copy(index, name, operator, rotation, translation))
    return result
