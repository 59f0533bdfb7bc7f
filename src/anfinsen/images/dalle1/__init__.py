"""DALL·E 1: a discrete VAE's codes, and a transformer over words and codes."""

from .config import DVAE_PRESETS, TRANSFORMER_PRESETS, DiscreteVaeConfig, ImageTransformerConfig
from .dvae import DiscreteVae, kl_to_uniform, perplexity
from .transformer import ImageTransformer, OnCode

__all__ = [
    "DVAE_PRESETS",
    "TRANSFORMER_PRESETS",
    "DiscreteVae",
    "DiscreteVaeConfig",
    "ImageTransformer",
    "ImageTransformerConfig",
    "OnCode",
    "kl_to_uniform",
    "perplexity",
]
