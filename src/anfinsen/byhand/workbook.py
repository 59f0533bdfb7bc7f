"""A plan as an Excel workbook: formulas, labels, colours, and how far they are from the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anfinsen.common.errors import MissingExtraError, OutputError
from anfinsen.common.files import atomic_path

from .equations import equation
from .formulas import address
from .graph import Step
from .layout import Tile
from .plan import Plan

MODEL = "Model"  # sheet with the model's numbers, cell by cell where Steps has formulas
OVERVIEW = "Overview"
LINE_LENGTH, LINE_HEIGHT = 100, 15  # of the overview's text: letters, points
DIFFERENCE = "E6"  # cell of the overview: the largest difference between formula and model

# Colours that stay apart for readers who see no red or green; the letter in the legend says the same.
COLOURS = {
    "input": "#CFE2F3",
    "weight": "#FFF2CC",
    "constant": "#D9D9D9",
    "held": "#BFBFBF",
    "formula": "#FFFFFF",
    "output": "#D9EAD3",
}
LEGEND = {
    "input": "input: what the block was given. Change one, and every formula follows",
    "weight": "weight: what the model has learnt. Change one, and every formula follows; grey numbers do not",
    "constant": "outside of the slice: a number that no input shown here changes; a changed weight might",
    "held": "held: outside of the slice, a number; would change if you changed an input",
    "formula": "intermediate result: a formula",
    "output": "result of the block: a formula",
}


class Exact(float):
    """A number that is written with all its digits (XlsxWriter would round to 16)."""

    def __format__(self, specification: str) -> str:
        return repr(float(self))

    def __str__(self) -> str:
        return repr(float(self))


@dataclass(frozen=True)
class WorkbookFacts:
    """What was written.

    Attributes:
        path: of the file. formulas: formula cells of the computation. numbers: cells given as numbers, by kind.
        differences: tiles whose difference from the model is computed.
    """

    path: Path
    formulas: int
    numbers: Mapping[str, int]
    differences: int


def write_workbook(plan: Plan, path: Path) -> WorkbookFacts:
    """Write ``plan`` to ``path``, whole or not at all.

    Raises:
        MissingExtraError: XlsxWriter is not installed. OutputError: the file cannot be written.
        ConfigError: a formula would be too long.
    """
    return write_sheets(path, lambda book: Sheets(book, plan))


def write_sheets(path: Path, make: Callable[[Any], Sheets]) -> WorkbookFacts:
    """Write the sheets that ``make`` lays out in an open book (raises as `write_workbook`)."""
    xlsxwriter = _library()
    with atomic_path(path) as temporary:
        book = xlsxwriter.Workbook(str(temporary), {"strings_to_numbers": False, "nan_inf_to_errors": False})
        facts = make(book).write(path)
        try:
            book.close()
        except xlsxwriter.exceptions.XlsxWriterException as error:
            raise OutputError(
                f"Cannot write {path}: {error}. Choose another folder with --out, or free space and check permissions."
            ) from error
    return facts


def _library() -> Any:
    try:
        import xlsxwriter  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise MissingExtraError(
            "Writing workbooks needs XlsxWriter: install it with `pip install 'anfinsen[byhand]'`."
        ) from error
    return xlsxwriter


class Sheets:
    """The sheets of one workbook while they are written."""

    def __init__(self, book: Any, plan: Plan) -> None:
        self.plan = plan
        self.book = book
        self.overview = book.add_worksheet(OVERVIEW)
        self.sheets = {name: book.add_worksheet(name) for name in ("Inputs", "Weights", "Steps")}
        self.model = book.add_worksheet(MODEL)
        self.formats = {
            kind: book.add_format({"bg_color": colour, "num_format": "0.0000", "border": 1, "border_color": "#BBBBBB"})
            for kind, colour in COLOURS.items()
        }
        self.title = book.add_format({"bold": True, "font_size": 14})
        self.heading = book.add_format({"bold": True, "bg_color": "#E8E8E8"})
        self.subtitle = book.add_format({"italic": True})
        self.wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        self.name = book.add_format({"font_color": "#555555", "font_size": 9})
        self.small = book.add_format({"num_format": "0.0E+00", "font_color": "#555555"})
        self.counts = dict.fromkeys(COLOURS, 0)

    def write(self, path: Path) -> WorkbookFacts:
        """Fill all sheets."""
        differences: list[str] = []
        titles = {"Inputs": "Inputs, and numbers from outside of the slice", "Weights": "Weights", "Steps": "Steps"}
        for name, sheet in self.sheets.items():
            sheet.write_string(0, 0, f"{titles[name]}: {self.plan.trace.title}", self.title)
            sheet.freeze_panes(2, 0)
        self.model.write_string(
            0, 0, "What the model computed (float64), where the sheet Steps has formulas", self.title
        )
        numbers = {step.number: number for number, step, _ in self.plan.steps()}
        last: int | None = None
        for tile in self.plan.tiles:
            if tile.step.number != last:
                self._step_title(tile, numbers.get(tile.step.number))
                last = tile.step.number
            if found := self._tile(tile):
                differences.append(found)
        self._overview(differences, numbers)
        formulas = self.plan.selection.formulas
        given = {kind: count for kind, count in self.counts.items() if kind not in ("formula", "output")}
        return WorkbookFacts(path, formulas, given, len(differences))

    def step_words(self, step: Step, number: int | None) -> str:
        """Return what stands above a step, and in the overview."""
        return step_title(self.plan, step, number)

    def _step_title(self, tile: Tile, number: int | None) -> None:
        step = tile.step
        words = self.step_words(step, number)
        self.sheets[tile.sheet].write_string(tile.row - 3, 0, words, self.heading)

    def _tile(self, tile: Tile) -> str | None:
        """Write one tile; return the address of the cell with its largest difference, if it has formulas."""
        sheet, plan = self.sheets[tile.sheet], self.plan
        if tile.subtitle:
            sheet.write_string(tile.row - 2, tile.column, tile.subtitle, self.subtitle)
        for n, name in enumerate(tile.column_names):
            sheet.write_string(tile.row - 1, tile.column + n, name, self.name)
        for n, name in enumerate(tile.row_names):
            sheet.write_string(tile.row + n, tile.column - 1, name, self.name)
        formulas = 0
        for (row, column), cell in cells_of(tile):
            kind = plan.kind(cell)
            self.counts[kind] += 1
            value = Exact(plan.value(cell))
            at = (tile.row + row, tile.column + column)
            if plan.is_formula(cell):
                formulas += 1
                sheet.write_formula(*at, plan.formula(cell), self.formats[kind], value)
                self.model.write_number(*at, value, self.formats[kind])
            else:
                sheet.write_number(*at, value, self.formats[kind])
                if tile.sheet == "Steps":
                    self.model.write_number(*at, value, self.formats[kind])
        if is_map(tile):
            self._colour_scale(tile)
        if not formulas:
            return None
        area = area_of(tile)
        difference = f"=SUMPRODUCT(MAX(ABS({area}-{MODEL}!{area})))"
        # In the row of the subtitle, before the first name.
        sheet.write_formula(tile.row - 2, tile.column - 1, difference, self.small, 0)
        return f"Steps!{address(tile.row - 2, tile.column - 1)}"

    def _colour_scale(self, tile: Tile) -> None:
        rows, columns = tile.cells.shape
        self.sheets[tile.sheet].conditional_format(
            tile.row, tile.column, tile.row + rows - 1, tile.column + columns - 1,
            {"type": "2_color_scale", "min_color": "#FFFFFF", "max_color": "#6FA8DC"},
        )  # fmt: skip

    def _overview(self, differences: list[str], numbers: Mapping[int, int]) -> None:
        sheet, plan, trace = self.overview, self.plan, self.plan.trace
        sheet.set_column(0, 0, 5)
        sheet.set_column(1, 1, 16)
        sheet.set_column(2, 3, 30)
        sheet.write_string(0, 0, trace.title or trace.block, self.title)
        # As wide as the first eight columns, as high as it needs.
        sheet.merge_range(1, 0, 1, 7, trace.reference, self.wrapped)
        sheet.set_row(1, LINE_HEIGHT * max(1, -(-len(trace.reference) // LINE_LENGTH)))
        sheet.write_string(3, 0, f"Formulas: {plan.selection.formulas:,}. {_slice_words(plan)}")
        sheet.write_string(5, 0, "Largest difference between a formula and the model's number (float64):")
        sheet.write_formula(5, 4, f"=MAX({self._differences(differences)})" if differences else "=0", self.small, 0)
        row = 7
        for kind, words in LEGEND.items():
            if self.counts[kind]:
                sheet.write_blank(row, 0, None, self.formats[kind])
                sheet.write_string(row, 1, f"{words} ({self.counts[kind]:,} cells)")
                row += 1
        row += 1
        sheet.write_string(row, 0, "Steps (click to go there)", self.heading)
        for number, step, tiles in plan.steps():
            row += 1
            where = address(tiles[0].row - 3, 0)
            sheet.write_url(row, 0, f"internal:Steps!{where}", string=self.step_words(step, number))

    def _differences(self, cells: list[str]) -> str:
        """Return the arguments of the overall maximum, bundled in a column of the overview where there are many."""
        if len(cells) <= 200:
            return ",".join(cells)
        column = 25
        for n in range(0, len(cells), 200):
            self.overview.write_formula(n // 200, column, f"=MAX({','.join(cells[n : n + 200])})", self.small, 0)
        return f"{address(0, column)}:{address((len(cells) - 1) // 200, column)}"


def step_title(plan: Plan, step: Step, number: int | None) -> str:
    """Return "12. softmax: sum of the row [norm]" for a step, and what a source is."""
    if step.kind != "formula":
        return f"{step.kind} {step.name}" if step.kind != "constant" else "constant (mask or number of the model)"
    scope = f"  [{step.scope}]" if step.scope else ""
    gradient = "gradient: " if step.backward else ""
    numbers = {shown.number: count for count, shown, _ in plan.steps()}
    return f"[{number}]  {gradient}{step.name}:  {equation(plan.trace.graph, step, numbers)}{scope}"


def cells_of(tile: Tile) -> list[tuple[tuple[int, int], int]]:
    """Return ((row, column) in the tile, cell number) of every cell of a tile."""
    rows, columns = tile.cells.shape
    values = tile.cells.tolist()
    return [((r, c), values[r][c]) for r in range(rows) for c in range(columns) if values[r][c] >= 0]


def is_map(tile: Tile) -> bool:
    """Whether a tile is an attention map."""
    return tile.step.name.endswith("exponential / sum") and min(tile.cells.shape) > 1


def area_of(tile: Tile) -> str:
    """Return the range of a tile, such as "B7:E9"."""
    rows, columns = tile.cells.shape
    return f"{address(tile.row, tile.column)}:{address(tile.row + rows - 1, tile.column + columns - 1)}"


def _slice_words(plan: Plan) -> str:
    wanted = plan.wanted
    words = []
    for family, first in (("tokens", 1), ("sequences", 1), ("atoms", 1), ("heads", 0), ("channels", 0)):
        members = getattr(wanted, family)
        if members is not None:
            words.append(f"{family} {', '.join(str(member + first) for member in members)}")
    return f"Slice: {'; '.join(words)}." if words else "The whole block."
