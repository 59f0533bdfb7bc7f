"""The gallery's workbooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from anfinsen.common.errors import ConfigError, OutputError

from ..plan import Plan, make_plan
from ..workbook import WorkbookFacts, write_workbook
from .attention import ATTENTION
from .autoencoders import AUTOENCODERS
from .basics import BASICS
from .couplings import COUPLINGS
from .entry import Entry, Losses, Recorded, Sources
from .generation import GENERATION
from .pairs import PAIRS
from .structures import STRUCTURES

ENTRIES: tuple[Entry, ...] = (
    *BASICS,
    *ATTENTION,
    *PAIRS,
    *STRUCTURES,
    *COUPLINGS,
    *GENERATION,
    *AUTOENCODERS,
)


def entries(only: str | None = None) -> tuple[Entry, ...]:
    """Return all entries in the gallery's order, or the one called ``only``.

    Raises:
        ConfigError: there is none of that name.
    """
    found = tuple(entry for entry in ENTRIES if only in (None, entry.name))
    if not found:
        names = ", ".join(entry.name for entry in ENTRIES)
        raise ConfigError(f"The gallery has no entry {only!r}: expected one of {names}.")
    return found


def record(entry: Entry, source: Losses | Sources) -> Recorded:
    """Return an entry's computation with its title: on small whole numbers, or on a trained model's."""
    made = entry.small(source) if isinstance(source, Losses) else entry.model(source)
    title = f"{entry.title} ({made.about})"
    return replace(made, trace=replace(made.trace, title=title, reference=f"{entry.shows} {entry.reference}."))


def plan_of(recorded: Recorded) -> Plan:
    """Return the part of it that the gallery shows, laid out."""
    return make_plan(recorded.trace, recorded.wanted)


def write_gallery(
    folder: Path, losses: Losses, sources: Sources | None = None, only: str | None = None
) -> Iterator[WorkbookFacts]:
    """Write ``NAME-small.xlsx`` and, given ``sources``, ``NAME.xlsx`` of every entry; yield each as it is written.

    Args:
        folder: is made if it is not there. losses: see `Losses`. sources: trained models; None: small ones alone.
        only: name of one entry.

    Raises:
        ConfigError: there is no entry of that name. MissingExtraError: XlsxWriter is not installed.
        OutputError: the folder or a file cannot be written.
    """
    chosen = entries(only)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot make the folder {folder} for the gallery: {error.strerror}. Choose another one with --gallery."
        ) from error
    for entry in chosen:
        yield write_workbook(plan_of(record(entry, losses)), folder / f"{entry.name}-small.xlsx")
        if sources is not None:
            yield write_workbook(plan_of(record(entry, sources)), folder / f"{entry.name}.xlsx")
