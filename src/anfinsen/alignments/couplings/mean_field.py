"""Mean-field DCA: couplings as the negative inverse covariance of the columns' letters (Morcos et al. 2011)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...common.errors import NonFiniteError
from .config import MeanFieldConfig
from .kernels import CodedRows
from .potts import symmetrise


def mean_field_couplings(rows: CodedRows, weights: Float[Tensor, "N"], config: MeanFieldConfig) -> Float[Tensor, "D D"]:
    """Return the couplings between L columns of q states, D = L q; a missing state has couplings 0.

    The covariance is that of frequencies mixed with a share of the uniform distribution over q + 1 states
    (pseudo-count), with a number added to its diagonal (shrinkage).

    Raises:
        NonFiniteError: the covariance cannot be inverted in these numbers.
    """
    covariance = letter_covariance(rows, weights, config.pseudocount)
    depth = float(weights.sum())
    covariance.diagonal().add_(config.shrinkage / depth**0.5)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise NonFiniteError(
            "The covariance of the columns cannot be inverted: raise the shrinkage or the pseudo-count, or leave out "
            "rows that are nearly alike."
        )
    del covariance
    return torch.cholesky_inverse(factor).neg_()


def letter_covariance(rows: CodedRows, weights: Float[Tensor, "N"], pseudocount: float) -> Float[Tensor, "D D"]:
    """Return the weighted covariance of all letters of all columns after mixing in the pseudo-count.

    With share t: f_i(a) = (1 - t) count + t / (q + 1); f_ij(a, b) = (1 - t) count + t / (q + 1)^2 for i != j and
    f_i(a) if a = b, else 0, for i = j; covariance f_ij - f_i f_j.
    """
    q, length = rows.n_states, rows.states.shape[1]
    shares = weights / weights.sum()
    counted = torch.cat([shares @ rows.one_hot(i, i + 1, weights.dtype) for i in range(length)])
    frequencies = (1 - pseudocount) * counted + pseudocount / (q + 1)
    covariance = weights.new_empty(length * q, length * q)
    for start in range(0, length, rows.block):
        stop = min(start + rows.block, length)
        pairs = rows.transposed_times(rows.one_hot(start, stop, weights.dtype) * shares[:, None])
        pairs.mul_(1 - pseudocount).add_(pseudocount / (q + 1) ** 2)
        for i in range(start, stop):
            own = slice(i * q, (i + 1) * q)
            pairs[own, (i - start) * q : (i - start + 1) * q] = torch.diag(frequencies[own])
        columns = slice(start * q, stop * q)
        covariance[:, columns] = pairs.sub_(torch.outer(frequencies, frequencies[columns]))
    symmetrise(covariance)
    return covariance
