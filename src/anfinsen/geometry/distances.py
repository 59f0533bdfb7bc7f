"""Pairwise distances and their bins. Å."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pairwise_distances(
    x: Float[Tensor, "*batch n 3"], y: Float[Tensor, "*batch m 3"] | None = None
) -> Float[Tensor, "*batch n m"]:
    """Return the distances between all points of ``x`` and ``y`` (``x`` itself if not given), exact near 0."""
    # The matrix-product form of cdist loses small distances between far-away points.
    return torch.cdist(x, x if y is None else y, compute_mode="donot_use_mm_for_euclid_dist")


def bin_boundaries(first: float, last: float, bins: int) -> Float[Tensor, "inner"]:
    """Return the ``bins - 1`` inner boundaries, evenly spaced from ``first`` to ``last``; the outer bins are open."""
    return torch.linspace(first, last, bins - 1, dtype=torch.float64).float()


def bin_centres(first: float, last: float, bins: int) -> Float[Tensor, "bins"]:
    """Return a value for each bin of :func:`bin_boundaries`: its middle; for open bins half a width outside."""
    width = (last - first) / (bins - 2)
    return torch.linspace(first - width / 2, last + width / 2, bins, dtype=torch.float64).float()


def bin_index(values: Float[Tensor, "*shape"], boundaries: Float[Tensor, "inner"]) -> Int[Tensor, "*shape"]:
    """Return how many boundaries each value exceeds: 0 to ``len(boundaries)``."""
    return torch.bucketize(values.contiguous(), boundaries.to(values))
