"""`anfinsen predict`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import AtOnce, Device, Jobs, Model, Recycles, Samples, Seeds, Steps, Weights, predict_options
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
    from collections.abc import Sequence

    from anfinsen.alignments import SearchOptions, TemplateOptions
    from anfinsen.inference import JobRequest, Outcome

    from .terminal import Terminal


def predict(
    jobs: Jobs,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, one folder per job.")] = Path("output"),
    model: Model = None,
    weights: Weights = None,
    seeds: Seeds = None,
    samples: Samples = None,
    recycles: Recycles = None,
    steps: Steps = None,
    device: Device = "auto",
    at_once: AtOnce = None,
    relax: Annotated[
        str, typer.Option(metavar="none|best|all", help="Structures whose proteins are relaxed by OpenMM.")
    ] = "none",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Run finished jobs again and replace them.")] = False,
    db: Db = None,
    engine: EngineName = None,
    url: Url = None,
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
) -> int:
    """Predict the structures of jobs.

    Finished jobs are skipped, so that an interrupted batch goes on where it stopped. With --db or --url, alignments
    that the jobs do not give are searched for first; with --templates, known structures.
    """
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.inference import job_files, make_predictor, prepare_output, read_requests, run_jobs
    from anfinsen.reports import write_results

    from .terminal import Terminal

    options = predict_options(model, weights, seeds, samples, (recycles, steps, at_once), device)
    options = replace(options, relax=relax)
    searching = search_options((db, engine, url, gpu), (iterations, cpus), (min_coverage, min_identity, max_identity))
    known = template_options(templates, template_date, max_templates, (iterations, cpus))
    requests, unreadable = read_requests(job_files(jobs))
    outcomes = list(unreadable)
    with Terminal() as terminal:
        requests, failed = _with_alignments(requests, searching, known, cache, terminal)
        outcomes += failed
        if requests:
            predictor = make_predictor(options, terminal)
            prepare_output(out)
            for outcome in run_jobs(requests, predictor, out, write_results, overwrite=overwrite, progress=terminal):
                terminal.clear()
                _show(outcome)
                outcomes.append(outcome)
    return report_failures(outcomes)


def _with_alignments(
    requests: Sequence[JobRequest],
    options: SearchOptions,
    known: TemplateOptions,
    cache: Path | None,
    terminal: Terminal,
) -> tuple[tuple[JobRequest, ...], list[Outcome]]:
    """The jobs with what was found for them, where it comes from among the notes; and the jobs that failed."""
    from anfinsen.alignments import SearchCache
    from anfinsen.inference import failure
    from anfinsen.inference.search import check_engines, complete_job

    memory = SearchCache(cache) if options.searches or known.folder is not None else None
    engines = options.open(memory) if memory else ()
    structures = known.open(memory) if memory else None
    check_engines([request.job for request in requests], engines)
    completed, failed = [], []
    for request in requests:
        try:
            found = complete_job(request.job, engines, memory, options.filters, terminal, structures)
        except Exception as error:
            failed.append(failure(request.job.name, error))
            continue
        # Without any alignment, the prediction itself says so.
        said = options.searches or any(entity.source == "job" for entity in found.entities)
        notes = tuple(note for note in (found.note if said else "", found.template_note) if note)
        completed.append(replace(request, job=found.job, notes=(*request.notes, *notes)))
    terminal.clear()
    return tuple(completed), failed


def _show(outcome: Outcome) -> None:
    from rich.console import Console

    from anfinsen.reports import ranking_table

    console = Console(highlight=False, soft_wrap=True)
    if outcome.prediction is not None:
        for note in outcome.prediction.notes:
            typer.echo(f"note: {note}", err=True)
        console.print(ranking_table(outcome.prediction))
        for ranked in outcome.prediction.ranking:
            relaxation = outcome.prediction.relaxation(ranked)
            if relaxation is not None:
                console.print(
                    f"Relaxed: seed {ranked.seed}, sample {ranked.sample}: {relaxation.sentence}", markup=False
                )
        console.print(f"Results: {outcome.folder}", markup=False)
        report = outcome.folder / "report.html" if outcome.folder else None
        if report and report.exists():
            console.print(f"Report:  {report.resolve()}", markup=False)
    elif outcome.status == "skipped":
        console.print(f"{outcome.name}: done already, skipped ({outcome.folder})", markup=False)
