"""What every search engine has in common: queries, settings, and the protocol that the search speaks with it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..chemistry.structure import ChainKind
from ..common.errors import ConfigError
from ..common.progress import Progress

MAX_ITERATIONS, MAX_ROWS = 20, 1_000_000
# Control characters of a header would break the text; \x01 stays, because it stands between NCBI's joined headers.
_NO_CONTROL = dict.fromkeys({*range(32), 127} - {1}, " ")


@dataclass(frozen=True)
class Query:
    """A sequence whose relatives are wanted; chains of equal sequence and kind are one query."""

    sequence: str
    kind: ChainKind


@dataclass(frozen=True)
class SearchConfig:
    """How to search; all but ``cpus`` decides the result.

    Attributes:
        iterations: rounds of a profile search (1: the sequence alone). Nucleotides are searched once.
        e_value: relatives are kept, and go into the next round's profile, up to this E-value (jackhmmer's --incE).
        max_rows: relatives kept per database, the best first.
        cpus: threads; 0 takes what this process may use.

    Raises:
        ConfigError: a value is out of range.
    """

    iterations: int = 3
    e_value: float = 1e-3
    max_rows: int = 16_384
    cpus: int = 0

    def __post_init__(self) -> None:
        for name, most, least in (("iterations", MAX_ITERATIONS, 1), ("max_rows", MAX_ROWS, 1), ("cpus", 1024, 0)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    f"Option {name!r} is {getattr(self, name)}: expected a number from {least} to {most}."
                )
        if not 0.0 < self.e_value <= 10.0:
            raise ConfigError(f"Option 'e_value' is {self.e_value}: expected a number above 0 and up to 10.")

    @property
    def threads(self) -> int:
        """Number of threads to use."""
        if self.cpus:
            return self.cpus
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@runtime_checkable
class Engine(Protocol):
    """Finds the relatives of sequences in one database."""

    @property
    def name(self) -> str:
        """What notes call it, such as "pyhmmer in uniref90.fasta"."""

    def accepts(self, kind: ChainKind) -> bool:
        """Return whether it can search for chains of ``kind``."""

    def identity(self, query: Query) -> Mapping[str, str | int | float]:
        """Return everything that decides the result for ``query``: program, version, database version, settings."""

    def search(self, queries: Sequence[Query], progress: Progress) -> Generator[tuple[Query, str], None, None]:
        """Yield each query with its alignment as soon as that is whole: a3m, the query's row first.

        Closing the iterator stops the search.
        """


@runtime_checkable
class PairingEngine(Engine, Protocol):
    """An engine that also finds the relatives of several chains together, and knows which of them belong together."""

    def pair_identity(self) -> Mapping[str, str | int | float]:
        """Return everything but the queries that decides what :meth:`pair` gives."""

    def pair(self, queries: Sequence[Query], progress: Progress) -> Mapping[Query, str]:
        """Return an alignment of each query: a3m, the query's row first.

        Rows of different queries belong together where :func:`species_of` finds one word in their headers. Empty
        where nothing can be paired.
        """


def a3m_text(query: Query, rows: Sequence[tuple[str, str]]) -> str:
    """Return a3m text of the query and ``rows``, pairs of description and letters."""
    lines = [">query", query.sequence]
    for description, letters in rows:
        lines += [f">{description if description.isprintable() else description.translate(_NO_CONTROL)}", letters]
    return "\n".join(lines) + "\n"
