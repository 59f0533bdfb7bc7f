"""A job completed with the alignments and templates that a search found, to be predicted, or kept, with them inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from anfinsen.alignments import (
    Engine,
    FilterConfig,
    Query,
    SearchCache,
    SearchResult,
    TemplateResult,
    TemplateSearch,
    parse_msa,
    search_alignments,
)
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.text import counted
from anfinsen.jobs import Entity, Job, Polymer, TemplateAlignment


@dataclass(frozen=True)
class EntitySearch:
    """Where the alignment and the templates of one entity come from.

    Attributes:
        chains: ids of its copies. kind: protein, DNA or RNA.
        source: of the alignment: "job" (its own), "search", or "none".
        reason: why there is none.
        result: what the search found.
        own_templates: number of templates that the job itself gives; None where it says nothing about them.
        templates: what the search for templates found; None where it was not made.
    """

    chains: tuple[str, ...]
    kind: str
    source: Literal["job", "search", "none"]
    reason: str = ""
    result: SearchResult | None = None
    own_templates: int | None = None
    templates: TemplateResult | None = None


@dataclass(frozen=True)
class CompletedJob:
    """A job with alignments and templates inside, and where each comes from, polymer by polymer.

    ``template_folder`` is the name of the folder in which templates were looked for, "" where none.
    """

    job: Job
    entities: tuple[EntitySearch, ...]
    template_folder: str = ""

    @property
    def note(self) -> str:
        """Where the alignments come from, in one sentence; "" where no chain could have one."""
        parts = [_described(entity) for entity in self.entities if entity.kind != "dna"]
        return f"Alignments: {'; '.join(parts)}." if parts else ""

    @property
    def template_note(self) -> str:
        """Where the templates come from, in one sentence; "" where none were looked for."""
        parts = [_templates_described(entity) for entity in self.entities if entity.kind == "protein"]
        return f"Templates from {self.template_folder}: {'; '.join(parts)}." if self.template_folder and parts else ""


def complete_job(
    job: Job,
    engines: Sequence[Engine],
    cache: SearchCache | None = None,
    filters: FilterConfig | None = None,
    progress: Progress | None = None,
    templates: TemplateSearch | None = None,
    *,
    dna: bool = False,
) -> CompletedJob:
    """Search for the relatives of the chains that the job gives no alignment for, and return the job with them.

    An alignment of the job is taken as it is, and one that it refuses (``msa: none``) is not searched for. Where two
    different proteins are present, the rows that name a species, and those that an MSA server pairs, become the paired
    alignments. No model reads alignments of DNA: with ``dna`` they are searched all the same, and are in the entities'
    results alone.

    With ``templates``, proteins get the known structures that their alignment finds, or their sequence where they
    have no alignment; those that the job gives itself, or refuses (``templates: none``), are left as they are.

    Raises:
        AlignmentError, OutputError: as :func:`anfinsen.alignments.search_alignments`, and as
            :meth:`anfinsen.alignments.TemplateSearch.find`.
    """
    wanted = {
        index: Query(entity.sequence, ChainKind(entity.kind))
        for index, entity in enumerate(job.entities)
        if isinstance(entity, Polymer) and _missing(entity, engines, dna=dna)
    }
    several = len({entity.sequence for entity in job.entities if entity.kind == "protein"}) > 1
    found = search_alignments(wanted.values(), engines, cache, filters, progress, together=several) if wanted else {}
    entities, described = list(job.entities), []
    for index, entity in enumerate(job.entities):
        if not isinstance(entity, Polymer):
            continue
        if index not in wanted:
            described.append(_not_searched(entity, engines, dna=dna))
            continue
        result = found[wanted[index]]
        described.append(EntitySearch(entity.ids, entity.kind, "search", result=result))
        if entity.kind == "dna":
            continue
        alignments = {"unpaired_msa": result.unpaired}
        if entity.kind == "protein" and entity.paired_msa is None:
            alignments["paired_msa"] = result.paired if several and result.species else ""
        entities[index] = Polymer(**(dict(entity) | alignments))
    if templates is not None:
        entities, described = _with_templates(entities, described, templates, progress or Silent())
    completed = Job(**(dict(job) | {"entities": tuple(entities)}))
    return CompletedJob(completed, tuple(described), templates.name if templates is not None else "")


def check_engines(jobs: Iterable[Job], engines: Sequence[Engine], *, dna: bool = False) -> None:
    """Refuse engines of which none is of any use to any of the jobs, such as a database of RNA where all are proteins.

    ``dna`` as for :func:`complete_job`.

    Raises:
        AlignmentError: there are chains without an alignment, and no engine accepts a chain of any job.
    """
    polymers = [entity for job in jobs for entity in job.entities if isinstance(entity, Polymer)]
    kinds = {entity.kind for entity in polymers if dna or entity.kind != "dna"}
    if not engines or not any(_wants(entity, dna=dna) for entity in polymers):
        return
    if not any(engine.accepts(ChainKind(kind)) for engine in engines for kind in kinds):
        asked = " or ".join("protein" if kind == "protein" else kind.upper() for kind in sorted(kinds))
        names = ", ".join(engine.name for engine in engines)
        others = "have no others"
        if not dna and any(entity.kind == "dna" for entity in polymers):
            others = "have no others but DNA, which no model reads alignments of (--msa-only writes them)"
        advice = "" if kinds == {"protein"} else ", for --engine pyhmmer if it is to be searched for RNA or DNA"
        raise AlignmentError(
            f"Nothing can be searched: {names} has no relatives of {asked} chains, and the jobs {others}; give "
            f"another database with --db{advice}."
        )


def _with_templates(
    entities: Sequence[Entity], described: Sequence[EntitySearch], search: TemplateSearch, progress: Progress
) -> tuple[list[Entity], list[EntitySearch]]:
    """The entities with the templates that were found, and what was found for each polymer."""
    completed: list[Entity] = []
    notes: list[EntitySearch] = []
    found: dict[tuple[str, str], TemplateResult] = {}
    rest = iter(described)
    for entity in entities:
        completed.append(entity)
        if not isinstance(entity, Polymer):
            continue
        note = next(rest)
        if entity.kind == "protein" and entity.templates is None:
            key = entity.sequence, entity.unpaired_msa or ""
            if key not in found:
                found[key] = _find_templates(entity, search, progress)
            laid = tuple(
                TemplateAlignment(
                    mmcif=each.mmcif, query_indices=each.query_indices, template_indices=each.template_indices
                )
                for each in found[key].templates
            )
            completed[-1] = Polymer(**(dict(entity) | {"templates": laid}))
            note = replace(note, templates=found[key])
        elif entity.templates is not None:
            note = replace(note, own_templates=len(entity.templates))
        notes.append(note)
    return completed, notes


def _find_templates(entity: Polymer, search: TemplateSearch, progress: Progress) -> TemplateResult:
    kind = ChainKind(entity.kind)
    text = entity.unpaired_msa
    msa = parse_msa(text, entity.sequence, kind, f"MSA of protein {'/'.join(entity.ids)}") if text else None
    search.prepare(progress)
    progress.stage(f"Templates of {', '.join(entity.ids)}", 1)
    result = search.find(entity.sequence, msa)
    progress.advance()
    for problem in result.unusable:
        progress.note(f"Passed over as a template: {problem}")
    return result


def _wants(entity: Polymer, *, dna: bool) -> bool:
    return (dna or entity.kind != "dna") and entity.unpaired_msa is None and not entity.paired_msa


def _missing(entity: Polymer, engines: Sequence[Engine], *, dna: bool) -> bool:
    return _wants(entity, dna=dna) and any(engine.accepts(ChainKind(entity.kind)) for engine in engines)


def _not_searched(entity: Polymer, engines: Sequence[Engine], *, dna: bool) -> EntitySearch:
    if entity.unpaired_msa or entity.paired_msa:
        return EntitySearch(entity.ids, entity.kind, "job")
    if entity.kind == "dna" and not dna:
        reason = "no model reads alignments of DNA"
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
    return f"{chains} {counted(result.depth, 'row')}, N_eff {result.n_eff:.1f}, by {sources}"


def _templates_described(entity: EntitySearch) -> str:
    chains = f"protein {', '.join(entity.chains)}"
    if entity.own_templates is not None:
        return f"{chains} the job's own" if entity.own_templates else f"{chains} none (as the job says)"
    found = entity.templates
    if found is None or not found.templates:
        return f"{chains} none ({f'{found.hits:,} hits, {_refusals(found)}' if found and found.hits else 'no hits'})"
    named = ", ".join(f"{each.chain.entry} {each.chain.author_id}" for each in found.templates)
    return f"{chains} {named}"


def _refusals(found: TemplateResult) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in found.refused.items())
