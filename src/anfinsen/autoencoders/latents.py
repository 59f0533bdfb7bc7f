"""Latent rows kept from training, and the mixture of Gaussians from which new ones come."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from anfinsen.common.seeding import derive_seed, numpy_generator

KEPT = 4096
"""Latent rows that are kept at most."""
KEPT_FROM_BATCH = 512
"""Of them, those that one `partial_fit` may replace: codes of earlier batches grow stale while the network learns."""
ROWS_PER_GAUSSIAN, MOST_GAUSSIANS = 20, 10
COVARIANCE_FLOOR = 1e-6
"""Added to the variances, in units of the latent columns' own variances."""


def chosen_rows(weights: Float[np.ndarray, " n"], most: int, seed: int) -> NDArray[Any]:
    """Return numbers of at most ``most`` rows that stand for the table: all of them where all weigh the same."""
    generator = numpy_generator(seed, "kept")
    n_rows = len(weights)
    if (weights == weights[0]).all():
        return np.arange(n_rows) if n_rows <= most else np.sort(generator.choice(n_rows, most, replace=False))
    return np.sort(generator.choice(n_rows, min(most, 10 * n_rows), p=weights / weights.sum()))


def replaced(
    kept: Float[np.ndarray, "old c"], new: Float[np.ndarray, "new c"], seed: int, call: int
) -> Float[np.ndarray, "both c"]:
    """Return kept latent rows with ``new`` ones put in: beside the old while there is room, then in random places."""
    room = max(0, KEPT - len(kept))
    result = np.concatenate([kept, new[:room]])
    rest = new[room:]
    if len(rest):
        places = numpy_generator(seed, "replaced", call).choice(len(result), len(rest), replace=False)
        result[places] = rest
    return result


class LatentMixture:
    """A mixture of Gaussians with full covariances, fitted to latent rows."""

    def __init__(self, latents: Float[np.ndarray, "n c"], seed: int) -> None:
        self._shift = latents.mean(0, dtype=np.float64)
        deviation = latents.std(0, dtype=np.float64)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        gaussians = min(MOST_GAUSSIANS, max(1, len(latents) // ROWS_PER_GAUSSIAN))
        rows = (latents - self._shift) / self._scale
        if len(rows) == 1:  # scikit-learn fits no mixture to a single row
            rows = np.concatenate([rows, rows])
        self._mixture = GaussianMixture(
            gaussians, reg_covar=COVARIANCE_FLOOR, random_state=derive_seed(seed, "mixture") % 2**32
        )
        with warnings.catch_warnings():
            # Not wholly converged, or with rows that coincide, it is a density of these rows all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._mixture.fit(rows)

    def sample(self, n_samples: int, seed: int) -> Float[np.ndarray, "n c"]:
        """Return latent rows in random order."""
        self._mixture.set_params(random_state=derive_seed(seed, "sample") % 2**32)
        rows, _ = self._mixture.sample(n_samples)
        numpy_generator(seed, "shuffle").shuffle(rows)
        result: Float[np.ndarray, "n c"] = rows * self._scale + self._shift
        return result
