"""Bundled weights, weights files, and one converter per published format."""

from .store import ALPHAFOLD1_BUNDLED, BUNDLED, WeightsInfo, load_model, random_preset, save_model
from .tensors import write_tensors

__all__ = ["ALPHAFOLD1_BUNDLED", "BUNDLED", "WeightsInfo", "load_model", "random_preset", "save_model", "write_tensors"]
