"""Alignments put together and taken apart, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from ..chemistry.structure import ChainKind
from ..chemistry.tokens import AMINO_ACIDS, GAP, RESTYPES
from ..common.errors import AlignmentError
from .msa import Msa

_LETTERS = dict(zip(AMINO_ACIDS, "ARNDCQEGHILKMFPSTWYV", strict=True)) | {"UNK": "X", "GAP": "-", "N": "N", "DN": "N"}
_LETTER_OF = np.array([ord(_LETTERS.get(name, name[-1])) for name in RESTYPES], dtype=np.uint8)


def take_rows(msa: Msa, rows: Int[np.ndarray, "p"]) -> Msa:
    """Return the rows with the given numbers, in the order given; -1 stands for a row of gaps."""
    is_gap = rows < 0
    restypes, deletions = msa.restypes[rows], msa.deletions[rows]
    restypes[is_gap], deletions[is_gap] = GAP, 0
    return Msa(restypes, deletions, tuple("" if row < 0 else msa.descriptions[row] for row in rows.tolist()))


def limit_rows(msa: Msa, max_rows: int) -> Msa:
    """Return the first ``max_rows`` rows."""
    return Msa(msa.restypes[:max_rows], msa.deletions[:max_rows], msa.descriptions[:max_rows])


def stack_rows(msas: Sequence[Msa]) -> Msa:
    """Return the rows of all alignments of one query, one below the other.

    Raises:
        AlignmentError: they have different numbers of columns, or there are none.
    """
    widths = {msa.restypes.shape[1] for msa in msas}
    if len(widths) != 1:
        raise AlignmentError(
            f"Alignments with {sorted(widths)} columns cannot be stacked: all must have the same query."
        )
    return Msa(
        np.concatenate([msa.restypes for msa in msas]),
        np.concatenate([msa.deletions for msa in msas]),
        tuple(description for msa in msas for description in msa.descriptions),
    )


def unique_rows(msa: Msa) -> Msa:
    """Return the alignment without repeated rows (same residues and gaps); the first of each stays, in order.

    Rows that differ in the number of inserted residues somewhere are not the same row; which residues those are is
    not known here.
    """
    seen: dict[tuple[bytes, bytes], int] = {}
    for row, (residues, deletions) in enumerate(zip(msa.restypes, msa.deletions, strict=True)):
        seen.setdefault((residues.tobytes(), deletions.tobytes()), row)
    return take_rows(msa, np.array(list(seen.values())))


def write_a3m(msa: Msa, query: str, kind: ChainKind) -> str:
    """Return the alignment as a3m text; parsing it gives an equal alignment.

    Inserted residues are known by number only, so each is written as unknown: a small x (protein) or n.

    Raises:
        AlignmentError: ``query`` does not have one letter per column.
    """
    if len(query) != msa.restypes.shape[1]:
        raise AlignmentError(
            f"The query has {len(query)} letters and the alignment {msa.restypes.shape[1]} columns: they must agree."
        )
    insertion = "x" if kind is ChainKind.PROTEIN else "n"
    lines = []
    for index, description in enumerate(msa.descriptions):
        letters = query if index == 0 else _LETTER_OF[msa.restypes[index]].tobytes().decode()
        inserted = np.flatnonzero(msa.deletions[index]).tolist()
        pieces, last = [], 0
        for column in inserted:
            pieces += [letters[last:column], insertion * int(msa.deletions[index, column])]
            last = column
        lines += [f">{description}", "".join([*pieces, letters[last:]])]
    return "\n".join(lines) + "\n"
