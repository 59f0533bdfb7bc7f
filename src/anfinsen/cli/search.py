"""`anfinsen search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import Jobs
from .failures import report_failures
from .search_arguments import (
    Cache,
    Cpus,
    Db,
    EngineName,
    Gpu,
    Iterations,
    MaxIdentity,
    MaxTemplates,
    MinCoverage,
    MinIdentity,
    TemplateDate,
    Templates,
    Url,
    search_options,
    template_options,
)

if TYPE_CHECKING:
    from anfinsen.inference.search import CompletedJob, EntitySearch


def search(
    jobs: Jobs,
    db: Db = None,
    engine: EngineName = None,
    url: Url = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, one folder per job.")] = Path("msas"),
    cache: Cache = None,
    iterations: Iterations = 3,
    cpus: Cpus = 0,
    gpu: Gpu = False,
    min_coverage: MinCoverage = 0.0,
    min_identity: MinIdentity = 0.0,
    max_identity: MaxIdentity = 1.0,
    templates: Templates = None,
    template_date: TemplateDate = None,
    max_templates: MaxTemplates = None,
    msa_only: Annotated[
        bool, typer.Option("--msa-only", help="Write the alignments (of DNA, too), not the completed job.")
    ] = False,
) -> int:
    """Search sequence databases for the relatives of the chains of jobs, and structures for templates.

    Writes each job completed with its alignments and templates, to be predicted as it is. What was searched before
    comes from the cache.
    """
    from anfinsen.alignments import SearchCache
    from anfinsen.common.errors import ConfigError
    from anfinsen.inference import Outcome, failure, job_files, prepare_output, read_requests
    from anfinsen.inference.search import check_engines, complete_job
    from anfinsen.inference.search_output import write_search

    from .terminal import Terminal

    options = search_options((db, engine, url, gpu), (iterations, cpus), (min_coverage, min_identity, max_identity))
    known = template_options(templates, template_date, max_templates, (iterations, cpus))
    if not options.searches and known.folder is None:
        raise ConfigError(
            "There is nothing to search: give a sequence database with --db, an MSA server with --url, or a folder of "
            "structures with --templates."
        )
    if msa_only and not options.searches:
        raise ConfigError(
            "Templates stand in the completed job, which --msa-only does not write: give --db or --url to search "
            "alignments too, or leave --msa-only out."
        )
    requests, unreadable = read_requests(job_files(jobs))
    outcomes = list(unreadable)
    memory = SearchCache(cache)
    engines, structures = options.open(memory), known.open(memory)
    # Jobs have no place for alignments of DNA, as no model reads them: they are found for their own sake.
    check_engines([request.job for request in requests], engines, dna=msa_only)
    prepare_output(out)
    with Terminal() as terminal:
        for request in requests:
            for note in request.notes:
                terminal.note(f"note: {note}")
            try:
                completed = complete_job(
                    request.job, engines, memory, options.filters, terminal, structures, dna=msa_only
                )
                folder = write_search(completed, out / request.folder, with_job=not msa_only)
            except Exception as error:
                outcomes.append(failure(request.job.name, error))
                continue
            terminal.clear()
            _show(completed, folder)
            outcomes.append(Outcome(request.job.name, "done", folder))
    return report_failures(outcomes)


def _show(completed: CompletedJob, folder: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(
        title=escape(completed.job.name),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in ("chains", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "N_eff", "species"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from", overflow="fold")
    if completed.template_folder:
        table.add_column("templates", overflow="fold")
    for entity in completed.entities:
        numbers, source = ("", "", ""), entity.reason
        if entity.result is not None:
            found = entity.result
            numbers = (f"{found.depth:,}", f"{found.n_eff:.1f}", str(found.species))
            source = ", ".join(
                f"{each.engine}: {each.rows:,}{' (from the cache)' if each.cached else ''}" for each in found.sources
            )
        elif entity.source == "job":
            source = "the job"
        templates = [escape(_templates(entity))] if completed.template_folder else []
        table.add_row(escape(", ".join(entity.chains)), entity.kind, *numbers, escape(source), *templates)
    console.print(table)
    console.print(f"Results: {folder}", markup=False)


def _templates(entity: EntitySearch) -> str:
    if entity.kind != "protein":
        return ""
    if entity.templates is None:
        return "the job" if entity.own_templates else "as the job says"
    named = [f"{each.chain.entry} {each.chain.author_id} ({each.e_value:.1g})" for each in entity.templates.templates]
    return ", ".join(named) or "none"
