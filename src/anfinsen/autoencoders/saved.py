"""A trained autoencoder as two files: tensors (safetensors) and settings (JSON); nothing in them is code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from anfinsen.common.errors import AnfinsenError, WeightsError
from anfinsen.common.seeding import MAX_SEED

from .dataset import COLOURS
from .variants import estimator_class

FORMAT = "anfinsen-autoencoder-1"
TENSORS, SETTINGS = "model.safetensors", "model.json"
_NETWORK, _SHIFT, _SCALE, _LATENTS = "network.", "scaler.shift", "scaler.scale", "latents"


@dataclass(frozen=True)
class SavedModel:
    """A fitted estimator, and what has to be known to apply it to new data.

    Attributes:
        estimator: the fitted autoencoder. variant: its name on the command line.
        columns: names of the columns it was fitted to. image_shape: (height, width, channels), if rows are images.
        resized: whether images were brought to that size. colour: what they were turned into ("auto": nothing).
        threshold: rows with a higher anomaly score are outliers. contamination: share of such rows when fitted.
        seed: of training. data_sha256: of what it was trained on.
        sha256: of the file of tensors; empty before it is written.
    """

    estimator: Any
    variant: str
    columns: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    resized: bool
    colour: str
    threshold: float
    contamination: float
    seed: int
    data_sha256: str
    sha256: str = ""


def save_autoencoder(model: SavedModel, folder: Path) -> str:
    """Write the two files into ``folder``, which exists; return the hash of the tensors.

    Raises:
        OSError: a file cannot be written.
    """
    content = save(_tensors(model.estimator), {"format": FORMAT})
    digest = hashlib.sha256(content).hexdigest()
    (folder / TENSORS).write_bytes(content)
    settings = {
        "format": FORMAT,
        "version": importlib.metadata.version("anfinsen"),
        "sha256": digest,
        "variant": model.variant,
        "estimator": type(model.estimator).__name__,
        "parameters": model.estimator.get_params(deep=False),
        "double": next(model.estimator.module_.parameters()).dtype == torch.float64,
        "columns": list(model.columns),
        "image_shape": model.image_shape,
        "resized": model.resized,
        "colour": model.colour,
        "threshold": model.threshold,
        "contamination": model.contamination,
        "seed": model.seed,
        "data_sha256": model.data_sha256,
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return digest


def load_autoencoder(folder: Path, device: str = "auto") -> SavedModel:
    """Return the model that stands in ``folder``; it can be applied, and `sample` new rows, but not be trained on.

    Raises:
        WeightsError: there is none, or its files are damaged.
        ConfigError: there is no such device.
    """
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        content = (folder / TENSORS).read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{folder} holds no trained autoencoder ({error.strerror or error}): expected {SETTINGS} and {TENSORS}, as "
            "`anfinsen autoencode` writes them."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, SETTINGS) from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise WeightsError(f"{folder / SETTINGS} is no settings file of an autoencoder that this version can read.")
    digest = hashlib.sha256(content).hexdigest()
    if digest != settings.get("sha256"):
        raise _damaged(folder, TENSORS)
    try:
        estimator = _rebuilt(settings, load(content), device)
        shape = settings["image_shape"]
        model = SavedModel(
            estimator=estimator,
            variant=str(settings["variant"]),
            columns=tuple(map(str, settings["columns"])),
            image_shape=None if shape is None else (int(shape[0]), int(shape[1]), int(shape[2])),
            resized=bool(settings["resized"]),
            colour=str(settings["colour"]),
            threshold=float(settings["threshold"]),
            contamination=float(settings["contamination"]),
            seed=int(settings["seed"]),
            data_sha256=str(settings["data_sha256"]),
            sha256=digest,
        )
        _check(model)
    except (SafetensorError, LookupError, TypeError, ArithmeticError, ValueError, RuntimeError, MemoryError) as error:
        if isinstance(error, AnfinsenError):
            raise
        raise _damaged(folder, SETTINGS) from error
    return model


def _check(model: SavedModel) -> None:
    """Compare what was read with itself.

    Raises:
        ValueError: it is not from one model.
    """
    width, scaler, shape = len(model.columns), model.estimator._scaler, model.image_shape
    fits = (
        scaler.shift.shape == scaler.scale.shape == (width,)
        and np.isfinite([scaler.shift, scaler.scale]).all()
        and (scaler.scale > 0).all()
        and all(bool(torch.isfinite(value).all()) for value in model.estimator.module_.state_dict().values())
        and len(set(model.columns)) == width
        and (shape is None or (min(shape) > 0 and math.prod(shape) == width))
        and model.colour in COLOURS
        and math.isfinite(model.threshold)
        and 0 < model.contamination <= 0.5
        and 0 <= model.seed <= MAX_SEED
    )
    if not fits:
        raise ValueError("parts of the model contradict each other")


def _tensors(estimator: Any) -> dict[str, torch.Tensor]:
    state = {_NETWORK + name: value for name, value in estimator.module_.state_dict().items()}
    scaler = estimator._scaler
    arrays = {_SHIFT: scaler.shift, _SCALE: scaler.scale, _LATENTS: estimator._latents}
    state |= {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _rebuilt(settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], device: str) -> Any:
    """Return the estimator as it was after fitting.

    It is begun anew on a table of zeros of the right shape, as fitting begins, and then given the tensors.
    """
    parameters = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings["parameters"].items()
    }
    estimator = estimator_class(settings["variant"])(**parameters | {"device": device})
    table = np.zeros((2, len(settings["columns"])), np.float64 if settings["double"] else np.float32)
    estimator._check_parameters()
    estimator._begin(estimator._checked(table, reset=True))
    network = {name.removeprefix(_NETWORK): value for name, value in tensors.items() if name.startswith(_NETWORK)}
    estimator.module_.load_state_dict(network)
    estimator.module_.to(estimator._device(next(estimator.module_.parameters()).dtype))
    estimator._scaler.shift, estimator._scaler.scale = tensors[_SHIFT].numpy(), tensors[_SCALE].numpy()
    estimator._latents, estimator._mixture = tensors[_LATENTS].numpy(), None
    return estimator


def _damaged(folder: Path, name: str) -> WeightsError:
    return WeightsError(
        f"{folder / name} is damaged, or belongs to another model: copy the folder again, or train again."
    )
