"""How far two sets of things lie apart as distributions: Fréchet distance and kernel distance of their features.

The features may be any encoder's; with those of the Inception network these are the FID and the KID of the literature,
with any other encoder's they are not, and figures of different encoders are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class KernelDistance:
    """An estimate of the squared maximum mean discrepancy.

    Attributes:
        mean: over subsets; may be slightly below 0, for the estimator is unbiased.
        std: between subsets, not of the mean (subsets are drawn from the same rows).
    """

    mean: float
    std: float


def frechet_distance(first: Float[np.ndarray, "n c"], second: Float[np.ndarray, "m c"]) -> float:
    """Return the squared Fréchet distance of the Gaussians that have the moments of two sets of features.

    It is biased: too large by about 1 / n, so sets are compared only at equal sizes.

    Raises:
        ValueError: a set has fewer than two rows, or holds something that is not finite.

    Source: Heusel et al. 2017, equation 6.
    """
    _check(first, second)
    a, b = first.astype(np.float64), second.astype(np.float64)
    return gaussian_frechet_distance(
        a.mean(0),
        np.cov(a, rowvar=False).reshape(a.shape[1], -1),
        b.mean(0),
        np.cov(b, rowvar=False).reshape(b.shape[1], -1),
    )


def gaussian_frechet_distance(
    mean_1: Float[np.ndarray, "c"],
    covariance_1: Float[np.ndarray, "c c"],
    mean_2: Float[np.ndarray, "c"],
    covariance_2: Float[np.ndarray, "c c"],
) -> float:
    """Return |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), of covariances of any rank.

    Source: Dowson and Landau 1982.
    """
    # (C1 C2)^½ has the eigenvalues that are the singular values of C1^½ C2^½: nothing complex, no loss near rank 0.
    common = np.linalg.svd(_square_root(covariance_1) @ _square_root(covariance_2), compute_uv=False).sum()
    apart = float(np.square(mean_1 - mean_2).sum() + np.trace(covariance_1) + np.trace(covariance_2) - 2 * common)
    return max(apart, 0.0)


def _square_root(covariance: Float[np.ndarray, "c c"]) -> Float[np.ndarray, "c c"]:
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    root: Float[np.ndarray, "c c"] = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def kernel_distance(
    first: Float[np.ndarray, "n c"],
    second: Float[np.ndarray, "m c"],
    generator: np.random.Generator,
    subsets: int = 100,
    subset_size: int = 1000,
) -> KernelDistance:
    """Return the squared maximum mean discrepancy under the kernel (x·y / c + 1)³, over random subsets.

    Raises:
        ValueError: a set has fewer rows than ``subset_size`` or than two, or holds something that is not finite.

    Source: Bińkowski et al. 2018, section 4 (KID: 100 subsets of 1,000).
    """
    _check(first, second)
    least = min(len(first), len(second))
    if subsets < 1 or not 2 <= subset_size <= least:
        raise ValueError(f"{subsets} subsets of {subset_size} cannot be drawn: the smaller set has {least} rows.")
    a, b = first.astype(np.float64), second.astype(np.float64)
    found = [
        polynomial_mmd(
            a[generator.choice(len(a), subset_size, replace=False)],
            b[generator.choice(len(b), subset_size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


def polynomial_mmd(first: Float[np.ndarray, "n c"], second: Float[np.ndarray, "m c"]) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy under the kernel (x·y / c + 1)³.

    Source: Gretton et al. 2012, equation 3.
    """
    n, m = len(first), len(second)
    own_1, own_2 = _kernel(first, first), _kernel(second, second)
    # A thing is not compared with itself: that is what makes the estimate unbiased.
    within_1 = (own_1.sum() - np.trace(own_1)) / (n * (n - 1))
    within_2 = (own_2.sum() - np.trace(own_2)) / (m * (m - 1))
    return float(within_1 + within_2 - 2 * _kernel(first, second).mean())


def _kernel(first: Float[np.ndarray, "n c"], second: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "n m"]:
    cubed: Float[np.ndarray, "n m"] = (first @ second.T / first.shape[1] + 1) ** 3
    return cubed


def _check(first: Float[np.ndarray, "n c"], second: Float[np.ndarray, "m c"]) -> None:
    for rows in (first, second):
        if len(rows) < 2:
            raise ValueError(f"A distribution cannot be told from {len(rows)} row(s): expected at least 2.")
        if not np.isfinite(rows).all():
            raise ValueError("Features hold NaN or infinity.")
