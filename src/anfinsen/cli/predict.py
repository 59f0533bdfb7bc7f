"""`anfinsen predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import AtOnce, Device, Jobs, Model, Recycles, Samples, Seeds, Steps, Weights, predict_options

if TYPE_CHECKING:
    from anfinsen.inference import Outcome


def predict(
    jobs: Jobs,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, one folder per job.")] = Path("output"),
    model: Model = None,
    weights: Weights = None,
    seeds: Seeds = None,
    samples: Samples = 5,
    recycles: Recycles = None,
    steps: Steps = None,
    device: Device = "auto",
    at_once: AtOnce = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Run finished jobs again and replace them.")] = False,
) -> int:
    """Predict the structures of jobs.

    Finished jobs are skipped, so that an interrupted batch goes on where it stopped.
    """
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.inference import Predictor, job_files, prepare_output, read_requests, run_jobs
    from anfinsen.reports import write_results

    from .terminal import Terminal

    options = predict_options(model, weights, seeds, samples, (recycles, steps, at_once), device)
    requests, unreadable = read_requests(job_files(jobs))
    outcomes = list(unreadable)
    with Terminal() as terminal:
        if requests:
            predictor = Predictor(options, terminal)
            prepare_output(out)
            for outcome in run_jobs(requests, predictor, out, write_results, overwrite=overwrite, progress=terminal):
                terminal.clear()
                _show(outcome)
                outcomes.append(outcome)
    return _report_failures(outcomes)


def _show(outcome: Outcome) -> None:
    from rich.console import Console

    from anfinsen.reports import ranking_table

    console = Console(highlight=False, soft_wrap=True)
    if outcome.prediction is not None:
        for note in outcome.prediction.notes:
            typer.echo(f"note: {note}", err=True)
        console.print(ranking_table(outcome.prediction))
        console.print(f"Results: {outcome.folder}", markup=False)
        report = outcome.folder / "report.html" if outcome.folder else None
        if report and report.exists():
            console.print(f"Report:  {report.resolve()}", markup=False)
    elif outcome.status == "skipped":
        console.print(f"{outcome.name}: done already, skipped ({outcome.folder})", markup=False)


def _report_failures(outcomes: list[Outcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not failed:
        return 0
    if len(outcomes) == 1:
        typer.echo(f"anfinsen: {failed[0].message}", err=True)
        return 2
    typer.echo(f"anfinsen: {len(failed)} of {len(outcomes)} jobs failed:", err=True)
    for outcome in failed:
        typer.echo(f"  {outcome.name}: {outcome.message}", err=True)
    return 2
