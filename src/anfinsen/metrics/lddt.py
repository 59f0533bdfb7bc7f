"""lDDT, the local distance difference test (Mariani et al. 2013): no superposition, sensitive to local geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

INCLUSION_RADIUS = 15.0  # Å
THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å


@dataclass(frozen=True)
class Lddt:
    """lDDT of one prediction, 0 to 1.

    Attributes:
        score: over all pairs; 0 if there are none.
        per_atom: over the pairs of each atom; 0 where there are none.
        pairs: how many pairs each atom has.
    """

    score: float
    per_atom: Float[np.ndarray, "n"]
    pairs: Int[np.ndarray, "n"]

    def per_group(
        self, group: Int[np.ndarray, "n"], groups: int
    ) -> tuple[Float[np.ndarray, "g"], Int[np.ndarray, "g"]]:
        """Return score and number of pairs of each of ``groups`` sets of atoms (residues, chains).

        Args:
            group: 0 to ``groups`` - 1 for each atom.
            groups: how many there are.
        """
        pairs = np.bincount(group, weights=self.pairs, minlength=groups)
        total = np.bincount(group, weights=self.per_atom * self.pairs, minlength=groups)
        return total / np.maximum(pairs, 1), pairs.astype(np.int64)


def lddt(
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    resolved: Bool[np.ndarray, "n"] | None = None,
    residue: Int[np.ndarray, "n"] | None = None,
    chain: Int[np.ndarray, "n"] | None = None,
    radius: float = INCLUSION_RADIUS,
) -> Lddt:
    """Return the share of true distances below ``radius`` that the prediction keeps, mean over 0.5, 1, 2 and 4 Å.

    Give CA atoms only for lDDT-CA.

    Args:
        predicted, true: Å, atoms in correspondence.
        resolved: atoms with a known true position; all if not given.
        residue: if given, pairs within a residue do not count (the usual all-atom lDDT).
        chain: if given, only pairs between chains count (interface lDDT).
        radius: inclusion radius, Å.
    """
    known = np.arange(len(true)) if resolved is None else np.flatnonzero(resolved)
    pairs = (
        known[cKDTree(true[known]).query_pairs(radius, output_type="ndarray")] if len(known) else np.zeros((0, 2), int)
    )
    if residue is not None:
        pairs = pairs[residue[pairs[:, 0]] != residue[pairs[:, 1]]]
    if chain is not None:
        pairs = pairs[chain[pairs[:, 0]] != chain[pairs[:, 1]]]
    first, second = pairs.T
    wanted = np.linalg.norm(true[first].astype(float) - true[second], axis=1)
    found = np.linalg.norm(predicted[first].astype(float) - predicted[second], axis=1)
    error = np.abs(found - wanted)
    kept = np.mean([error < threshold for threshold in THRESHOLDS], axis=0)
    both = pairs.ravel()
    count = np.bincount(both, minlength=len(true))
    total = np.bincount(both, weights=np.repeat(kept, 2), minlength=len(true))
    score = float(kept.mean()) if len(kept) else 0.0
    return Lddt(score, total / np.maximum(count, 1), count.astype(np.int64))
