"""`anfinsen attention`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anfinsen.common.errors import ConfigError, JobError

from .arguments import Device, Model, Recycles, Steps, Weights, predict_options
from .search_arguments import Cache, Cpus, Db, EngineName, Gpu, Iterations, Url, search_options

if TYPE_CHECKING:
    from anfinsen.alignments import SearchOptions
    from anfinsen.inference import JobRequest
    from anfinsen.inference.attention_study import AttentionStudy

    from .terminal import Terminal


def attention(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file with one job.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, one folder per job.")] = Path(
        "attention"
    ),
    model: Model = None,
    weights: Weights = None,
    structure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known structure: contacts are taken from it.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="Heads in each ranking.")] = 12,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed, in place of the job's first.", show_default=False)
    ] = None,
    recycles: Recycles = None,
    steps: Steps = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier study of the job.")] = False,
    db: Db = None,
    engine: EngineName = None,
    url: Url = None,
    cache: Cache = None,
    iterations: Iterations = 3,
    cpus: Cpus = 0,
    gpu: Gpu = False,
) -> int:
    """Show what every attention head of a trained model looks at while it predicts one structure.

    Heads are compared with contacts, distance along the chain and chain borders, and ranked. With --db or --url,
    alignments that the job does not give are searched for first.
    """
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.inference import prepare_output
    from anfinsen.inference.attention_study import study_attention
    from anfinsen.reports.attention import check_attention_target, write_attention

    from .terminal import Terminal

    if top < 1:
        raise ConfigError(f"Option --top is {top}: expected at least 1.")
    # A model may be given as a file's path, as everywhere.
    options = predict_options(model, weights, None, 1, (recycles, steps, None), device)
    if seed is not None:
        options = replace(options, seeds=(seed,))
    searching = search_options((db, engine, url, gpu), (iterations, cpus))
    request = _one_job(job)
    folder = out / request.folder
    check_attention_target(folder, overwrite=overwrite)
    with _no_empty_folder(out), Terminal() as terminal:
        prepare_output(out)
        request = _with_alignments(request, searching, cache, terminal)
        study = study_attention(request.job, options, notes=request.notes, structure=structure, progress=terminal)
        terminal.stage("Writing results", 1)
        write_attention(study, folder, top=top)
        terminal.clear()
    _show(study, folder)
    return 0


@contextmanager
def _no_empty_folder(out: Path) -> Iterator[None]:
    """Leave no folder behind that was made here and that nothing was written into."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # not made, or not empty
                folder.rmdir()


def _one_job(path: Path) -> JobRequest:
    """The job of a file.

    Raises:
        JobError: the file cannot be read, or holds several jobs.
    """
    from anfinsen.inference import JobRequest
    from anfinsen.inference.runner import free_name
    from anfinsen.jobs import load_jobs_with_notes

    loaded = load_jobs_with_notes(path)
    if len(loaded.jobs) != 1:
        raise JobError(f"Job file {str(path)!r} holds {len(loaded.jobs)} jobs: `anfinsen attention` studies one.")
    job = loaded.jobs[0]
    return JobRequest(job, path, free_name(job.file_name, set()), loaded.notes)


def _with_alignments(request: JobRequest, options: SearchOptions, cache: Path | None, terminal: Terminal) -> JobRequest:
    """The job with the alignments that were found for it."""
    from anfinsen.alignments import SearchCache
    from anfinsen.inference.search import check_engines, complete_job

    if not options.searches:
        return request
    memory = SearchCache(cache)
    engines = options.open(memory)
    check_engines([request.job], engines)
    found = complete_job(request.job, engines, memory, options.filters, terminal)
    terminal.clear()
    return replace(request, job=found.job, notes=(*request.notes, *((found.note,) if found.note else ())))


def _show(study: AttentionStudy, folder: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from anfinsen.inference.attention_scores import RANKINGS, SCORES, ranked

    for note in study.notes:
        typer.echo(f"note: {note}", err=True)
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("heads that look at", "first", "score"):
        table.add_column(name, overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    for ranking in RANKINGS:
        for head in ranked(study.heads, ranking, 1):
            value = head.scores[ranking.score]
            table.add_row(ranking.title, f"{head.layer}, head {head.head}", SCORES[ranking.score].label, f"{value:.3f}")
    console.print(table)
    console.print(f"Results: {folder}", markup=False)
    console.print(f"Page:    {(folder / 'attention.html').resolve()}", markup=False)
