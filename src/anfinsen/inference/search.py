"""A job completed with the alignments that a search found, so that it can be predicted, or kept, with them inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anfinsen.alignments import Engine, FilterConfig, Query, SearchCache, SearchResult, search_alignments
from anfinsen.chemistry import ChainKind
from anfinsen.common.progress import Progress
from anfinsen.jobs import Job, Polymer


@dataclass(frozen=True)
class EntitySearch:
    """Where the alignment of one entity comes from.

    Attributes:
        chains: ids of its copies. kind: protein, DNA or RNA.
        source: "job" (its own), "search", or "none".
        reason: why there is none.
        result: what the search found.
    """

    chains: tuple[str, ...]
    kind: str
    source: Literal["job", "search", "none"]
    reason: str = ""
    result: SearchResult | None = None


@dataclass(frozen=True)
class CompletedJob:
    """A job with alignments inside, and where each comes from, polymer by polymer."""

    job: Job
    entities: tuple[EntitySearch, ...]

    @property
    def note(self) -> str:
        """Where the alignments come from, in one sentence; "" where no chain could have one."""
        parts = [_described(entity) for entity in self.entities if entity.kind != "dna"]
        return f"Alignments: {'; '.join(parts)}." if parts else ""


def complete_job(
    job: Job,
    engines: Sequence[Engine],
    cache: SearchCache | None = None,
    filters: FilterConfig | None = None,
    progress: Progress | None = None,
) -> CompletedJob:
    """Search for the relatives of the chains that the job gives no alignment for, and return the job with them.

    An alignment of the job is taken as it is, and one that it refuses (``msa: none``) is not searched for. DNA has
    none. Where two different proteins are present, the rows that name a species become the paired alignments.

    Raises:
        AlignmentError, OutputError: as :func:`anfinsen.alignments.search_alignments`.
    """
    wanted = {
        index: Query(entity.sequence, ChainKind(entity.kind))
        for index, entity in enumerate(job.entities)
        if isinstance(entity, Polymer) and _missing(entity, engines)
    }
    found = search_alignments(wanted.values(), engines, cache, filters, progress) if wanted else {}
    several = len({entity.sequence for entity in job.entities if entity.kind == "protein"}) > 1
    entities, described = list(job.entities), []
    for index, entity in enumerate(job.entities):
        if not isinstance(entity, Polymer):
            continue
        if index not in wanted:
            described.append(_not_searched(entity, engines))
            continue
        result = found[wanted[index]]
        alignments = {"unpaired_msa": result.unpaired}
        if entity.kind == "protein" and entity.paired_msa is None:
            alignments["paired_msa"] = result.paired if several and result.species else ""
        entities[index] = Polymer(**(dict(entity) | alignments))
        described.append(EntitySearch(entity.ids, entity.kind, "search", result=result))
    return CompletedJob(Job(**(dict(job) | {"entities": tuple(entities)})), tuple(described))


def _missing(entity: Polymer, engines: Sequence[Engine]) -> bool:
    if entity.kind == "dna" or entity.unpaired_msa is not None or entity.paired_msa:
        return False
    return any(engine.accepts(ChainKind(entity.kind)) for engine in engines)


def _not_searched(entity: Polymer, engines: Sequence[Engine]) -> EntitySearch:
    if entity.unpaired_msa or entity.paired_msa:
        return EntitySearch(entity.ids, entity.kind, "job")
    if entity.kind == "dna":
        reason = "DNA has none"
    elif entity.unpaired_msa is not None:
        reason = "as the job says"
    elif engines:
        reason = "no database suits it"
    else:
        reason = "no database is given"
    return EntitySearch(entity.ids, entity.kind, "none", reason)


def _described(entity: EntitySearch) -> str:
    chains = f"{entity.kind if entity.kind == 'protein' else entity.kind.upper()} {', '.join(entity.chains)}"
    if entity.source == "job":
        return f"{chains} the job's own"
    if entity.result is None:
        return f"{chains} none ({entity.reason})"
    result = entity.result
    sources = ", ".join(f"{each.engine}{' (from the cache)' if each.cached else ''}" for each in result.sources)
    return f"{chains} {result.depth:,} rows, N_eff {result.n_eff:.1f}, by {sources}"
