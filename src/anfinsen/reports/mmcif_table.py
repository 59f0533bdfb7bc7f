"""Tables as gemmi writes them: text, False for '.' (does not apply), None for '?' (unknown)."""

from __future__ import annotations

from collections.abc import Sequence

Value = str | bool | None
Columns = dict[str, Sequence[Value]]
Categories = dict[str, Columns]


def columns(names: Sequence[str], rows: Sequence[Sequence[Value]]) -> Columns:
    """Turn rows into named columns."""
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}
