"""The Potts model's pseudo-likelihood and its gradient in closed form.

A sequence x has the energy sum_i h_i(x_i) + sum_{i<j} J_ij(x_i, x_j). Pseudo-likelihood (Besag 1975; for contacts:
Ekeberg et al. 2013, Kamisetty et al. 2013) replaces the intractable likelihood with the product of each letter's
probability given all others: P(x_i = a | rest) = softmax_a(h_i(a) + sum_{j != i} J_ij(a, x_j)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .kernels import CodedRows

_PART = 1 << 16


@dataclass(frozen=True)
class PseudoLikelihood:
    """Negative log pseudo-likelihood of weighted rows, with L2 penalties.

    A missing state adds nothing: neither its own term, nor to the energy of others.

    Couplings act on what a row has more than the usual row, x - centre: this is the same family of distributions, with
    other fields (h_i minus the couplings' mean effect), in which fields and couplings can be fitted almost
    independently. Without it L-BFGS takes several times as many steps.

    Attributes:
        rows: N rows of L columns with q states.
        weights: of the rows.
        centre: weighted frequencies of the L q states.
        field_penalty: lambda_h in lambda_h sum h^2, of the fields so centred.
        coupling_penalty: lambda_J in lambda_J sum_{i<j} J_ij^2.
    """

    rows: CodedRows
    weights: Float[Tensor, "N"]
    centre: Float[Tensor, "D"]
    field_penalty: float
    coupling_penalty: float

    def __call__(
        self, fields: Float[Tensor, "L q"], couplings: Float[Tensor, "D D"], gradient: Float[Tensor, "D D"]
    ) -> tuple[float, Float[Tensor, "L q"]]:
        """Return the objective and its gradient by the fields; write the gradient by the couplings into ``gradient``.

        Args:
            fields: h. couplings: J with D = L q, symmetric, blocks on the diagonal zero. gradient: overwritten; of the
                objective as a function of all entries of a matrix whose symmetric part is J, so it is symmetric too.
        """
        length, q = fields.shape
        by_field = torch.empty_like(fields)
        total = 0.0
        for start in range(0, length, self.rows.block):
            stop = min(start + self.rows.block, length)
            columns = slice(start * q, stop * q)
            value, residuals = self._block(fields[start:stop], couplings[:, columns], start)
            total += value
            sums = residuals.sum(0)
            by_field[start:stop] = sums.view(-1, q)
            gradient[:, columns] = self.rows.transposed_times(residuals).addr_(self.centre, sums, alpha=-1)
        symmetrise(gradient)
        zero_diagonal_blocks(gradient, q)
        # Each pair stands in J twice, so lambda_J sum_{i<j} is half of it over all entries.
        gradient.add_(couplings, alpha=self.coupling_penalty)
        total += 0.5 * self.coupling_penalty * squared_norm(couplings) + self.field_penalty * squared_norm(fields)
        return total, by_field.add_(fields, alpha=2 * self.field_penalty)

    def _block(
        self, fields: Float[Tensor, "k q"], couplings: Float[Tensor, "D w"], start: int
    ) -> tuple[float, Float[Tensor, "N w"]]:
        """The block's share of the objective, and its derivative by the energies."""
        k, q = fields.shape
        energies = self.rows.times(couplings).add_(fields.flatten() - self.centre @ couplings).view(-1, k, q)
        letters = self.rows.states[:, start : start + k, None]
        known = letters >= 0
        log_probabilities = torch.log_softmax(energies, -1)
        chosen = log_probabilities.gather(-1, letters.clamp(min=0)).masked_fill(~known, 0.0)
        value = -float(torch.dot(chosen.sum((1, 2)), self.weights))
        counted = known * self.weights[:, None, None]
        residuals = log_probabilities.exp_().mul_(counted).scatter_add_(-1, letters.clamp(min=0), -counted)
        return value, residuals.flatten(1)


def symmetrise(matrix: Float[Tensor, "D D"], tile: int = 1024) -> None:
    """Replace a square matrix with half the sum of itself and its transpose, without a second one in memory."""
    size = len(matrix)
    for i in range(0, size, tile):
        for j in range(0, i + tile, tile):
            upper, lower = matrix[j : j + tile, i : i + tile], matrix[i : i + tile, j : j + tile]
            mean = (upper + lower.T).mul_(0.5)
            upper.copy_(mean)
            lower.copy_(mean.T)


def zero_diagonal_blocks(matrix: Float[Tensor, "D D"], n_states: int) -> None:
    """Set the couplings of each column with itself to 0."""
    length = len(matrix) // n_states
    matrix.view(length, n_states, length, n_states).diagonal(dim1=0, dim2=2).zero_()


def squared_norm(values: Float[Tensor, "*shape"]) -> float:
    """Sum of squares (see :func:`inner`)."""
    return inner(values, values)


def inner(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> float:
    """Inner product, added up in parts so that float32 keeps its precision."""
    parts = zip(torch.split(a.flatten(), _PART), torch.split(b.flatten(), _PART), strict=True)
    return float(torch.stack([torch.dot(x, y) for x, y in parts]).sum())
