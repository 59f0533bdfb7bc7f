"""Splitting alignment text into rows: a3m, aligned FASTA and Stockholm, told apart by content."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..common.errors import AlignmentError

# Rows that HH-suite writes in front of the query: predicted and observed secondary structure, accessibility.
_ANNOTATION = re.compile(r"(?:ss_pred|ss_conf|ss_dssp|sa_dssp|aa_dssp)\b")
_FORMATS = "expected a3m, aligned FASTA (both begin with '>') or Stockholm ('# STOCKHOLM 1.0')"


@dataclass(frozen=True)
class Rows:
    """Rows as written, query first. ``aligned`` says that all must be equally long (else: a3m)."""

    descriptions: tuple[str, ...]
    rows: tuple[str, ...]
    aligned: bool


def excerpt(text: str, limit: int = 30) -> str:
    """Return ``text`` quoted on one line, cut to ``limit`` characters, for messages."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def split_rows(text: str, where: str, max_rows: int | None = None) -> Rows:
    """Return the rows of alignment ``text``, at most ``max_rows``.

    Raises:
        AlignmentError: the text is empty, of no known format, or a row of it has no letters.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").lstrip()
    if not text:
        raise AlignmentError(f"{where} is empty: give at least the row of the query.")
    if text.startswith("# STOCKHOLM"):
        return _stockholm(text, where, max_rows)
    if text[0] not in ">#":
        kind = (
            "a CLUSTAL alignment"
            if text.startswith(("CLUSTAL", "MUSCLE", "PROBCONS"))
            else excerpt(text.split("\n")[0])
        )
        raise AlignmentError(f"{where} begins with {kind}: {_FORMATS}.")
    return _fasta(text, where, max_rows)


def _fasta(text: str, where: str, max_rows: int | None) -> Rows:
    # HH-suite ("#A3M#") and ColabFold ("#120,80\t1,1") write comment lines first.
    while text.startswith("#"):
        text = text.partition("\n")[2].lstrip("\n")
    if not text.startswith(">"):
        raise AlignmentError(f"{where} has no row that begins with '>': {_FORMATS}.")
    descriptions: list[str] = []
    rows: list[str] = []
    start = 0
    while start >= 0 and (max_rows is None or len(rows) < max_rows):
        end = text.find("\n>", start)
        record = text[start + 1 : end] if end >= 0 else text[start + 1 :]
        start = end + 1 if end >= 0 else -1
        header, _, body = record.partition("\n")
        if _ANNOTATION.match(header):
            continue
        row = "".join(body.split())
        if not row:
            raise AlignmentError(f"{where}, row {len(rows) + 1} ({excerpt(header)}) has no letters.")
        descriptions.append(header.strip())
        rows.append(row)
    if not rows:
        raise AlignmentError(f"{where} has no rows of sequence: {_FORMATS}.")
    return Rows(tuple(descriptions), tuple(rows), aligned=rows[0] != re.sub(r"[-.a-z]", "", rows[0]))


def _stockholm(text: str, where: str, max_rows: int | None) -> Rows:
    parts: dict[str, list[str]] = {}
    notes: dict[str, str] = {}
    ended = False
    for number, line in enumerate(text.split("\n")[1:], start=2):
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
    names = list(parts)[:max_rows]
    descriptions = tuple(f"{name} {notes[name]}" if name in notes else name for name in names)
    return Rows(descriptions, tuple("".join(parts[name]) for name in names), aligned=True)
