"""What all commands of `anfinsen train` share: options, and how a training is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from anfinsen.common.progress import Progress

OptionsT = TypeVar("OptionsT")

DEFAULT_OUT = Path("training-output")

Out = Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints, weights and curves; a run there goes on.")]
Seed = Annotated[int, typer.Option(help="Decides everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Threads = Annotated[int, typer.Option(help="CPU threads (0: leave as they are).")]
Bf16 = Annotated[bool, typer.Option(help="Compute in bfloat16 where it is safe.")]
Steps = Annotated[int, typer.Option(help="Optimiser steps (0: the recipe's).")]
Minutes = Annotated[float, typer.Option(help="Stop after so many minutes, to go on later (0: no limit).")]
Start = Annotated[str, typer.Option("--from", metavar="WEIGHTS", help="Fine-tune this bundled model or weights file.")]
SaveEvery = Annotated[int, typer.Option(help="Steps between checkpoints (0: only at the end).")]
ValidateEvery = Annotated[int, typer.Option(help="Steps between validations (0: only at the end).")]


def run_training(train: Callable[[OptionsT, Progress], Path], options: OptionsT) -> int:
    """Train with progress on the terminal, and say where the weights are."""
    from .terminal import Terminal

    with Terminal() as terminal:
        weights = train(options, terminal)
    typer.echo(f"Weights: {weights}")
    return 0
