"""Reading data to learn from: CSV and TSV (also gzipped), Parquet, NPY and NPZ files, and folders of images."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from anfinsen.common.errors import ConfigError, InputError, MissingExtraError
from anfinsen.common.files import file_sha256

from .dataset import BYTE_RANGE, DataSet, ReadOptions, checked, choose_columns, quoted, too_large, with_image_shape
from .image_folder import read_images

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
_GZIP = ".gz"
_HEAD_BYTES = 2**20  # in which the first line of a table is looked for
_BLOCK_BYTES = 2**26  # that pyarrow reads at once: no line may be longer
_CELL = 40  # characters of a cell that a message shows
# What numpy raises for files that are damaged.
_DAMAGED = (
    ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError, TypeError, OverflowError,
    NotImplementedError, RuntimeError, KeyError,
)  # fmt: skip


def read_data(path: Path, options: ReadOptions | None = None) -> DataSet:
    """Read the table or the image folder ``path``.

    A table's first line names the columns (a line of numbers only is taken as data, with columns x0, x1, …); a first
    column without a name names the rows. Arrays have columns x0, x1, …; those of three or four axes are images,
    (N, height, width) or (N, height, width, channels), and 8-bit ones are divided by 255. An NPY file that would take
    too much of the memory is not read but mapped.

    Raises:
        InputError: it cannot be read, or holds something else than rows of finite numbers.
        ConfigError: an option does not fit the data.
        MissingExtraError: a table needs pyarrow, which is not installed.
    """
    options = options or ReadOptions()
    path = Path(path)
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise InputError(f"{path} cannot be read: {_reason(error)}.") from error
    if folder or path.suffix.lower() != ".npy":
        _refuse(path, {"--stream": options.stream or None})
    if folder:
        _refuse(path, {"--columns": options.columns, "--target": options.target, "--array": options.array})
        return read_images(path, options)
    if not there:
        raise InputError(f"{path} does not exist: expected a table, or a folder of images.")
    name = path.name.lower()
    suffix = Path(name.removesuffix(_GZIP)).suffix
    readers: dict[str, Callable[[Path, ReadOptions], DataSet]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        **dict.fromkeys(PARQUET, _read_parquet),
        **dict.fromkeys(DELIMITERS, _read_text),
    }
    if suffix not in readers or (name.endswith(_GZIP) and suffix not in DELIMITERS):
        endings = ", ".join([*DELIMITERS, *(f"{each}{_GZIP}" for each in DELIMITERS), *PARQUET, ".npy", ".npz"])
        raise InputError(f"{path} is of no known kind: expected a file ending in {endings}, or a folder of images.")
    _refuse(path, {"--colour": None if options.colour == "auto" else options.colour})
    _refuse(path, {"--array": None if suffix == ".npz" else options.array})
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: expected a table with a line of column names.")
    if suffix != ".npy" and too_large(path.stat().st_size):
        raise InputError(f"{path} is too large to be read at once: save it as one .npy file, which is streamed.")
    return checked(readers[suffix](path, options), options)


def _refuse(path: Path, options: dict[str, Any]) -> None:
    """Refuse options that say nothing about this kind of data."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"Option {name} says nothing about {path}, which is data of another kind: leave it out.")


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "CSV, TSV and Parquet files are read by pyarrow: pip install 'anfinsen[autoencoders]'."
        ) from error
    return pyarrow  # type: ignore[no-any-return]  # pyarrow has no types


# Text ------------------------------------------------------------------------------------------------------------


def _read_text(path: Path, options: ReadOptions) -> DataSet:
    pyarrow = _pyarrow()
    from pyarrow import csv as arrow_csv

    delimiter = DELIMITERS[Path(path.name.lower().removesuffix(_GZIP)).suffix]
    first = _first_line(path, delimiter)
    bare = all(_is_number(cell) for cell in first)
    broken: list[Any] = []

    def keep(row: Any) -> str:
        broken.append(row)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            path,
            # One thread: only then are the numbers of broken rows known.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, autogenerate_column_names=bare
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=arrow_csv.ConvertOptions(strings_can_be_null=True),
        )
    except (pyarrow.ArrowException, OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a table: {_reason(error)}.") from error
    if broken:
        row = broken[0]
        raise InputError(
            f"{path} has {row.actual_columns} cells in line {row.number}, but {row.expected_columns} in its first "
            "line: expected the same number in every line."
        )
    if bare:
        table = table.rename_columns(_default_names(table.num_columns))
    return _from_arrow(table, path, options, "" if not bare else None)


def _first_line(path: Path, delimiter: str) -> list[str]:
    """Return the cells of the first line.

    Raises:
        InputError: the file cannot be read, holds no text, or its cells are separated by something else.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(_GZIP) else raw
            text = decoder.decode(file.read(_HEAD_BYTES)).lstrip("\r\n")
            # The rest only has to be text: what pyarrow says of broken bytes is not fit to be shown.
            while part := file.read(_HEAD_BYTES):
                decoder.decode(part)
            decoder.decode(b"", final=True)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}.") from error
    except UnicodeDecodeError as error:
        raise _no_text(path, delimiter) from error
    line = next(iter(text.splitlines()), "")
    if not line.strip():
        raise InputError(f"{path} is empty: expected a table with a line of column names.")
    if "\0" in line:
        raise _no_text(path, delimiter)
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}.") from error
    # A name may hold a comma: separators stand in the line below too, as often.
    second = next((each for each in text.splitlines()[1:] if each.strip()), "")
    others = (each for each in ";\t,|" if each != delimiter and each in line)
    other = next((each for each in others if line.count(each) == second.count(each)), None)
    if len(cells) == 1 and other is not None:
        raise InputError(
            f"{path} has its cells separated by {_name(other)}: expected {_name(delimiter)} in a "
            f"{Path(path.name.lower().removesuffix(_GZIP)).suffix} file."
        )
    return cells


def _no_text(path: Path, delimiter: str) -> InputError:
    return InputError(f"{path} is no text in UTF-8: expected a table, its cells separated by {_name(delimiter)}.")


def _name(delimiter: str) -> str:
    return {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}[delimiter]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # which Python allows between digits, and tables do not


def _reason(error: BaseException) -> str:
    text = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    return text.rstrip(".")[:200]


# Parquet and what both share -------------------------------------------------------------------------------------


def _read_parquet(path: Path, options: ReadOptions) -> DataSet:
    pyarrow = _pyarrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pyarrow.ArrowException, OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a Parquet file: {_reason(error)}.") from error
    index = next((name for name in table.column_names if name.startswith("__index_level_")), None)
    return _from_arrow(table, path, options, index)


def _from_arrow(table: Any, path: Path, options: ReadOptions, index: str | None) -> DataSet:
    """Return the data of an Arrow table, in which the column called ``index`` (if there) names the rows."""
    names = list(table.column_names)
    row_names = None
    if index is not None and index in (names if index else names[:1]):
        place = names.index(index)
        row_names = tuple(str(value) for value in table.column(place).to_pylist())
        table = table.remove_column(place)
        names.pop(place)
    if not table.num_rows:
        raise InputError(f"{path} holds no rows: expected at least {options.fewest} below the line of column names.")
    if "" in names:
        raise InputError(f"{path} has a column without a name (number {names.index('') + 1}): name it.")
    chosen, target = choose_columns(names, options, path)
    columns = [_numbers(table.column(place), names[place], path, row_names) for place in chosen]
    return DataSet(
        path=path,
        sha256=file_sha256(path),
        values=np.column_stack(columns),
        columns=tuple(names[place] for place in chosen),
        row_names=row_names,
        target="" if target is None else names[target],
        labels=None if target is None else _labels(table.column(target)),
        image_shape=with_image_shape(len(chosen), options, path),
    )


def _numbers(column: Any, name: str, path: Path, rows: tuple[str, ...] | None) -> Float[np.ndarray, "N"]:
    """Return an Arrow column as numbers; float32 stays, everything else becomes float64.

    Raises:
        InputError: it holds something else than numbers, or misses some.
    """
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_null(kind) and len(column):
        raise InputError(f"Column {name!r} of {path} is empty: leave it out with --columns.")
    if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
        cells = [str(value) for value in column.to_pylist() if value is not None]
        found = next((cell for cell in cells if not _is_number(cell)), None)
        if found is None:
            raise InputError(f"Column {name!r} of {path} holds texts, not numbers: save it as numbers.")
        shown = found if len(found) <= _CELL else f"{found[:_CELL]}…"
        raise InputError(
            f"Column {name!r} of {path} holds {shown!r}, which is no number: choose the columns of numbers with "
            "--columns, or colour by this one with --target."
        )
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(
            f"{path} has a missing value in row {rows[row] if rows else row + 1}, column {name!r}: fill it in, leave "
            "the row out, or choose other columns with --columns."
        )
    if types.is_boolean(kind):
        column = column.cast(pyarrow.int8())
    if not types.is_float32(kind):
        column = column.cast(pyarrow.float64(), safe=False)
    numbers: Float[np.ndarray, "N"] = column.to_numpy()
    return numbers


def _labels(column: Any) -> Shaped[np.ndarray, "N"]:
    from pyarrow import types

    kind = column.type
    if (types.is_floating(kind) or types.is_integer(kind)) and not column.null_count:
        return _finite_or_text(column.to_numpy())
    return np.array(["" if value is None else str(value) for value in column.to_pylist()], dtype=np.str_)


def _finite_or_text(labels: Shaped[np.ndarray, "N"]) -> Shaped[np.ndarray, "N"]:
    """Return ``labels``; numbers of which some are missing become texts, which need no scale of colours."""
    return labels.astype(np.str_) if labels.dtype.kind == "f" and not np.isfinite(labels).all() else labels


# Arrays ----------------------------------------------------------------------------------------------------------


def _read_npy(path: Path, options: ReadOptions) -> DataSet:
    try:
        values = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise InputError(_array_message(path, error)) from error
    return _from_array(values, path, options)


def _read_npz(path: Path, options: ReadOptions) -> DataSet:
    try:
        # Opened here: numpy leaves files open that are damaged.
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise InputError(f"{path} is no NPZ archive, or is damaged: expected one written by numpy.savez.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                names = list(arrays.files)
                own_target = options.target if options.target in names else None
                name = _chosen_array(names, own_target, options, path)
                values = np.asarray(arrays[name])
                labels = None if own_target is None else np.asarray(arrays[own_target])
    except _DAMAGED as error:
        raise InputError(_array_message(path, error)) from error
    if labels is None:
        return _from_array(values, path, options)
    if labels.shape != values.shape[:1] or labels.dtype.kind not in "biufU":
        raise InputError(
            f"The array {own_target!r} of {path} cannot colour rows: expected {len(values)} numbers or texts, found "
            f"shape {labels.shape} of {labels.dtype}."
        )
    data = _from_array(values, path, replace(options, target=None))
    return replace(data, labels=_finite_or_text(labels), target=own_target or "")


def _chosen_array(names: Sequence[str], target: str | None, options: ReadOptions, path: Path) -> str:
    others = [name for name in names if name != target]
    if options.array is not None:
        if options.array not in names:
            raise ConfigError(f"Option --array is {options.array!r}: {path} holds {quoted(names) or 'no arrays'}.")
        return options.array
    if len(others) != 1:
        raise InputError(f"{path} holds {quoted(names) or 'no arrays'}: expected one array, or its name with --array.")
    return others[0]


def _from_array(values: Shaped[np.ndarray, "..."], path: Path, options: ReadOptions) -> DataSet:
    if values.dtype.kind not in "biuf":
        raise InputError(f"The array of {path} is of type {values.dtype}: expected real numbers.")
    if values.ndim not in (2, 3, 4):
        raise InputError(
            f"The array of {path} has shape {values.shape}: expected rows and columns, or images as (rows, height, "
            "width) or (rows, height, width, channels)."
        )
    shape, images = values.shape, values.ndim > 2
    if 0 in shape[1:]:
        raise InputError(f"The array of {path} has shape {shape}: expected at least one column.")
    if images and not values.flags.c_contiguous and too_large(values.nbytes):
        raise InputError(f"{path} is too large, and not in C order, so that it cannot be streamed: save it in C order.")
    flat = values.reshape(shape[0], math.prod(shape[1:])) if images else values
    names = _default_names(flat.shape[1])
    chosen, target = choose_columns(names, options, path)
    if images and (options.columns is not None or target is not None):
        raise ConfigError(f"{path} holds images, which have no columns: leave out --columns and --target.")
    whole = chosen == list(range(flat.shape[1]))
    data = DataSet(
        path=path,
        sha256=file_sha256(path),
        values=flat,
        columns=tuple(names[place] for place in chosen),
        chosen=None if whole else np.array(chosen, dtype=np.int64),
        target="" if target is None else names[target],
        labels=None if target is None else _finite_or_text(np.asarray(flat[:, target])),
    )
    size = (shape[1], shape[2], shape[3] if len(shape) == 4 else 1) if images else None
    asked = with_image_shape(len(chosen), options, path)
    if None not in (size, asked) and size != asked:
        raise ConfigError(f"{path} holds images of {'x'.join(map(str, shape[1:]))}, which stay so: leave out --size.")
    size = asked or size
    scale = BYTE_RANGE if (size is not None or options.pixels) and values.dtype == np.uint8 else 1.0
    data = replace(data, image_shape=size, scale=scale)
    if options.stream or too_large(len(data) * len(chosen) * data.dtype.itemsize):
        return replace(data, streamed=isinstance(values, np.memmap))
    return replace(data, values=data.all_rows(), chosen=None, scale=1.0)


def _array_message(path: Path, error: BaseException) -> str:
    if "Python objects" in str(error) or "Object arrays" in str(error):
        return f"{path} holds Python objects, which are not read because they could run code: save plain numbers."
    return f"{path} cannot be read as an array: {_reason(error)}."


def _default_names(count: int) -> list[str]:
    return [f"x{place}" for place in range(count)]
