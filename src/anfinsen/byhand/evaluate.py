"""Computing a workbook again from its inputs and weights, without a spreadsheet program.

Knows the formulas that this package writes, and no others. Stored results are never read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anfinsen.common.errors import InputError, MissingExtraError

from .workbook import DIFFERENCE, MODEL, OVERVIEW

Value = Any
"""A number, or the array of a range."""
Cells = dict[tuple[str, int, int], float | str]
"""By sheet, row and column (from 1): a number, a formula with its equals sign, or other text."""
WITH_MODEL = ("Steps", "Solution")  # sheets whose formulas the sheet of the model's numbers answers


class _Empty(float):
    """An empty cell: 0 to whoever calculates with it, and no number."""


EMPTY = _Empty(0.0)
Computed = dict[tuple[str, int, int], Any]
"""Results of the formulas, in the same way."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:E[+-]?\d+)?)|(?P<name>[A-Z][A-Z0-9]*)(?=\()"
    r'|"(?P<text>[^"]*)"'
    r"|(?P<range>(?:[A-Za-z]+!)?[A-Z]+\d+(?::[A-Z]+\d+)?)|(?P<operator><>|<=|>=|[-+*/^(),<>=]))"
)
_CELL = re.compile(r"([A-Z]+)(\d+)")


@dataclass(frozen=True)
class Agreement:
    """How a recalculated workbook compares with the model's numbers in it.

    Attributes:
        difference: largest |formula - model| of all formula cells. where: the cell. shown: what the overview says.
        formulas: formula cells compared. numbers: number cells on the sheet of steps (constants).
        errors: cells that are errors or no numbers.
    """

    difference: float
    where: str
    shown: float
    formulas: int
    numbers: int
    errors: tuple[str, ...]


def evaluate_workbook(path: Path) -> Agreement:
    """Compute every formula of the workbook at ``path`` and compare with the model's numbers.

    Raises:
        InputError: a formula is none of ours. MissingExtraError: openpyxl is not installed.
    """
    cells = read_cells(path)
    return compare(cells, Evaluator(cells).all())


def compute_cells(path: Path) -> Computed:
    """Return the results of every formula of the workbook at ``path``.

    Raises:
        InputError, MissingExtraError: as :func:`evaluate_workbook`.
    """
    return Evaluator(read_cells(path)).all()


def open_book(path: Path, *, values: bool = False) -> Any:
    """Return the workbook at ``path`` as openpyxl reads it, with formulas or (``values``) stored results."""
    try:
        import openpyxl  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise MissingExtraError(
            "Reading workbooks needs openpyxl: install it with `pip install 'anfinsen[byhand]'`."
        ) from error
    return openpyxl.load_workbook(path, data_only=values)


def read_cells(path: Path, *, values: bool = False) -> Cells:
    """Return the cells of a workbook: its formulas, or (``values``) the results that a program stored beside them."""
    found: Cells = {}
    for sheet in open_book(path, values=values).worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                if cell.value is not None:
                    found[sheet.title, cell.row, cell.column] = cell.value
    return found


def compare(cells: Cells, computed: Mapping[tuple[str, int, int], Any], *, digits: int | None = None) -> Agreement:
    """Compare ``computed`` results of the formulas among ``cells`` with the model's numbers.

    With ``digits`` the results were rounded to so many significant digits, which does not count as difference.
    """
    worst, where, formulas, numbers, errors = 0.0, "", 0, 0, []
    for (sheet, row, column), content in cells.items():
        key = (sheet, row, column)
        if not _is_formula(content):
            numbers += sheet in WITH_MODEL and isinstance(content, (int, float))
            continue
        name = f"{sheet}!{_letters(column)}{row}"
        value = computed.get(key)
        if isinstance(value, str) and not value.startswith("#") and (MODEL, row, column) not in cells:
            continue  # what an exercise says
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            errors.append(name)
            continue
        model = cells.get((MODEL, row, column)) if sheet in WITH_MODEL else None
        if isinstance(model, (int, float)):
            formulas += 1
            difference = max(0.0, abs(value - model) - _rounding(float(model), digits))
            if difference > worst or not where:
                worst, where = difference, name
    column, row = place(DIFFERENCE)
    shown = computed.get((OVERVIEW, row, column), math.nan)
    return Agreement(worst, where, float(shown), formulas, numbers, tuple(errors))


def _rounding(value: float, digits: int | None) -> float:
    """Return how far off a number can be that was rounded to ``digits``."""
    return 0.0 if digits is None or not value else 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)


class Evaluator:
    """Formulas of one workbook, computed when they are asked for, each once."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._done: dict[tuple[str, int, int], Value] = {}

    def all(self) -> Computed:
        """Return the results of all formulas."""
        # Steps stand below what they need, so that computing by rows never goes deep.
        keys = sorted(key for key, content in self._cells.items() if _is_formula(content))
        keys.sort(key=lambda key: (key[0] == OVERVIEW, key[1]))
        with np.errstate(all="ignore"):  # what is an error in a spreadsheet is infinity or NaN here
            return {key: self.value(key) for key in keys}

    def value(self, key: tuple[str, int, int]) -> Value:
        """Return the value of a cell; `EMPTY`, which is 0, for an empty one."""
        content = self._cells.get(key, EMPTY)
        if not _is_formula(content):
            return content
        if key not in self._done:
            self._done[key] = _scalar(_Parser(str(content)[1:], key[0], self).result())
        return self._done[key]

    def area(self, sheet: str, text: str) -> Value:
        """Return the number in a cell, or the array of a range."""
        first, _, last = text.partition(":")
        left, top = place(first)
        if not last:
            return self.value((sheet, top, left))
        right, bottom = place(last)
        rows = [
            [self.value((sheet, row, column)) for column in range(left, right + 1)] for row in range(top, bottom + 1)
        ]
        if any(isinstance(value, str) for row in rows for value in row):
            return np.array(rows, object)
        return np.array([[_number(value) for value in row] for row in rows])


class _Parser:
    """Recursive descent over one formula, computing as it goes."""

    def __init__(self, text: str, sheet: str, cells: Evaluator) -> None:
        self._text, self._sheet, self._cells = text, sheet, cells
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise InputError(f"Formula {text!r} is none that anfinsen writes: it cannot be computed here.")
            self._tokens.append((match.lastgroup, match.group(match.lastgroup)))
            at = match.end()
        self._next = 0

    def result(self) -> Value:
        value = self._comparison()
        if self._next != len(self._tokens):
            raise InputError(f"Formula {self._text!r} has something after its end.")
        return value

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self) -> tuple[str, str]:
        if self._next == len(self._tokens):
            raise InputError(f"Formula {self._text!r} ends too early.")
        self._next += 1
        return self._tokens[self._next - 1]

    def _chain(self, operators: Mapping[str, Callable[[Value, Value], Value]], part: Callable[[], Value]) -> Value:
        value = part()
        while self._peek() in operators:
            operator = operators[self._take()[1]]
            value = operator(value, part())
        return value

    def _comparison(self) -> Value:
        return self._chain(_COMPARISONS, self._sum)

    def _sum(self) -> Value:
        return self._chain({"+": lambda a, b: a + b, "-": lambda a, b: a - b}, self._product)

    def _product(self) -> Value:
        return self._chain({"*": lambda a, b: a * b, "/": _quotient}, self._power)

    def _power(self) -> Value:
        return self._chain({"^": _power}, self._signed)

    def _signed(self) -> Value:
        if self._peek() == "-":
            self._take()
            return -self._signed()
        return self._primary()

    def _primary(self) -> Value:
        kind, text = self._take()
        if kind == "number":
            return float(text)
        if kind == "text":
            return text
        if kind == "range":
            sheet, _, area = text.rpartition("!")
            return self._cells.area(sheet or self._sheet, area)
        if kind == "name":
            self._take()
            arguments = [self._comparison()] if self._peek() != ")" else []
            while self._peek() == ",":
                self._take()
                arguments.append(self._comparison())
            self._take()
            if text not in FUNCTIONS:
                raise InputError(f"Function {text} in {self._text!r} is none that anfinsen writes.")
            return FUNCTIONS[text](*arguments)
        value = self._comparison()
        self._take()
        return value


_COMPARISONS: dict[str, Callable[[Value, Value], Value]] = {
    "=": lambda a, b: float(a == b),
    "<>": lambda a, b: float(a != b),
    "<": lambda a, b: float(a < b),
    ">": lambda a, b: float(a > b),
    "<=": lambda a, b: float(a <= b),
    ">=": lambda a, b: float(a >= b),
}


def _flat(arguments: tuple[Value, ...]) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(argument, float).reshape(-1) for argument in arguments])


def _normal(x: Value) -> float:
    return 0.5 * math.erfc(-float(x) / math.sqrt(2))


def _quotient(a: Value, b: Value) -> Value:
    return np.divide(a, b)  # by zero: infinity or NaN, which count as errors


def _power(a: Value, b: Value) -> Value:
    return np.float_power(a, b)


def _deviations(*arguments: Value) -> float:
    x = _flat(arguments)
    return float(((x - x.mean()) ** 2).sum())


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "SUM": lambda *a: float(_flat(a).sum()),
    "AVERAGE": lambda *a: float(_flat(a).mean()),
    "MAX": lambda *a: float(_flat(a).max()),
    "MIN": lambda *a: float(_flat(a).min()),
    "PRODUCT": lambda *a: float(_flat(a).prod()),
    "SUMSQ": lambda *a: float((_flat(a) ** 2).sum()),
    "DEVSQ": _deviations,
    "SUMPRODUCT": lambda *a: float(np.prod(np.stack([np.asarray(x, float) for x in a]), 0).sum()),
    "MMULT": lambda a, b: np.atleast_2d(a) @ np.atleast_2d(b),
    "SUMXMY2": lambda a, b: float(((np.asarray(a, float) - np.asarray(b, float)) ** 2).sum()),
    "PI": lambda: math.pi,
    "EXP": np.exp,
    "LN": np.log,
    "LOG10": np.log10,
    "SQRT": np.sqrt,
    "ABS": np.abs,
    "SIGN": np.sign,
    "INT": np.floor,
    "SIN": np.sin,
    "COS": np.cos,
    "ACOS": np.arccos,
    "ATAN": np.arctan,
    "ATAN2": lambda x, y: np.arctan2(y, x),
    "TAN": np.tan,
    "ASIN": np.arcsin,
    "SINH": np.sinh,
    "COSH": np.cosh,
    "TANH": np.tanh,
    "ASINH": np.arcsinh,
    "TRUNC": np.trunc,
    "NORMSDIST": _normal,
    "IF": lambda condition, a, b: a if condition else b,
    "ISNUMBER": lambda x: float(isinstance(x, float | int) and not isinstance(x, _Empty)),
    "N": lambda x: float(x) if isinstance(x, float | int) else 0.0,
    "COUNTIF": lambda area, text: float(sum(value == text for value in np.asarray(area, object).reshape(-1))),
}


def _scalar(value: Value) -> float | str:
    return value if isinstance(value, str) else float(np.asarray(value, float).reshape(-1)[0])


def _number(value: Value) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _is_formula(content: Value) -> bool:
    return isinstance(content, str) and content.startswith("=")


def place(text: str) -> tuple[int, int]:
    """Return column and row (from 1) of an address."""
    match = _CELL.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is no address of a cell.")
    column = 0
    for letter in match.group(1):
        column = column * 26 + ord(letter) - 64
    return column, int(match.group(2))


def _letters(column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
