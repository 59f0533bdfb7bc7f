"""`anfinsen weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from anfinsen.weights.describe import WeightsSummary

weights_app = typer.Typer(help="Weights files: show them, make them.", no_args_is_help=True, rich_markup_mode=None)

_MEGABYTE = 1e6
_NOT_SHOWN = {"preset", "tokenizer"}  # the first has a row of its own, the second fills pages


@weights_app.command("convert")
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="DeepMind's params_model_*.npz, or OpenFold's .pt or .ckpt; recognised by its content.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.safetensors", help="Weights file to write.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which published model this is, such as model_1_ptm (default: what the file's name says).",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Make a weights file of AlphaFold 2's published parameters, for `anfinsen predict --weights`.

    Every tensor is accounted for: a file with one missing, left over or of another shape is refused. Nothing is
    downloaded.
    """
    from anfinsen.weights.convert import convert_published
    from anfinsen.weights.describe import describe_weights

    convert_published(source, out, model)
    # What was written is read again.
    written = describe_weights(str(out))
    _show(written)
    if "published_model" not in written.info.metadata:
        typer.echo(
            f"note: which published model this is does not follow from the name {source.name!r}, so that it will be "
            "shown as many rows of an alignment as model 1: name it with --model if it is another.",
            err=True,
        )
    return 0


@weights_app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's name, or a weights file.", show_default=False)
    ],
) -> int:
    """Show what a model is, and where its weights came from; a damaged file is refused."""
    from anfinsen.weights.describe import describe_weights

    _show(describe_weights(name))
    return 0


def _show(found: WeightsSummary) -> None:
    info = found.info
    rows = {"model": info.name, "family": found.family, "preset": info.preset or "of its own"}
    rows["parameters"] = f"{found.parameters:,}"
    if info.path:
        rows |= {"file": info.path, "size": f"{found.bytes / _MEGABYTE:.1f} MB ({', '.join(found.types)})"}
        rows["sha256"] = info.sha256
    else:
        rows["file"] = "none: untrained, random numbers"
    rows |= {key.replace("_", " "): value for key, value in sorted(info.metadata.items()) if key not in _NOT_SHOWN}
    width = max(map(len, rows))
    for key, value in rows.items():
        typer.echo(f"{key:<{width}}  {value}")
