"""Alignments taken apart, row by row."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from ..chemistry.tokens import GAP
from .msa import Msa


def take_rows(msa: Msa, rows: Int[np.ndarray, "p"]) -> Msa:
    """Return the rows with the given numbers, in the order given; -1 stands for a row of gaps."""
    is_gap = rows < 0
    restypes, deletions = msa.restypes[rows], msa.deletions[rows]
    restypes[is_gap], deletions[is_gap] = GAP, 0
    return Msa(restypes, deletions, tuple("" if row < 0 else msa.descriptions[row] for row in rows.tolist()))
