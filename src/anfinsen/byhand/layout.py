"""Where the cells stand: tensors as labelled two-dimensional tiles on the sheets of a workbook.

A tile's rows and columns are chosen so that what a formula sums over lies in one row or one column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anfinsen.common.errors import MemoryLimitError

from .graph import Graph, Ids, Step
from .slicing import Mask, Selection
from .slots import SLOTS

SheetName = Literal["Inputs", "Weights", "Steps", "Solution"]  # the last in exercises only
Offsets = NDArray[np.int64]

# Tiles of a step stand side by side up to so many columns.
MAX_WIDTH = 140
# What Excel's sheets have, less a margin for names.
MAX_COLUMNS, MAX_ROWS = 16_000, 1_048_000
FIRST_ROW = 3  # of every sheet: above stand its title and what it is


@dataclass(frozen=True, eq=False)
class Tile:
    """A rectangle of cells.

    Attributes:
        step: whose cells they are. sheet: where. row, column: of the first cell, from 0; the column names stand in the
            row above, the subtitle above those, the row names in the column before.
        cells: cell numbers [rows, columns]; -1: nothing stands there.
        subtitle: what distinguishes it from the step's other tiles. row_names, column_names: one for each.
    """

    step: Step
    sheet: SheetName
    row: int
    column: int
    cells: Ids
    subtitle: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]


@dataclass(eq=False)
class Places:
    """Where each shown cell stands; cells are looked up by number.

    Attributes:
        ids: shown cells, in order. sheet, row, column: of each; sheet -1: written into formulas as a number.
    """

    ids: Ids
    sheet: NDArray[np.int8]
    row: NDArray[np.int32]
    column: NDArray[np.int32]

    def index(self, ids: Ids) -> NDArray[np.int64]:
        """Return positions in the arrays."""
        return np.searchsorted(self.ids, ids)


SHEETS: tuple[SheetName, ...] = ("Inputs", "Weights", "Steps", "Solution")


@dataclass(eq=False)
class _Rectangle:
    offsets: Offsets  # [rows, columns] elements of the step's result, -1: nothing
    subtitle: str = ""
    row_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()


@dataclass(eq=False)
class _Demands:
    """Elements of a step that formulas take as rows or columns: arrays [count, length] of elements."""

    lines: list[Offsets] = field(default_factory=list)


def lay_out(graph: Graph, selection: Selection) -> tuple[tuple[Tile, ...], Places]:
    """Return the tiles of all shown cells, in order, and where each cell stands."""
    demands = _demands(graph, selection)
    shown = np.flatnonzero(selection.needed).astype(np.int32)
    places = Places(
        shown,
        np.full(shown.size, -1, np.int8),
        np.zeros(shown.size, np.int32),
        np.zeros(shown.size, np.int32),
    )
    cursors = dict.fromkeys(SHEETS, FIRST_ROW)
    tiles: list[Tile] = []
    for step in graph.steps:
        offsets = np.flatnonzero(selection.needed[step.start : step.stop])
        if not offsets.size or (step.kind == "constant" and step.size == 1):
            continue
        sheet: SheetName = "Steps" if step.kind == "formula" else ("Weights" if step.kind == "weight" else "Inputs")
        rectangles = _rectangles(graph, step, offsets, demands.get(step.number, _Demands()).lines)
        cursors[sheet] = _place(step, rectangles, sheet, cursors[sheet], tiles, places)
    return tuple(tiles), places


def _place(
    step: Step, rectangles: list[_Rectangle], sheet: SheetName, top: int, tiles: list[Tile], places: Places
) -> int:
    """Put rectangles side by side below row ``top``, which takes the step's title; return the next free row."""
    row, column, height = top + 1, 0, 0
    for rectangle in rectangles:
        rows, columns = rectangle.offsets.shape
        if column and column + 1 + columns > MAX_WIDTH:
            row, column, height = row + height + 3, 0, 0
        if columns > MAX_COLUMNS or row + rows > MAX_ROWS:
            raise MemoryLimitError(
                f"Step {step.name!r} would take {rows:,} rows and {columns:,} columns, more than a sheet has: choose "
                "fewer tokens, or a smaller block."
            )
        first_row, first_column = row + 2, column + 1
        cells = np.where(rectangle.offsets >= 0, rectangle.offsets + step.start, -1).astype(np.int32)
        tiles.append(
            Tile(
                step, sheet, first_row, first_column, cells, rectangle.subtitle, rectangle.row_names,
                rectangle.column_names,
            )
        )  # fmt: skip
        at_row, at_column = np.nonzero(cells >= 0)
        index = places.index(cells[at_row, at_column])
        places.sheet[index] = SHEETS.index(sheet)
        places.row[index] = at_row + first_row
        places.column[index] = at_column + first_column
        column, height = column + columns + 2, max(height, rows)
    return row + height + 4


def _demands(graph: Graph, selection: Selection) -> dict[int, _Demands]:
    """Return, for each step, which of its elements formulas sum over."""
    found: dict[int, _Demands] = {}
    for step in graph.steps:
        if not step.lines:
            continue
        shown = (selection.needed & selection.formula)[step.start : step.stop].reshape(step.shape)
        for lines in needed_lines(step, shown):
            if lines.shape[0] == 0 or lines.shape[1] < 2:
                continue
            different = np.unique(lines, axis=0)
            ends = np.stack([different.min(1), different.max(1)])
            low, high = np.searchsorted(np.asarray(graph.starts), ends, side="right") - 1
            for number in np.unique(low):
                whole = different[(low == number) & (high == number)].astype(np.int64) - graph.starts[number]
                if whole.size:
                    found.setdefault(int(number), _Demands()).lines.append(whole)
    return found


def needed_lines(step: Step, shown: Mask) -> Iterator[Ids]:
    """Yield the [count, length] lines of ``step`` that the ``shown`` elements of its result take."""
    if len(step.lines) == 1:
        yield step.lines[0][shown]
    elif step.lines:
        yield step.lines[0][shown.any(2)]
        yield step.lines[1][shown.any(1)]


class _Grid:
    """The elements of a step's result as rows and columns, and what these are about."""

    def __init__(self, step: Step, lines: Iterable[Offsets]) -> None:
        shape = step.shape or (1,)
        upright = len(step.lines) == 1 or (len(shape) == 1 and step.kind == "formula")
        if upright and len(shape) == 1 and any(line.shape[1] > 1 for line in lines):
            upright = False
        self.width = 1 if upright else shape[-1]
        self.shape = shape
        self.row_labels: dict[str, NDArray[np.int32]] = {}
        self.column_labels: dict[str, NDArray[np.int32]] = {}
        rows = int(np.prod(shape)) // self.width
        for slot in SLOTS:
            if slot not in step.labels:
                continue
            full = np.broadcast_to(step.labels[slot], shape).reshape(rows, self.width)
            if (full == full[:, :1]).all():
                self.row_labels[slot] = full[:, 0]
            elif (full == full[:1]).all():
                self.column_labels[slot] = full[0]


def _rectangles(graph: Graph, step: Step, offsets: Offsets, lines: list[Offsets]) -> list[_Rectangle]:
    grid = _Grid(step, lines)
    width = grid.width
    free = np.zeros(max(1, step.size), bool)
    free[offsets] = True
    upright = [each for each in lines if (each % width == each[:, :1] % width).all()]
    level = [each for each in lines if (each // width == each[:, :1] // width).all()] if width > 1 else []
    column_groups = _column_groups(grid, level)
    found: list[_Rectangle] = []
    for rows, columns in _upright_groups(upright, width):
        for some in _split(columns, column_groups[columns]):
            inside = rows[:, None] * width + some[None]
            if free[inside].all():
                free[inside] = False
                found.append(_Rectangle(inside))
    rest = np.flatnonzero(free)
    rows = np.unique(rest // width)
    for some_rows in _split(rows, _row_groups(grid)[rows]):
        mine = rest[np.isin(rest // width, some_rows)]
        columns = np.unique(mine % width)
        for some in _split(columns, column_groups[columns]):
            inside = some_rows[:, None] * width + some[None]
            inside = np.where(free[inside], inside, -1)
            inside = inside[(inside >= 0).any(1)]
            if inside.size:
                found.append(_Rectangle(inside))
    found.sort(key=lambda rectangle: int(rectangle.offsets[rectangle.offsets >= 0].min()))
    _name(graph, grid, found)
    return found


def _upright_groups(lines: list[Offsets], width: int) -> Iterator[tuple[Offsets, Offsets]]:
    """Yield (rows, columns) of columns of elements that run over the same rows in the same order."""
    groups: dict[bytes, tuple[Offsets, set[int]]] = {}
    taken: set[tuple[int, int]] = set()
    for family in lines:
        for line in family:
            rows, column = line // width, int(line[0] % width)
            if len(set(rows.tolist())) != rows.size or (int(rows[0]), column) in taken:
                continue
            taken.update((int(row), column) for row in rows)
            groups.setdefault(rows.tobytes(), (rows, set()))[1].add(column)
    for rows, columns in groups.values():
        yield rows, np.array(sorted(columns))


def _column_groups(grid: _Grid, level: list[Offsets]) -> NDArray[np.int64]:
    """Return a group number for each column: apart by part and head, together where a formula sums across."""
    groups = np.zeros(grid.width, np.int64)
    for slot in ("p", "h"):
        if slot in grid.column_labels:
            _, numbers = np.unique(grid.column_labels[slot], return_inverse=True)
            groups = groups * (numbers.max() + 1) + numbers
    for lines in level:
        for columns in np.unique(lines % grid.width, axis=0):
            joined = np.unique(groups[columns])
            if joined.size > 1:
                groups[np.isin(groups, joined)] = joined[0]
    return groups


def _row_groups(grid: _Grid) -> NDArray[np.int64]:
    """Return a group number for each row: apart by part and head, and maps of pairs by everything but the last."""
    count = int(np.prod(grid.shape)) // grid.width
    groups = np.zeros(count, np.int64)
    apart: list[str] = [slot for slot in ("p", "h", "b") if slot in grid.row_labels]
    is_map = any(SLOTS[slot] in ("token", "sequence", "atom") for slot in grid.column_labels)
    pairs = [slot for slot in grid.row_labels if SLOTS[slot] in ("sequence", "token", "atom", "channel")]
    if is_map and len(pairs) > 1:
        apart += pairs[:-1]
    for slot in apart:
        _, numbers = np.unique(grid.row_labels[slot], return_inverse=True)
        groups = groups * (numbers.max() + 1) + numbers
    return groups


def _split(members: Offsets, groups: NDArray[np.int64]) -> Iterator[Offsets]:
    for group in dict.fromkeys(groups.tolist()):
        yield members[groups == group]


def _name(graph: Graph, grid: _Grid, rectangles: list[_Rectangle]) -> None:
    """Write what rows and columns are about; what all cells of a tile share goes to its subtitle."""
    several: dict[str, set[int]] = {}
    for rectangle in rectangles:
        for slot, values in _labels_of(grid, rectangle):
            several.setdefault(slot, set()).update(values.tolist())
    for rectangle in rectangles:
        common: list[str] = []
        rows: list[tuple[str, NDArray[np.int32]]] = []
        columns: list[tuple[str, NDArray[np.int32]]] = []
        for slot, values in _labels_of(grid, rectangle):
            if (values == values[0]).all():
                if len(several[slot]) > 1 or slot == "p":
                    common.append(graph.names.of(slot, int(values[0])) if values[0] >= 0 else "")
                    common[-1] = f"{slot} = {common[-1]}" if SLOTS[slot] in ("token", "atom") else common[-1]
            else:
                (rows if slot in grid.row_labels else columns).append((slot, values))
        rectangle.subtitle = ", ".join(word for word in common if word)
        rectangle.row_names = _names(graph, rows, rectangle.offsets.shape[0])
        rectangle.column_names = _names(graph, columns, rectangle.offsets.shape[1])


def _labels_of(grid: _Grid, rectangle: _Rectangle) -> Iterator[tuple[str, NDArray[np.int32]]]:
    """Yield the label of each row (or column) of a rectangle, by slot, in the order of slots."""
    rows = rectangle.offsets.max(1) // grid.width
    columns = rectangle.offsets.max(0) % grid.width
    for slot in SLOTS:
        if slot in grid.row_labels:
            yield slot, grid.row_labels[slot][rows]
        elif slot in grid.column_labels:
            yield slot, grid.column_labels[slot][columns]


def _names(graph: Graph, labels: list[tuple[str, NDArray[np.int32]]], count: int) -> tuple[str, ...]:
    return tuple(
        " · ".join(graph.names.of(slot, int(values[n])) for slot, values in labels if values[n] >= 0)
        for n in range(count)
    )
