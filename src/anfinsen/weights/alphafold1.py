"""Weights files of AlphaFold 1: the same format as AlphaFold 3's, with "model" in the metadata telling them apart."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.models.alphafold1 import AlphaFold1, AlphaFold1Config, alphafold1_config

from .store import FORMAT, WeightsInfo
from .tensors import write_tensors

ALPHAFOLD1_BUNDLED = {"alphafold1-mini": "alphafold1-mini.safetensors"}
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
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"Weight {name!r} holds non-finite numbers; {path} was not written.")
        small = bf16 and value.ndim > 1 and value.is_floating_point() and name not in buffers
        tensors[name] = value.detach().cpu().to(torch.bfloat16 if small else value.dtype).contiguous()
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
    return _read(Path(name_or_path), Path(name_or_path).stem, device)


def _read(path: Path, name: str, device: torch.device | str) -> tuple[AlphaFold1, WeightsInfo]:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="pt") as handle:
            metadata = dict(handle.metadata() or {})
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise WeightsError(f"Cannot read the weights file {path}: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a whole safetensors file ({error}): copy it again, or train again."
        ) from error
    if metadata.get("format") != FORMAT or metadata.get("model") != _FAMILY:
        raise WeightsError(
            f"{path} holds no AlphaFold 1: its model is {metadata.get('model', 'not named')!r}, expected {_FAMILY!r}."
        )
    try:
        model = AlphaFold1(from_mapping(AlphaFold1Config, json.loads(metadata["config"])))
    except (KeyError, ValueError, ConfigError) as error:
        raise WeightsError(f"{path} holds no usable model configuration: {error}") from error
    _check(path, tensors, model.state_dict())
    model.load_state_dict({key: value.to(model.state_dict()[key].dtype) for key, value in tensors.items()})
    about = {key: value for key, value in metadata.items() if key not in {"format", "model", "config"}}
    info = WeightsInfo(name, str(path), digest, metadata.get("preset", ""), about)
    return model.to(device).eval(), info


def _check(path: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    wrong = list(tensors.keys() ^ expected.keys())
    wrong += [key for key in tensors.keys() & expected.keys() if tensors[key].shape != expected[key].shape]
    if wrong:
        raise WeightsError(
            f"{path} does not match its own configuration: {len(wrong)} tensors are missing, unknown or of another "
            f"shape, {min(wrong)!r} for one; copy the file again, or train again."
        )
    for key, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{path}: tensor {key!r} holds non-finite numbers; train or copy the file again.")
