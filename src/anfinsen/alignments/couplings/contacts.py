"""Pairs of residues by strength of coupling, with the chance that they touch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from .config import Method
from .infer import Couplings

MIN_SEPARATION = 6  # nearer pairs touch by their place in a helix or turn, and CASP does not ask for them


@dataclass(frozen=True)
class Calibration:
    """log odds of a contact = intercept + by_z z Neff / (Neff + half_depth), z cut at ``highest_z`` on both sides.

    A strong coupling says the less, the fewer relatives it was seen in.
    """

    intercept: float
    by_z: float
    half_depth: float
    highest_z: float = 12.0


# Fitted on training families by `benchmarks/couplings.py DATA --set train --calibrate` (see docs/results.md).
CALIBRATIONS: dict[Method, Calibration] = {
    "potts": Calibration(-3.06, 0.484, 50.0),
    "mean-field": Calibration(-3.53, 0.465, 10.0),
}


@dataclass(frozen=True)
class RankedContacts:
    """C pairs, the most strongly coupled first.

    Attributes:
        first, second: 0-based columns, first < second. score: corrected norm. z: in robust standard deviations.
        probability: chance that the CB atoms are closer than 8 Å.
    """

    first: Int[np.ndarray, "C"]
    second: Int[np.ndarray, "C"]
    score: Float32[np.ndarray, "C"]
    z: Float32[np.ndarray, "C"]
    probability: Float[np.ndarray, "C"]

    def __len__(self) -> int:
        return len(self.first)


def contact_probability(
    z: Float32[np.ndarray, "*shape"], effective_depth: float, method: Method
) -> Float[np.ndarray, "*shape"]:
    """Return the chance of a contact (CB closer than 8 Å) by a pair's z-score; calibrated on proteins."""
    fit = CALIBRATIONS[method]
    trust = fit.by_z * effective_depth / (effective_depth + fit.half_depth)
    odds = fit.intercept + trust * np.clip(z.astype(np.float64), -fit.highest_z, fit.highest_z)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def ranked_contacts(couplings: Couplings, limit: int, separation: int = MIN_SEPARATION) -> RankedContacts:
    """Return the ``limit`` most strongly coupled pairs that are at least ``separation`` apart."""
    length = len(couplings.scores)
    first, second = np.triu_indices(length, separation)
    # Stable, so that equal scores give the same order everywhere.
    order = np.argsort(-couplings.scores[first, second], kind="stable")[:limit]
    first, second = first[order], second[order]
    z = couplings.z_scores()[first, second]
    probability = contact_probability(z, couplings.effective_depth, couplings.method)
    return RankedContacts(first, second, couplings.scores[first, second], z, probability)
