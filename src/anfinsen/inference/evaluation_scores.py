"""What the numbers of an evaluation are called, and those that need no matching of structures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from anfinsen.metrics import calibration_error, ramachandran, reliability, spearman, stereochemistry

from .evaluation_files import Predicted


@dataclass(frozen=True)
class Score:
    """How a number is shown.

    Attributes:
        label: for people. meaning: one phrase. better: which way; "" where neither is. decimals: shown.
    """

    label: str
    meaning: str
    better: Literal["high", "low", ""]
    decimals: int = 3


SCORES = {
    "lddt": Score("lDDT", "all heavy atoms of polymers, between residues, 0 to 1", "high"),
    "lddt_ca": Score("lDDT-CA", "CA atoms, 0 to 1", "high"),
    "tm_score": Score(
        "TM-score", "CA and C1' of all chains as one body, over the reference's residues, 0 to 1", "high"
    ),
    "tm_chain": Score("TM-score of chains", "mean over chains, each superposed alone, 0 to 1", "high"),
    "gdt_ts": Score("GDT_TS", "share of residues within 1, 2, 4 and 8 Å, 0 to 1", "high"),
    "gdt_ha": Score("GDT_HA", "share of residues within 0.5, 1, 2 and 4 Å, 0 to 1", "high"),
    "rmsd": Score("RMSD", "of CA and C1' that the prediction has, superposed, Å", "low", 2),
    "coverage": Score("coverage", "share of the reference's resolved residues that the prediction has", "high"),
    "dockq": Score("DockQ", "mean over the reference's interfaces of polymers, 0 to 1", "high"),
    "ligand_rmsd": Score("ligand RMSD", "mean over ligands, pocket superposed, symmetric atoms at best, Å", "low", 2),
    "ligand_success": Score("ligands below 2 Å", "share of the reference's ligands", "high"),
    "lddt_pocket": Score("lDDT of pockets", "all atoms of residues within 6 Å of a ligand, 0 to 1", "high"),
    "lddt_pli": Score("lDDT-PLI", "distances below 6 Å between ligands and polymers, 0 to 1", "high"),
    "contacts_l": Score("contacts, L", "precision of the L likeliest long-range contacts, mean over chains", "high"),
    "contacts_l2": Score("contacts, L/2", "precision of the L/2 likeliest", "high"),
    "contacts_l5": Score("contacts, L/5", "precision of the L/5 likeliest", "high"),
    "clashes": Score("clashes", "per 1,000 atoms of the prediction", "low", 1),
    "rama_favoured": Score("Ramachandran favoured", "share of residues", "high"),
    "rama_outliers": Score("Ramachandran outliers", "share of residues", "low", 4),
    "chirality_errors": Score("chirality errors", "centres of the wrong hand", "low", 1),
    "bond_rmsd": Score("bond lengths", "RMSD of the protein backbone from Engh and Huber's, Å", "low"),
    "angle_rmsd": Score("bond angles", "RMSD of the protein backbone from Engh and Huber's, degrees", "low", 2),
    "bond_outliers": Score("bond outliers", "share beyond four standard deviations", "low", 4),
    "angle_outliers": Score("angle outliers", "share beyond four standard deviations", "low", 4),
    "distorted_bonds": Score("distorted bonds", "of all molecules, 25 % off their length", "low", 1),
    "plddt": Score("pLDDT", "mean over residues, 0 to 100", "", 1),
    "plddt_spearman": Score("pLDDT, Spearman", "rank correlation with true lDDT over residues", "high"),
    "calibration_error": Score("calibration error", "mean gap of pLDDT and true lDDT over bins, 0 to 100", "low", 1),
    "ptm": Score("pTM", "predicted TM-score", ""),
    "iptm": Score("ipTM", "predicted TM-score of interfaces", ""),
    "ranking_score": Score("ranking score", "what structures are ranked by", ""),
}


def means(rows: Sequence[dict[str, Any]], names: dict[str, str]) -> dict[str, float]:
    """Return the mean of each column over the rows that have it, by the score's name."""
    result = {}
    for score, column in names.items():
        values = [row[column] for row in rows if row.get(column) is not None]
        if values:
            result[score] = float(np.mean(values))
    return result


def geometry_scores(predicted: Predicted) -> dict[str, float]:
    """Return what is unusual in the prediction itself."""
    found = stereochemistry(predicted.structure, predicted.library)
    angles = ramachandran(predicted.structure)
    scores: dict[str, float | None] = {
        "clashes": found.clashes_per_1000_atoms,
        "bond_rmsd": found.bond_rmsd,
        "angle_rmsd": found.angle_rmsd,
        "bond_outliers": found.bond_outliers,
        "angle_outliers": found.angle_outliers,
        "distorted_bonds": float(found.distorted_bonds),
        # No centre to judge is not the same as no error.
        "chirality_errors": float(found.chirality_errors) if found.chiral_centres else None,
        "rama_favoured": angles.favoured,
        "rama_outliers": angles.outliers,
    }
    return {name: value for name, value in scores.items() if value is not None}


def calibration_scores(plddt: Float[np.ndarray, "r"], truth: Float[np.ndarray, "r"]) -> dict[str, float]:
    """Return how well predicted lDDT tells the true one of residues, both 0 to 100."""
    if not len(plddt):
        return {}
    scores = {"plddt": float(plddt.mean())}
    error = calibration_error(reliability(plddt, truth))
    if error is not None:
        scores["calibration_error"] = error
    with suppress(ValueError):  # too few residues, or one pLDDT for all
        scores["plddt_spearman"] = spearman(plddt, truth)
    return scores
