"""Weights files of AlphaFold 3."""

from __future__ import annotations

from pathlib import Path

import torch

from anfinsen.models.alphafold3 import PRESETS, AlphaFold3, AlphaFold3Config

from .store import BUNDLED, Family, WeightsInfo

FAMILY: Family[AlphaFold3, AlphaFold3Config] = Family(
    "alphafold3", "AlphaFold 3", AlphaFold3, AlphaFold3Config, PRESETS, BUNDLED
)


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
    FAMILY.save(model, path, metadata, bf16=bf16)


def load_model(name_or_path: str, device: torch.device | str = "cpu") -> tuple[AlphaFold3, WeightsInfo]:
    """Return the model in evaluation mode and what is known of its weights.

    Args:
        name_or_path: "alphafold3-mini" (bundled), a path to a weights file, or "alphafold3-full:random" /
            "alphafold3-small:random" / "alphafold3-mini:random" for an untrained model of that preset (seed 0).
        device: where to put the model.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: the file is missing, damaged, another model's, or does not match its configuration.
    """
    return FAMILY.load(name_or_path, device)


def random_preset(name: str) -> str | None:
    """Return the preset of an untrained model's name ("full" of "alphafold3-full:random"), None for other names.

    Raises:
        ConfigError: there is no such preset.
    """
    return FAMILY.random_preset(name)
