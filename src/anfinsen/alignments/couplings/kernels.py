"""The two products that every method here consists of: one-hot rows times a matrix, and the transpose of it.

With X the N x D matrix of one-hot rows (D = L q; a missing state is a row of zeros), `CodedRows.times(m)` is X m and
`CodedRows.transposed_times(m)` is X^T m. On accelerators both are dense products. On a CPU they are sums over gathered
rows, which is L additions per result where the dense product takes L q multiplications: a whole fit takes a third of
the time (`benchmarks/couplings_speed.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag


class CodedRows(ABC):
    """N rows of L columns with q states each, as the one-hot matrix X.

    Attributes:
        states: 0 to q - 1, -1 where missing.
        block: how many columns are best multiplied at once.
    """

    block: int

    def __init__(self, states: Int[Tensor, "N L"], n_states: int) -> None:
        self.states = states.long()
        self.n_states = n_states

    @abstractmethod
    def times(self, matrix: Float[Tensor, "D w"]) -> Float[Tensor, "N w"]:
        """Return X ``matrix``."""

    @abstractmethod
    def transposed_times(self, matrix: Float[Tensor, "N w"]) -> Float[Tensor, "D w"]:
        """Return X^T ``matrix``."""

    def one_hot(self, start: int, stop: int, dtype: torch.dtype) -> Float[Tensor, "N w"]:
        """Return X for the columns from ``start`` to ``stop``; w = (stop - start) q."""
        letters = torch.arange(self.n_states, device=self.states.device)
        return (self.states[:, start:stop, None] == letters).to(dtype).flatten(1)


class GatheredRows(CodedRows):
    """For CPUs: sums of gathered rows. A block's rows are narrow enough to be added up in registers."""

    block = 8

    def __init__(self, states: Int[Tensor, "N L"], n_states: int) -> None:
        super().__init__(states, n_states)
        length = states.shape[1]
        known = self.states >= 0
        codes = self.states + torch.arange(length, device=states.device) * n_states
        # Row by row: which states it has. State by state: which rows have it. 32-bit numbers are read faster.
        self._codes = codes[known].int()
        self._row_starts = _starts(known.sum(1))
        rows = torch.arange(len(states), device=states.device)[:, None].expand_as(codes)[known]
        self._rows = rows[torch.argsort(codes[known], stable=True)].int()
        self._state_starts = _starts(torch.bincount(codes[known], minlength=length * n_states))

    def times(self, matrix: Float[Tensor, "D w"]) -> Float[Tensor, "N w"]:
        """Return X ``matrix``."""
        return _sums(self._codes, self._row_starts, matrix)

    def transposed_times(self, matrix: Float[Tensor, "N w"]) -> Float[Tensor, "D w"]:
        """Return X^T ``matrix``."""
        return _sums(self._rows, self._state_starts, matrix)


class DenseRows(CodedRows):
    """For accelerators: X itself, multiplied."""

    block = 64

    def __init__(self, states: Int[Tensor, "N L"], n_states: int, dtype: torch.dtype) -> None:
        super().__init__(states, n_states)
        self._matrix = self.one_hot(0, states.shape[1], dtype)

    def times(self, matrix: Float[Tensor, "D w"]) -> Float[Tensor, "N w"]:
        """Return X ``matrix``."""
        return self._matrix @ matrix

    def transposed_times(self, matrix: Float[Tensor, "N w"]) -> Float[Tensor, "D w"]:
        """Return X^T ``matrix``."""
        return self._matrix.T @ matrix


def coded_rows(states: Int[Tensor, "N L"], n_states: int, dtype: torch.dtype = torch.float32) -> CodedRows:
    """Return the rows in the form that is quickest on their device."""
    return GatheredRows(states, n_states) if states.device.type == "cpu" else DenseRows(states, n_states, dtype)


def _starts(counts: Int[Tensor, "n"]) -> Int[Tensor, "m"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()


def _sums(numbers: Int[Tensor, "k"], starts: Int[Tensor, "m"], matrix: Float[Tensor, "r w"]) -> Float[Tensor, "n w"]:
    return embedding_bag(numbers, matrix.contiguous(), starts, mode="sum", include_last_offset=True)
