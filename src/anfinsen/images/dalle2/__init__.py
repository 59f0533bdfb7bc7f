"""DALL·E 2 (unCLIP): a prior, a decoder and an upsampler, all on the one diffusion core."""

from .config import DiffusionConfig
from .decoder import Decoder, DecoderConfig
from .embeddings import slerp, text_difference
from .presets import DECODER_PRESETS, PRIOR_PRESETS, UPSAMPLER_PRESETS
from .prior import Prior, PriorConfig
from .unet import UNet, UNetConfig
from .upsampler import DegradationConfig, Upsampler, UpsamplerConfig, to_base

__all__ = [
    "DECODER_PRESETS",
    "PRIOR_PRESETS",
    "UPSAMPLER_PRESETS",
    "Decoder",
    "DecoderConfig",
    "DegradationConfig",
    "DiffusionConfig",
    "Prior",
    "PriorConfig",
    "UNet",
    "UNetConfig",
    "Upsampler",
    "UpsamplerConfig",
    "slerp",
    "text_difference",
    "to_base",
]
