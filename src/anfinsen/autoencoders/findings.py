"""What a trained autoencoder says about data: scores, how well each column comes back, and rows worth a look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from anfinsen.common.errors import NonFiniteError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import numpy_generator

from .dataset import DataSet
from .scaling import NEGLIGIBLE

MAP_POINTS = 4000  # rows drawn on the latent map
RANKED = 50  # rows whose numbers are kept: those with the highest scores
TYPICAL = 10  # rows whose numbers are kept: those with the lowest scores


@runtime_checkable
class Fitted(Protocol):
    """What is asked of a fitted autoencoder, whichever variant it is."""

    def transform(self, x: Float[np.ndarray, "n D"], /) -> Float[np.ndarray, "n c"]:
        """Return the latents of rows."""

    def inverse_transform(self, x: Float[np.ndarray, "n c"], /) -> Float[np.ndarray, "n D"]:
        """Return the rows that latents stand for."""

    def score_samples(self, x: Float[np.ndarray, "n D"], /) -> Float[np.ndarray, "n"]:
        """Return how usual rows are; higher is more usual."""


Sink = Callable[[int, Float[np.ndarray, "n c"], Float[np.ndarray, "n D"]], None]
"""Receives the first row of a chunk, its latents and its reconstructions."""


@dataclass(frozen=True)
class Sweep:
    """One pass over N rows of D columns.

    Attributes:
        scores: anomaly score of each row; higher is stranger.
        centre, spread: mean and standard deviation of each column. A constant column has spread 0.
        squared_error: mean squared error of each column, in its own unit squared.
    """

    scores: Float[np.ndarray, "N"]
    centre: Float[np.ndarray, "D"]
    spread: Float[np.ndarray, "D"]
    squared_error: Float[np.ndarray, "D"]

    @property
    def order(self) -> Int[np.ndarray, "N"]:
        """Rows by score, the highest first; equal scores in the order of the rows."""
        order: Int[np.ndarray, "N"] = np.argsort(-self.scores, kind="stable")
        return order

    @property
    def unit(self) -> Float[np.ndarray, "D"]:
        """What differences in each column are measured in: the spread, or that of the scaler for a constant column."""
        return np.where(self.spread > 0, self.spread, np.maximum(1.0, NEGLIGIBLE * np.abs(self.centre)))

    @property
    def column_r2(self) -> tuple[float | None, ...]:
        """Share of each column's variance that comes back; None for a constant column."""
        return tuple(
            None if spread == 0 else float(1 - error / spread**2)
            for error, spread in zip(self.squared_error, self.spread, strict=True)
        )

    @property
    def mean_r2(self) -> float | None:
        """Mean of ``column_r2`` over columns that vary; None where there is none."""
        known = [value for value in self.column_r2 if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def pooled_r2(self) -> float | None:
        """Share of the variance of all columns together that comes back, for columns of one unit (pixels)."""
        variance = float((self.spread**2).sum())
        return 1 - float(self.squared_error.sum()) / variance if variance > 0 else None

    @property
    def rmse(self) -> float:
        """Root of the mean squared error over all numbers, in the data's unit (which pixels share)."""
        return float(np.sqrt(self.squared_error.mean()))

    @property
    def standard_rmse(self) -> float:
        """Root of the mean squared error over all numbers, in standard deviations of their columns."""
        return float(np.sqrt((self.squared_error / self.unit**2).mean()))

    def threshold(self, contamination: float) -> float:
        """Return the score above which lie as many rows as can be without exceeding the share ``contamination``."""
        # A product such as 0.1 x 30 may be rounded down.
        allowed = int(contamination * len(self.scores) + 1e-9 * len(self.scores))
        return float(self.scores[self.order[min(allowed, len(self.scores) - 1)]])


@dataclass(frozen=True)
class Example:
    """One row and its reconstruction; ``rank`` 1 has the highest score of all."""

    row: int
    rank: int
    score: float
    values: Float[np.ndarray, "D"]
    reconstruction: Float[np.ndarray, "D"]


@dataclass(frozen=True)
class LatentMap:
    """n rows in two dimensions.

    Attributes:
        rows: which they are. points: where they stand. axes: titles of the two axes.
    """

    rows: Int[np.ndarray, "n"]
    points: Float[np.ndarray, "n 2"]
    axes: tuple[str, str]


def sweep(fitted: Fitted, data: DataSet, sink: Sink | None = None, progress: Progress | None = None) -> Sweep:
    """Pass over every row of ``data`` once, in chunks, and hand latents and reconstructions to ``sink``.

    Raises:
        NonFiniteError: a latent, a reconstruction or a score is NaN or infinite.
    """
    progress = progress or Silent()
    progress.stage("applying", len(data))
    scores = np.empty(len(data))
    count, width = 0, len(data.columns)
    centre, scatter, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    lowest, highest = np.full(width, np.inf), np.full(width, -np.inf)
    for start, stop in data.chunks():
        rows = data.rows(start, stop)
        latents = fitted.transform(rows)
        _check_finite("latent", latents, start, data)
        made = fitted.inverse_transform(latents)
        _check_finite("reconstruction", made, start, data)
        scores[start:stop] = -fitted.score_samples(rows)
        _check_finite("score", scores[start:stop, None], start, data)
        if sink is not None:
            sink(start, latents, made)
        exact = rows.astype(np.float64)
        squares += ((made - exact) ** 2).sum(0)
        # Chan, Golub and LeVeque (1979): the moments of parts, joined without loss of digits.
        mean, total = exact.mean(0), count + len(rows)
        scatter += ((exact - mean) ** 2).sum(0) + (mean - centre) ** 2 * count * len(rows) / total
        centre += (mean - centre) * len(rows) / total
        lowest, highest = np.minimum(lowest, exact.min(0)), np.maximum(highest, exact.max(0))
        count = total
        progress.advance(stop - start)
    # Rounding leaves a constant column with a spread that is not quite 0.
    spread = np.sqrt(scatter / count)
    spread[(lowest == highest) | (spread <= np.abs(centre) * np.finfo(np.float64).eps * 8)] = 0.0
    return Sweep(scores, centre, spread, squares / count)


def examples(fitted: Fitted, data: DataSet, found: Sweep) -> tuple[Example, ...]:
    """Return the rows with the highest scores, then those with the lowest (the lowest last)."""
    order = found.order
    ranks = np.unique(np.concatenate([np.arange(min(RANKED, len(data))), np.arange(len(data))[-TYPICAL:]]))
    rows = order[ranks]
    values = data.take(rows)
    made = fitted.inverse_transform(fitted.transform(values))
    return tuple(
        Example(int(row), int(rank) + 1, float(found.scores[row]), values[place], made[place])
        for place, (row, rank) in enumerate(zip(rows, ranks, strict=True))
    )


def latent_map(fitted: Fitted, data: DataSet, found: Sweep, seed: int) -> LatentMap:
    """Return where rows stand in the latent space: in its two components, or in the plane in which they vary most.

    Of many rows some are drawn, and those with the highest scores are always among them. One component is drawn
    against the score.
    """
    chosen = np.arange(len(data))
    if len(data) > MAP_POINTS:
        drawn = numpy_generator(seed, "latent map").choice(len(data), MAP_POINTS - RANKED, replace=False)
        chosen = np.unique(np.concatenate([drawn, found.order[:RANKED]]))
    latents = fitted.transform(data.take(chosen)).astype(np.float64)
    if latents.shape[1] == 1:
        return LatentMap(chosen, np.stack([latents[:, 0], found.scores[chosen]], 1), ("component 1", "anomaly score"))
    if latents.shape[1] == 2 or len(latents) < 3:  # two points have no plane
        latents = latents[:, :2]
        return LatentMap(chosen, latents, ("component 1", "component 2"))
    centred = latents - latents.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    # An axis may point either way: its largest part is made positive.
    axes = axes[:2] * np.sign(axes[[0, 1], np.abs(axes[:2]).argmax(1)])[:, None]
    share = 100 * singular**2 / max(float((singular**2).sum()), np.finfo(np.float64).tiny)
    titles = [f"principal axis {place + 1} of {latents.shape[1]} components ({share[place]:.0f} %)" for place in (0, 1)]
    return LatentMap(chosen, centred @ axes.T, (titles[0], titles[1]))


def _check_finite(name: str, found: Shaped[np.ndarray, "n _"], start: int, data: DataSet) -> None:
    wrong = ~np.isfinite(found).all(1)
    if wrong.any():
        raise NonFiniteError(
            f"The {name} of row {data.row_name(start + int(wrong.argmax()))} of {data.path} is not finite: nothing is "
            "written; train with a smaller --learning-rate, or on rows of a smaller range."
        )
