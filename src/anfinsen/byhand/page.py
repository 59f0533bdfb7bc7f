"""A plan as a web page: the block as a flow of matrices, every cell with its formula and its sources; opens offline.

The page carries the workbook's own formulas and computes them, so that a changed input is followed there too.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

from anfinsen.common.errors import NonFiniteError
from anfinsen.common.files import write_text

from .equations import equation
from .exercise import Exercise
from .graph import Step
from .layout import Tile
from .plan import Plan
from .workbook import COLOURS, LEGEND, is_map

# How the page's data call the kinds of cells: a letter each, as a page has up to 400,000 cells.
LETTERS = {"input": "i", "weight": "w", "constant": "c", "held": "h", "formula": "f", "output": "o"}
_SCRIPTS = ("formulas", "tiles", "byhand")


def write_page(plan: Plan, path: Path, exercise: Exercise | None = None) -> Path:
    """Write ``plan`` as a self-contained page to ``path``, whole or not at all.

    Args:
        plan: what is shown. path: of the file. exercise: what the reader is to fill in; made from ``plan``.

    Raises:
        OutputError: the file cannot be written. ConfigError: a formula would be too long.
        NonFiniteError: the block computed NaN or infinity.
    """
    write_text(path, page_html(plan, exercise))
    return path


def page_html(plan: Plan, exercise: Exercise | None = None) -> str:
    """Return the text of the page (see `write_page`)."""
    shown = plan if exercise is None else exercise.plan
    data = page_data(shown, exercise)
    title = plan.trace.title or plan.trace.block or "By hand"
    parts = {
        "TITLE": html.escape(title),
        "LEAD": html.escape(plan.trace.reference),
        "LEGEND": _legend(data),
        "STYLE": _asset("byhand.css"),
        "DATA": _packed(data),
        # In a function, so that the page leaves no names behind.
        "SCRIPT": f"(() => {{\n{''.join(_asset(f'{name}.js') for name in _SCRIPTS)}}})();\n",
    }
    pieces = _asset("byhand.html").split("@@")
    # Every second piece is a name; splitting (not replacing) keeps names in the user's texts from being filled in.
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def page_data(plan: Plan, exercise: Exercise | None = None) -> dict[str, Any]:
    """Return what the page's script shows, ready for JSON.

    ``tiles``: as in the plan, with ``values`` and ``kinds`` (one letter each, "." for no cell) row by row, and
    ``formulas`` of those cells that have one ("" for the others, and nothing for tiles without any), as the sheet
    "Steps" would have them.
    ``steps``: their titles and which tiles they give; the first, number 0, are the inputs and weights.
    """
    blanks = frozenset() if exercise is None else exercise.blanks
    places = {(tile.sheet, tile.row, tile.column): number for number, tile in enumerate(plan.tiles)}
    numbers = {step.number: number for number, step, _ in plan.steps()}
    given = [number for number, tile in enumerate(plan.tiles) if tile.sheet != "Steps"]
    steps: list[dict[str, Any]] = [
        {"number": 0, "name": "inputs and weights", "equation": "", "scope": "", "tiles": given}
    ]
    for number, step, tiles in plan.steps():
        steps.append(
            {
                "number": number,
                "name": f"gradient: {step.name}" if step.backward else step.name,
                "equation": equation(plan.trace.graph, step, numbers),
                "scope": step.scope,
                "tiles": [places[tile.sheet, tile.row, tile.column] for tile in tiles],
            }
        )
    return {
        "steps": steps,
        "tiles": [_tile(plan, tile, number in blanks) for number, tile in enumerate(plan.tiles)],
        "tolerance": None if exercise is None else exercise.tolerance,
    }


def _tile(plan: Plan, tile: Tile, blank: bool) -> dict[str, Any]:
    cells = tile.cells.reshape(-1).tolist()
    kinds, values, formulas = [], [], []
    for cell in cells:
        if cell < 0:
            kinds.append(".")
            values.append(0.0)
            formulas.append("")
            continue
        kinds.append(LETTERS[plan.kind(cell)])
        values.append(plan.value(cell))
        formulas.append(plan.formula(cell) if plan.is_formula(cell) else "")
    shown = {
        "name": _name(tile.step),
        "sheet": "Solution" if blank else tile.sheet,
        "row": tile.row,
        "column": tile.column,
        "rows": tile.cells.shape[0],
        "columns": tile.cells.shape[1],
        "subtitle": tile.subtitle,
        "row_names": list(tile.row_names) if any(tile.row_names) else [],
        "column_names": list(tile.column_names) if any(tile.column_names) else [],
        "kinds": "".join(kinds),
        "values": values,
        "map": is_map(tile),
    }
    if any(formulas):
        shown["formulas"] = formulas
    if blank:
        shown["blank"] = True
    return shown


def _name(step: Step) -> str:
    """Return what the cells of a source are called; those of a step go by its title."""
    if step.kind == "constant":
        return "constant"
    return f"{step.kind} {step.name}" if step.kind != "formula" else step.name


def _legend(data: dict[str, Any]) -> str:
    found = set().union(*(tile["kinds"] for tile in data["tiles"])) if data["tiles"] else set()
    items = [
        f'<li><span class="swatch" style="background:{COLOURS[kind]}"></span>{html.escape(words)}</li>'
        for kind, words in LEGEND.items()
        if LETTERS[kind] in found
    ]
    return "".join(items)


def _packed(data: dict[str, Any]) -> str:
    try:
        text = json.dumps(data, allow_nan=False)
    except ValueError as error:
        raise NonFiniteError(
            "The block computed NaN or infinity, which is never written: choose a slice without it, or another block."
        ) from error
    # No time stamp, so that equal plans give equal pages.
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _asset(name: str) -> str:
    return resources.files("anfinsen.byhand").joinpath("assets", name).read_text(encoding="utf-8")
