"""Scores of predicted structures against true ones, on numpy arrays in Å; distances between sets of features."""

from .calibration import ReliabilityBin, calibration_error, reliability
from .correspondence import Correspondence, correspond
from .frechet import (
    KernelDistance,
    frechet_distance,
    gaussian_frechet_distance,
    kernel_distance,
    polynomial_mmd,
)
from .interfaces import DockQ, dockq, has_clash
from .lddt import Lddt, lddt
from .ligands import LigandScore, ligand_scores
from .pose_checks import pose_checks, require_posebusters
from .ramachandran import Ramachandran, ramachandran
from .ranking import contact_precision, spearman
from .secondary_structure import secondary_structure, stretching, winding
from .stereochemistry import Stereochemistry, stereochemistry
from .structural_alignment import StructuralAlignment, structural_alignment
from .superposed import SuperposedScores, rmsd, superposed_scores, tm_distance, tm_score

__all__ = [
    "Correspondence",
    "DockQ",
    "KernelDistance",
    "Lddt",
    "LigandScore",
    "Ramachandran",
    "ReliabilityBin",
    "Stereochemistry",
    "StructuralAlignment",
    "SuperposedScores",
    "calibration_error",
    "contact_precision",
    "correspond",
    "dockq",
    "frechet_distance",
    "gaussian_frechet_distance",
    "has_clash",
    "kernel_distance",
    "lddt",
    "ligand_scores",
    "polynomial_mmd",
    "pose_checks",
    "ramachandran",
    "reliability",
    "require_posebusters",
    "rmsd",
    "secondary_structure",
    "spearman",
    "stereochemistry",
    "stretching",
    "structural_alignment",
    "superposed_scores",
    "tm_distance",
    "tm_score",
    "winding",
]
