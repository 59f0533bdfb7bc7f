"""Weights files of AlphaFold 1."""

from __future__ import annotations

from pathlib import Path

import torch

from anfinsen.common.errors import WeightsError
from anfinsen.features.alphafold1 import SINGLE_CHANNELS, coupling_detail
from anfinsen.models.alphafold1 import PRESETS, AlphaFold1, AlphaFold1Config

from .store import ALPHAFOLD1_BUNDLED, Family, WeightsInfo

FAMILY: Family[AlphaFold1, AlphaFold1Config] = Family(
    "alphafold1", "AlphaFold 1", AlphaFold1, AlphaFold1Config, PRESETS, ALPHAFOLD1_BUNDLED
)


def is_alphafold1(name_or_path: str) -> bool:
    """Return whether a model name, or a weights file, is AlphaFold 1's; False for files that cannot be read."""
    return FAMILY.owns(name_or_path)


def save_alphafold1(model: AlphaFold1, path: Path, metadata: dict[str, str], *, bf16: bool = False) -> None:
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


def load_alphafold1(name_or_path: str, device: torch.device | str = "cpu") -> tuple[AlphaFold1, WeightsInfo]:
    """Return the model in evaluation mode and what is known of its weights.

    Args:
        name_or_path: "alphafold1-mini" (bundled), "alphafold1-PRESET:random" (untrained, seed 0), or a weights file.
        device: where to put the model.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: the file is missing, damaged, another model's, or does not match its configuration.
    """
    model, info = FAMILY.load(name_or_path, device)
    config = model.config
    try:
        coupling_detail(config.c_pair_in)
    except ValueError as error:
        raise WeightsError(f"Weights {name_or_path!r} read {error}; they are of another version.") from error
    if config.c_single_in != SINGLE_CHANNELS:
        raise WeightsError(
            f"Weights {name_or_path!r} read {config.c_single_in} channels of residues: expected {SINGLE_CHANNELS}; "
            "they are of another version."
        )
    return model, info
