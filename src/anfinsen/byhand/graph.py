"""What a traced computation is: numbered cells, made by steps, each cell from named other cells.

A `Step` stands for one primitive operation on tensors and holds one cell for each element of its result. Views and
copies make no step: they are other arrangements of the same cell numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from anfinsen.common.errors import MemoryLimitError, NonFiniteError

from .slots import Labels, Names, compress

Kind = Literal["input", "weight", "constant", "formula"]
Ids = NDArray[np.int32]
"""Cell numbers in the arrangement of some tensor."""

# Spreadsheets have no infinity; the exponential of the negative one is 0 all the same.
INFINITY = 1e300
# More cells than this (20 bytes each, and the values of the run) do not fit an ordinary computer.
MAX_CELLS = 150_000_000


@dataclass(frozen=True, eq=False)
class Step:
    """One primitive operation; cell ``start + n`` is element n (C order) of its result.

    Attributes:
        number: position in the trace. kind: where the values come from; only "formula" has a template.
        name: of an input or weight, else what is done ("softmax: exponentials").
        scope: dotted name of the module that did it, "" for the block itself.
        start: number of the first cell. shape: of the result. values: what the model computed, float64.
        labels: what the cells are about.
        template: the formula, with ``{0}``, ``{1}``, ... for ``operands``, ``{line}`` for a range of cells, and
            ``{dot}`` for the sum of the products of two ranges.
        operands: cells, each in the shape of the result. lines: none; or [*shape, length] for ``{line}``; or, for
            ``{dot}`` and a result [batch, m, n], two of shape [batch, m, length] and [batch, n, length].
        backward: whether it computes gradients.
    """

    number: int
    kind: Kind
    name: str
    scope: str
    start: int
    shape: tuple[int, ...]
    values: Float[np.ndarray, "*shape"]
    labels: Labels
    template: str = ""
    operands: tuple[Ids, ...] = ()
    lines: tuple[Ids, ...] = ()
    backward: bool = False

    @property
    def size(self) -> int:
        """Return the number of cells."""
        return int(self.values.size)

    @property
    def stop(self) -> int:
        """Return the number after the last cell's."""
        return self.start + self.size


@dataclass(eq=False)
class Graph:
    """Steps in the order in which they were computed."""

    names: Names = field(default_factory=Names)
    steps: list[Step] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    size: int = 0

    def add(
        self,
        kind: Kind,
        name: str,
        values: Float[np.ndarray, "..."],
        labels: Labels,
        *,
        scope: str = "",
        template: str = "",
        operands: Sequence[Ids] = (),
        lines: Sequence[Ids] = (),
        backward: bool = False,
        masks: NDArray[np.bool_] | bool = True,
    ) -> Step:
        """Append a step and return it; ``masks``: where -inf may stand, as it is made of a mask's.

        Raises:
            MemoryLimitError: the computation has too many cells. NonFiniteError: a value is NaN or infinite.
        """
        if self.size + values.size > MAX_CELLS:
            raise MemoryLimitError(
                f"The block computes more than {MAX_CELLS:,} numbers on this input: trace it on a shorter chain, or a "
                "smaller block."
            )
        if not np.isfinite(values).all():
            values = _without_infinities(values, name, kind, masks)
        step = Step(
            number=len(self.steps),
            kind=kind,
            name=name,
            scope=scope,
            start=self.size,
            shape=tuple(values.shape),
            values=values,
            labels=compress(labels),
            template=template,
            operands=tuple(operands),
            lines=tuple(lines),
            backward=backward,
        )
        self.steps.append(step)
        self.starts.append(step.start)
        self.size += step.size
        return step

    def step_of(self, cell: int) -> Step:
        """Return the step that made ``cell``."""
        return self.steps[bisect_right(self.starts, cell) - 1]

    def values(self, ids: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Return the values of cells."""
        result = np.empty(ids.shape)
        for step, chosen, offsets in self.by_step(ids):
            result[chosen] = step.values.reshape(-1)[offsets]
        return result

    def by_step(self, ids: Int[np.ndarray, "..."]) -> list[tuple[Step, NDArray[np.bool_], NDArray[np.int64]]]:
        """Return the steps that made ``ids``, where in ``ids`` their cells are, and which elements these are."""
        numbers = np.searchsorted(np.asarray(self.starts), ids, side="right") - 1
        found = []
        for number in np.unique(numbers):
            chosen = numbers == number
            found.append((self.steps[number], chosen, ids[chosen].astype(np.int64) - self.starts[number]))
        return found

    def labels(self, ids: Ids) -> Labels:
        """Return what the cells of a tensor arranged as ``ids`` are about."""
        if not ids.size:
            return {}
        low, high = int(ids.min()), int(ids.max())
        step = self.step_of(low)
        if high < step.stop:
            if not step.labels:
                return {}
            if ids.shape == step.shape and ids.size == step.size and _is_counting(ids, step.start):
                return step.labels
            offsets = ids - step.start
            return compress({slot: _flat(values, step.shape)[offsets] for slot, values in step.labels.items()})
        result: Labels = {}
        for step, chosen, places in self.by_step(ids):
            for slot, values in step.labels.items():
                result.setdefault(slot, np.full(ids.shape, -1, np.int32))[chosen] = _flat(values, step.shape)[places]
        return compress(result)


def _without_infinities(
    values: Float[np.ndarray, "..."], name: str, kind: Kind, masks: NDArray[np.bool_] | bool
) -> Float[np.ndarray, "..."]:
    """Return ``values`` with -inf, which masks are made of, as the number that formulas use for it."""
    found = "NaN" if np.isnan(values).any() else "infinity"
    if found == "infinity" and not (np.isinf(values) & ((values > 0) | ~np.asarray(masks))).any():
        return np.asarray(np.maximum(values, -INFINITY))
    if kind == "formula":
        raise NonFiniteError(
            f"Step {name!r} computes {found}, which spreadsheets do not have: check the inputs and weights, or choose "
            "another block."
        )
    raise NonFiniteError(f"The {kind} {name!r} holds {found}, which spreadsheets do not have: give finite numbers.")


def _flat(values: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    return np.broadcast_to(values, shape).reshape(-1)


def _is_counting(ids: Ids, start: int) -> bool:
    flat = ids.reshape(-1)
    return bool(flat[0] == start and flat[-1] == start + flat.size - 1 and (np.diff(flat) == 1).all())
