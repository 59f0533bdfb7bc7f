"""Alignment text as a stream of rows: a3m, aligned FASTA and Stockholm, told apart by content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from ..common.errors import AlignmentError

# Rows that HH-suite writes in front of the query: predicted and observed secondary structure, accessibility.
_ANNOTATION = re.compile(r"(?:ss_pred|ss_conf|ss_dssp|sa_dssp|aa_dssp)\b")
_FORMATS = "expected a3m, aligned FASTA (both begin with '>') or Stockholm ('# STOCKHOLM 1.0')"

Row = tuple[str, str]
"""Description (without ">") and letters of one row, as written."""


@dataclass(frozen=True)
class Rows:
    """Rows one after another, query first, to be read once; ``aligned``: all must be equally long (else: a3m)."""

    first: Row
    others: Iterator[Row]
    aligned: bool


def excerpt(text: str, limit: int = 30) -> str:
    """Return ``text`` quoted on one line, cut to ``limit`` characters, for messages."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def text_lines(text: str) -> Iterator[str]:
    """Yield the lines of ``text`` without a second copy of it; ``\\n``, ``\\r\\n`` and ``\\r`` end a line."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def read_rows(lines: Iterable[str], where: str, max_rows: int | None = None) -> Rows:
    """Return the rows of an alignment, at most ``max_rows``; FASTA and a3m are read as the rows are asked for.

    Raises:
        AlignmentError: the text is empty, of no known format, in small letters alone, or (while the rows are read)
            damaged, or a row has no letters.
    """
    rest = _undamaged(lines, where)
    first = next((line for line in (line.lstrip("\ufeff \t\v\f") for line in rest) if line.strip()), None)
    if first is None:
        raise AlignmentError(f"{where} is empty: give at least the row of the query.")
    if first.startswith("# STOCKHOLM"):
        rows = iter(_stockholm(rest, where, max_rows))
        return Rows(next(rows), rows, aligned=True)
    if first[0] not in ">#":
        kind = "a CLUSTAL alignment" if first.startswith(("CLUSTAL", "MUSCLE", "PROBCONS")) else excerpt(first)
        raise AlignmentError(f"{where} begins with {kind}: {_FORMATS}.")
    rows = islice(_fasta(chain([first], rest), where), max_rows)
    query = next(rows, None)
    if query is None:
        raise AlignmentError(f"{where} has no rows of sequence: {_FORMATS}.")
    if query[1].isalpha() and query[1].islower():
        raise AlignmentError(
            f"{where} has its query ({excerpt(query[0])}) in small letters alone, which are insertions in a3m, so that "
            "no column is left: write residues as capitals."
        )
    return Rows(query, rows, aligned=query[1] != re.sub(r"[-._~a-z]", "", query[1]))


def _undamaged(lines: Iterable[str], where: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise AlignmentError(f"{where} has a NUL byte in line {number}: the file is damaged, or no text.")
        yield line


def a3m_records(text: str, where: str) -> Iterator[Row]:
    """Yield description and letters of every row of a3m or FASTA ``text`` (errors as :func:`read_rows`)."""
    rows = read_rows(text_lines(text), where)
    yield rows.first
    yield from rows.others


def _fasta(lines: Iterator[str], where: str) -> Iterator[Row]:
    header: str | None = None
    parts: list[str] = []
    count = 0
    # HH-suite ("#A3M#") and ColabFold ("#120,80\t1,1") write comment lines first.
    start = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if not start.startswith(">"):
        raise AlignmentError(f"{where} has no row that begins with '>': {_FORMATS}.")
    for line in chain([start], lines, [">"]):  # the last mark ends the last row
        if not line.startswith(">"):
            parts.append("".join(line.split()))
            continue
        if header is not None and not _ANNOTATION.match(header):
            count += 1
            letters = "".join(parts)
            if not letters:
                raise AlignmentError(f"{where}, row {count} ({excerpt(header)}) has no letters.")
            yield header.strip(), letters
        header, parts = line[1:].rstrip("\n"), []


def _stockholm(lines: Iterator[str], where: str, max_rows: int | None) -> list[Row]:
    parts: dict[str, list[str]] = {}
    notes: dict[str, str] = {}
    ended = False
    for number, line in enumerate(lines, start=2):
        content = line.strip()
        if not content:
            continue
        if ended:
            raise AlignmentError(f"{where} holds more after its end ('//') at line {number}: give one alignment.")
        if content == "//":
            ended = True
        elif content.startswith("#"):
            mark = content.split(None, 3)
            if mark[0] == "#=GS" and len(mark) == 4 and mark[2] == "DE":
                notes[mark[1]] = mark[3]
        else:
            words = content.split()
            if len(words) != 2:
                raise AlignmentError(f"{where} has {excerpt(content)} at line {number}: expected a name and a row.")
            parts.setdefault(words[0], []).append(words[1])
    if not parts:
        raise AlignmentError(f"{where} is a Stockholm file without rows: give at least the row of the query.")
    if not ended:
        raise AlignmentError(f"{where} is a Stockholm file without its last line ('//'): it seems to be cut off.")
    return [
        (f"{name} {notes[name]}" if name in notes else name, "".join(parts[name])) for name in list(parts)[:max_rows]
    ]
