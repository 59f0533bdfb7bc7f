"""From a table's units to the network's and back, learned batch by batch, without making sparse tables dense."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import StandardScaler

SCALES = ("standard", "minmax", "none")

NEGLIGIBLE = 1e-12
"""Share of a constant column's value that is as good as no difference."""


class ColumnScaler:
    """(table - shift) / scale for every column; a constant column is only shifted.

    Attributes:
        kind: "standard" (mean and standard deviation), "minmax" (least value and range) or "none".
        groups: number of each column's group; columns of a group share shift and scale (the pixels of a channel).
            None: every column is its own.
        shift, scale: of the columns, in double precision; `learn` sets them.
    """

    def __init__(self, kind: str, groups: Int[np.ndarray, " features"] | None = None) -> None:
        self.kind, self.groups = kind, groups
        self._moments = StandardScaler(with_mean=False)  # it learns the mean of sparse tables all the same
        self._least: Any = None
        self._most: Any = None
        self.shift: Float[np.ndarray, " features"] = np.zeros(0)
        self.scale: Float[np.ndarray, " features"] = np.ones(0)

    def learn(self, table: Any, weights: Float[np.ndarray, " n"]) -> None:
        """Take in rows, dense or sparse; a row of weight k counts as k rows."""
        if self.kind == "none":
            self.shift, self.scale = np.zeros(table.shape[1]), np.ones(table.shape[1])
        elif self.kind == "standard":
            self._moments.partial_fit(table, sample_weight=weights)
            self.shift, self.scale = self._grouped_moments()
        else:
            least, most = (_dense_row(table.min(axis=0)), _dense_row(table.max(axis=0)))
            self._least = least if self._least is None else np.minimum(self._least, least)
            self._most = most if self._most is None else np.maximum(self._most, most)
            self.shift, self.scale = self._grouped_range()

    def forward(self, table: Any) -> Float[np.ndarray, "n features"]:
        """Return rows, dense or sparse, in the network's units, in double precision."""
        dense = table.toarray() if sparse.issparse(table) else np.asarray(table)
        if self.kind == "none":
            return np.array(dense, dtype=np.float64, order="C")
        result: Float[np.ndarray, "n features"] = np.subtract(dense, self.shift, order="C") / self.scale
        return result

    def backward(self, rows: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "n features"]:
        """Return rows in the table's units, in double precision."""
        result: Float[np.ndarray, "n features"] = rows * self.scale + self.shift
        return result

    def log_jacobian(self) -> float:
        """Return what to add to a log-density in the network's units for that in the table's units (nats)."""
        return -math.fsum(np.log(self.scale).tolist())

    def _grouped_moments(self) -> tuple[NDArray[Any], NDArray[Any]]:
        mean, scale = np.asarray(self._moments.mean_, float), np.asarray(self._moments.scale_, float)
        if self.groups is None:
            # The mean of equal numbers is off by a rounding step, which at 1e18 is 256: far from 0 in units of 1.
            return mean, np.where(scale == 1.0, np.maximum(1.0, NEGLIGIBLE * np.abs(mean)), scale)
        size = np.bincount(self.groups)
        shift = (np.bincount(self.groups, mean) / size)[self.groups]
        square = np.asarray(self._moments.var_, float) + (mean - shift) ** 2
        deviation = np.sqrt(np.bincount(self.groups, square) / size)
        constant = deviation <= 10 * np.finfo(float).eps * np.abs(shift[_first(self.groups)])
        return shift, np.where(constant, 1.0, deviation)[self.groups]

    def _grouped_range(self) -> tuple[NDArray[Any], NDArray[Any]]:
        least, most = self._least, self._most
        if self.groups is not None:
            lows, highs = np.full(self.groups.max() + 1, np.inf), np.full(self.groups.max() + 1, -np.inf)
            np.minimum.at(lows, self.groups, least)
            np.maximum.at(highs, self.groups, most)
            least, most = lows[self.groups], highs[self.groups]
        extent = most - least
        constant = extent <= 10 * np.finfo(float).eps * np.maximum(np.abs(least), np.abs(most))
        return least, np.where(constant, 1.0, extent)


def _first(groups: NDArray[Any]) -> NDArray[Any]:
    return np.unique(groups, return_index=True)[1]


def _dense_row(row: Any) -> Float[np.ndarray, " features"]:
    dense = row.toarray() if sparse.issparse(row) else np.asarray(row)
    return np.array(dense, dtype=np.float64).ravel()
