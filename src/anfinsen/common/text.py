"""Showing values and names inside a one-sentence message."""

from __future__ import annotations

from collections.abc import Iterable


def shown(value: object, limit: int = 60) -> str:
    """Return ``value`` quoted on one line, cut to ``limit`` characters."""
    text = repr(value) if isinstance(value, str) else repr(value).replace("\n", " ")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[object], limit: int = 20, more: str = "more") -> str:
    """Return ``names`` joined with commas, in the order given, the rest counted past ``limit`` as so many ``more``."""
    items = [str(name) for name in names]
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {rest} {more}" if rest > 0 else "")


def counted(number: int, one: str, several: str = "") -> str:
    """Return ``number`` and the noun: "1 row", "2,048 rows"; ``several``: the noun of several, by default with s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
