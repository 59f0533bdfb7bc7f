"""`anfinsen train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .train_arguments import run_training, with_shared_options
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
@with_shared_options
def train_alphafold3(
    shared: dict[str, Any],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, or with structure files.")
    ],
    preset: Annotated[str, typer.Option(help="Size of the network: mini, small or full.")] = "mini",
    fresh_confidence: Annotated[
        bool, typer.Option("--fresh-confidence", help="With --from: train a new confidence head.")
    ] = False,
    couplings: Annotated[
        bool, typer.Option("--couplings", help="The network reads the couplings of each alignment, too.")
    ] = False,
    distilled: _Distilled = None,
    distilled_weight: _DistilledWeight = None,
) -> int:
    """Train AlphaFold 3; a run found in the output folder goes on where it stopped."""
    from anfinsen.training import TrainOptions, train

    options = TrainOptions(
        data=data,
        preset=preset,
        fresh_confidence=fresh_confidence,
        couplings=couplings,
        distilled=tuple(distilled or ()),
        distilled_weights=tuple(distilled_weight or ()),
        **shared,
    )
    return run_training(train, options)


@train_app.command("alphafold1")
@with_shared_options
def train_alphafold1(
    shared: dict[str, Any],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/.")],
    preset: Annotated[str, typer.Option(help="Size of the network: mini or full.")] = "mini",
    crop: Annotated[
        int, typer.Option(metavar="N", help="Side of the crops of pairs, in residues; larger ones are fewer (0: 64).")
    ] = 0,
) -> int:
    """Train AlphaFold 1: profiles and couplings of all families first, then the network, then its confidence."""
    from anfinsen.training import TrainOptions
    from anfinsen.training.alphafold1_train import train_alphafold1 as run

    return run_training(run, TrainOptions(data=data, preset=preset, crop=crop, **shared))


@train_app.command("alphafold2")
@with_shared_options
def train_alphafold2(
    shared: dict[str, Any],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with chains/*.parquet and msas/, and perhaps structures/.")
    ],
    preset: Annotated[str, typer.Option(help="Size of the network: mini, monomer or ptm.")] = "mini",
    distilled: _Distilled = None,
    distilled_weight: _DistilledWeight = None,
) -> int:
    """Train AlphaFold 2; the preset mini learns trunk, structure module and confidence one after another, too."""
    from anfinsen.training import TrainOptions
    from anfinsen.training.alphafold2_train import train_alphafold2 as run

    options = TrainOptions(
        data=data,
        preset=preset,
        distilled=tuple(distilled or ()),
        distilled_weights=tuple(distilled_weight or ()),
        **shared,
    )
    return run_training(run, options)


add_image_commands(train_app)
