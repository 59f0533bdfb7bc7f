"""The profile of a chain's alignment, and hmmsearch with it (pyhmmer) over the sequences of known structures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..chemistry.tokens import GAP
from .msa import Msa

if TYPE_CHECKING:
    from pyhmmer.easel import DigitalSequenceBlock
    from pyhmmer.plan7 import HMM, TopHits

_LETTERS = np.frombuffer(b"ARNDCQEGHILKMFPSTWYVX", dtype=np.uint8)  # by residue type, see `chemistry.tokens`
_BLOCK_RESIDUES = 2_000_000  # a fraction of a second's work
# Longer insertions of a row count as this many residues: one odd row must not make the alignment enormous.
_LONGEST_INSERTION = 100
_MOST_ROWS = 16_384  # as many as AlphaFold 3 looks at in an alignment


@dataclass(frozen=True)
class ProfileHit:
    """A part of a sequence that is like the profile.

    Attributes:
        sequence: the whole sequence. score: bits, of the part. e_value: of the part alone (HMMER's i-Evalue).
        query_start, target_start: 0-based, of the first aligned column.
        query_row, target_row: the alignment; "." in the query's row is an insertion, "-" in the other a deletion.
    """

    sequence: str
    score: float
    e_value: float
    query_start: int
    target_start: int
    query_row: str
    target_row: str

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """0-based indices of the residues laid over each other: of the query, and of the sequence."""
        pairs = []
        query, target = self.query_start, self.target_start
        for of_query, of_target in zip(self.query_row, self.target_row, strict=True):
            if of_query != "." and of_target != "-":
                pairs.append((query, target))
            query += of_query != "."
            target += of_target != "-"
        return pairs

    @property
    def matched(self) -> str:
        """The part of the sequence, its insertions included."""
        return self.target_row.replace("-", "").upper()


def hits_text(hits: Sequence[ProfileHit]) -> str:
    """Return ``hits`` as text that :func:`hits_from_text` reads."""
    return json.dumps([asdict(hit) for hit in hits])


def hits_from_text(text: str) -> list[ProfileHit]:
    """Return the hits in ``text``."""
    return [ProfileHit(**fields) for fields in json.loads(text)]


def build_profile(query: str, msa: Msa | None) -> HMM[Any]:
    """Return the profile of a protein: its columns are the query's residues.

    With relatives it is hmmbuild's (``--hand``, the query's columns marked), of the query alone phmmer's.

    Args:
        query: its sequence.
        msa: its alignment, the query first; None where there is none.
    """
    from pyhmmer.easel import Alphabet, TextMSA, TextSequence
    from pyhmmer.plan7 import Background, Builder

    alphabet: Any = Alphabet.amino()
    builder: Builder[Any] = Builder(alphabet, architecture="hand")
    background: Background[Any] = Background(alphabet)
    if msa is None or msa.depth == 1:
        sequence = TextSequence(name="query", sequence=query).digitize(alphabet)
        return builder.build(sequence, background)[0]
    rows, reference = aligned_rows(msa)
    sequences = [TextSequence(name=f"row{number}", sequence=row) for number, row in enumerate(rows)]
    aligned = TextMSA(name="query", sequences=sequences)
    aligned.reference = reference
    return builder.build_msa(aligned.digitize(alphabet), background)[0]


def aligned_rows(msa: Msa) -> tuple[list[str], str]:
    """Return the rows in equal width, insertions spread out, and the line that marks the query's columns with "x".

    What the inserted residues are is not known here and does not matter to a profile: they are written as X. Rows
    without residues are left out, and rows behind the first 16,384.
    """
    restypes = msa.restypes[:_MOST_ROWS]
    filled = np.flatnonzero((restypes != GAP).any(axis=1))
    restypes = restypes[filled]
    inserted = np.minimum(msa.deletions[filled], _LONGEST_INSERTION)
    widths = inserted.max(axis=0)
    columns = np.arange(restypes.shape[1]) + np.cumsum(widths)
    rows = np.full((len(restypes), restypes.shape[1] + int(widths.sum())), ord("-"), dtype=np.uint8)
    is_residue = restypes != GAP
    rows[:, columns] = np.where(is_residue, _LETTERS[np.minimum(restypes, len(_LETTERS) - 1)], ord("-"))
    for position in np.flatnonzero(widths):
        width, column = int(widths[position]), int(columns[position])
        here = np.arange(width) < inserted[:, position, None]
        rows[:, column - width : column][here] = ord("X")
    reference = np.full(rows.shape[1], ord("."), dtype=np.uint8)
    reference[columns] = ord("x")
    return [row.tobytes().decode() for row in rows], reference.tobytes().decode()


def search_sequences(
    profile: HMM[Any], sequences: Sequence[str], e_value: float, filters: float, threads: int
) -> list[ProfileHit]:
    """Return the parts of ``sequences`` that are like the profile, the highest score first.

    Args:
        profile: of a protein. sequences: to search.
        e_value: limit of targets and of domains, for reporting and inclusion alike.
        filters: P-value that passes each of HMMER's three filters.
        threads: number of them; the result does not depend on it.
    """
    from pyhmmer.plan7 import Pipeline

    def search(block: DigitalSequenceBlock[Any]) -> TopHits[Any]:
        pipeline: Pipeline[Any] = Pipeline(
            profile.alphabet,
            F1=filters, F2=filters, F3=filters,
            E=e_value, incE=e_value, domE=e_value, incdomE=e_value,
            Z=len(sequences),
        )  # fmt: skip
        return pipeline.search_hmm(profile, block)

    if not sequences:
        return []
    pool = ThreadPoolExecutor(threads, "templates")
    try:
        parts = list(pool.map(search, _blocks(profile, sequences)))
    finally:
        pool.shutdown(cancel_futures=True)
    hits = parts[0].merge(*parts[1:]) if len(parts) > 1 else parts[0]
    found = [
        ProfileHit(
            sequence=sequences[int(hit.name)],
            score=domain.score,
            e_value=domain.i_evalue,
            query_start=domain.alignment.hmm_from - 1,
            target_start=domain.alignment.target_from - 1,
            query_row=domain.alignment.hmm_sequence,
            target_row=domain.alignment.target_sequence,
        )
        for hit in hits.included
        for domain in hit.domains.included
    ]
    return sorted(found, key=lambda hit: (-hit.score, hit.sequence, hit.target_start))


def _blocks(profile: HMM[Any], sequences: Sequence[str]) -> list[DigitalSequenceBlock[Any]]:
    """Sequences in digital form, named by their place."""
    from pyhmmer.easel import DigitalSequenceBlock, TextSequence

    blocks, block, residues = [], DigitalSequenceBlock(profile.alphabet), 0
    for number, sequence in enumerate(sequences):
        if residues > _BLOCK_RESIDUES:
            blocks.append(block)
            block, residues = DigitalSequenceBlock(profile.alphabet), 0
        block.append(TextSequence(name=str(number), sequence=sequence).digitize(profile.alphabet))
        residues += len(sequence)
    return [*blocks, block]
