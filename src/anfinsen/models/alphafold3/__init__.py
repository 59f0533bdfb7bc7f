"""AlphaFold 3: `model.py` holds the whole, `trunk.py` and `diffusion_module.py` its halves, `presets.py` the sizes."""

from .config import AlphaFold3Config, Variants
from .heads import ConfidenceLogits, TrunkOutput
from .model import AlphaFold3
from .presets import PRESETS, alphafold3_config
from .template_embedder import TemplateEmbedderConfig

__all__ = [
    "PRESETS",
    "AlphaFold3",
    "AlphaFold3Config",
    "ConfidenceLogits",
    "TemplateEmbedderConfig",
    "TrunkOutput",
    "Variants",
    "alphafold3_config",
]
