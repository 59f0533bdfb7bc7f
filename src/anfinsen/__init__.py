"""Anfinsen: from a sequence to its structure."""

__version__ = "0.1.0"
