"""Rows of a table on their way to a network: weights, equal rows merged, batches on the device."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from sklearn.utils import check_array
from torch import Tensor

from anfinsen.common.seeding import torch_generator

from .scaling import ColumnScaler

PRELOADED_BYTES = 2**28
"""Scaled tables up to this size are held on the device as a whole; of larger ones, each batch is scaled when used."""
MERGED_ROWS = 4096
MERGED_NUMBERS = 2**22
"""Equal rows are looked for in tables up to these sizes; see `merge_equal_rows`."""
ROUNDING = 1e-6
"""How far numbers between 0 and 1 may lie outside: float32 images that were resized do."""
CHUNK_NUMBERS, CHUNK_ROWS = 2**22, 2**14
"""Numbers and rows of a table that are scaled or passed through the network at a time, at most: hidden layers may be
much wider than the table."""


def checked_weights(sample_weight: Any, n_rows: int) -> Float[np.ndarray, " n"]:
    """Return the weights of rows as numbers, all 1 where there are none.

    Raises:
        ValueError: they are not one finite number of at least 0 for each row, or all are 0.
    """
    if sample_weight is None:
        return np.ones(n_rows)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_rows, sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, copy=True, input_name="sample_weight", ensure_min_samples=0
    )
    if weights.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar.")
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}.")
    if (weights < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number: all are zero.")
    result: Float[np.ndarray, " n"] = weights
    return result


def merge_equal_rows(table: Any, weights: Float[np.ndarray, " n"]) -> tuple[Any, Float[np.ndarray, " m"]]:
    """Return the different rows of a small table in a fixed order, with the sums of their weights.

    What is learned from one batch of them is the same to the last bit whatever the rows' order, and whether a row has
    weight k or stands there k times: even with random noise, which is drawn row by row. Sparse rows come back dense.
    """
    dense = table.toarray() if sparse.issparse(table) else np.asarray(table)
    rows, places = np.unique(dense, axis=0, return_inverse=True)
    return rows, np.bincount(places.ravel(), weights, len(rows))


def held_back(n_rows: int, fraction: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Return which rows are held back for validation: at least one, and not all.

    Raises:
        ValueError: there is only one row.
    """
    if n_rows < 2:
        raise ValueError(f"early_stopping needs at least 2 rows of different content: found {n_rows} sample(s).")
    order = torch.randperm(n_rows, generator=torch_generator(seed, "validation rows")).numpy()
    held = np.zeros(n_rows, dtype=bool)
    held[order[: min(n_rows - 1, max(1, round(fraction * n_rows)))]] = True
    return held


def mergeable(table: Any) -> bool:
    """Return whether looking for equal rows in ``table`` is cheap."""
    return bool(table.shape[0] <= MERGED_ROWS and table.shape[0] * table.shape[1] <= MERGED_NUMBERS)


def chunks(table: Any, width: int) -> list[slice]:
    """Return the slices in which a table is read; ``width``: the most numbers that one of its rows becomes."""
    rows, step = table.shape[0], max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // max(1, width)))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def weighted_rows(
    table: Any, sample_weight: Any, batch_size: Callable[[int], int]
) -> tuple[Any, Float[np.ndarray, " m"]]:
    """Return the rows of a table that weigh anything, and their weights; equal rows merged where cheap.

    Args:
        table: checked. sample_weight: as a user gives it. batch_size: rows of a step, for a number of rows: only what
            fits into one is merged.

    Raises:
        ValueError: see `checked_weights`.
    """
    weights = checked_weights(sample_weight, table.shape[0])
    used = weights > 0
    if not used.all():
        table, weights = table[used], weights[used]
    if mergeable(table):
        rows, sums = merge_equal_rows(table, weights)
        if len(rows) <= batch_size(len(rows)):
            return rows, sums
    return table, weights


def learn_scale(scaler: ColumnScaler, table: Any, weights: Float[np.ndarray, " n"]) -> None:
    """Let a scaler learn from a table of any size, in pieces: scikit-learn's makes copies of what it is given."""
    for part in chunks(table, table.shape[1]):
        scaler.learn(table[part], weights[part])


def check_probabilities(table: Any) -> None:
    """Check that a table's numbers can be probabilities, but for rounding.

    Raises:
        ValueError: one is below 0 or above 1.
    """
    least, most = float(table.min()), float(table.max())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise ValueError(
            f"A Bernoulli likelihood with scale=None needs numbers between 0 and 1: found {least:g} to {most:g}; set "
            "scale='auto'."
        )


class Rows:
    """A table as the network sees it; its weights have mean 1."""

    def __init__(
        self,
        table: Any,
        weights: Float[np.ndarray, " n"],
        scaler: ColumnScaler,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._table, self._scaler, self._dtype, self._device = table, scaler, dtype, device
        self.weights = torch.from_numpy(weights / weights.mean()).to(device, dtype)
        self._loaded: Tensor | None = None
        if table.shape[0] * table.shape[1] * dtype.itemsize <= PRELOADED_BYTES:
            parts = [self._scaled(part) for part in chunks(table, table.shape[1])]
            self._loaded = parts[0] if len(parts) == 1 else torch.cat(parts)

    def __len__(self) -> int:
        return int(self._table.shape[0])

    def batch(self, index: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b features"], Float[Tensor, " b"]]:
        """Return rows, by their numbers on the CPU, and their weights."""
        if self._loaded is not None:
            there = index.to(self._device)
            return self._loaded[there], self.weights[there]
        return self._scaled(index.numpy()), self.weights[index.to(self._device)]

    def all(self) -> tuple[Float[Tensor, "n features"], Float[Tensor, " n"]]:
        """Return all rows in their order, and their weights."""
        return (self._scaled(slice(None)) if self._loaded is None else self._loaded), self.weights

    def _scaled(self, part: Any) -> Tensor:
        return torch.from_numpy(self._scaler.forward(self._table[part])).to(self._device, self._dtype)
