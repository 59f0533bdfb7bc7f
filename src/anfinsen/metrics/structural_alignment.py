"""Structural alignment that knows nothing of sequences (TM-align), by the extra ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from anfinsen.common.errors import MissingExtraError

FEWEST_RESIDUES = 5  # TM-align needs fragments of five


@dataclass(frozen=True)
class StructuralAlignment:
    """The best superposition of two chains, whichever residues it puts together.

    Attributes:
        tm_score: 0 to 1, over the residues of the true chain.
        rmsd: of the aligned residues, Å. aligned: how many these are.
        rotation, translation: the superposition, to be applied to the prediction as R x + t; Å.
        predicted_row, true_row: the two sequences with gaps. marks: ":" under residues closer than 5 Å, "." others.
    """

    tm_score: float
    rmsd: float
    aligned: int
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    predicted_row: str
    true_row: str
    marks: str


def structural_alignment(
    predicted: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "m 3"], predicted_sequence: str, true_sequence: str
) -> StructuralAlignment | None:
    """Align two protein chains by their CA atoms; None if one has fewer than 5.

    Args:
        predicted, true: CA atoms, Å. predicted_sequence, true_sequence: one letter for each of them.

    Raises:
        MissingExtraError: tmtools is not installed.

    Source: Zhang and Skolnick 2005.
    """
    try:
        import tmtools
    except ModuleNotFoundError as error:
        raise MissingExtraError("Structural alignment needs tmtools: pip install 'anfinsen[evaluate]'.") from error
    if min(len(predicted), len(true)) < FEWEST_RESIDUES:
        return None
    made, wanted = (np.ascontiguousarray(x, dtype=np.float64) for x in (predicted, true))
    found = tmtools.tm_align(made, wanted, predicted_sequence, true_sequence)
    marks = str(found.seqM)
    return StructuralAlignment(
        tm_score=float(found.tm_norm_chain2),
        rmsd=float(found.rmsd),
        aligned=sum(mark != " " for mark in marks),
        rotation=np.array(found.u, dtype=np.float64),
        translation=np.array(found.t, dtype=np.float64),
        predicted_row=str(found.seqxA),
        true_row=str(found.seqyA),
        marks=marks,
    )
