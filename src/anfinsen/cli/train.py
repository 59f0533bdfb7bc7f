"""`anfinsen train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

train_app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode=None)


@train_app.callback()
def _only_group() -> None:
    """Train a model."""


@train_app.command("alphafold3")
def train_alphafold3(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, or with structure files.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Checkpoints, weights and curves; a run there goes on.")
    ] = Path("training-output"),
    preset: Annotated[str, typer.Option(help="Size of the network: mini, small or full.")] = "mini",
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads (0: leave as they are).")] = 0,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16 where it is safe.")] = True,
    steps: Annotated[int, typer.Option(help="Optimiser steps (0: the recipe's).")] = 0,
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes, to go on later (0: no limit).")] = 0.0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints (0: only at the end).")] = 100,
    validate_every: Annotated[int, typer.Option(help="Steps between validations (0: only at the end).")] = 500,
) -> int:
    """Train AlphaFold 3; a run found in the output folder goes on where it stopped."""
    from anfinsen.training import TrainOptions, train

    from .terminal import Terminal

    options = TrainOptions(
        data=data,
        out=out,
        preset=preset,
        seed=seed,
        device=device,
        threads=threads,
        bf16=bf16,
        steps=steps,
        minutes=minutes,
        save_every=save_every,
        validate_every=validate_every,
    )
    with Terminal() as terminal:
        weights = train(options, terminal)
    typer.echo(f"Weights: {weights}")
    return 0
