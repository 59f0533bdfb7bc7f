"""Whether a confidence means what it says: predicted against true lDDT."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

EDGES = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """Residues whose confidence lies between two values.

    Attributes:
        low, high: of the bin, 0 to 100; the last bin holds its upper end. count: residues in it.
        confidence, truth: mean predicted and mean true score of these, 0 to 100; None in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    truth: float | None


def reliability(
    confidence: Float[np.ndarray, "n"], truth: Float[np.ndarray, "n"], edges: tuple[float, ...] = EDGES
) -> tuple[ReliabilityBin, ...]:
    """Return one row for every bin of confidence; both scores are 0 to 100."""
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for index, (low, high) in enumerate(pairwise(edges)):
        inside = place == index
        means = (float(confidence[inside].mean()), float(truth[inside].mean())) if inside.any() else (None, None)
        rows.append(ReliabilityBin(low, high, int(inside.sum()), *means))
    return tuple(rows)


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float | None:
    """Return the mean gap between confidence and truth over bins, by their residues, 0 to 100; None without any.

    Source: expected calibration error, Naeini et al. 2015.
    """
    filled = [
        (row.count, abs(row.confidence - row.truth))
        for row in bins
        if row.confidence is not None and row.truth is not None
    ]
    total = sum(count for count, _ in filled)
    return sum(count * gap for count, gap in filled) / total if total else None
