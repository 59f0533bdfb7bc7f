"""Bundled weights, weights files, and one converter per published format."""

from .alphafold3 import load_model, random_preset, save_model
from .store import ALPHAFOLD1_BUNDLED, ALPHAFOLD2_BUNDLED, BUNDLED, WeightsInfo
from .tensors import write_tensors

__all__ = [
    "ALPHAFOLD1_BUNDLED",
    "ALPHAFOLD2_BUNDLED",
    "BUNDLED",
    "WeightsInfo",
    "load_model",
    "random_preset",
    "save_model",
    "write_tensors",
]
