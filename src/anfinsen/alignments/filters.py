"""Which rows of an alignment are worth keeping: coverage of the query, identity with it, and with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from ..chemistry.tokens import GAP
from ..common.errors import ConfigError
from .msa import Msa
from .rows import take_rows
from .weights import same_columns

_BLOCK = 256  # rows compared with those kept at once


@dataclass(frozen=True)
class FilterConfig:
    """Fractions, 0 to 1; the defaults keep every row.

    Attributes:
        min_coverage: of the query's residues that a row must align to.
        min_identity: of the aligned residues that must be the query's.
        max_identity: rows that agree more than this with an earlier row, counted over the residues of the shorter
            one, are left out; 1 keeps even equal rows.

    Raises:
        ConfigError: a fraction is out of range.
    """

    min_coverage: float = 0.0
    min_identity: float = 0.0
    max_identity: float = 1.0

    def __post_init__(self) -> None:
        for name in ("min_coverage", "min_identity", "max_identity"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"Option {name!r} is {value!r}: expected a fraction from 0 to 1, such as 0.5.")


def passing_rows(
    restypes: Int[np.ndarray, "S L"], query: Int[np.ndarray, "L"], config: FilterConfig
) -> Bool[np.ndarray, "S"]:
    """Return which rows cover enough of the query and are like enough to it (``max_identity`` is not looked at)."""
    residues = restypes != GAP
    aligned = residues.sum(axis=1)
    same = ((restypes == query) & residues).sum(axis=1)
    # The tolerance keeps 4 of 5 at least 80 % in floating point.
    covers = aligned >= config.min_coverage * len(query) - 1e-9
    return np.asarray(covers & (same >= config.min_identity * aligned - 1e-9))


def filter_rows(msa: Msa, config: FilterConfig) -> Msa:
    """Return the alignment without the rows that ``config`` leaves out; the query stays, the order too."""
    return take_rows(msa, kept_rows(msa, config))


def kept_rows(msa: Msa, config: FilterConfig) -> Int[np.ndarray, "K"]:
    """Return the numbers of the rows that ``config`` keeps, rising; 0, the query, is always among them."""
    passing = passing_rows(msa.restypes, msa.restypes[0], config)
    passing[0] = True
    rows = np.flatnonzero(passing)
    if config.max_identity >= 1.0:
        return rows
    return np.asarray(rows[_distinct(msa.restypes[rows], config.max_identity)])


def _distinct(restypes: Int[np.ndarray, "S L"], max_identity: float) -> Int[np.ndarray, "K"]:
    """Rows that agree with none kept before them by more than ``max_identity``, in order."""
    lengths = np.count_nonzero(restypes != GAP, axis=1)
    columns = np.ascontiguousarray(restypes.T, dtype=np.int8)
    masked = np.where(columns == GAP, np.int8(-1), columns)
    kept: list[int] = []
    for start in range(0, len(restypes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(restypes)))
        others = np.array([*kept, *block])
        same = same_columns(masked[:, block], np.ascontiguousarray(columns[:, others]))
        limit = max_identity * np.minimum(lengths[block, None], lengths[others]) + 1e-9
        alike = same > limit
        is_kept = np.zeros(len(others), dtype=np.bool_)
        is_kept[: len(kept)] = True
        before = len(kept)
        for index, row in enumerate(block.tolist()):
            if not (alike[index] & is_kept).any():
                is_kept[before + index] = True
                kept.append(row)
    return np.array(kept, dtype=np.int64)
