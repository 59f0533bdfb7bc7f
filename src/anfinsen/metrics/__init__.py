"""Scores of predicted structures against true ones, on numpy arrays in Å."""

from .interfaces import DockQ, dockq, has_clash
from .lddt import Lddt, lddt
from .ranking import contact_precision, spearman
from .superposed import SuperposedScores, rmsd, superposed_scores, tm_distance, tm_score

__all__ = [
    "DockQ",
    "Lddt",
    "SuperposedScores",
    "contact_precision",
    "dockq",
    "has_clash",
    "lddt",
    "rmsd",
    "spearman",
    "superposed_scores",
    "tm_distance",
    "tm_score",
]
