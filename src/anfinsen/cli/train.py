"""`anfinsen train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .train_arguments import (
    DEFAULT_OUT,
    Bf16,
    Device,
    Minutes,
    Out,
    SaveEvery,
    Seed,
    Start,
    Steps,
    Threads,
    ValidateEvery,
    run_training,
)
from .train_images import add_image_commands

train_app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode=None)

_Distilled = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="Mix in chains of `anfinsen distill`; may be repeated.", show_default=False),
]
_DistilledWeight = Annotated[
    list[float] | None,
    typer.Option(metavar="W", help="Share of examples from each such folder.", show_default="as published"),
]


@train_app.callback()
def _only_group() -> None:
    """Train a model."""


@train_app.command("alphafold3")
def train_alphafold3(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, or with structure files.")
    ],
    out: Out = DEFAULT_OUT,
    preset: Annotated[str, typer.Option(help="Size of the network: mini, small or full.")] = "mini",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
    bf16: Bf16 = True,
    steps: Steps = 0,
    minutes: Minutes = 0.0,
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
    save_every: SaveEvery = 100,
    validate_every: ValidateEvery = 500,
) -> int:
    """Train AlphaFold 3; a run found in the output folder goes on where it stopped."""
    from anfinsen.training import TrainOptions, train

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
    return run_training(train, options)


@train_app.command("alphafold1")
def train_alphafold1(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/.")],
    out: Out = DEFAULT_OUT,
    preset: Annotated[str, typer.Option(help="Size of the network: mini or full.")] = "mini",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
    bf16: Bf16 = True,
    steps: Steps = 0,
    minutes: Minutes = 0.0,
    save_every: SaveEvery = 100,
    validate_every: ValidateEvery = 500,
) -> int:
    """Train AlphaFold 1: profiles and couplings of all families first, then the network, then its confidence."""
    from anfinsen.training import TrainOptions
    from anfinsen.training.alphafold1_train import train_alphafold1 as run

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
    return run_training(run, options)


@train_app.command("alphafold2")
def train_alphafold2(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, and perhaps structures/.")
    ],
    out: Out = DEFAULT_OUT,
    preset: Annotated[str, typer.Option(help="Size of the network: mini, monomer or ptm.")] = "mini",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
    bf16: Bf16 = True,
    steps: Steps = 0,
    minutes: Minutes = 0.0,
    start: Start = "",
    distilled: _Distilled = None,
    distilled_weight: _DistilledWeight = None,
    save_every: SaveEvery = 100,
    validate_every: ValidateEvery = 500,
) -> int:
    """Train AlphaFold 2; the preset mini learns trunk, structure module and confidence one after another, too."""
    from anfinsen.training import TrainOptions
    from anfinsen.training.alphafold2_train import train_alphafold2 as run

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
    return run_training(run, options)


add_image_commands(train_app)
