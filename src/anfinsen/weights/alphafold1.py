"""Weights files of AlphaFold 1: the same format as AlphaFold 3's, with "model" in the metadata telling them apart."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.models.alphafold1 import AlphaFold1, AlphaFold1Config, alphafold1_config

from .store import ALPHAFOLD1_BUNDLED, FORMAT, WeightsInfo, weights_path
from .tensors import model_tensors, read_tensors, write_tensors

_FAMILY = "alphafold1"


def is_alphafold1(name_or_path: str) -> bool:
    """Return whether a model name, or a weights file, is AlphaFold 1's; False for files that cannot be read."""
    if name_or_path.startswith(f"{_FAMILY}-") and not Path(name_or_path).exists():
        return True
    try:
        with safe_open(name_or_path, framework="pt") as handle:
            return (handle.metadata() or {}).get("model") == _FAMILY
    except (OSError, SafetensorError):
        return False


def save_alphafold1(model: AlphaFold1, path: Path, metadata: dict[str, str], *, bf16: bool = False) -> None:
    """Write weights and configuration to ``path``, whole or not at all.

    Args:
        model: the model to save.
        path: target file.
        metadata: facts about the training run.
        bf16: store matrices in bfloat16 (norms, biases and buffers keep float32).

    Raises:
        OutputError: the file cannot be written.
        WeightsError: a weight is NaN or infinite.
    """
    buffers = {name for name, _ in model.named_buffers()}
    tensors = model_tensors(model, path, bf16=bf16, exact=buffers)
    header = {**metadata, "format": FORMAT, "model": _FAMILY, "config": json.dumps(to_mapping(model.config))}
    write_tensors(path, tensors, header)


def load_alphafold1(name_or_path: str, device: torch.device | str = "cpu") -> tuple[AlphaFold1, WeightsInfo]:
    """Return the model in evaluation mode and what is known of its weights.

    Args:
        name_or_path: "alphafold1-mini" (bundled), "alphafold1-PRESET:random" (untrained, seed 0), or a weights file.
        device: where to put the model.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: the file is missing, damaged, another model's, or does not match its configuration.
    """
    if name_or_path.endswith(":random"):
        preset = name_or_path.removesuffix(":random").removeprefix(f"{_FAMILY}-")
        config = alphafold1_config(preset)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AlphaFold1(config)
        return model.to(device).eval(), WeightsInfo(name=name_or_path, path="", sha256="", preset=preset)
    if name_or_path in ALPHAFOLD1_BUNDLED:
        path = Path(str(resources.files("anfinsen.weights") / "bundled" / ALPHAFOLD1_BUNDLED[name_or_path]))
        if not path.exists():
            raise WeightsError(
                f"This installation has no weights of {name_or_path!r}: give a weights file with --weights, made by "
                "`anfinsen train alphafold1`."
            )
        return _read(path, name_or_path, device)
    path = weights_path(name_or_path)
    return _read(path, path.stem, device)


def _read(path: Path, name: str, device: torch.device | str) -> tuple[AlphaFold1, WeightsInfo]:
    file = read_tensors(path)
    metadata = file.metadata
    if metadata.get("format") != FORMAT or metadata.get("model") != _FAMILY:
        raise WeightsError(
            f"{path} holds no AlphaFold 1: its model is {metadata.get('model', 'not named')!r}, expected {_FAMILY!r}."
        )
    try:
        model = AlphaFold1(from_mapping(AlphaFold1Config, json.loads(metadata["config"])))
    except (KeyError, ValueError, ConfigError) as error:
        raise WeightsError(f"{path} holds no usable model configuration: {error}") from error
    file.fill(model)
    about = {key: value for key, value in metadata.items() if key not in {"format", "model", "config"}}
    info = WeightsInfo(name, str(path), file.sha256, metadata.get("preset", ""), about)
    return model.to(device).eval(), info
