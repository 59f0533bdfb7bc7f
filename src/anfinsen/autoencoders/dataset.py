"""Rows of finite numbers with named columns: what an autoencoder is trained on, wherever it was read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from jaxtyping import Float, Int, Shaped

from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.text import listed

MEMORY_SHARE = 0.25  # of the machine's memory; data that would take more are streamed from their file
CHUNK_BYTES = 64 * 2**20  # of numbers in memory at once where data pass by in chunks
BYTE_RANGE = 255.0  # 8-bit images become numbers from 0 to 1
LARGEST = 1e100  # number that is learnt from: the squares of larger ones are infinite
COLOURS = ("auto", "grey", "rgb")
_NAMED = 6  # columns that a message names


@dataclass(frozen=True)
class ReadOptions:
    """How data are read.

    Attributes:
        columns: names of those to use, in this order; None for all that are not the target.
        target: column (or array of an NPZ file) that is not learnt, and colours the latent map.
        array: of an NPZ file, where it holds several.
        size: (height, width) that images are brought to, or (height, width, channels) of the images that the rows of
            a table are.
        colour: what images are turned into, one of ``COLOURS``; ``auto`` leaves them, and asks that all are the same.
        stream: read an NPY file chunk by chunk even if it fits into memory.
        fewest: rows that are needed.
        pixels: rows of an array are images although no size says so: their 8-bit numbers are divided by 255.
        asked_by: who wants ``columns``, for messages.

    Raises:
        ConfigError: there is no such colour.
    """

    columns: tuple[str, ...] | None = None
    target: str | None = None
    array: str | None = None
    size: tuple[int, ...] | None = None
    colour: str = "auto"
    stream: bool = False
    fewest: int = 2
    pixels: bool = False
    asked_by: str = "Option --columns names"

    def __post_init__(self) -> None:
        if self.colour not in COLOURS:
            raise ConfigError(f"Option --colour is {self.colour!r}: expected one of {', '.join(COLOURS)}.")


@dataclass(frozen=True)
class DataSet:
    """N rows of D finite numbers.

    Attributes:
        path: where the rows came from. sha256: of the file, or of an image folder's names and files.
        values: the rows in memory, or a memory-mapped file of any real type with perhaps more columns.
        columns: the D names.
        chosen: places of the D columns in ``values``; None for all of them.
        scale: by which ``values`` are divided when they are read.
        row_names: N texts; None where rows have only numbers (from 1).
        target: name of the labels. labels: one number or text for each row.
        image_shape: (height, width, channels), where rows are images, flattened in this order.
        streamed: whether ``values`` are a file too large for the memory.
    """

    path: Path
    sha256: str
    values: Shaped[np.ndarray, "N _"]
    columns: tuple[str, ...]
    chosen: Int[np.ndarray, "D"] | None = None
    scale: float = 1.0
    row_names: tuple[str, ...] | None = None
    target: str = ""
    labels: Shaped[np.ndarray, "N"] | None = None
    image_shape: tuple[int, int, int] | None = None
    streamed: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers: float32, or float64 where that would lose digits."""
        small = self.values.dtype.kind in "biuf" and np.can_cast(self.values.dtype, np.float32)
        return np.dtype(np.float32 if small else np.float64)

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "n D"]:
        """Return the rows from ``start`` to before ``stop`` (cut off at the end)."""
        values = self.values
        if self.streamed and isinstance(values, np.memmap) and values.flags.c_contiguous:
            # Read, not mapped: what was touched of a map counts as memory of this process until it is closed.
            stop, width = min(stop, len(values)), values.shape[1]
            place = values.offset + start * width * values.dtype.itemsize
            part = np.fromfile(self.path, values.dtype, (stop - start) * width, offset=place)
            return self._ready(part.reshape(-1, width))
        return self._ready(values[start:stop])

    def take(self, places: Sequence[int] | Int[np.ndarray, "n"]) -> Float[np.ndarray, "n D"]:
        """Return the rows at ``places``."""
        return self._ready(self.values[np.asarray(places, dtype=np.int64)])

    def all_rows(self) -> Float[np.ndarray, "N D"]:
        """Return every row."""
        return self._ready(self.values)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Yield the bounds of chunks of rows that take about ``CHUNK_BYTES``; together they are all rows, in order."""
        size = max(1, CHUNK_BYTES // (len(self.columns) * self.dtype.itemsize))
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))

    def row_name(self, row: int) -> str:
        """Return the name of row ``row`` (from 0)."""
        return str(row + 1) if self.row_names is None else self.row_names[row]

    def _ready(self, part: Shaped[np.ndarray, "n _"]) -> Float[np.ndarray, "n D"]:
        if self.chosen is not None:
            part = part[:, self.chosen]
        numbers: Float[np.ndarray, "n D"] = np.ascontiguousarray(part, dtype=self.dtype)
        return numbers if self.scale == 1.0 else numbers / numbers.dtype.type(self.scale)


def too_large(size: int) -> bool:
    """Return whether ``size`` bytes are more than the share of the machine's memory that data may take."""
    return size > MEMORY_SHARE * float(psutil.virtual_memory().total)


def choose_columns(
    names: Sequence[str], options: ReadOptions, path: Path, *, target_is_column: bool = True
) -> tuple[list[int], int | None]:
    """Return the places of the columns to learn, and that of the target.

    Raises:
        InputError: a name stands twice, or no column is left.
        ConfigError: a column that is asked for is not there.
    """
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InputError(f"{path} has {count} columns called {name!r}: give each column a name of its own.")
    places = {name: place for place, name in enumerate(names)}
    target = options.target if target_is_column else None
    if target is not None and target not in places:
        raise ConfigError(f"Option --target is {target!r}: {path} has no such column, but {quoted(names)}.")
    if options.columns is None:
        chosen = [place for name, place in places.items() if name != target]
    else:
        for name in options.columns:
            if name not in places:
                raise ConfigError(f"{options.asked_by} {name!r}: {path} has no such column, but {quoted(names)}.")
            if name == target:
                raise ConfigError(f"Column {name!r} is named by --columns and by --target: name it by one of them.")
        if len(set(options.columns)) < len(options.columns):
            raise ConfigError("Option --columns names a column twice: name each one once.")
        chosen = [places[name] for name in options.columns]
    if not chosen:
        raise InputError(f"{path} has no column to learn besides the target: expected at least one.")
    return chosen, None if target is None else places[target]


def checked(data: DataSet, options: ReadOptions) -> DataSet:
    """Return ``data``, with the shape of its images, after a look at every number.

    Raises:
        InputError: there are too few rows, a number is missing or infinite, or nothing varies.
        ConfigError: the images' size does not fit the columns.
    """
    if len(data) < options.fewest:
        rows = {0: "no rows", 1: "one row"}.get(len(data), f"{len(data)} rows")
        raise InputError(f"{data.path} holds {rows}: expected at least {options.fewest}.")
    lowest, highest = np.full(len(data.columns), np.inf), np.full(len(data.columns), -np.inf)
    for start, stop in data.chunks():
        part = data.rows(start, stop)
        wrong = ~(np.abs(part) <= min(LARGEST, float(np.finfo(part.dtype).max)))
        if wrong.any():
            row, column = (int(place) for place in np.argwhere(wrong)[0])
            what = "a missing value" if np.isnan(part[row, column]) else f"an infinite value (beyond {LARGEST:g})"
            raise InputError(
                f"{data.path} has {what} in row {data.row_name(start + row)}, column {data.columns[column]!r}: fill it "
                "in, leave the row out, or choose other columns with --columns."
            )
        lowest, highest = np.minimum(lowest, part.min(0)), np.maximum(highest, part.max(0))
    if options.fewest > 1 and (lowest == highest).all():
        raise InputError(f"{data.path} holds the same row {len(data):,} times: there is nothing to learn.")
    return data


def with_image_shape(columns: int, options: ReadOptions, path: Path) -> tuple[int, int, int] | None:
    """Return the shape of the images that rows of ``columns`` numbers are; None if no size is given.

    Raises:
        ConfigError: the size does not fit.
    """
    if options.size is None:
        return None
    height, width, *rest = options.size
    channels = rest[0] if rest else 3 if columns == 3 * height * width else 1
    if height * width * channels != columns:
        shown = "x".join(map(str, options.size))
        raise ConfigError(
            f"Option --size is {shown}: a row of {path} has {columns} numbers, which are no image of that size."
        )
    return height, width, channels


def quoted(names: Iterable[str]) -> str:
    """Return ``names`` in quotes, as a message names them; of many only the first."""
    return listed(map(repr, names), _NAMED)
