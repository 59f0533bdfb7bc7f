"""Options that several commands share, and their translation into `PredictOptions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anfinsen.common.errors import ConfigError

if TYPE_CHECKING:
    from anfinsen.inference import PredictOptions

Jobs = Annotated[
    list[Path], typer.Argument(metavar="JOB...", help="Job files, or folders of job files.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Model, such as alphafold3-mini (default), or alphafold3-full:random (untrained).", show_default=False
    ),
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Weights file, in place of a model's name.")]
Seeds = Annotated[str | None, typer.Option(metavar="1,2", help="Seeds, in place of the job's.")]
Samples = Annotated[
    int | None, typer.Option(metavar="N", help="Structures per seed (default: 5; AlphaFold 2: 1).", show_default=False)
]
Recycles = Annotated[int | None, typer.Option(metavar="N", help="Recycles of the trunk (default: the model's).")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Diffusion steps (default: the model's).")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
AtOnce = Annotated[
    int | None, typer.Option(metavar="N", help="Structures sampled together (default: by the size of the job).")
]


def predict_options(
    model: str | None,
    weights: Path | None,
    seeds: str | None,
    samples: int | None,
    numbers: tuple[int | None, int | None, int | None],
    device: str,
) -> PredictOptions:
    """Return the options as one object; ``numbers`` are recycles, steps and samples at once.

    Raises:
        ConfigError: a value cannot be used.
    """
    from anfinsen.inference import DEFAULT_MODEL, PredictOptions

    if model is not None and weights is not None:
        raise ConfigError("Both --model and --weights are given: give one, because a weights file says its model.")
    recycles, steps, at_once = numbers
    return PredictOptions(
        model=DEFAULT_MODEL if model is None else model,
        weights=weights,
        seeds=None if seeds is None else _seeds(seeds),
        samples=samples,
        recycles=recycles,
        steps=steps,
        device=device,
        samples_at_once=at_once,
    )


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"Option --seeds is {text!r}: expected whole numbers separated by commas, such as 1,2.")
    # A number of any length is read, and refused with its range by PredictOptions.
    return tuple(int(part) if len(part) < 20 else 10**19 for part in parts)
