"""A workbook or page with tiles left blank for the reader to fill in, who is told what is right.

What follows a blank tile is computed from its hidden solution, not from what was entered: one wrong number would make
everything below it wrong too, a blank would be a zero in it, and tiles could be done in one order only. The solution is
a formula, so answers are judged rightly also after an input was changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anfinsen.common.errors import ConfigError, MemoryLimitError

from .equations import equation
from .formulas import Writer, address
from .graph import Step
from .layout import MAX_COLUMNS, SHEETS, Tile
from .plan import MAX_FORMULAS, Plan
from .workbook import MODEL, OVERVIEW, Exact, Sheets, WorkbookFacts, area_of, cells_of, write_sheets

SOLUTION = "Solution"
TOLERANCE = 0.01  # of the value: enough for working with the four digits that cells show
NEARLY_ZERO = 1e-9  # what an answer may be off where the value is zero
MAX_TILES = 200  # counts of one score: functions take at most 255 arguments
MIDDLE = "middle"
MIDDLE_STEPS = 3
MIDDLE_CELLS = 24  # of one tile that is chosen for the reader: what one fills in without giving up
SCORE, TOLERANCE_CELL = "E7", "E5"  # of the overview
COLOURS = {"blank": "#FCE4EC", "right": "#B7E1CD", "wrong": "#F4B6B0"}

_LOCAL = re.compile(r"(?<![A-Za-z0-9!:.$])([A-Z]{1,3}\d+(?::[A-Z]{1,3}\d+)?)(?![\d(])")
_PART = re.compile(r"\s*(\d{1,5})(?:\.(\d{1,4})|\s*-\s*(\d{1,5}))?\s*")


@dataclass(frozen=True, eq=False)
class Exercise:
    """What is left blank.

    Attributes:
        plan: laid out with room for verdicts; the cells of blank tiles stand on the sheet "Solution", at the addresses
            that the blank cells have on "Steps".
        blanks: numbers of the blank tiles in ``plan.tiles``.
        tolerance: how far an answer may be off, as a share of the value.
    """

    plan: Plan
    blanks: frozenset[int]
    tolerance: float

    def formula(self, cell: int) -> str:
        """Return the formula of a formula cell, as the sheet on which it stands needs it."""
        text = self.plan.formula(cell)
        where = self.plan.address(cell)
        return _LOCAL.sub(r"Steps!\1", text) if where is not None and where[0] == SOLUTION else text

    def hints(self, tile: Tile) -> tuple[str, str]:
        """Return the equation of a blank tile, and the formula of its first cell."""
        numbers = {step.number: number for number, step, _ in self.plan.steps()}
        first = next(cell for _, cell in cells_of(tile) if self.plan.is_formula(cell))
        _, where = self.plan.address(first) or ("", "")
        words = f"{tile.step.name}: {equation(self.plan.trace.graph, tile.step, numbers)}"
        return words, f"{where} {self.plan.formula(first).replace(f'{SOLUTION}!', '')}"


def make_exercise(plan: Plan, tiles: str = MIDDLE, tolerance: float = TOLERANCE) -> Exercise:
    """Choose what is left blank, and make room for the verdicts beside it.

    Args:
        plan: the whole computation.
        tiles: numbers of steps and, after a point, of one of their tiles, from 1: "7", "9-11,14.2"; "middle": small
            tiles of the middle steps.
        tolerance: how far an answer may be off, as a share of the value.

    Raises:
        ConfigError: there is no such step or tile. MemoryLimitError: the verdicts are too many.
    """
    if not 0 < tolerance < 1:
        raise ConfigError(
            f"The tolerance of an exercise is {tolerance}: expected a share between 0 and 1, such as 0.01."
        )
    blanks = _chosen(plan, tiles)
    if len(blanks) > MAX_TILES:
        raise ConfigError(f"Exercise {tiles!r} leaves {len(blanks)} tiles blank: choose at most {MAX_TILES}.")
    answers = sum(plan.is_formula(cell) for number in blanks for _, cell in cells_of(plan.tiles[number]))
    if plan.selection.formulas + answers > MAX_FORMULAS:
        raise MemoryLimitError(
            f"Exercise {tiles!r} leaves {answers:,} cells blank, and with their verdicts the workbook would have more "
            f"than {MAX_FORMULAS:,} formulas: choose fewer tiles, or a smaller slice."
        )
    return Exercise(_with_room(plan, blanks), blanks, tolerance)


def write_exercise(exercise: Exercise, path: Path) -> WorkbookFacts:
    """Write the workbook of an exercise to ``path``, whole or not at all (raises as `write_workbook`)."""
    return write_sheets(path, lambda book: _ExerciseSheets(book, exercise))


def _chosen(plan: Plan, text: str) -> frozenset[int]:
    """Return the numbers of the tiles that ``text`` names."""
    places = {id(tile): number for number, tile in enumerate(plan.tiles)}
    every = {number: [places[id(tile)] for tile in tiles] for number, _, tiles in plan.steps()}
    steps = {
        number: [tile for tile in tiles if any(plan.is_formula(cell) for _, cell in cells_of(plan.tiles[tile]))]
        for number, tiles in every.items()
    }
    if text.strip() == MIDDLE:
        return frozenset(_middle(plan, steps))
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        first = int(match.group(1)) if match else 0
        last = int(match.group(3) or first) if match else 0
        if match is None or first not in steps or last not in steps or last < first:
            raise ConfigError(
                f"Exercise {text!r} names {part.strip()!r}: expected steps from 1 to {max(steps)}, such as 7, 9-11 or "
                f"12.2 (the second tile of step 12), or {MIDDLE!r}."
            )
        if match.group(2):
            tiles = every[first]  # numbered as the page numbers them, with those that are numbers alone
            if not 1 <= int(match.group(2)) <= len(tiles):
                raise ConfigError(f"Exercise {text!r} names {part.strip()!r}: step {first} has {len(tiles)} tiles.")
            asked = {tiles[int(match.group(2)) - 1]} & set(steps[first])
        else:
            asked = {number for step in range(first, last + 1) for number in steps[step]}
        if not asked:
            raise ConfigError(
                f"Exercise {text!r} names {part.strip()!r}, which has no formulas in this slice, so that there is "
                "nothing to leave blank: choose another step, or a larger slice."
            )
        found |= asked
    return frozenset(found)


def _middle(plan: Plan, steps: dict[int, list[int]]) -> Iterator[int]:
    """Yield the tiles that are nearest to the middle, of steps that do different things, and small."""
    middle = (min(steps) + max(steps)) / 2
    order = sorted((abs(number - middle), number) for number in steps)
    candidates = [tile for _, number in order for tile in steps[number]]  # not empty: plans have formulas
    small = [tile for tile in candidates if 2 <= len(cells_of(plan.tiles[tile])) <= MIDDLE_CELLS]
    done: set[str] = set()
    for tile in small or [min(candidates, key=lambda number: plan.tiles[number].cells.size)]:
        name = plan.tiles[tile].step.name
        if name not in done and len(done) < MIDDLE_STEPS:
            done.add(name)
            yield tile


def _with_room(plan: Plan, blanks: frozenset[int]) -> Plan:
    """Return ``plan`` with the tiles to the right of blank ones moved, and blank cells on the sheet of solutions."""
    places = copy.copy(plan.places)
    places.sheet, places.column = places.sheet.copy(), places.column.copy()
    tiles: list[Tile] = []
    moved: dict[tuple[str, int], int] = {}  # by row of tiles: how far the next tile goes to the right
    for number, tile in enumerate(plan.tiles):
        shift = moved.get((tile.sheet, tile.row), 0)
        index = places.index(tile.cells[tile.cells >= 0])
        places.column[index] += shift
        if number in blanks:
            places.sheet[index] = SHEETS.index(SOLUTION)
            moved[tile.sheet, tile.row] = shift + tile.cells.shape[1] + 1
        tiles.append(replace(tile, column=tile.column + shift))
        if moved.get((tile.sheet, tile.row), 0) + tile.column + tile.cells.shape[1] > MAX_COLUMNS:
            raise MemoryLimitError(
                f"With room for verdicts the step {tile.step.name!r} would need more columns than the {MAX_COLUMNS:,} "
                "that sheets have: leave other tiles blank, or choose a smaller slice."
            )
    writer = Writer(plan.trace.graph, plan.selection, places)
    return replace(plan, tiles=tuple(tiles), places=places, writer=writer)


class _ExerciseSheets(Sheets):
    """The sheets of a workbook with an exercise."""

    def __init__(self, book: Any, exercise: Exercise) -> None:
        super().__init__(book, exercise.plan)
        self.exercise = exercise
        self.blanks = {id(exercise.plan.tiles[number]) for number in exercise.blanks}
        self.numbers = {step.number: number for number, step, _ in exercise.plan.steps()}
        self.asked = {exercise.plan.tiles[number].step.number for number in exercise.blanks}
        self.solution = book.add_worksheet(SOLUTION)
        self.solution.write_string(0, 0, "Solutions, where the sheet Steps has blank cells", self.title)
        edge = {"border": 4, "border_color": "#AD1457"}
        self.blank = book.add_format({"bg_color": COLOURS["blank"], "num_format": "0.0000", **edge})
        self.verdict = book.add_format({"align": "center", "font_color": "#555555"})
        self.marks = {word: book.add_format({"bg_color": COLOURS[word]}) for word in ("right", "wrong")}
        self.answers = 0
        self.counts_of_right: list[str] = []

    def write(self, path: Path) -> WorkbookFacts:
        """Write everything; the answers go out of sight."""
        facts = super().write(path)
        self._instructions()
        self.model.hide()
        self.solution.hide()
        return facts

    def step_words(self, step: Step, number: int | None) -> str:
        """Return the title of a step; the equation of a blank one is a hint."""
        words = super().step_words(step, number)
        if step.number not in self.asked:
            return words
        return words.replace(f":  {equation(self.plan.trace.graph, step, self.numbers)}", "")

    def _tile(self, tile: Tile) -> str | None:
        if id(tile) not in self.blanks:
            return super()._tile(tile)
        self._names(tile)
        verdicts = tile.column + tile.cells.shape[1] + 1
        asked = 0
        for (row, column), cell in cells_of(tile):
            kind = self.plan.kind(cell)
            self.counts[kind] += 1
            value = float(self.plan.value(cell))
            at = (tile.row + row, tile.column + column)
            self.model.write_number(*at, Exact(value), self.formats[kind])
            if not self.plan.is_formula(cell):
                for sheet in (self.sheets["Steps"], self.solution):
                    sheet.write_number(*at, Exact(value), self.formats[kind])
                continue
            asked += 1
            self.solution.write_formula(*at, self.exercise.formula(cell), self.formats[kind], Exact(value))
            self.sheets["Steps"].write_blank(*at, None, self.blank)
            self._verdict(address(*at), (at[0], verdicts + column))
        self._hint(tile)
        self._count(tile, verdicts, asked)
        area = area_of(tile)
        difference = f"=SUMPRODUCT(MAX(ABS({SOLUTION}!{area}-{MODEL}!{area})))"
        self.sheets["Steps"].write_formula(tile.row - 2, tile.column - 1, difference, self.small, 0)
        return f"Steps!{address(tile.row - 2, tile.column - 1)}"

    def _names(self, tile: Tile) -> None:
        for sheet in (self.sheets["Steps"], self.solution):
            sheet.write_string(tile.row - 2, tile.column, tile.subtitle or tile.step.name, self.subtitle)
            for n, name in enumerate(tile.column_names):
                sheet.write_string(tile.row - 1, tile.column + n, name, self.name)
            for n, name in enumerate(tile.row_names):
                sheet.write_string(tile.row + n, tile.column - 1, name, self.name)

    def _verdict(self, entry: str, at: tuple[int, int]) -> None:
        allowed = f"{OVERVIEW}!{TOLERANCE_CELL}*ABS({SOLUTION}!{entry})+{NEARLY_ZERO:.0E}"
        judged = f'IF(ABS(N({entry})-{SOLUTION}!{entry})<={allowed},"right","wrong")'
        self.sheets["Steps"].write_formula(*at, f'=IF(ISNUMBER({entry}),{judged},"…")', self.verdict, "…")

    def _count(self, tile: Tile, verdicts: int, asked: int) -> None:
        """Count the right answers of a tile above its verdicts, and colour both."""
        rows, columns = tile.cells.shape
        steps, first = self.sheets["Steps"], address(tile.row, verdicts)
        area = f"{first}:{address(tile.row + rows - 1, verdicts + columns - 1)}"
        words = self.book.add_format({"num_format": f'"right: "0" of {asked}"', "italic": True})
        steps.write_formula(tile.row - 2, verdicts, f'=COUNTIF({area},"right")', words, 0)
        self.counts_of_right.append(f"Steps!{address(tile.row - 2, verdicts)}")
        self.answers += asked
        for word, mark in self.marks.items():
            for place in (area_of(tile), area):
                steps.conditional_format(place, {"type": "formula", "criteria": f'={first}="{word}"', "format": mark})

    def _hint(self, tile: Tile) -> None:
        """Write, below the tile, a cell to put 1 or 2 into, and what that shows."""
        rows, columns = tile.cells.shape
        ask, invitation = (tile.row + rows, tile.column), "← write 1 for a hint, 2 for more"
        # Texts in formulas may have 255 letters, so that the hints stand on the sheet of solutions.
        hidden = ((tile.row - 1, tile.column + columns), ask)
        for at, text in zip(hidden, self.exercise.hints(tile), strict=True):
            self.solution.write_string(*at, text, self.name)
        first, second = (f"{SOLUTION}!{address(*at)}" for at in hidden)
        steps, given = self.sheets["Steps"], address(*ask)
        steps.write_string(ask[0], ask[1] - 1, "hint", self.name)
        steps.write_blank(*ask, None, self.blank)
        formula = f'=IF({given}=1,{first},IF({given}=2,{second},"{invitation}"))'
        steps.write_formula(ask[0], ask[1] + 1, formula, self.subtitle, invitation)

    def _instructions(self) -> None:
        sheet = self.overview
        sheet.write_blank(2, 0, None, self.blank)
        sheet.write_string(
            2, 1,
            "Exercise: fill in the cells of this colour on the sheet Steps. What follows them is computed from the "
            "solution, whatever you enter. Solutions: right-click a tab, Unhide, Solution.",
        )  # fmt: skip
        sheet.write_string(4, 0, "Exercise: an answer is right if it is off by no more than this share of the value:")
        sheet.write_number(4, 4, self.exercise.tolerance)
        sheet.write_string(6, 0, f"Exercise: right answers of {self.answers}:")
        sheet.write_formula(6, 4, f"=SUM({','.join(self.counts_of_right)})", None, 0)
