"""Curves per interaction class: how good local and interface geometry is, for each kind of molecule apart."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anfinsen.geometry import pairwise_distances
from anfinsen.nn.batch import Batch, Labels

KINDS = ("protein", "rna", "dna", "ligand")
THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å, lDDT's tolerances
RADIUS, NUCLEIC_RADIUS = 15.0, 30.0  # Å, supplement 5.7: inclusion radius for proteins and ligands, and for nucleotides


def class_lddt(
    coordinates: Float[Tensor, "samples a 3"], batch: Batch, labels: Labels
) -> dict[str, Float[Tensor, "samples"]]:
    """Return lDDT over atom pairs of each interaction class that occurs.

    Classes are ``intra/<kind>`` within a chain and ``inter/<kind>-<kind>`` between chains; pairs within one token are
    left out. Atoms are each token's centre and every ligand atom, which keeps the number of pairs small.
    """
    atoms = batch.center_atom[batch.token_mask]
    token = batch.token_mask.nonzero(as_tuple=True)[0]
    keep = labels.resolved[atoms]
    atoms, token = atoms[keep], token[keep]
    true = pairwise_distances(labels.coordinates[atoms])
    kind, chain = batch.kind[token], batch.asym_id[token]
    nucleic = (kind == 1) | (kind == 2)
    radius = torch.where(nucleic, NUCLEIC_RADIUS, RADIUS)
    near = (true < torch.minimum(radius[:, None], radius[None, :])) & ~torch.eye(
        len(atoms), dtype=torch.bool, device=true.device
    )
    predicted = pairwise_distances(coordinates[:, atoms])
    error = (predicted - true).abs()
    score = torch.stack([(error < limit).float() for limit in THRESHOLDS]).mean(0)
    same_chain = chain[:, None] == chain[None, :]
    result: dict[str, Tensor] = {}
    for i, first in enumerate(KINDS):
        here = kind == i
        result |= _mean(f"intra/{first}", score, near & same_chain & here[:, None] & here[None, :])
        for j, second in enumerate(KINDS[i:], start=i):
            between = here[:, None] & (kind == j)[None, :]
            result |= _mean(f"inter/{first}-{second}", score, near & ~same_chain & (between | between.T))
    return result


def _mean(
    name: str, score: Float[Tensor, "samples m m"], pairs: Bool[Tensor, "m m"]
) -> dict[str, Float[Tensor, "samples"]]:
    count = pairs.sum()
    return {name: (score * pairs).sum(dim=(-1, -2)) / count} if count else {}
