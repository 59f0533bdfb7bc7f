"""`anfinsen autoencode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anfinsen.common.errors import ConfigError, MissingExtraError

from .arguments import Device
from .autoencode_arguments import read_options, variant_config

if TYPE_CHECKING:
    from anfinsen.autoencoders.dataset import DataSet, ReadOptions
    from anfinsen.autoencoders.saved import SavedModel
    from anfinsen.autoencoders.variants import VariantConfig
    from anfinsen.reports.autoencoder_files import Written

SHOWN = 5  # of the strangest rows, on the screen; the files have all

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A table (CSV, TSV, Parquet, NPY or NPZ) or a folder of PNG and JPEG images.",
        show_default=False,
    ),
]


def autoencode(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results.")] = Path("autoencoded"),
    variant: Annotated[
        str | None,
        typer.Option(
            help="plain (default), denoising, sparse, variational, convolutional or linear.", show_default=False
        ),
    ] = None,
    components: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Width of the latent space (default: 8 or 16, at most half of the columns).",
            show_default=False,
        ),
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(metavar="64,32", help="Widths of hidden layers; '' for none.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Most passes over the data.", show_default=False)
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Rows of a step.", show_default=False)] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="X", help="Of Adam.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any parameter of the estimator, such as beta=4; repeat it."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of all random numbers (default: 0).", show_default=False)
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns to learn (default: all).", show_default=False)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that is not learnt but colours the map.", show_default=False),
    ] = None,
    array: Annotated[str | None, typer.Option(metavar="NAME", help="Array of an NPZ file.", show_default=False)] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Size to bring images to, or size of the images that rows are.", show_default=False
        ),
    ] = None,
    colour: Annotated[str, typer.Option(help="Turn images grey or rgb; auto leaves them.")] = "auto",
    contamination: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share of rows called outliers (default: 0.1).", show_default=False),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Apply the model in this folder of results; nothing is trained.", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    stream: Annotated[
        bool, typer.Option("--stream", help="Read an NPY file in chunks (so are files too large for the memory).")
    ] = False,
    reconstructions: Annotated[bool, typer.Option(help="Write what the model makes of each row.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
) -> int:
    """Train an autoencoder on a table or on images: latents, reconstructions, anomaly scores, and a report."""
    _require_extra()
    # Imported here: torch takes seconds, and --help should not.
    import numpy as np

    from anfinsen.common.device import choose_device
    from anfinsen.inference import prepare_output
    from anfinsen.reports.autoencoder_files import check_target, write_autoencoding

    from .terminal import Terminal

    training = {
        "variant": variant,
        "components": components,
        "hidden": hidden,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "set": setting,
        "seed": seed,
        "contamination": contamination,
    }
    choose_device(device)
    options = read_options(columns, target, array, (size, colour), stream)
    # Numbers near the end of their range are warned of; what is not finite in the end is refused.
    with Terminal() as terminal, np.errstate(invalid="ignore", over="ignore"):
        if model is None:
            config = variant_config(training, device)
            check_target(out, overwrite=overwrite, keep=(data,))
            rows, made = _trained(data, options, config, terminal)
        else:
            _refuse_training(training)
            check_target(out, overwrite=overwrite, keep=(data, model))
            rows, made = _loaded(data, options, model, device)
        prepare_output(out.resolve().parent)
        written = write_autoencoding(
            made, rows, out, applied=model is not None, reconstructions=reconstructions, progress=terminal
        )
        terminal.clear()
    _show(rows, made, written, out)
    for note in written.notes:
        typer.echo(f"note: {note}", err=True)
    return 0


def _require_extra() -> None:
    try:
        import pyarrow  # noqa: F401 - whether it is there is the question
        import sklearn  # noqa: F401 - likewise
    except ImportError as error:
        raise MissingExtraError(
            f"`anfinsen autoencode` needs {error.name}: pip install 'anfinsen[autoencoders]'."
        ) from error


def _trained(path: Path, options: ReadOptions, config: VariantConfig, terminal: Any) -> tuple[DataSet, SavedModel]:
    from anfinsen.autoencoders.saved import SavedModel
    from anfinsen.autoencoders.tables import read_data
    from anfinsen.autoencoders.variants import fit, make_estimator

    data = read_data(path, options)
    if data.streamed:
        terminal.note(f"{path} is streamed from its file; no rows are held out for validation.")
    estimator = fit(make_estimator(config, data), data, config.epochs, terminal)
    model = SavedModel(
        estimator=estimator,
        variant=config.variant,
        columns=data.columns,
        image_shape=data.image_shape,
        resized=options.size is not None,
        colour=options.colour,
        threshold=0.0,  # made of the scores once they are known
        contamination=config.contamination,
        seed=config.seed,
        data_sha256=data.sha256,
    )
    return data, model


def _refuse_training(training: dict[str, Any]) -> None:
    for name, value in training.items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"Option {option} is for training, and --model applies a trained model: leave one out.")


def _loaded(path: Path, options: ReadOptions, folder: Path, device: str) -> tuple[DataSet, SavedModel]:
    """Return new data, read as the model's own were, and the model."""
    from dataclasses import replace

    from anfinsen.autoencoders.saved import load_autoencoder
    from anfinsen.autoencoders.tables import read_data

    if options.columns is not None or options.size is not None or options.colour != "auto":
        raise ConfigError("Options --columns, --size and --colour are known to the model of --model: leave them out.")
    model = load_autoencoder(folder, device)
    pictures = path.is_dir() or path.suffix.lower() in {".npy", ".npz"}
    options = replace(options, fewest=1, asked_by=f"The model of {folder} needs column")
    if path.is_dir():
        size = model.image_shape[:2] if model.image_shape and model.resized else None
        options = replace(options, size=size, colour=model.colour)
    elif model.image_shape is not None and pictures:
        options = replace(options, pixels=True)
    else:
        options = replace(options, columns=model.columns, size=model.image_shape)
    data = read_data(path, options)
    if len(data.columns) != len(model.columns) or data.image_shape not in (None, model.image_shape):
        raise ConfigError(
            f"{path} holds rows of {_form(data.image_shape, len(data.columns))}, but the model of {folder} was trained "
            f"on {_form(model.image_shape, len(model.columns))}."
        )
    return replace(data, image_shape=model.image_shape), model


def _form(shape: tuple[int, int, int] | None, columns: int) -> str:
    return f"{columns} numbers" if shape is None else "x".join(map(str, shape)) + " images"


def _show(data: DataSet, model: SavedModel, written: Written, out: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from anfinsen.reports.autoencoder import counted, label_text

    found, images = written.sweep, data.image_shape
    r2 = found.pooled_r2 if images else found.mean_r2
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rank", justify="right")
    for title in ("row", data.target) if data.target else ("row",):
        table.add_column(escape(title), overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("outlier")
    for place, row in enumerate(found.order[:SHOWN].tolist()):
        label = [escape(label_text(data, row))] if data.target else []
        score = found.scores[row]
        outlier = "yes" if score > written.threshold else "no"
        table.add_row(str(place + 1), escape(data.row_name(row)), *label, f"{score:.4g}", outlier)
    console = Console(highlight=False, soft_wrap=True)
    components = len(model.estimator.get_feature_names_out())
    counts = ((len(data), "image" if images else "row"), (len(data.columns), "column"), (components, "component"))
    what = ", ".join(counted(number, noun) for number, noun in counts)
    console.print(f"{data.path.resolve().name}: {what} ({model.variant})", markup=False)
    share = "–" if r2 is None else f"{r2:.4f}"
    error = f"{found.rmse:.4g}" if images else f"{found.standard_rmse:.4g} standard deviations"
    console.print(
        f"{'R2 of all pixels' if images else 'mean R2'} {share}, root mean squared error {error}, "
        f"{counted(written.outliers, 'outlier')}; results in {out}",
        markup=False,
    )
    console.print(table)
    page = out / "report.html"
    if page.exists():
        console.print(f"Page: {page.resolve()}", markup=False)
