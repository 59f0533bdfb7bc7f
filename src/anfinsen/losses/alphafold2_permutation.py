"""Renaming the chains of the truth to fit a prediction, for AlphaFold-Multimer (Evans et al. 2022, section 7.3).

The network cannot know which of two identical chains the depositors called A. The search itself is the one that
AlphaFold 3's labels take (`permutations.best_chain_assignment`), here over CA atoms: the anchor, a chain of the entity
with the fewest copies and of those the longest, is superposed as each of its true copies, the other chains are matched
to copies in that frame, and the anchoring with the least mean error over residues wins. The paper matches greedily by
the distance of chains' centres; this takes the optimal matching by mean square distance of their residues.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.nn.batch import AlphaFold2Batch

from .alphafold2 import StructureTarget
from .permutations import ChainCopies, best_chain_assignment

_CA = 1  # place among the 14 atoms


@dataclass(frozen=True)
class WholeAssembly:
    """The truth before it was cropped, in the same coordinates as the crop's.

    Attributes:
        target: all residues of all chains; ``residue_index`` counts as in the batch.
        asym_id, entity_id: chain and sequence of each, as in the batch.
    """

    target: StructureTarget
    asym_id: Int[Tensor, "m"]
    entity_id: Int[Tensor, "m"]


@dataclass(frozen=True)
class _Chain:
    """A chain of the batch: its residues, and the rows of the truth that hold them in each copy (-1: it has none)."""

    entity: int
    residues: Int[Tensor, "n"]
    copies: tuple[int, ...]
    rows: Int[Tensor, "k n"]


def permute_chains(
    predicted: Float[Tensor, "n 14 3"],
    batch: AlphaFold2Batch,
    target: StructureTarget,
    whole: WholeAssembly | None = None,
) -> StructureTarget:
    """Return the target with the structures of identical chains exchanged so that they fit the prediction.

    What the depositors did not see of a chain moves with it. Neither a motion of the prediction as a whole nor its
    gradient matters; a target that fits best as it is returned itself.

    Args:
        predicted: Å (`StructurePrediction.atoms`).
        batch: says which residues are of one chain and which chains have one sequence.
        target: the truth of the batch's residues.
        whole: the truth before cropping; then a chain may take the place of every copy of the assembly, also of one
            that was cropped away. Without it only chains are exchanged of which the batch holds the same residues.

    Raises:
        ValueError: ``whole`` lacks a chain of the batch.
    """
    source = WholeAssembly(target, batch.asym_id, batch.entity_id) if whole is None else whole
    chains = _chains(batch, source, same_residues=whole is None)
    if all(len(chain.copies) == 1 for chain in chains):
        return target
    truth = source.target
    copies = [_copies(chain, truth) for chain in chains]
    chosen = best_chain_assignment(predicted[:, _CA].detach().float(), copies)
    if not any(chosen):  # row 0 is the chain's own
        return target
    atoms, mask = target.atoms.clone(), target.atom_mask.clone()
    for chain, choice in zip(chains, chosen, strict=True):
        if choice:
            rows = chain.rows[choice]
            atoms[chain.residues] = truth.atoms[rows.clamp(min=0)]
            mask[chain.residues] = truth.atom_mask[rows.clamp(min=0)] & (rows >= 0)[:, None]
    return dataclasses.replace(target, atoms=atoms, atom_mask=mask)


def _chains(batch: AlphaFold2Batch, source: WholeAssembly, *, same_residues: bool) -> list[_Chain]:
    """Return the batch's chains with their copies in ``source``, each chain's own copy first."""
    present = batch.mask if same_residues else source.target.residue_mask
    members: dict[int, dict[int, Tensor]] = {}
    for chain in torch.unique(source.asym_id[present]).tolist():
        rows = ((source.asym_id == chain) & present).nonzero()[:, 0]
        members.setdefault(int(source.entity_id[rows[0]]), {})[chain] = rows
    chains = []
    for chain in torch.unique(batch.asym_id[batch.mask]).tolist():
        residues = ((batch.asym_id == chain) & batch.mask).nonzero()[:, 0]
        entity = int(batch.entity_id[residues[0]])
        wanted, found = batch.residue_index[residues], {}
        for copy, rows in members.get(entity, {}).items():
            numbers = source.target.residue_index[rows]
            if not same_residues or torch.equal(numbers, wanted):
                found[copy] = _find(wanted, numbers, rows)
        if chain not in found:
            raise ValueError(f"chain {chain} of entity {entity} is in the batch, but not in the whole assembly")
        order = sorted(found, key=lambda copy: (copy != chain, copy))
        chains.append(_Chain(entity, residues, tuple(order), torch.stack([found[copy] for copy in order])))
    return _apart(chains) if same_residues else chains


def _find(wanted: Int[Tensor, "n"], numbers: Int[Tensor, "m"], rows: Int[Tensor, "m"]) -> Int[Tensor, "n"]:
    """Return the row of each wanted residue number, -1 where there is none."""
    same = wanted[:, None] == numbers[None, :]
    return torch.where(same.any(dim=1), rows[same.int().argmax(dim=1)], -1)


def _apart(chains: Sequence[_Chain]) -> list[_Chain]:
    """Number entities anew: chains of one entity that were cropped differently share no copies."""
    numbers: dict[tuple[int, ...], int] = {}
    return [
        dataclasses.replace(chain, entity=numbers.setdefault(tuple(sorted(chain.copies)), len(numbers)))
        for chain in chains
    ]


def _copies(chain: _Chain, truth: StructureTarget) -> ChainCopies:
    rows = chain.rows.clamp(min=0)
    resolved = truth.atom_mask[rows, _CA] & (chain.rows >= 0)
    return ChainCopies(chain.entity, chain.residues, chain.copies, truth.atoms[rows, _CA].float(), resolved)
