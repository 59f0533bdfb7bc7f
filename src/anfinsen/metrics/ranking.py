"""How well predicted numbers order the truth: contact precision and rank correlation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

LONG_RANGE = 24  # residues between the partners of a long-range contact (CASP)


def contact_precision(
    probability: Float[np.ndarray, "n n"],
    contact: Bool[np.ndarray, "n n"],
    known: Bool[np.ndarray, "n n"] | None = None,
    *,
    divisor: float = 1.0,
    separation: int = LONG_RANGE,
) -> float:
    """Return the share of true contacts among the n / ``divisor`` most probable ones.

    Args:
        probability: predicted, symmetric.
        contact: true contacts (CASP: CB within 8 Å).
        known: pairs whose true distance is known; all if not given.
        divisor: 1, 2, 5 for L, L/2, L/5.
        separation: least distance along the chain.

    Raises:
        ValueError: no pair is far enough apart and known.
    """
    n = len(probability)
    first, second = np.triu_indices(n, separation)
    if known is not None:
        keep = known[first, second]
        first, second = first[keep], second[keep]
    if len(first) == 0:
        raise ValueError(f"No known pair of residues is {separation} apart: there is no contact precision.")
    wanted = min(max(1, int(n / divisor)), len(first))
    # Stable, so that equal probabilities give the same answer everywhere.
    top = np.argsort(-probability[first, second], kind="stable")[:wanted]
    return float(contact[first[top], second[top]].mean())


def spearman(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
    """Return Spearman's rank correlation.

    Raises:
        ValueError: fewer than 3 values, or all values of one side are equal: there are no ranks to compare.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError("A rank correlation needs at least 3 values that are not all equal.")
    return float(stats.spearmanr(x, y).statistic)
