"""What AlphaFold 3 is trained against."""

from .batch_symmetry import batch_symmetries
from .confidence import (
    ConfidenceLoss,
    confidence_loss,
    distogram_loss,
    pae_target,
    pde_target,
    plddt_target,
)
from .config import LossConfig
from .diffusion import DiffusionLoss, aligned_mse, atom_weights, bond_loss, diffusion_loss, level_weight
from .permutations import (
    ChainCopies,
    best_atom_permutation,
    best_chain_assignment,
    chain_copies,
    permute_labels,
)
from .smooth_lddt import smooth_lddt_loss
from .symmetry import automorphisms, restrict_permutations, stereo_automorphisms, symmetric_atom_permutations
from .total import TrainingLoss, shared_single, training_loss

__all__ = [
    "ChainCopies",
    "ConfidenceLoss",
    "DiffusionLoss",
    "LossConfig",
    "TrainingLoss",
    "aligned_mse",
    "atom_weights",
    "automorphisms",
    "batch_symmetries",
    "best_atom_permutation",
    "best_chain_assignment",
    "bond_loss",
    "chain_copies",
    "confidence_loss",
    "diffusion_loss",
    "distogram_loss",
    "level_weight",
    "pae_target",
    "pde_target",
    "permute_labels",
    "plddt_target",
    "restrict_permutations",
    "shared_single",
    "smooth_lddt_loss",
    "stereo_automorphisms",
    "symmetric_atom_permutations",
    "training_loss",
]
