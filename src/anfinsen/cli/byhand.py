"""`anfinsen byhand`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anfinsen.common.errors import ConfigError, JobError, OutputError
from anfinsen.common.files import atomic_path

from .arguments import Device, Model, Recycles, Steps, Weights, predict_options

if TYPE_CHECKING:
    from anfinsen.byhand import Exercise, Plan, Slice
    from anfinsen.inference import PredictOptions, Predictor
    from anfinsen.jobs import Job


def byhand(
    job: Annotated[
        Path | None, typer.Argument(metavar="[JOB]", help="Job file with one job.", show_default=False)
    ] = None,
    model: Model = None,
    weights: Weights = None,
    block: Annotated[
        str | None,
        typer.Option(metavar="NAME", help='Block, such as "pairformer.0.triangle_attention_starting".'),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.xlsx", help="Workbook to write.")] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Web page of the same to write besides; it opens offline.")
    ] = None,
    exercise: Annotated[
        str | None,
        typer.Option(
            metavar="TILES",
            help='Leave tiles blank for the reader to fill in: steps such as "7", "9-11", "12.2" (tile 2 of step 12), '
            '"7,9", or "middle".',
        ),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="1-4", help="Tokens, from 1 (default: the first three, or as many as fit).")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="1-4", help="Rows of the alignment, from 1 (default: all).")
    ] = None,
    heads: Annotated[str | None, typer.Option(metavar="0,1", help="Attention heads, from 0 (default: all).")] = None,
    channels: Annotated[
        str | None, typer.Option(metavar="0-3", help="Channels of the results, from 0 (default: all).")
    ] = None,
    hold: Annotated[
        bool,
        typer.Option("--hold", help="Hold everything outside of the tokens and rows as numbers: smaller workbooks."),
    ] = False,
    call: Annotated[int, typer.Option(metavar="N", help="Which call of the block, from 0 (-1: the last).")] = -1,
    names: Annotated[bool, typer.Option("--list", help="Name every block of the model, and what it does.")] = False,
    gallery: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the gallery: well-known computations, small and on trained models."),
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="NAME", help="With --gallery, this entry alone.")] = None,
    small: Annotated[
        bool, typer.Option("--small", help="With --gallery, the workbooks on small whole numbers alone: no job.")
    ] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed, in place of the job's first.")] = None,
    recycles: Recycles = None,
    steps: Steps = None,
    device: Device = "cpu",
) -> int:
    """Write what a block of a model computes on a job as a workbook of live formulas that agree with the model."""
    of_block: dict[str, object] = {
        "--block": block, "--out": out, "--page": page, "--exercise": exercise, "--tokens": tokens, "--rows": rows,
        "--heads": heads, "--channels": channels, "--hold": hold or None, "--call": None if call == -1 else call,
        "--seed": seed, "--recycles": recycles, "--steps": steps,
    }  # fmt: skip
    if gallery is not None:
        others: dict[str, object] = {"--list": names or None, "--model": model, "--weights": weights}
        _refuse("--gallery writes a set of its own", of_block | others)
        return _gallery(job, gallery, only, small, device)
    if only is not None or small:
        raise ConfigError("Options --only and --small belong to --gallery FOLDER: add it, or leave them out.")
    if names:
        _refuse("--list names the blocks of a model and runs nothing", of_block | {"a job": job})
    if call < -1:
        raise ConfigError(f"Option --call is {call}: expected the number of a call, from 0, or -1 for the last.")
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.byhand import (
        Names,
        block_info,
        make_exercise,
        make_plan,
        plan_that_fits,
        trace,
    )
    from anfinsen.inference import make_predictor
    from anfinsen.inference.network_run import network_run

    options = predict_options(model, weights, None, 1, (recycles, steps, None), device)
    if seed is not None:
        options = replace(options, seeds=(seed,))
    if names:
        return _list(options)
    wanted = _wanted(tokens, rows, heads, channels, hold)
    if job is None or block is None:
        missing = "a job file" if job is None else "--block"
        raise ConfigError(f"A workbook needs {missing}: `anfinsen byhand --list` names the blocks of a model.")
    target = _targets(block, out, page)
    predictor = make_predictor(options)
    _note_unused(predictor, steps, recycles)
    request = _one_job(job)
    run = network_run(predictor, request)
    info = block_info(run.model, block)
    recorded = trace(
        run.model,
        lambda: run.run(info.path),
        block=info.path,
        call=call,
        names=Names({"token": run.tokens}),
        title=f"{info.name} of {predictor.weights.name} on {request.name}",
        reference=f"{info.does}. {info.reference}",
    )
    plan = plan_that_fits(recorded, wanted) if tokens is None else make_plan(recorded, wanted)
    questions = None if exercise is None else make_exercise(plan, exercise)
    _write(plan, questions, target, page, info.does)
    return 0


def _write(plan: Plan, questions: Exercise | None, target: Path, page: Path | None, does: str) -> None:
    from anfinsen.byhand import page_html, write_exercise, write_workbook

    with ExitStack() as files:
        if page is not None:
            # Under its own name only once the workbook is whole: both are there, or none.
            text = page_html(plan, questions)
            files.enter_context(atomic_path(page)).write_text(text, encoding="utf-8")
        facts = write_workbook(plan, target) if questions is None else write_exercise(questions, target)
    given = ", ".join(f"{count:,} {kind}" for kind, count in facts.numbers.items() if count)
    typer.echo(f"{facts.path}: {facts.formulas:,} formulas over {given} cells ({does}).")
    if page is not None:
        typer.echo(f"{page}: the same as a page.")


def _note_unused(predictor: Predictor, steps: int | None, recycles: int | None) -> None:
    for name, value, used in (("steps", steps, predictor.steps), ("recycles", recycles, predictor.recycles)):
        if value and not used:
            typer.echo(f"note: {predictor.weights.name} knows no number of {name}: --{name} is not used.", err=True)


def _refuse(what: str, options: Mapping[str, object]) -> None:
    """Refuse options that would do nothing."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"Option {what}: give it without {' and '.join(given)}.")


def _targets(block: str, out: Path | None, page: Path | None) -> Path:
    """Return the name of the workbook, once both files are such as can be written."""
    target = out or Path(f"{re.sub(r'[^A-Za-z0-9]+', '-', block).strip('-')}.xlsx")
    if target.suffix.lower() != ".xlsx":
        raise ConfigError(f"Option --out is {str(target)!r}: expected a name that ends in .xlsx.")
    if page is not None and page.suffix.lower() != ".html":
        raise ConfigError(f"Option --page is {str(page)!r}: expected a name that ends in .html.")
    for option, path in (("--out", target), ("--page", page)):
        if path is not None:
            _check_target(option, path)
    return target


def _check_target(option: str, path: Path) -> None:
    """Refuse a file that could not be written, before time is spent on what goes into it."""
    above = next(parent for parent in path.absolute().parents if parent.exists())
    reason = "it is a folder" if path.is_dir() else None if above.is_dir() else f"{above} is no folder"
    if reason is not None:
        raise OutputError(f"Option {option} is {str(path)!r}, but {reason}: choose another file.")


def _gallery(job: Path | None, folder: Path, only: str | None, small: bool, device: str) -> int:
    from anfinsen.byhand.gallery import write_gallery
    from anfinsen.inference.byhand_models import GALLERY_LOSSES, GallerySources

    if job is None and not small:
        raise ConfigError(
            "The gallery's workbooks of trained models need a job file: give one, such as examples/2aee_A.yaml, or "
            "--small for the small workbooks alone."
        )
    if job is not None and small:
        raise ConfigError("Small workbooks need no job: leave the job file out, or --small.")
    sources = None if job is None else GallerySources(_one_job(job), device)
    for facts in write_gallery(folder, GALLERY_LOSSES, sources, only):
        typer.echo(f"{facts.path}: {facts.formulas:,} formulas.")
    return 0


def _list(options: PredictOptions) -> int:
    from anfinsen.byhand import blocks_of
    from anfinsen.byhand.blocks import listing
    from anfinsen.inference import make_predictor
    from anfinsen.inference.network_run import network_of

    for name, info in listing(blocks_of(network_of(make_predictor(options)))).items():
        reference = f"  ({info.reference})" if info.reference else ""
        typer.echo(f"{name}: {info.does}{reference}")
    return 0


def _wanted(tokens: str | None, rows: str | None, heads: str | None, channels: str | None, hold: bool) -> Slice:
    from anfinsen.byhand import Slice

    return Slice(
        tokens=_members("--tokens", tokens, 1),
        sequences=_members("--rows", rows, 1),
        heads=_members("--heads", heads, 0),
        channels=_members("--channels", channels, 0),
        hold=hold,
    )


def _members(option: str, text: str | None, first: int) -> tuple[int, ...] | None:
    """Return "1-3,7" as (0, 1, 2, 6) where counting starts at ``first``."""
    if text is None:
        return None
    members: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        if match is None or int(match.group(1)) < first:
            raise ConfigError(
                f"Option {option} is {text!r}: expected numbers from {first}, such as {first}-3 or {first},2."
            )
        start, stop = int(match.group(1)), int(match.group(2) or match.group(1))
        if stop < start:
            raise ConfigError(f"Option {option} is {text!r}: {part.strip()} runs backwards.")
        members.extend(range(start - first, stop - first + 1))
    return tuple(dict.fromkeys(members))


def _one_job(path: Path) -> Job:
    from anfinsen.jobs import load_jobs

    jobs = load_jobs(path)
    if len(jobs) != 1:
        raise JobError(f"Job file {str(path)!r} holds {len(jobs)} jobs: `anfinsen byhand` takes a file with one.")
    return jobs[0]
