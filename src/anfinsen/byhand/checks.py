"""Does a workbook follow the model? Cells of the file are changed, and what comes out is held against the model."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from .evaluate import Computed, compute_cells, open_book, place
from .plan import Plan
from .trace import source_tensor

Compute = Callable[[Path], Computed]
"""Computes the formulas of a workbook anew: `compute_cells` (Python) or `libreoffice_cells`."""


def change_cells(path: Path, changes: Mapping[tuple[str, str], float | str], target: Path) -> None:
    """Write a copy of the workbook at ``path`` with other contents in some cells (by sheet and address).

    Stored results are not copied: a program that opens the copy has to compute.
    """
    book = open_book(path)
    for (sheet, address), content in changes.items():
        book[sheet][address] = content
    book.save(target)


def difference_after_change(
    plan: Plan, path: Path, changes: Mapping[int, float], compute: Compute = compute_cells
) -> float:
    """Return how far the workbook's results are from the model's, once some inputs and weights are changed in both.

    Infinite if one of them is an error.

    Args:
        plan: of the workbook at ``path``. changes: new values of input and weight cells, by cell number.
        compute: who computes the workbook.
    """
    trace = plan.trace
    by_source: dict[str, dict[tuple[int, ...], float]] = {}
    in_file: dict[tuple[str, str], float | str] = {}
    for cell, value in changes.items():
        name, element = plan.origin(cell)
        by_source.setdefault(name, {})[element] = value
        where = plan.address(cell)
        assert where is not None  # inputs and weights have places
        in_file[where] = value
    inputs, weights = (
        {name: source_tensor(steps[name], elements) for name, elements in by_source.items() if name in steps}
        for steps in (trace.inputs, trace.weights)
    )
    expected = trace.run(inputs, weights)
    with tempfile.TemporaryDirectory(prefix="anfinsen-byhand-") as folder:
        copy = Path(folder) / "changed.xlsx"
        change_cells(path, in_file, copy)
        computed = compute(copy)
    worst = 0.0
    for name, cells in plan.selection.outputs.items():
        values = expected[name].reshape(-1).tolist()
        for position, cell in enumerate(cells.reshape(-1).tolist()):
            if cell >= 0 and plan.is_formula(cell):
                where = plan.address(cell)
                assert where is not None  # formulas have places
                column, row = place(where[1])
                value = computed[where[0], row, column]
                if isinstance(value, str) or not math.isfinite(value):
                    return math.inf  # an error
                worst = max(worst, abs(float(value) - values[position]))
    return worst
