"""Bundled weights, weights files, and one converter per published format."""

from .store import BUNDLED, WeightsInfo, load_model, random_preset, save_model
from .tensors import write_tensors

__all__ = ["BUNDLED", "WeightsInfo", "load_model", "random_preset", "save_model", "write_tensors"]
