"""From chemistry and alignments to the tensors that networks see: `prepare_job` → `featurise` → `Batch`."""

from .bonds import loss_bonds
from .complexes import ChainAlignments, Complex, complex_from_structure, prepare_job
from .config import FeatureConfig
from .couplings import coupling_channels, no_couplings
from .featurise import BATCH_AXES, featurise
from .msa import msa_profile, pairing_notes, row_features
from .reference import frame_rotations

__all__ = [
    "BATCH_AXES",
    "ChainAlignments",
    "Complex",
    "FeatureConfig",
    "complex_from_structure",
    "coupling_channels",
    "featurise",
    "frame_rotations",
    "loss_bonds",
    "msa_profile",
    "no_couplings",
    "pairing_notes",
    "prepare_job",
    "row_features",
]
