"""Weights files: safetensors with the model's configuration in the metadata, so that a file says what it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import torch

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.models.alphafold1 import PRESETS as ALPHAFOLD1_PRESETS
from anfinsen.models.alphafold3 import PRESETS, AlphaFold3, AlphaFold3Config, alphafold3_config

from .tensors import model_tensors, read_tensors, write_tensors

FORMAT = "anfinsen-weights-1"
BUNDLED = {"alphafold3-mini": "alphafold3-mini.safetensors"}
ALPHAFOLD1_BUNDLED = {"alphafold1-mini": "alphafold1-mini.safetensors"}


@dataclass(frozen=True)
class WeightsInfo:
    """Where a model's weights came from.

    Attributes:
        name: model name. path: file, or "" for random weights. sha256: of the file's bytes ("" likewise).
        preset: name of the configuration. metadata: what the training run recorded about itself.
    """

    name: str
    path: str
    sha256: str
    preset: str
    metadata: dict[str, str] = field(default_factory=dict)


def save_model(model: AlphaFold3, path: Path, metadata: dict[str, str], *, bf16: bool = False) -> None:
    """Write the model's weights and configuration to ``path``, whole or not at all.

    Args:
        model: the model to save.
        path: target file.
        metadata: facts about the training run ("preset", "seed", …), stored in the file.
        bf16: store matrices in bfloat16 (norms, biases and buffers keep float32).

    Raises:
        OutputError: the file cannot be written.
        WeightsError: a weight is NaN or infinite.
    """
    header = {**metadata, "format": FORMAT, "config": json.dumps(to_mapping(model.config))}
    write_tensors(path, model_tensors(model, path, bf16=bf16), header)


def load_model(name_or_path: str, device: torch.device | str = "cpu") -> tuple[AlphaFold3, WeightsInfo]:
    """Return the model in evaluation mode and what is known of its weights.

    Args:
        name_or_path: "alphafold3-mini" (bundled), a path to a weights file, or "alphafold3-full:random" /
            "alphafold3-small:random" / "alphafold3-mini:random" for an untrained model of that preset (seed 0).
        device: where to put the model.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: the file is missing, damaged, of another format, or does not match its configuration.
    """
    preset = random_preset(name_or_path)
    if preset is not None:
        return _random_model(name_or_path, preset, device)
    if name_or_path in BUNDLED:
        path = Path(str(resources.files("anfinsen.weights") / "bundled" / BUNDLED[name_or_path]))
        return _read(path, name_or_path, device)
    path = weights_path(name_or_path)
    return _read(path, path.stem, device)


def weights_path(name_or_path: str) -> Path:
    """Return the path that ``name_or_path`` is, whether there is a file or not.

    Raises:
        ConfigError: it looks like the name of a model, and there is none of that name.
    """
    path = Path(name_or_path)
    if name_or_path and (path.suffix or path.exists() or len(path.parts) > 1):
        return path
    random = [f"alphafold3-{preset}:random" for preset in PRESETS]
    random += [f"alphafold1-{preset}:random" for preset in ALPHAFOLD1_PRESETS]
    known = ", ".join([*BUNDLED, *ALPHAFOLD1_BUNDLED, *random])
    raise ConfigError(f"Unknown model {name_or_path!r}: expected one of {known}, or a weights file.")


def random_preset(name: str) -> str | None:
    """Return the preset of an untrained model's name ("full" of "alphafold3-full:random"), None for other names.

    Raises:
        ConfigError: there is no such preset.
    """
    if not name.endswith(":random"):
        return None
    family, _, preset = name.removesuffix(":random").partition("-")
    if family != "alphafold3" or preset not in PRESETS:
        raise ConfigError(
            f"Unknown model {name!r}: expected alphafold3-PRESET:random with one of {', '.join(PRESETS)} (untrained, "
            "for measuring time and memory)."
        )
    return preset


def _random_model(name: str, preset: str, device: torch.device | str) -> tuple[AlphaFold3, WeightsInfo]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AlphaFold3(alphafold3_config(preset))
    return model.to(device).eval(), WeightsInfo(name=name, path="", sha256="", preset=preset)


def _read(path: Path, name: str, device: torch.device | str) -> tuple[AlphaFold3, WeightsInfo]:
    file = read_tensors(path)
    metadata = file.metadata
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} was not written by anfinsen: its format is {metadata.get('format', 'not named')!r}, "
            f"expected {FORMAT!r}."
        )
    model = _build(path, metadata)
    file.fill(model)
    info = WeightsInfo(
        name=name,
        path=str(path),
        sha256=file.sha256,
        preset=metadata.get("preset", ""),
        metadata={key: value for key, value in metadata.items() if key not in {"format", "config"}},
    )
    return model.to(device).eval(), info


def _build(path: Path, metadata: dict[str, str]) -> AlphaFold3:
    try:
        values = json.loads(metadata["config"])
        if not isinstance(values, dict):
            raise ConfigError(f"expected a mapping, got {values!r}.")
        config = from_mapping(AlphaFold3Config, values)
    except (KeyError, ValueError, ConfigError) as error:
        raise WeightsError(f"{path} holds no usable model configuration: {error}") from error
    return AlphaFold3(config)
