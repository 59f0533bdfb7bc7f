"""Reading published files: archives of arrays (.npz) and PyTorch checkpoints, without running what they hold."""

from __future__ import annotations

import pickle
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from anfinsen.common.errors import WeightsError

Kind = Literal["arrays", "checkpoint"]

_ZIP, _PICKLE = b"PK", b"\x80"
_AGAIN = "copy it again"
# Where checkpoints keep the parameters, the best first: averaged ones, a training tool's, the model's.
_PARAMETERS = (("ema", "params"), ("state_dict",), ("module",), ("model",))
# What the libraries raise on damaged files.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def kind_of(path: Path) -> Kind:
    """Return what kind of file ``path`` is, by its content.

    Raises:
        WeightsError: it cannot be read, or is neither.
    """
    try:
        with path.open("rb") as handle:
            start = handle.read(16)
        if start.startswith(_ZIP):
            if not zipfile.is_zipfile(path):
                raise WeightsError(f"{path} is an archive that was cut short: {_AGAIN}.")
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if any(name.endswith(".npy") for name in names):
                return "arrays"
            if any(name.endswith("data.pkl") for name in names):
                return "checkpoint"
        elif start.startswith(_PICKLE):
            return "checkpoint"
        elif tarfile.is_tarfile(path):
            raise WeightsError(f"{path} is an archive of several files: unpack it, and convert one of them.")
    except OSError as error:
        raise WeightsError(f"Cannot read the parameter file {path}: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise WeightsError(f"{path} is a damaged archive: {_AGAIN}.") from error
    what = "is empty" if not start else "is no parameter file"
    raise WeightsError(
        f"{path} {what}: expected DeepMind's arrays (.npz) or a PyTorch checkpoint of OpenFold (.pt, .ckpt)."
    )


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an ``.npz`` file by name.

    Raises:
        WeightsError: the file cannot be read, is no archive of arrays, or holds other things than numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
    except _DAMAGED as error:
        raise WeightsError(
            f"{path} cannot be read as an archive of arrays of numbers (.npz): it is damaged or was made by something "
            f"else; {_AGAIN}."
        ) from error
    return _numbers(arrays, path)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the parameters in a PyTorch checkpoint by name: the averaged ones where it has them.

    Raises:
        WeightsError: the file cannot be read, or holds anything but tensors and plain values.
    """
    try:
        with warnings.catch_warnings():
            # It warns of what it then refuses, or reads all the same.
            warnings.simplefilter("ignore", UserWarning)
            if zipfile.is_zipfile(path):
                # PyTorch does not compare the checksums.
                with zipfile.ZipFile(path) as archive:
                    if (part := archive.testzip()) is not None:
                        raise zipfile.BadZipFile(f"{part} has another checksum")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged, or holds Python objects besides tensors, which are not read because they can run "
            "code: save its parameters alone, as a dictionary of tensors, with the program that made it."
        ) from error
    except _DAMAGED as error:
        raise WeightsError(f"{path} cannot be read as a PyTorch checkpoint: it is damaged; {_AGAIN}.") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, expected a dictionary of parameters.")
    return _numbers(_parameters(content), path)


def _parameters(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    for keys in _PARAMETERS:
        inner: Any = content
        for key in keys:
            inner = inner.get(key) if isinstance(inner, Mapping) else None
        if isinstance(inner, Mapping) and inner:
            return inner
    return content


def _numbers(tensors: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    if not tensors:
        raise WeightsError(f"{path} holds no parameters.")
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout != torch.strided:
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise WeightsError(f"{path} holds {name!r} of type {kind}, expected tensors of decimal numbers only.")
        if not isinstance(name, str):
            raise WeightsError(f"{path} holds a tensor called {name!r}, expected names.")
    return {name: value.detach() for name, value in tensors.items()}
