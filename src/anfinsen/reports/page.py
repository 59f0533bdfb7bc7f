"""What every page shares: its assets, libraries that travel inside it, tables."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from ..common.errors import MissingExtraError


def filled(name: str, parts: Mapping[str, str], scripts: Sequence[str] = ()) -> str:
    """Return the page ``assets/NAME.html`` with ``parts`` in their places, besides style, the page's script, and plotly
    where the page has a place for it.

    ``scripts`` names more assets, without ``.js``, that the page's script makes use of.

    Raises:
        MissingExtraError: the page needs plotly, and it is not installed.
    """
    parts = {
        **parts,
        "STYLE": _asset("report.css"),
        # In a function, so that no name of ours meets one of the libraries'.
        "SCRIPT": f"(() => {{\n{''.join(_asset(f'{each}.js') for each in ('page', *scripts, name))}}})();\n",
    }
    pieces = _asset(f"{name}.html").split("@@")
    if "PLOTLY" in pieces[1::2]:  # megabytes that not every page needs
        parts["PLOTLY"] = packed_library("plotly", "package_data/plotly.min.js")
    # Every second piece is a name; splitting (not replacing) keeps names in the user's texts from being filled in.
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def _asset(name: str) -> str:
    return resources.files("anfinsen.reports").joinpath("assets", name).read_text(encoding="utf-8")


@cache  # megabytes, the same in every report of a batch
def packed_library(package: str, path: str) -> str:
    """Return a file of an installed package, packed.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return packed(Path(str(resources.files(package) / path)).read_text(encoding="utf-8"))
    except (ModuleNotFoundError, OSError) as error:
        raise MissingExtraError(
            f"The report needs {package.replace('_', '-')}: pip install 'anfinsen[report]'."
        ) from error


def packed(text: str) -> str:
    """Return ``text`` compressed, as base64, for the page's script to unpack."""
    # No time stamp, so that equal predictions give equal files.
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def table(head: Sequence[str], bodies: Sequence[Sequence[Sequence[str]]], text_columns: int = 1) -> str:
    """Return a table of cells that are HTML already; with several bodies only the first is shown."""
    parts = ["<table><thead>", _row("th", head, text_columns), "</thead>"]
    for index, rows in enumerate(bodies):
        mark = f' data-sample="{index}"{" hidden" if index else ""}' if len(bodies) > 1 else ""
        parts += [f"<tbody{mark}>", *(_row("td", row, text_columns) for row in rows), "</tbody>"]
    return "".join(parts) + "</table>"


def _row(tag: str, cells: Sequence[str], text_columns: int) -> str:
    kinds = [' class="text"'] * text_columns + [""] * (len(cells) - text_columns)
    return "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"
