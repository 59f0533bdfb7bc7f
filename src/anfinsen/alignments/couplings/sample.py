"""`Sample`: the rows of an alignment as a statistical sample: states, weights, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, Int64

from ...chemistry.structure import ChainKind
from ...chemistry.tokens import GAP, RESTYPE_INDEX
from ...common.errors import AlignmentError
from ...common.seeding import numpy_generator
from ...common.text import counted
from ..msa import Msa
from ..weights import sequence_weights
from .config import RowConfig

MISSING = -1
"""State of a gap or an unknown residue."""

_ROWS_AT_ONCE = 65536
_SEED = 0  # which rows of a deep alignment are taken never depends on the user's seeds

_FIRST_LAST = {ChainKind.PROTEIN: ("ALA", "VAL"), ChainKind.RNA: ("A", "U"), ChainKind.DNA: ("DA", "DT")}


@dataclass(frozen=True)
class Sample:
    """n rows of L columns.

    Attributes:
        states: 0 to q - 1, `MISSING` for gaps and unknown residues.
        weights: of the rows, above 0 and at most 1; their sum is the effective depth.
        n_states: q, 20 for proteins, 4 for nucleic acids.
        depth: rows of the alignment that the sample was made from.
    """

    states: Int8[np.ndarray, "n L"]
    weights: Float64[np.ndarray, "n"]
    n_states: int
    depth: int

    @property
    def effective_depth(self) -> float:
        """Sum of the weights (Neff)."""
        return float(self.weights.sum())


def draw_sample(msa: Msa, kind: ChainKind, config: RowConfig, where: str = "The alignment") -> Sample:
    """Return the rows that count, with their weights.

    Rows of low coverage are left out. Of too many rows those are compared that lie evenly over the alignment, and of
    these a subset is drawn, each row with a chance by its weight (Efraimidis and Spirakis 2006), so that the drawn rows
    are diverse; the query is always among them. The same alignment gives the same rows.

    Raises:
        AlignmentError: it is an alignment of a ligand, has fewer than 2 columns, or fewer than 2 rows cover enough.
    """
    covering = covering_rows(msa, kind, config, where)
    length = msa.restypes.shape[1]
    first, last = (RESTYPE_INDEX[name] for name in _FIRST_LAST[kind])
    n_states = last - first + 1
    if len(covering) < 2:
        raise AlignmentError(
            f"{where} has {counted(msa.depth, 'row')}, of which {len(covering)} cover {config.min_coverage:.0%} of the "
            f"query's {length} residues: couplings need at least 2 such rows, and hundreds to be worth anything; "
            "search a larger database, or lower the coverage that is asked for."
        )
    if len(covering) > config.max_compared:
        even = np.linspace(0, len(covering) - 1, config.max_compared)
        covering = covering[np.round(even).astype(np.int64)]
    restypes = msa.restypes[covering]
    states = np.where((restypes >= first) & (restypes <= last), restypes - first, MISSING).astype(np.int8)
    weights = _weights(states, config.identity)
    if len(states) > config.max_rows:
        states = states[_diverse(weights, config.max_rows)]
        weights = _weights(states, config.identity)
    return Sample(states, weights, n_states, msa.depth)


def covering_rows(msa: Msa, kind: ChainKind, config: RowConfig, where: str = "The alignment") -> Int64[np.ndarray, "m"]:
    """Return the rows of an alignment that cover enough of its query.

    Raises:
        AlignmentError: it is an alignment of a ligand, or has fewer than 2 columns.
    """
    if kind not in _FIRST_LAST:
        raise AlignmentError(f"{where} belongs to a ligand: only proteins and nucleic acids have couplings.")
    length = msa.restypes.shape[1]
    if length < 2:
        raise AlignmentError(f"{where} has {length} column: couplings need at least 2.")
    first, last = (RESTYPE_INDEX[name] for name in _FIRST_LAST[kind])
    covered = [
        np.count_nonzero((rows >= first) & (rows <= last), axis=1)
        for rows in np.array_split(msa.restypes, max(1, msa.depth // _ROWS_AT_ONCE))
    ]
    return np.flatnonzero(np.concatenate(covered) >= max(config.min_coverage * length, 1))


def _weights(states: Int8[np.ndarray, "n L"], identity: float) -> Float64[np.ndarray, "n"]:
    return sequence_weights(np.where(states == MISSING, GAP, states).astype(np.int8), identity)


def _diverse(weights: Float64[np.ndarray, "n"], wanted: int) -> Int64[np.ndarray, "m"]:
    """Numbers of ``wanted`` rows, ascending, drawn without replacement with chances by weight; always with row 0."""
    uniform = numpy_generator(_SEED, "couplings", len(weights)).random(len(weights))
    keys = np.log1p(-uniform) / weights
    keys[0] = np.inf
    return np.sort(np.argsort(-keys, kind="stable")[:wanted]).astype(np.int64)
