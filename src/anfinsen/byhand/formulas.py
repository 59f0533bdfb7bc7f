"""From a cell to its formula, in the words that Excel 2016, LibreOffice and Google Sheets share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from anfinsen.common.errors import ConfigError

from .graph import Graph, Ids, Step
from .layout import SHEETS, Places
from .slicing import Selection
from .tracer import literal

# Excel refuses longer formulas (8,192 characters) and functions of more arguments (255).
MAX_LENGTH = 8000
MAX_ARGUMENTS = 250


@dataclass(frozen=True)
class Range:
    """Cells that stand in one row or one column: number ``first`` to ``first + count - 1`` of a line.

    Attributes:
        sheet: name; "": no place, but ``value``. row, column: of the first cell, from 0.
        count: of cells. upright: whether they run down.
        value: of a number that is written into the formula.
    """

    first: int
    sheet: str
    row: int
    column: int
    count: int
    upright: bool
    value: float = 0.0

    def part(self, start: int, stop: int) -> Range:
        """Return the cells number ``start`` to ``stop - 1`` of the line."""
        skipped = start - self.first
        row = self.row + (skipped if self.upright else 0)
        column = self.column + (0 if self.upright else skipped)
        return Range(start, self.sheet, row, column, stop - start, self.upright, self.value)

    def text(self, home: str) -> str:
        """Return the reference as a formula on sheet ``home`` writes it."""
        if not self.sheet:
            return literal(self.value)
        prefix = "" if self.sheet == home else f"{self.sheet}!"
        start = address(self.row, self.column)
        if self.count == 1:
            return prefix + start
        end = (self.row + self.count - 1, self.column) if self.upright else (self.row, self.column + self.count - 1)
        return f"{prefix}{start}:{address(*end)}"


def address(row: int, column: int) -> str:
    """Return "B3" for row 2 and column 1."""
    letters, number = "", column + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row + 1}"


class Writer:
    """Writes formulas, given where the cells stand."""

    def __init__(self, graph: Graph, selection: Selection, places: Places) -> None:
        self._graph, self._selection, self._places = graph, selection, places
        self._lines: dict[tuple[int, int, int], tuple[Range, ...]] = {}

    def formula(self, cell: int) -> str:
        """Return the formula of ``cell`` without the equals sign.

        Raises:
            ConfigError: it would be longer than spreadsheet programs allow.
        """
        step = self._graph.step_of(cell)
        element = np.unravel_index(cell - step.start, step.shape) if step.shape else ()
        operands = [next(self._ranges(operand[element].reshape(1))).text("Steps") for operand in step.operands]
        words = {}
        lines = self.lines(step, tuple(int(axis) for axis in element))
        if len(lines) == 1:
            words["line"] = _joined([part.text("Steps") for part in lines[0]])
        elif lines:
            words["dot" if "{dot}" in step.template else "square"] = _pairs(step.template, *lines)
        text = step.template.format(*operands, **words)
        if len(text) > MAX_LENGTH:
            raise ConfigError(
                f"A formula of step {step.name!r} would have {len(text):,} characters, and spreadsheets allow "
                f"{MAX_LENGTH:,}: choose fewer tokens."
            )
        return text

    def sources(self, cell: int) -> tuple[Range, ...]:
        """Return what the formula of ``cell`` refers to."""
        step = self._graph.step_of(cell)
        element = np.unravel_index(cell - step.start, step.shape) if step.shape else ()
        found = [part for operand in step.operands for part in self._ranges(operand[element].reshape(1))]
        for line in self.lines(step, tuple(int(axis) for axis in element)):
            found.extend(line)
        return tuple(part for part in found if part.sheet)

    def lines(self, step: Step, element: tuple[int, ...]) -> tuple[tuple[Range, ...], ...]:
        """Return the one or two lines that an element of ``step`` sums over, each in pieces that lie together."""
        if len(step.lines) == 1:
            return (tuple(self._ranges(step.lines[0][element])),)
        if not step.lines:
            return ()
        batch, row, column = element
        found = []
        for which, place in ((0, row), (1, column)):
            key = (step.number, which, batch * step.lines[which].shape[1] + place)
            if key not in self._lines:
                self._lines[key] = tuple(self._ranges(step.lines[which][batch, place]))
            found.append(self._lines[key])
        return tuple(found)

    def _ranges(self, ids: Ids) -> Iterator[Range]:
        """Yield ``ids`` as the fewest ranges."""
        index = self._places.index(ids)
        sheet, row, column = self._places.sheet[index], self._places.row[index], self._places.column[index]
        start, count = 0, ids.size
        while start < count:
            if sheet[start] < 0:
                value = float(self._graph.values(ids[start : start + 1])[0])
                yield Range(start, "", 0, 0, 1, False, value)
                start += 1
                continue
            stop, upright = start + 1, False
            while stop < count and sheet[stop] == sheet[start]:
                down, right = row[stop] - row[stop - 1], column[stop] - column[stop - 1]
                if (down, right) not in ((1, 0), (0, 1)) or (stop > start + 1 and (down == 1) != upright):
                    break
                upright = bool(down == 1)
                stop += 1
            yield Range(start, SHEETS[sheet[start]], int(row[start]), int(column[start]), stop - start, upright)
            start = stop


def _joined(parts: list[str]) -> str:
    """Return the arguments of a function; more than it may have are bundled (for SUM, MAX and MIN)."""
    if len(parts) > MAX_ARGUMENTS:
        raise ConfigError("A sum runs over too many separate places: choose fewer tokens.")
    return ",".join(parts)


def _pairs(template: str, left: tuple[Range, ...], right: tuple[Range, ...]) -> str:
    """Return the sum of the products of two lines (``{dot}``), or of their squared differences (``{square}``)."""
    dot = "{dot}" in template
    cuts = sorted({part.first for part in (*left, *right)} | {left[-1].first + left[-1].count})
    terms, i, j = [], 0, 0
    for start, stop in pairwise(cuts):
        while left[i].first + left[i].count <= start:
            i += 1
        while right[j].first + right[j].count <= start:
            j += 1
        if dot and any(not part.sheet and part.value == 0 for part in (left[i], right[j])):
            continue
        a, b = left[i].part(start, stop), right[j].part(start, stop)
        terms.extend(_products(a, b) if dot else _squares(a, b))
    return "+".join(terms) or "0"


def _products(a: Range, b: Range) -> list[str]:
    first, second = a.text("Steps"), b.text("Steps")
    if a.count == 1:
        return [f"{first}*{second}"]
    if a.upright == b.upright:
        return [f"SUMPRODUCT({first},{second})"]
    return [f"MMULT({second},{first})" if a.upright else f"MMULT({first},{second})"]


def _squares(a: Range, b: Range) -> list[str]:
    if a.count > 1 and a.upright == b.upright:
        return [f"SUMXMY2({a.text('Steps')},{b.text('Steps')})"]
    places = range(a.first, a.first + a.count)
    return [f"({a.part(n, n + 1).text('Steps')}-{b.part(n, n + 1).text('Steps')})^2" for n in places]
