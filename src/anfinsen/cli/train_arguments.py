"""What all commands of `anfinsen train` share: options, and how a training is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from anfinsen.common.progress import Progress

OptionsT = TypeVar("OptionsT")
P = ParamSpec("P")


@dataclass(frozen=True)
class SharedOptions:
    """Options of every training, under the names that `TrainOptions` has for them."""

    out: Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints, weights and curves; a run there goes on.")] = (
        Path("training-output")
    )
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    threads: Annotated[int, typer.Option(help="CPU threads (0: leave as they are).")] = 0
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16 where it is safe.")] = True
    steps: Annotated[int, typer.Option(help="Optimiser steps (0: the recipe's).")] = 0
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes, to go on later (0: no limit).")] = 0.0
    learning_rate: Annotated[
        float, typer.Option(metavar="X", help="Highest learning rate of the schedule (0: the recipe's).")
    ] = 0.0
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="WEIGHTS", help="Begin with this bundled model or weights file, not random weights."
        ),
    ] = ""
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints (0: only at the end).")] = 100
    validate_every: Annotated[int, typer.Option(help="Steps between validations (0: only at the end).")] = 500


def with_shared_options(command: Callable[Concatenate[dict[str, Any], P], int]) -> Callable[..., int]:
    """Return a command for typer that has the shared options beside its own.

    Args:
        command: takes the values of the shared options by name first, then its own arguments by name.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(SharedOptions, eval_str=True).parameters.values())
    call: Callable[..., int] = command

    def wrapped(**given: Any) -> int:
        return call({each.name: given.pop(each.name) for each in shared}, **given)

    arguments = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
    # What is required stands in front, for those who read the help.
    arguments.sort(key=lambda each: each.default is not inspect.Parameter.empty)
    wrapped.__signature__ = inspect.Signature(arguments, return_annotation=int)  # type: ignore[attr-defined]  # where inspect looks
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped


def run_training(train: Callable[[OptionsT, Progress], Path], options: OptionsT) -> int:
    """Train with progress on the terminal, and say where the weights are; of several workers, only the first speaks."""
    from anfinsen.common.progress import Silent
    from anfinsen.training.workers import is_first_worker

    from .terminal import Terminal

    if not is_first_worker():
        train(options, Silent())
        return 0
    with Terminal() as terminal:
        weights = train(options, terminal)
    typer.echo(f"Weights: {weights}")
    return 0
