"""AlphaFold 1: `network.py` predicts distances, `potential.py` makes energies of them, `folding.py` goes downhill."""

from .building import Backbone, backbone_of_frames, backbone_of_torsions, frames_of_backbone
from .confidence import (
    CONFIDENCE_SIGNALS,
    Calibration,
    Confidence,
    confidence_signals,
    expected_lddt,
    lddt_between,
)
from .config import PRESETS, AlphaFold1Config, Tower, alphafold1_config
from .folding import TORSION_FOLDING, Fold, FoldingConfig, Stage, fold, hand_of
from .lbfgs import LbfgsConfig, Minimum, minimise
from .maps import (
    SECONDARY_STRUCTURES,
    NativeBins,
    PairMaps,
    angle_bins,
    angle_centres,
    distance_bins,
    distance_centres,
    native_maps,
    orientations,
    torsions,
)
from .network import AlphaFold1, CropLogits, Crops, ResidueLogits
from .pipeline import Realisation, RealisationConfig, realise, realise_maps
from .potential import Potential, PotentialConfig, TermWeights, bond_term
from .reference import LENGTH_LIMITS, SEPARATION_CLASSES, ReferenceDistribution, length_class, separation_class
from .sidechains import PlacedResidue, place_side_chains
from .splines import Splines, natural_splines, periodic_splines
from .tiling import TilingConfig, count_tiles, cut, predict_maps, tile_starts

__all__ = [
    "CONFIDENCE_SIGNALS",
    "LENGTH_LIMITS",
    "PRESETS",
    "SECONDARY_STRUCTURES",
    "SEPARATION_CLASSES",
    "TORSION_FOLDING",
    "AlphaFold1",
    "AlphaFold1Config",
    "Backbone",
    "Calibration",
    "Confidence",
    "CropLogits",
    "Crops",
    "Fold",
    "FoldingConfig",
    "LbfgsConfig",
    "Minimum",
    "NativeBins",
    "PairMaps",
    "PlacedResidue",
    "Potential",
    "PotentialConfig",
    "Realisation",
    "RealisationConfig",
    "ReferenceDistribution",
    "ResidueLogits",
    "Splines",
    "Stage",
    "TermWeights",
    "TilingConfig",
    "Tower",
    "alphafold1_config",
    "angle_bins",
    "angle_centres",
    "backbone_of_frames",
    "backbone_of_torsions",
    "bond_term",
    "confidence_signals",
    "count_tiles",
    "cut",
    "distance_bins",
    "distance_centres",
    "expected_lddt",
    "fold",
    "frames_of_backbone",
    "hand_of",
    "lddt_between",
    "length_class",
    "minimise",
    "native_maps",
    "natural_splines",
    "orientations",
    "periodic_splines",
    "place_side_chains",
    "predict_maps",
    "realise",
    "realise_maps",
    "separation_class",
    "tile_starts",
    "torsions",
]
