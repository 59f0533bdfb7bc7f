"""From couplings to one score per pair of columns: zero-sum gauge, Frobenius norm, average-product correction."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

_Z_SEPARATION = 6  # nearer pairs are coupled for other reasons than a fold, and would widen the scale
# In families the usual deviation is a tenth of the strongest score. Below this share of it most pairs are not coupled
# at all, and the deviation is that of rounding.
_LEAST_DEVIATION = 0.02
# Columns whose strongest norm is below this share of the strongest of all do not vary; where that one is below the
# second number, none does.
_LEAST_SHARE, _LEAST_NORM = 1e-3, 1e-5


def zero_sum_(couplings: Float[Tensor, "D D"], n_states: int) -> Float[Tensor, "D D"]:
    """Move the couplings to the zero-sum gauge, in place, and return them (Ekeberg et al. 2013, equation 27).

    Of all couplings that describe the same distribution these have the smallest norm.

    Args:
        couplings: D = L q; the blocks on the diagonal do not matter.
        n_states: q.
    """
    length = len(couplings) // n_states
    for row in couplings.view(length, n_states, length, n_states):
        row.sub_(row.mean(0, keepdim=True))
        row.sub_(row.mean(2, keepdim=True))
    return couplings


def frobenius_norms(couplings: Float[Tensor, "D D"], n_states: int, n_letters: int) -> Float32[np.ndarray, "L L"]:
    """Return the norm of each block of couplings over the first ``n_letters`` states: without the gap's, if it is one.

    Zero on the diagonal.
    """
    length = len(couplings) // n_states
    blocks = couplings.view(length, n_states, length, n_states)
    norms = torch.stack([row[:n_letters, :, :n_letters].square().sum((0, 2)).sqrt() for row in blocks])
    norms.fill_diagonal_(0.0)
    # Rounding differs between the two halves of a sum that should be symmetric.
    return (0.5 * (norms + norms.T)).float().cpu().numpy()


def average_product_correction(norms: Float32[np.ndarray, "L L"]) -> Float32[np.ndarray, "L L"]:
    """Return the norms less what conserved or crowded columns have with every other (Dunn et al. 2008).

    S_ij - S_i. S_.j / S_.., with means over the pairs i != j; zero on the diagonal.
    """
    length = len(norms)
    means = norms.sum(1, dtype=np.float64) / (length - 1)
    overall = means.mean()
    corrected = norms - np.outer(means, means) / overall if overall > 0 else norms.astype(np.float64)
    np.fill_diagonal(corrected, 0.0)
    return corrected.astype(np.float32)


def varying_columns(norms: Float32[np.ndarray, "L L"]) -> Bool[np.ndarray, "L"]:
    """Return which columns are coupled to any other by more than rounding."""
    strongest = norms.max(1)
    return np.asarray(strongest > max(_LEAST_SHARE * float(strongest.max()), _LEAST_NORM))


def z_scores(
    scores: Float32[np.ndarray, "L L"], varies: Bool[np.ndarray, "L"] | None = None
) -> Float32[np.ndarray, "L L"]:
    """Return the scores in standard deviations above the usual one, so that alignments can be compared.

    Median and median absolute deviation (times 1.4826) over pairs at least 6 apart: most of them touch nobody. Zero on
    the diagonal, and everywhere if the scores do not differ. With ``varies`` only pairs of such columns are counted,
    and all others are zero: else the few columns of a conserved family that vary would all seem to be coupled.
    (Networks read the scores without: so they were trained.)
    """
    length = len(scores)
    pairs = np.ones_like(scores, dtype=bool) if varies is None else np.outer(varies, varies)
    far = scores[np.triu(pairs, min(_Z_SEPARATION, length - 1))].astype(np.float64)
    if not len(far):
        return np.zeros_like(scores)
    median = np.median(far)
    deviation = 1.4826 * np.median(np.abs(far - median))
    deviation = max(deviation, _LEAST_DEVIATION * float(np.abs(far - median).max()))
    if deviation < np.finfo(np.float32).tiny:
        return np.zeros_like(scores)
    z = np.where(pairs, (scores - median) / deviation, 0.0)
    np.fill_diagonal(z, 0.0)
    return np.asarray(z, dtype=np.float32)
