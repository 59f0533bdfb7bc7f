"""`anfinsen train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

train_app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode=None)

_Out = Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints, weights and curves; a run there goes on.")]
_Seed = Annotated[int, typer.Option(help="Decides everything random.")]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
_Threads = Annotated[int, typer.Option(help="CPU threads (0: leave as they are).")]
_Bf16 = Annotated[bool, typer.Option(help="Compute in bfloat16 where it is safe.")]
_Steps = Annotated[int, typer.Option(help="Optimiser steps (0: the recipe's).")]
_Minutes = Annotated[float, typer.Option(help="Stop after so many minutes, to go on later (0: no limit).")]
_SaveEvery = Annotated[int, typer.Option(help="Steps between checkpoints (0: only at the end).")]
_ValidateEvery = Annotated[int, typer.Option(help="Steps between validations (0: only at the end).")]
_Distilled = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="Mix in chains of `anfinsen distill`; may be repeated.", show_default=False),
]
_DistilledWeight = Annotated[
    list[float] | None,
    typer.Option(metavar="W", help="Share of examples from each such folder.", show_default="as published"),
]
_OUT = Path("training-output")


@train_app.callback()
def _only_group() -> None:
    """Train a model."""


@train_app.command("alphafold3")
def train_alphafold3(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, or with structure files.")
    ],
    out: _Out = _OUT,
    preset: Annotated[str, typer.Option(help="Size of the network: mini, small or full.")] = "mini",
    seed: _Seed = 0,
    device: _Device = "auto",
    threads: _Threads = 0,
    bf16: _Bf16 = True,
    steps: _Steps = 0,
    minutes: _Minutes = 0.0,
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="WEIGHTS", help="Fine-tune this bundled model or weights file, not random weights."
        ),
    ] = "",
    fresh_confidence: Annotated[
        bool, typer.Option("--fresh-confidence", help="With --from: train a new confidence head.")
    ] = False,
    couplings: Annotated[
        bool, typer.Option("--couplings", help="The network reads the couplings of each alignment, too.")
    ] = False,
    distilled: _Distilled = None,
    distilled_weight: _DistilledWeight = None,
    save_every: _SaveEvery = 100,
    validate_every: _ValidateEvery = 500,
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
        start=start,
        fresh_confidence=fresh_confidence,
        couplings=couplings,
        distilled=tuple(distilled or ()),
        distilled_weights=tuple(distilled_weight or ()),
        save_every=save_every,
        validate_every=validate_every,
    )
    with Terminal() as terminal:
        weights = train(options, terminal)
    typer.echo(f"Weights: {weights}")
    return 0


@train_app.command("alphafold1")
def train_alphafold1(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/.")],
    out: _Out = _OUT,
    preset: Annotated[str, typer.Option(help="Size of the network: mini or full.")] = "mini",
    seed: _Seed = 0,
    device: _Device = "auto",
    threads: _Threads = 0,
    bf16: _Bf16 = True,
    steps: _Steps = 0,
    minutes: _Minutes = 0.0,
    save_every: _SaveEvery = 100,
    validate_every: _ValidateEvery = 500,
) -> int:
    """Train AlphaFold 1: profiles and couplings of all families first, then the network, then its confidence."""
    from anfinsen.training import TrainOptions
    from anfinsen.training.alphafold1_train import train_alphafold1 as run

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
        weights = run(options, terminal)
    typer.echo(f"Weights: {weights}")
    return 0


@train_app.command("alphafold2")
def train_alphafold2(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, and perhaps structures/.")
    ],
    out: _Out = _OUT,
    preset: Annotated[str, typer.Option(help="Size of the network: mini, monomer or ptm.")] = "mini",
    seed: _Seed = 0,
    device: _Device = "auto",
    threads: _Threads = 0,
    bf16: _Bf16 = True,
    steps: _Steps = 0,
    minutes: _Minutes = 0.0,
    start: Annotated[
        str,
        typer.Option("--from", metavar="WEIGHTS", help="Fine-tune this bundled model or weights file."),
    ] = "",
    distilled: _Distilled = None,
    distilled_weight: _DistilledWeight = None,
    save_every: _SaveEvery = 100,
    validate_every: _ValidateEvery = 500,
) -> int:
    """Train AlphaFold 2; the preset mini learns trunk, structure module and confidence one after another, too."""
    from anfinsen.training import TrainOptions
    from anfinsen.training.alphafold2_train import train_alphafold2 as run

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
        start=start,
        distilled=tuple(distilled or ()),
        distilled_weights=tuple(distilled_weight or ()),
        save_every=save_every,
        validate_every=validate_every,
    )
    with Terminal() as terminal:
        weights = run(options, terminal)
    typer.echo(f"Weights: {weights}")
    return 0
