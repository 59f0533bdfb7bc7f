"""Pipelines that draw pictures from text: DALL·E 2 and DALL·E 1, and what one run of `anfinsen image` does."""

from .dalle1 import DallE1Options, DallE1Pipeline
from .dalle2 import DallE2Pipeline
from .dalle2_parts import DallE2Options
from .shared import SAMPLERS, ImagePipelineOutput

__all__ = ["SAMPLERS", "DallE1Options", "DallE1Pipeline", "DallE2Options", "DallE2Pipeline", "ImagePipelineOutput"]
