"""How many different sequences an alignment holds: sequence weights and the effective depth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int, Int8, Int64

from ..chemistry.tokens import GAP
from .msa import Msa

_BLOCK = 256  # rows compared with all others at once


def sequence_weights(
    restypes: Int[np.ndarray, "S L"], identity: float = 0.8, min_coverage: float = 0.0
) -> Float64[np.ndarray, "S"]:
    """Return 1 / (number of rows at least ``identity`` alike) for every row, the row itself included.

    Two rows are alike when the columns with the same residue in both are at least ``identity`` times the residues
    of the shorter one (as CD-HIT counts it). Rows that cover less than ``min_coverage`` of the columns have weight 0
    and count for nobody. Memory stays below about
    100 MB for 16,384 rows; time grows as S² L.

    Args:
        restypes: residue types, gaps included.
        identity: 0 to 1.
        min_coverage: 0 to 1.
    """
    lengths = np.count_nonzero(restypes != GAP, axis=1)
    counted = np.flatnonzero(lengths >= max(min_coverage * restypes.shape[1], 1))
    lengths = lengths[counted]
    weights = np.zeros(len(restypes))
    # Columns first: comparing and adding whole columns of bytes is what numpy does fastest. A value that no row
    # holds stands for gaps on one side, so that two gaps never match.
    columns = np.ascontiguousarray(restypes[counted].T, dtype=np.int8)
    masked = np.where(columns == GAP, np.int8(-1), columns)
    for start in range(0, len(counted), _BLOCK):
        block = slice(start, start + _BLOCK)
        same = same_columns(masked[:, block], columns)
        # The tolerance keeps 4 of 5 at least 80 % in floating point.
        alike = same >= identity * np.minimum(lengths[block, None], lengths) - 1e-9
        weights[counted[block]] = 1.0 / alike.sum(axis=1)
    return weights


def effective_depth(msa: Msa, identity: float = 0.8, min_coverage: float = 0.0) -> float:
    """Return Neff, the sum of the :func:`sequence_weights`."""
    return float(sequence_weights(msa.restypes, identity, min_coverage).sum())


def same_columns(some: Int8[np.ndarray, "L b"], rows: Int8[np.ndarray, "L S"]) -> Int64[np.ndarray, "b S"]:
    """Number of equal columns for each pair of rows."""
    total = np.zeros((some.shape[1], rows.shape[1]), dtype=np.int64)
    equal = np.empty(total.shape, dtype=np.bool_)
    count = np.zeros(total.shape, dtype=np.uint8)
    for column, (left, right) in enumerate(zip(some, rows, strict=True), start=1):
        np.equal(left[:, None], right, out=equal)
        count += equal.view(np.uint8)
        if column % 255 == 0:  # as far as a byte counts
            total += count
            count[:] = 0
    return total + count
