"""How deep an alignment is: rows, effective depth, and how many rows cover each position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from ..chemistry.tokens import GAP
from .msa import Msa
from .rows import take_rows
from .weights import effective_depth

DEPTH_ROWS = 4096  # time grows with the square of their number, and a deeper alignment is deep enough
SIMILAR = 0.5  # identity from which a row counts as similar to the query
_CHUNK = 65_536  # rows looked at together


@dataclass(frozen=True)
class AlignmentDepth:
    """The depth of an alignment of L positions; the query counts as a row.

    Attributes:
        rows: number of them.
        n_eff: effective depth at 80 % identity, of the first `DEPTH_ROWS` rows.
        covering: number of rows that have a residue, not a gap, at each position.
        similar: of these, the rows of which at least the fraction `SIMILAR` of the residues are the query's.
    """

    rows: int
    n_eff: float
    covering: Int64[np.ndarray, "L"]
    similar: Int64[np.ndarray, "L"]


def alignment_depth(msa: Msa) -> AlignmentDepth:
    """Return the depth of ``msa``."""
    length = msa.restypes.shape[1]
    covering, similar = np.zeros(length, dtype=np.int64), np.zeros(length, dtype=np.int64)
    for start in range(0, msa.depth, _CHUNK):
        rows = msa.restypes[start : start + _CHUNK]
        is_residue = rows != GAP
        same = np.count_nonzero((rows == msa.restypes[0]) & is_residue, axis=1)
        residues = np.count_nonzero(is_residue, axis=1)
        covering += is_residue.sum(axis=0)
        similar += is_residue[same >= SIMILAR * residues].sum(axis=0)
    few = take_rows(msa, np.arange(min(msa.depth, DEPTH_ROWS)))
    return AlignmentDepth(msa.depth, effective_depth(few), covering, similar)
