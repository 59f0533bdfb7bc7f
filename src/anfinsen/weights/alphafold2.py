"""Weights files of AlphaFold 2 and AlphaFold-Multimer."""

from __future__ import annotations

from pathlib import Path

import torch

from anfinsen.models.alphafold2 import PRESETS, AlphaFold2, AlphaFold2Config

from .store import ALPHAFOLD2_BUNDLED, Family, WeightsInfo

FAMILY: Family[AlphaFold2, AlphaFold2Config] = Family(
    "alphafold2", "AlphaFold 2", AlphaFold2, AlphaFold2Config, PRESETS, ALPHAFOLD2_BUNDLED
)


def is_alphafold2(name_or_path: str) -> bool:
    """Return whether a model name, or a weights file, is AlphaFold 2's; False for files that cannot be read."""
    return FAMILY.owns(name_or_path)


def save_alphafold2(model: AlphaFold2, path: Path, metadata: dict[str, str], *, bf16: bool = False) -> None:
    """Write weights and configuration to ``path``, whole or not at all.

    Args:
        model: the model to save.
        path: target file.
        metadata: facts about the training run, or where the weights came from.
        bf16: store matrices in bfloat16 (norms, biases and buffers keep float32).

    Raises:
        OutputError: the file cannot be written.
        WeightsError: a weight is NaN or infinite.
    """
    FAMILY.save(model, path, metadata, bf16=bf16)


def load_alphafold2(name_or_path: str, device: torch.device | str = "cpu") -> tuple[AlphaFold2, WeightsInfo]:
    """Return the model in evaluation mode and what is known of its weights.

    Args:
        name_or_path: "alphafold2-mini" (bundled), "alphafold2-PRESET:random" (untrained, seed 0), or a weights file.
        device: where to put the model.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: the file is missing, damaged, another model's, or does not match its configuration.
    """
    return FAMILY.load(name_or_path, device)
