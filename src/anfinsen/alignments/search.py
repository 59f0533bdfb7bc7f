"""`search_alignments`: every distinct sequence is searched once, in every database that suits it, and remembered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from ..chemistry.structure import ChainKind
from ..common.errors import AlignmentError
from ..common.progress import Progress, Silent
from .cache import SearchCache, cache_key
from .engine import Engine, PairingEngine, Query, a3m_text
from .filters import FilterConfig, kept_rows
from .pairing import species_of
from .parse import parse_msa
from .records import Row, a3m_records
from .rows import take_rows
from .weights import effective_depth


@dataclass(frozen=True)
class SourceRows:
    """What one engine gave: its name, the rows found there (the query not counted), and whether they were known."""

    engine: str
    rows: int
    cached: bool


@dataclass(frozen=True)
class SearchResult:
    """The relatives of one sequence.

    Attributes:
        unpaired: a3m of all databases, one below the other, repeated rows and those that the filter refuses left out.
        paired: a3m of the rows that name their species, repeated ones too (their species differ), and of those that
            an engine paired itself.
        depth: rows of ``unpaired``, the query included.
        n_eff: effective depth at 80 % identity (:func:`effective_depth`).
        species: number of different species in ``paired``.
        sources: one for each engine that was asked, and one more where it paired.
    """

    unpaired: str
    paired: str
    depth: int
    n_eff: float
    species: int
    sources: tuple[SourceRows, ...]


_Part = tuple[SourceRows, list[Row]]
"""What one engine gave: its name and figures, and the rows, the query's left out."""


def search_alignments(
    queries: Iterable[Query],
    engines: Sequence[Engine],
    cache: SearchCache | None = None,
    filters: FilterConfig | None = None,
    progress: Progress | None = None,
    *,
    together: bool = False,
) -> dict[Query, SearchResult]:
    """Return the alignments of all queries; equal ones are searched once, those in the cache not at all.

    A result goes into the cache as soon as it is whole: what an interrupted search finished is not searched again.

    Args:
        queries: protein, RNA or DNA.
        engines: asked in this order; each is asked for the queries that it accepts.
        cache: remembers what the engines gave; None remembers nothing.
        filters: what to leave out of the result; the cache holds all.
        progress: is told of each engine, and of each finished query.
        together: the proteins are chains of one complex; engines that can (:class:`PairingEngine`) pair them.

    Raises:
        AlignmentError: a query is a ligand, an engine's database cannot be read, or an engine gave no alignment of
            its query.
        OutputError: the cache cannot be written.
        KeyboardInterrupt: passed on, after the engines have stopped.
    """
    progress, filters = progress or Silent(), filters or FilterConfig()
    distinct = tuple(dict.fromkeys(queries))
    if any(not query.kind.is_polymer for query in distinct):
        raise AlignmentError("A ligand has no relatives to search for: leave it out.")
    found: dict[Query, list[_Part]] = {query: [] for query in distinct}
    partners: dict[Query, list[_Part]] = {query: [] for query in distinct}
    for engine in engines:
        asked = [query for query in distinct if engine.accepts(query.kind)]
        for query, (text, cached) in _ask(engine, asked, cache, progress).items():
            found[query].append(_part(engine.name, text, cached))
        proteins = [query for query in asked if query.kind is ChainKind.PROTEIN]
        if together and len(proteins) > 1 and isinstance(engine, PairingEngine):
            texts, cached = _pair(engine, proteins, cache, progress)
            for query, text in texts.items():
                partners[query].append(_part(f"{engine.name} (paired)", text, cached))
    return {query: _result(query, found[query], partners[query], filters) for query in distinct}


def _part(name: str, text: str, cached: bool) -> _Part:
    records = list(a3m_records(text, f"The alignment that {name} gave"))
    return SourceRows(name, len(records) - 1, cached), records[1:]


def _ask(
    engine: Engine, queries: Sequence[Query], cache: SearchCache | None, progress: Progress
) -> dict[Query, tuple[str, bool]]:
    keys = {
        query: cache_key({"sequence": query.sequence, "kind": query.kind.value, **engine.identity(query)})
        for query in queries
    }
    texts = {query: (text, True) for query, key in keys.items() if cache and (text := cache.get(key)) is not None}
    missing = [query for query in queries if query not in texts]
    if missing:
        progress.stage(f"Search: {engine.name}", len(missing))
        # An engine has threads or processes at work: they end here, whatever ends this loop.
        with closing(engine.search(missing, progress)) as answers:
            for query, text in answers:
                if cache:
                    cache.put(keys[query], text)
                texts[query] = (text, False)
                progress.advance()
    return {query: texts[query] for query in queries}


def _pair(
    engine: PairingEngine, queries: Sequence[Query], cache: SearchCache | None, progress: Progress
) -> tuple[dict[Query, str], bool]:
    """The alignments of chains that were paired, and whether they were known."""
    chains = sorted(query.sequence for query in queries)
    key = cache_key({"chains": " ".join(chains), **engine.pair_identity()})
    if cache and (known := cache.get(key)) is not None:
        texts = json.loads(known)
        return {query: texts[query.sequence] for query in queries}, True
    progress.stage(f"Pairing: {engine.name}", 1)
    paired = dict(engine.pair(queries, progress))
    if cache and paired:
        cache.put(key, json.dumps({query.sequence: text for query, text in paired.items()}))
    progress.advance()
    return paired, False


def _result(query: Query, parts: Sequence[_Part], partners: Sequence[_Part], filters: FilterConfig) -> SearchResult:
    rows = [("query", query.sequence), *(row for _, found in parts for row in found)]
    alone = len(rows)
    rows += [row for _, found in partners for row in found]
    msa = parse_msa(_text(query, rows), query.sequence, query.kind, "The alignment that was found")
    first: dict[str, int] = {}
    for index, (_, letters) in enumerate(rows[:alone]):
        first.setdefault(letters, index)
    distinct = np.array(list(first.values()))
    unpaired = distinct[kept_rows(take_rows(msa, distinct), filters)]
    every = kept_rows(msa, replace(filters, max_identity=1.0))
    species = {index: species_of(rows[index][0]) for index in every[1:].tolist()}
    paired = [0, *(index for index, name in species.items() if name)]
    return SearchResult(
        unpaired=_text(query, [rows[index] for index in unpaired]),
        paired=_text(query, [rows[index] for index in paired]),
        depth=len(unpaired),
        n_eff=effective_depth(take_rows(msa, unpaired)),
        species=len(set(species.values()) - {""}),
        sources=tuple(source for source, _ in (*parts, *partners)),
    )


def _text(query: Query, rows: Sequence[Row]) -> str:
    return a3m_text(query, rows[1:])
