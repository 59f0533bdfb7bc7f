"""`anfinsen image`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anfinsen.common.errors import ConfigError, JobError

from .arguments import Device

if TYPE_CHECKING:
    from anfinsen.inference.images.run import ImageRequest, ImageResult
    from anfinsen.jobs import Job

    from .terminal import Terminal

Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT", help='What to draw: "two small red circles above a large blue square".', show_default=False
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NETWORK=FILE",
        help="Weights of a network, such as dalle2-decoder=FILE, in place of the bundled ones; repeat it.",
    ),
]


def image(
    prompt: Prompt = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, one folder per run.")] = Path("output"),
    model: Annotated[str, typer.Option(help="dalle2 or dalle1.")] = "dalle2",
    samples: Annotated[int, typer.Option(metavar="N", help="Pictures, or steps of a way from one to another.")] = 9,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="X", help="1 draws as trained, more follows the prompt closer (default: 3)."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all random numbers.")] = 0,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps of the decoder (default: 16; of an edit but --inpaint: 50).")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="euler (default), heun, ddim, ancestral or edm-stochastic.")
    ] = None,
    no_prior: Annotated[
        bool, typer.Option("--no-prior", help="Give the prompt's embedding to the decoder, not a picture's.")
    ] = False,
    candidates: Annotated[
        int | None,
        typer.Option(metavar="N", help="Drawn for each picture; CLIP keeps one (default: 4)."),
    ] = None,
    variation: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw variations of a picture.")] = None,
    eta: Annotated[
        float | None,
        typer.Option(metavar="X", help="Fresh noise in variations, 0 (the picture) to 1 (default: 0.4)."),
    ] = None,
    interpolate: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A B", help="Go from one picture to another.")
    ] = None,
    text_difference: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="FROM TO", help="Change the picture of --variation as one caption differs from another."),
    ] = None,
    inpaint: Annotated[Path | None, typer.Option(metavar="FILE", help="Paint a part of a picture anew.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="White where --inpaint is to paint.")] = None,
    job: Annotated[
        Path | None,
        typer.Option(metavar="JOB", help="Predict this job, too, and show its atoms beside the pictures."),
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
) -> int:
    """Draw pictures from text, or from pictures, with the diffusion that AlphaFold 3 places atoms by."""
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.inference.images.run import ImageRequest

    request = ImageRequest(
        prompt=prompt,
        model=model,
        variation=variation,
        interpolate=interpolate,
        difference=text_difference,
        inpaint=inpaint,
        mask=mask,
        samples=samples,
        guidance=guidance,
        steps=steps,
        sampler=sampler,
        seed=seed,
        use_prior=not no_prior,
        candidates=candidates,
        eta=eta,
        weights=_weights(weights or []),
    )
    return _run(request, out, job, device, overwrite)


def _run(request: ImageRequest, out: Path, job: Path | None, device: str, overwrite: bool) -> int:
    from anfinsen.inference import prepare_output
    from anfinsen.inference.images.run import check_inputs, draw, load_pipeline
    from anfinsen.reports.image import ImageReport, bundled_trajectory
    from anfinsen.reports.image_files import finished, run_folder, run_record, write_images

    from .terminal import Terminal

    check_inputs(request)
    folding = None if job is None else _job(job)
    folder = run_folder(request, out)
    with Terminal() as terminal:
        pipeline = load_pipeline(request, device, terminal)
        run = run_record(request, folding, {name: info.sha256 or info.name for name, info in pipeline.weights.items()})
        if finished(folder, run, overwrite=overwrite):
            typer.echo(f"{request.title}: done already, skipped ({folder})")
            return 0
        prepare_output(out)
        result = draw(request, pipeline)
        trajectory = bundled_trajectory() if folding is None else _trajectory(folding, device, terminal)
        report = ImageReport(request, result, trajectory, folding is not None, pipeline.device.type)
        terminal.stage("Writing results", 1)
        write_images(report, run, folder)
        terminal.clear()
    _show(request, result, folder)
    return 0


def _weights(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"Option --weights is {text!r}: expected NETWORK=FILE, such as dalle2-decoder=FILE.")
        if name in found:
            raise ConfigError(f"Option --weights names {name!r} twice: give each network once.")
        found[name] = file
    return found


def _job(path: Path) -> Job:
    from anfinsen.jobs import load_jobs

    jobs = load_jobs(path)
    if len(jobs) != 1:
        raise JobError(f"Job file {str(path)!r} holds {len(jobs)} jobs: give a file of one.")
    return jobs[0]


def _trajectory(job: Job, device: str, terminal: Terminal) -> dict[str, Any]:
    from anfinsen.inference import PredictOptions
    from anfinsen.inference.alphafold3 import AlphaFold3Predictor
    from anfinsen.inference.trajectories import record_trajectory

    # One sample of the job's first seed is what the page shows.
    options = PredictOptions(samples=1, seeds=job.seeds[:1], device=device)
    return record_trajectory(AlphaFold3Predictor(options, terminal), job)[0].record()


def _show(request: ImageRequest, result: ImageResult, folder: Path) -> None:
    from rich.console import Console

    from anfinsen.reports.image_files import GRID, PAGE

    console = Console(highlight=False, soft_wrap=True)
    count = len(result.labels)
    line = f"{request.title}: {count} picture{'' if count == 1 else 's'}"
    if result.clip_scores:
        line += f", CLIP score {sum(result.clip_scores) / count:.3f} on average, {max(result.clip_scores):.3f} at best"
    console.print(line, markup=False)
    console.print(f"Grid: {folder / GRID}", markup=False)
    console.print(f"Page: {(folder / PAGE).resolve()}", markup=False)
