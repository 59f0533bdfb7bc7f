"""Tables in Markdown, and putting them into a page between two comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from anfinsen.common.errors import InputError
from anfinsen.common.files import write_text


def table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    body = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in body)


def with_block(page: Path, name: str, text: str) -> str:
    """Return what ``page`` holds with ``text`` between the comments ``name: begin`` and ``name: end``.

    Raises:
        InputError: it cannot be read, or does not have each comment once, in order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    try:
        old = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{page} cannot be read as text: {error}.") from error
    before, first, rest = old.partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last) or begin in rest or end in before + after:
        raise InputError(f"{page} does not have the comments {begin} and {end}, each once: put them where tables go.")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def write_block(page: Path, name: str, text: str) -> None:
    """Put ``text`` into ``page`` between its comments, whole or not at all."""
    write_text(page, with_block(page, name, text))
