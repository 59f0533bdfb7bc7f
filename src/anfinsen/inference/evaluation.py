"""All scores of one predicted structure against its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from anfinsen.chemistry import Structure

from .evaluation_files import Predicted
from .evaluation_pair import DIVISORS, Pair, Superposition
from .evaluation_scores import calibration_scores, geometry_scores, means

GOOD_LIGAND = 2.0  # Å, a docked ligand that counts as found


@dataclass(frozen=True)
class Evaluation:
    """What one prediction is worth.

    Attributes:
        scores: the numbers of the whole structure, by the names in `SCORES`; those without meaning here are absent.
        chains, interfaces, ligands: one row of plain values each, ready for tables.
        plddt, truth: predicted and true lDDT of residues, 0 to 100; empty without pLDDT.
        notes: what was left out or chosen, one sentence each.
        superposition: how to lay the prediction on the reference; None where there are too few atoms.
    """

    scores: dict[str, float]
    chains: tuple[dict[str, Any], ...]
    interfaces: tuple[dict[str, Any], ...]
    ligands: tuple[dict[str, Any], ...]
    plddt: Float[np.ndarray, "r"]
    truth: Float[np.ndarray, "r"]
    notes: tuple[str, ...]
    superposition: Superposition | None = None


def evaluate(predicted: Predicted, reference: Structure, *, poses: bool = False, align: bool = True) -> Evaluation:
    """Return every score of ``predicted`` against ``reference``.

    Args:
        predicted, reference: as read. poses: ask PoseBusters about ligands. align: run TM-align on each chain.

    Raises:
        StructureError: no chain of one is like one of the other, or none of its residues is in both.
        MissingExtraError: ``poses`` without PoseBusters.
    """
    pair = Pair(predicted, reference)
    scores: dict[str, float] = {}
    chains = pair.chain_rows(align)
    interfaces = pair.interface_rows()
    ligands = pair.ligand_rows(poses)
    scores |= pair.whole_scores()
    scores |= means(chains, {"tm_chain": "tm_score", **{name: name for name in DIVISORS}})
    scores |= means(interfaces, {"dockq": "dockq"})
    scores |= means(ligands, {"ligand_rmsd": "rmsd", "lddt_pocket": "lddt_pocket", "lddt_pli": "lddt_pli"})
    if ligands:
        scores["ligand_success"] = float(
            np.mean([row["rmsd"] is not None and row["rmsd"] < GOOD_LIGAND for row in ligands])
        )
    scores |= geometry_scores(predicted)
    plddt, truth = pair.confidence()
    scores |= calibration_scores(plddt, truth) | predicted.confidences
    return Evaluation(
        scores, tuple(chains), tuple(interfaces), tuple(ligands), plddt, truth, tuple(pair.notes), pair.superposition
    )
