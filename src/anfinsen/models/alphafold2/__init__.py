"""AlphaFold 2: `model.py` holds the whole, `trunk.py` and `structure_module.py` its halves, `presets.py` the sizes."""

from .config import AlphaFold2Config
from .heads import HeadLogits
from .model import AlphaFold2, AlphaFold2Output
from .presets import PRESETS, alphafold2_config
from .structure_module import Structure
from .trunk import TrunkOutput

__all__ = [
    "PRESETS",
    "AlphaFold2",
    "AlphaFold2Config",
    "AlphaFold2Output",
    "HeadLogits",
    "Structure",
    "TrunkOutput",
    "alphafold2_config",
]
