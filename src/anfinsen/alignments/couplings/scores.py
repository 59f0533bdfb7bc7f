"""From couplings to one score per pair of columns: zero-sum gauge, Frobenius norm, average-product correction."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

_Z_SEPARATION = 6  # nearer pairs are coupled for other reasons than a fold, and would widen the scale


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


def z_scores(scores: Float32[np.ndarray, "L L"]) -> Float32[np.ndarray, "L L"]:
    """Return the scores in standard deviations above the usual one, so that alignments can be compared.

    Median and median absolute deviation (times 1.4826) over pairs at least 6 apart: most of them touch nobody. Zero on
    the diagonal, and everywhere if the scores do not differ.
    """
    length = len(scores)
    far = scores[np.triu_indices(length, min(_Z_SEPARATION, length - 1))].astype(np.float64)
    median = np.median(far)
    deviation = 1.4826 * np.median(np.abs(far - median))
    if deviation < np.finfo(np.float32).tiny:
        return np.zeros_like(scores)
    z = (scores - median) / deviation
    np.fill_diagonal(z, 0.0)
    return np.asarray(z, dtype=np.float32)
