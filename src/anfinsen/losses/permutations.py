"""Renaming the truth to match a prediction: copies of a chain, and symmetric atoms (supplement, section 4.2).

The network cannot know which of two identical chains the depositors called A, nor which of two equivalent oxygens is
OD1: the labels are permuted to the names that fit the prediction best before a loss is taken.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from anfinsen.geometry import rigid_align, rotate, superpose
from anfinsen.nn.batch import Batch, Labels

FEWEST_ANCHOR_ATOMS = 3
UNRESOLVED_COST = 1e6  # Å²; a copy that cannot be compared is taken when no other is left


@dataclass(frozen=True)
class ChainCopies:
    """One chain of a batch, and what it could be in the true structure.

    Attributes:
        entity: which entity; chains of one entity share copies, each copy is used once.
        atoms: the chain's atoms in the batch.
        copies: number of each of the k true chains of the entity; the chain's own copy comes first.
        coordinates, resolved: the same atoms in each true chain.
    """

    entity: int
    atoms: Int[Tensor, "n"]
    copies: tuple[int, ...]
    coordinates: Float[Tensor, "k n 3"]
    resolved: Bool[Tensor, "k n"]


def chain_copies(batch: Batch, labels: Labels) -> tuple[ChainCopies, ...]:
    """Return the chains of a batch and their copies within it.

    Chains count as copies where the crop holds exactly the same residues and atoms of them; a chain that was cropped
    otherwise keeps its own place. (A data set that knows the whole structure can build better `ChainCopies` itself.)
    """
    chain_of_atom = batch.asym_id[batch.atom_to_token]
    groups: dict[tuple[int, bytes], list[Tensor]] = defaultdict(list)
    for chain in torch.unique(batch.asym_id[batch.token_mask]).tolist():
        atoms = ((chain_of_atom == chain) & batch.atom_mask).nonzero()[:, 0]
        token = batch.atom_to_token[atoms]
        names = torch.cat([batch.residue_index[token, None], batch.ref_atom_name_chars[atoms]], dim=-1)
        groups[int(batch.entity_id[token[0]]), names.cpu().numpy().tobytes()].append(atoms)
    result = []
    for number, ((_, _), members) in enumerate(groups.items()):
        for own in range(len(members)):
            order = (own, *(i for i in range(len(members)) if i != own))
            index = torch.stack([members[i] for i in order])
            result.append(ChainCopies(number, members[own], order, labels.coordinates[index], labels.resolved[index]))
    return tuple(result)


def permute_labels(
    coordinates: Float[Tensor, "a 3"],
    batch: Batch,
    labels: Labels,
    chains: Sequence[ChainCopies] | None = None,
    symmetric_atoms: Sequence[Int[Tensor, "_ _"]] = (),
) -> Labels:
    """Return the labels with chains and symmetric atoms renamed to fit the predicted ``coordinates``.

    Args:
        coordinates: a predicted structure, Å.
        batch, labels: the complex and its true structure.
        chains: the chains and their true copies; those within the batch if not given.
        symmetric_atoms: for each residue with symmetric atoms the candidate orders of (all or some of) its atoms as
            indices into the batch; row 0 is the present order.
    """
    x = coordinates.detach().float()
    chains = chain_copies(batch, labels) if chains is None else chains
    if any(len(chain.copies) > 1 for chain in chains):
        chosen = best_chain_assignment(x, chains)
        true, resolved = labels.coordinates.clone(), labels.resolved.clone()
        for chain, choice in zip(chains, chosen, strict=True):
            true[chain.atoms] = chain.coordinates[choice]
            resolved[chain.atoms] = chain.resolved[choice]
        labels = dataclasses.replace(labels, coordinates=true, resolved=resolved)
    if symmetric_atoms:
        index = best_atom_permutation(x, labels.coordinates, labels.resolved & batch.atom_mask, symmetric_atoms)
        labels = dataclasses.replace(labels, coordinates=labels.coordinates[index], resolved=labels.resolved[index])
    return labels


def best_chain_assignment(x: Float[Tensor, "a 3"], chains: Sequence[ChainCopies]) -> tuple[int, ...]:
    """Return for each chain the row of its copies that fits the prediction ``x``.

    An anchor chain (fewest copies, then most resolved atoms) is superposed on the prediction as each of its copies in
    turn; in that frame the chains of each entity are matched to copies by least square distance, and the anchoring
    with the least error over all atoms after alignment wins. The supplement matches greedily, this optimally.
    """
    usable = [i for i, chain in enumerate(chains) if int(chain.resolved.sum(-1).max()) >= FEWEST_ANCHOR_ATOMS]
    if not usable:
        return tuple(0 for _ in chains)
    anchor = min(usable, key=lambda i: (len(chains[i].copies), -int(chains[i].resolved[0].sum())))
    best, least = tuple(0 for _ in chains), float("inf")
    for row in range(len(chains[anchor].copies)):
        weight = chains[anchor].resolved[row].float()
        if weight.sum() < FEWEST_ANCHOR_ATOMS:
            continue
        rotation, shift = superpose(chains[anchor].coordinates[row].float(), x[chains[anchor].atoms], weight)
        chosen = _assign(x, chains, rotation, shift, (anchor, row))
        error = _error(x, chains, chosen)
        # a hair better is not better: float noise must not rename chains
        if error < least * (1 - 1e-6):
            best, least = chosen, error
    return best


def best_atom_permutation(
    x: Float[Tensor, "a 3"],
    true: Float[Tensor, "a 3"],
    resolved: Bool[Tensor, "a"],
    candidates: Sequence[Int[Tensor, "_ _"]],
) -> Int[Tensor, "a"]:
    """Return ``index`` such that ``true[index]`` fits the prediction best, residue by residue.

    Args:
        x: predicted structure. true: true structure, superposed on ``x`` first.
        resolved: atoms with a known true position.
        candidates: per residue k orders of m atoms; row 0 is the present order.
    """
    aligned = rigid_align(true.float(), x, resolved.float())
    index = torch.arange(len(x), device=x.device)
    for orders in candidates:
        here = orders[0]
        square = (aligned[orders] - x[here]).square().sum(-1)
        known = resolved[orders]
        error = (square * known).sum(-1) / known.sum(-1).clamp(min=1)
        index[here] = orders[int(error.argmin())]
    return index


def _assign(
    x: Tensor, chains: Sequence[ChainCopies], rotation: Tensor, shift: Tensor, fixed: tuple[int, int]
) -> tuple[int, ...]:
    """Rows of all chains, entity by entity, in the frame given; the anchor keeps its row."""
    entities: dict[int, list[int]] = defaultdict(list)
    for i, chain in enumerate(chains):
        entities[chain.entity].append(i)
    chosen = [0] * len(chains)
    for members in entities.values():
        copies = sorted({copy for i in members for copy in chains[i].copies})
        cost = torch.full((len(members), len(copies)), 2 * UNRESOLVED_COST, dtype=torch.float64)
        for line, i in enumerate(members):
            chain = chains[i]
            moved = rotate(chain.coordinates.float(), rotation.expand(len(chain.copies), 3, 3)) + shift
            known = chain.resolved
            square = ((moved - x[chain.atoms]).square().sum(-1) * known).sum(-1) / known.sum(-1).clamp(min=1)
            square = torch.where(known.any(-1), square.clamp(max=UNRESOLVED_COST / 2), UNRESOLVED_COST)
            cost[line, [copies.index(copy) for copy in chain.copies]] = square.double().cpu()
            if i == fixed[0]:
                cost[line, copies.index(chain.copies[fixed[1]])] = -UNRESOLVED_COST * 1e3
        for line, column in zip(*linear_sum_assignment(cost.numpy()), strict=True):
            chain = chains[members[line]]
            chosen[members[line]] = chain.copies.index(copies[column])
    return tuple(chosen)


def _error(x: Tensor, chains: Sequence[ChainCopies], chosen: tuple[int, ...]) -> float:
    """Mean square error over all resolved atoms after aligning the assigned truth to the prediction."""
    atoms = torch.cat([chain.atoms for chain in chains])
    true = torch.cat([chain.coordinates[row].float() for chain, row in zip(chains, chosen, strict=True)])
    known = torch.cat([chain.resolved[row] for chain, row in zip(chains, chosen, strict=True)]).float()
    square = (rigid_align(true, x[atoms], known) - x[atoms]).square().sum(-1)
    return float((square * known).sum() / known.sum().clamp(min=1))
