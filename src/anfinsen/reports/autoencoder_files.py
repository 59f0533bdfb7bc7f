"""All files of an autoencoder's run: tables for programs, the model for new data, one HTML page for people."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from .. import __version__
from ..autoencoders.dataset import DataSet
from ..autoencoders.findings import Sweep, examples, latent_map, sweep
from ..autoencoders.saved import SavedModel, save_autoencoder
from ..autoencoders.variants import loss_curves
from ..common.errors import MissingExtraError, OutputError
from ..common.files import results_record
from ..common.progress import Progress
from ..common.text import listed
from ..inference.runner import whole_folder
from .autoencoder import AutoencoderReport, autoencoder_html, label_text

FORMAT = "anfinsen-autoencode-1"
_FORMATS = "anfinsen-autoencode-"  # what the records of all versions begin with
RECORD = "run.json"
_VERSIONED = ("anfinsen", "torch", "numpy", "scikit-learn")  # what can change the results


@dataclass(frozen=True)
class Written:
    """What was written: the pass over the rows, the threshold of outliers, and what could not be done, if anything."""

    sweep: Sweep
    threshold: float
    notes: tuple[str, ...]

    @property
    def outliers(self) -> int:
        """Number of rows whose score is above the threshold."""
        return int((self.sweep.scores > self.threshold).sum())


def check_target(folder: Path, *, overwrite: bool, keep: Sequence[Path] = ()) -> None:
    """Make sure that results may be written into ``folder``, before time is spent on them.

    Args:
        folder: where they will stand. overwrite: replace results. keep: what must not be lost by that.

    Raises:
        OutputError: it exists, and was not made by `anfinsen autoencode` or may not be replaced.
    """
    if results_record(folder, RECORD, _FORMATS, "anfinsen autoencode") is None:
        return
    if not overwrite:
        raise OutputError(
            f"{folder} holds results: give --overwrite to replace them, or choose another folder with --out."
        )
    for path in keep:
        if path.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f"{path} would be lost if {folder} were replaced: choose another folder with --out.")


def write_autoencoding(
    model: SavedModel,
    data: DataSet,
    folder: Path,
    *,
    applied: bool,
    reconstructions: bool = True,
    progress: Progress | None = None,
) -> Written:
    """Pass over ``data`` and write every file into ``folder``, which appears whole or not at all.

    Args:
        model: fitted; ``threshold`` is taken if it was ``applied`` to data that it was not trained on, else it is made
            of the rows' scores.
        data: rows. folder: is replaced if it is there. applied: the model was trained earlier.
        reconstructions: write them (they are as large as the data).
        progress: told of rows.

    Raises:
        OutputError: a file cannot be written. NonFiniteError: a number is NaN or infinite.
    """
    with whole_folder(folder) as inside:
        with _Tables(inside, data, model, reconstructions) as tables:
            found = sweep(model.estimator, data, tables.add, progress)
        if not applied:
            model = replace(model, threshold=found.threshold(model.contamination))
            model = replace(model, sha256=save_autoencoder(model, inside))
        _write_scores(inside / "scores.csv", data, found, model.threshold)
        constant = [name for name, value in zip(data.columns, found.column_r2, strict=True) if value is None]
        notes = _notes(data, constant, applied)
        try:
            page = autoencoder_html(_report(model, data, found, applied, notes))
            (inside / "report.html").write_text(page, encoding="utf-8")
        except MissingExtraError as error:
            notes = (*notes, f"report.html was not written. {error}")
        record = _record(model, data, found, applied) | {"notes": list(notes)}
        (inside / RECORD).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return Written(found, model.threshold, notes)


class _Tables:
    """Writes latents and reconstructions chunk by chunk; use it as a context."""

    def __init__(self, folder: Path, data: DataSet, model: SavedModel, reconstructions: bool) -> None:
        from pyarrow import csv

        self._data, self._csv = data, csv
        self._names = [str(name) for name in model.estimator.get_feature_names_out()]
        self._latents: Any = None
        self._latents_path = folder / "latents.csv"
        self._made: Any = None
        self._folder, self._wanted = folder, reconstructions

    def __enter__(self) -> _Tables:
        return self

    def __exit__(self, *error: object) -> None:
        for writer in (self._latents, self._made):
            if writer is not None:
                writer.close()

    def add(self, start: int, latents: Float[np.ndarray, "n c"], made: Float[np.ndarray, "n D"]) -> None:
        """Write the rows from ``start`` on."""
        numbers = {name: latents[:, place] for place, name in enumerate(self._names)}
        table = _arrow(_row_columns(self._data, start, start + len(latents)) | numbers)
        if self._latents is None:
            self._latents = self._csv.CSVWriter(self._latents_path, table.schema)
        self._latents.write_table(table)
        if self._wanted and is_array(self._data):
            self._add_array(made)
        elif self._wanted:
            rows = _arrow({name: made[:, place] for place, name in enumerate(self._data.columns)})
            if self._made is None:
                self._made = self._csv.CSVWriter(self._folder / "reconstructions.csv", rows.schema)
            self._made.write_table(rows)

    def _add_array(self, made: Float[np.ndarray, "n D"]) -> None:
        if self._made is None:
            shape = (len(self._data), *(self._data.image_shape or (len(self._data.columns),)))
            # Written, not mapped, so that an array larger than the memory stays out of it.
            self._made = (self._folder / "reconstructions.npy").open("wb")
            header = {"descr": np.lib.format.dtype_to_descr(made.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(self._made, header)
        self._made.write(np.ascontiguousarray(made).data)


def is_array(data: DataSet) -> bool:
    """Return whether reconstructions of ``data`` are an array (NPY), not a table (CSV)."""
    return data.path.suffix.lower() in {".npy", ".npz"} or data.path.is_dir()


def _arrow(columns: dict[str, Any]) -> Any:
    import pyarrow

    return pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})


def _row_columns(data: DataSet, start: int, stop: int) -> dict[str, Any]:
    """Return what tells rows: their numbers (from 1) or names, and their labels if there are any."""
    numbered = data.row_names is None
    columns: dict[str, Any] = {
        "row": np.arange(start + 1, stop + 1) if numbered else list(data.row_names[start:stop])  # type: ignore[index]  # numbered says so
    }
    if data.labels is not None:
        columns["label"] = data.labels[start:stop]
    return columns


def _write_scores(path: Path, data: DataSet, found: Sweep, threshold: float) -> None:
    from pyarrow import csv

    rank = np.empty(len(data), dtype=np.int64)
    rank[found.order] = np.arange(1, len(data) + 1)
    outlier = (found.scores > threshold).astype(np.int8)
    columns = _row_columns(data, 0, len(data)) | {"score": found.scores, "rank": rank, "outlier": outlier}
    csv.write_csv(_arrow(columns), path)


def _notes(data: DataSet, constant: list[str], applied: bool) -> tuple[str, ...]:
    if data.image_shape or applied or not constant:
        return ()
    verb = "column does" if len(constant) == 1 else "columns do"
    return (f"{len(constant)} {verb} not vary, or by no more than rounding: {listed(constant, 6)}.",)


def _record(model: SavedModel, data: DataSet, found: Sweep, applied: bool) -> dict[str, Any]:
    training, validation = ((), ()) if applied else loss_curves(model.estimator, data)
    return {
        "format": FORMAT,
        "version": __version__,
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "seed": model.seed,
        "data": {
            "name": data.path.resolve().name,
            "sha256": data.sha256,
            "rows": len(data),
            "columns": len(data.columns),
            "target": data.target or None,
            "image_shape": data.image_shape,
            "streamed": data.streamed,
        },
        "model": {
            "variant": model.variant,
            "parameters": model.estimator.get_params(deep=False),
            "contamination": model.contamination,
            "sha256": model.sha256,
            "trained_here": not applied,
            "trained_on_sha256": model.data_sha256,
        },
        "results": {
            "mean_r2": found.mean_r2,
            "pooled_r2": found.pooled_r2,
            "rmse": found.rmse,
            "standard_rmse": found.standard_rmse,
            "threshold": model.threshold,
            "outliers": int((found.scores > model.threshold).sum()),
        },
        "training_loss": list(training),
        "validation_loss": list(validation),
    }


def _report(model: SavedModel, data: DataSet, found: Sweep, applied: bool, notes: tuple[str, ...]) -> AutoencoderReport:
    training, validation = ((), ()) if applied else loss_curves(model.estimator, data)
    components = len(model.estimator.get_feature_names_out())
    kind = type(model.estimator).__name__
    settings = {
        "data": data.path.resolve().name,
        "data sha256": data.sha256,
        "variant": f"{model.variant} ({kind})",
        "seed": str(model.seed),
        "contamination": f"{model.contamination:g}",
        **{name: str(value) for name, value in model.estimator.get_params(deep=False).items()},
        "model sha256": model.sha256,
        **({"trained on data with sha256": model.data_sha256} if applied else {}),
    }
    what = f"{model.variant} autoencoder, {components} component{'' if components == 1 else 's'}"
    return AutoencoderReport(
        title=data.path.resolve().name,
        lead=f"{what}, trained {'earlier' if applied else 'on these rows'}, seed {model.seed}",
        data=data,
        sweep=found,
        examples=examples(model.estimator, data, found),
        latent_map=latent_map(model.estimator, data, found, model.seed),
        threshold=model.threshold,
        training_loss=tuple(training),
        validation_loss=tuple(validation),
        settings=tuple(settings.items()),
        notes=notes,
    )


__all__ = ["Written", "check_target", "is_array", "label_text", "write_autoencoding"]
