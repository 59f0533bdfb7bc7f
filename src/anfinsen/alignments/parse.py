"""`parse_msa` and `read_msa`: alignment text laid over its query, as residue types and deletion counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32, UInt8

from ..chemistry.structure import ChainKind
from ..chemistry.tokens import AMINO_ACIDS, GAP, RESTYPE_INDEX, UNKNOWN_DNA, UNKNOWN_PROTEIN, UNKNOWN_RNA
from ..common.errors import AlignmentError
from .filters import FilterConfig, passing_rows
from .msa import Msa
from .records import Row, Rows, excerpt, read_rows, text_lines
from .text_files import file_lines

Converter = Callable[[int, Sequence[Row]], tuple[np.ndarray, np.ndarray]]
"""From the number of the first row and rows to residue types and deletions, s x L."""

_CHUNK_LETTERS = 4_000_000
_INSERTION, _IGNORED, _BAD = 100, 101, 255
_GAPS = "-._~"

# Ambiguous amino acids as in AlphaFold 3's released code: B counts as D, Z as E, U as C; J, O and X as unknown.
_PROTEIN_TYPES = {
    **{letter: RESTYPE_INDEX[name] for letter, name in zip("ARNDCQEGHILKMFPSTWYV", AMINO_ACIDS, strict=True)},
    **{"B": RESTYPE_INDEX["ASP"], "Z": RESTYPE_INDEX["GLU"], "U": RESTYPE_INDEX["CYS"]},
    **dict.fromkeys("JOX", UNKNOWN_PROTEIN),
}
_AMBIGUOUS_BASES = "RYSWKMBDHVNX"
_TYPES: dict[ChainKind, dict[str, int]] = {
    ChainKind.PROTEIN: _PROTEIN_TYPES,
    # Nucleotide searches write T for U; the two are one base here.
    ChainKind.RNA: {**{base: RESTYPE_INDEX[base] for base in "ACGU"}, "T": RESTYPE_INDEX["U"]}
    | dict.fromkeys(_AMBIGUOUS_BASES, UNKNOWN_RNA),
    ChainKind.DNA: {**{base: RESTYPE_INDEX[f"D{base}"] for base in "ACGT"}, "U": RESTYPE_INDEX["DT"]}
    | dict.fromkeys(_AMBIGUOUS_BASES, UNKNOWN_DNA),
}
_ONE_BASE = {ChainKind.RNA: str.maketrans("T", "U"), ChainKind.DNA: str.maketrans("U", "T")}


def read_msa(
    path: Path | str,
    query: str,
    kind: ChainKind,
    where: str = "",
    max_rows: int | None = None,
    filters: FilterConfig | None = None,
) -> Msa:
    """Return the alignment in the file at ``path``, plain or compressed with gzip or xz (see :func:`parse_msa`).

    The file is read as a stream: of its text, only a few megabytes are in memory at any time.

    Raises:
        AlignmentError: also when the file cannot be read.
    """
    path = Path(path)
    _check_call(kind, max_rows, where or "An alignment")
    rows = read_rows(file_lines(path), where := where or f"MSA file {excerpt(str(path), 200)}")
    return _msa(rows, query, kind, where, max_rows, filters)


def parse_msa(
    text: str,
    query: str,
    kind: ChainKind,
    where: str,
    max_rows: int | None = None,
    filters: FilterConfig | None = None,
) -> Msa:
    """Return the alignment in ``text``: a3m, aligned FASTA or Stockholm, told apart by content.

    In a3m, small letters are insertions. Where the first row has gaps or small letters, all rows are equally long,
    and columns in which the first row has a gap are insertions.

    Args:
        text: the alignment; its first row is the query.
        query: the chain's sequence, one letter per residue.
        kind: protein, RNA or DNA.
        where: what the alignment is called in messages, such as "MSA of chain A".
        max_rows: rows to return at most, the query included; all where None. Reading ends there.
        filters: rows of too little coverage or identity are left out while they are read (the query never is).
            ``max_identity`` is not looked at: see :func:`filter_rows`.

    Raises:
        AlignmentError: the text is empty or of no known format, the first row is not the query, rows do not fit it, or
            a letter is not one.
    """
    _check_call(kind, max_rows, where)
    return _msa(read_rows(text_lines(text), where), query, kind, where, max_rows, filters)


def query_msa(query: str, kind: ChainKind, description: str = "query") -> Msa:
    """Return the alignment that holds the query alone.

    Raises:
        AlignmentError: the query holds a letter that is not one.
    """
    return parse_msa(f">{description}\n{query}\n", query, kind, "The sequence")


def _check_call(kind: ChainKind, max_rows: int | None, where: str) -> None:
    if kind not in _TYPES:
        raise AlignmentError(f"{where} belongs to a ligand, which has no alignment: remove it.")
    if max_rows is not None and max_rows < 1:
        raise AlignmentError(f"{where} is to be read with at most {max_rows} rows: the query alone needs 1.")


def _msa(
    rows: Rows, query: str, kind: ChainKind, where: str, max_rows: int | None, filters: FilterConfig | None
) -> Msa:
    _check_query(rows.first, query, kind, where)
    convert = _columns_converter(rows.first, kind, where) if rows.aligned else _a3m_converter(len(query), kind, where)
    restypes, deletions = _Stack(len(query), np.int8), _Stack(len(query), np.int16)
    descriptions: list[str] = []
    read = 0
    for chunk in _chunks(chain([rows.first], rows.others), max_rows if filters is None else None):
        types, inserted = convert(read, chunk)
        names = [description for description, _ in chunk]
        if filters is not None:
            keep = passing_rows(types, types[0] if read == 0 else restypes.rows[0], filters)
            keep[0] |= read == 0
            types, inserted = types[keep], inserted[keep]
            names = [name for name, kept in zip(names, keep.tolist(), strict=True) if kept]
        read += len(chunk)
        restypes.add(types)
        deletions.add(inserted)
        descriptions += names
        if max_rows is not None and len(descriptions) >= max_rows:
            break
    return Msa(restypes.finished(max_rows), deletions.finished(max_rows), tuple(descriptions[:max_rows]))


class _Stack:
    """Rows of small whole numbers, in one array that grows in place: parts to be joined would need twice the memory."""

    def __init__(self, width: int, dtype: type[np.signedinteger]) -> None:
        self.rows = np.empty((0, width), dtype=dtype)
        self._count = 0

    def add(self, block: Int[np.ndarray, "s l"]) -> None:
        """Append ``block``, s x l; a wider type is taken when its numbers need one."""
        if block.max(initial=0) > np.iinfo(self.rows.dtype).max:
            self.rows = self.rows.astype(block.dtype)
        count = self._count + len(block)
        if count > len(self.rows):
            self._resize(max(count, len(self.rows) + len(self.rows) // 5))
        self.rows[self._count : count] = block
        self._count = count

    def finished(self, most: int | None) -> Int[np.ndarray, "s l"]:
        """Return the rows, at most ``most``."""
        self._resize(self._count if most is None else min(self._count, most))
        return self.rows

    def _resize(self, count: int) -> None:
        # Nobody else holds the array or a view of it.
        self.rows.resize((count, self.rows.shape[1]), refcheck=False)


def _check_query(row: Row, query: str, kind: ChainKind, where: str) -> None:
    first = row[1]
    for gap in _GAPS:
        first = first.replace(gap, "")
    first = first.upper()
    if first.isascii() and kind in _ONE_BASE:
        first, query = first.translate(_ONE_BASE[kind]), query.translate(_ONE_BASE[kind])
    if first == query:
        return
    place = next((i for i, (a, b) in enumerate(zip(first, query, strict=False)) if a != b), min(len(first), len(query)))
    differs = (
        f"position {place + 1} is {excerpt(first[place])} in the alignment and {excerpt(query[place])} in the chain"
        if place < min(len(first), len(query))
        else f"it has {len(first)} residues and the chain has {len(query)}"
    )
    raise AlignmentError(
        f"{where} is an MSA of another sequence: its first row ({excerpt(row[0])}) must be the chain's "
        f"sequence, but {differs}."
    )


def _table(kind: ChainKind, *, a3m: bool) -> UInt8[np.ndarray, "256"]:
    table = np.full(256, _BAD, dtype=np.uint8)
    for letter, restype in _TYPES[kind].items():
        table[ord(letter)] = restype
        table[ord(letter.lower())] = _INSERTION if a3m else restype
    for gap in _GAPS:
        table[ord(gap)] = GAP
    if a3m:
        table[ord(".")] = _IGNORED  # a2m pads insertions of other rows with dots
    return table


def _codes(rows: Sequence[str], first: int, kind: ChainKind, where: str, *, a3m: bool) -> UInt8[np.ndarray, "n"]:
    """One number per letter of all rows; ``first`` is the number of the first row, for messages."""
    for index, row in enumerate(rows):
        if not row.isascii():
            bad = next(letter for letter in row if not letter.isascii())
            raise AlignmentError(f"{where}, row {first + index + 1} has {excerpt(bad)}, which is no residue letter.")
    letters = np.frombuffer("".join(rows).encode("ascii"), dtype=np.uint8)
    codes = _table(kind, a3m=a3m)[letters]
    wrong = np.flatnonzero(codes == _BAD)
    if wrong.size:
        ends = np.cumsum([len(row) for row in rows])
        at = int(np.searchsorted(ends, wrong[0], side="right"))
        position = int(wrong[0] - ends[at] + len(rows[at]))
        raise AlignmentError(
            f"{where}, row {first + at + 1} has {excerpt(chr(letters[wrong[0]]))} at position {position + 1}, which is "
            f"no letter of a {kind.value} alignment."
        )
    return codes


def _chunks(rows: Iterator[Row], max_rows: int | None) -> Iterator[list[Row]]:
    """Runs of rows with a bounded number of letters, at most ``max_rows`` in all."""
    chunk: list[Row] = []
    size = 0
    for count, row in enumerate(rows, start=1):
        if size and size + len(row[1]) > _CHUNK_LETTERS:
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row[1])
        if count == max_rows:
            break
    yield chunk


def _a3m_converter(length: int, kind: ChainKind, where: str) -> Converter:
    def convert(first: int, chunk: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        letters = [row for _, row in chunk]
        codes = _codes(letters, first, kind, where, a3m=True)
        lengths = np.array([len(row) for row in letters])
        starts = np.cumsum(lengths) - lengths
        is_column = codes < _INSERTION
        columns = np.add.reduceat(is_column, starts, dtype=np.int64)
        wrong = np.flatnonzero(columns != length)
        if wrong.size:
            row = int(wrong[0])
            raise AlignmentError(
                f"{where}, row {first + row + 1} ({excerpt(chunk[row][0])}) has {columns[row]} columns: expected "
                f"{length}, one per residue of the query (capitals and dashes count, small letters do not)."
            )
        at = np.flatnonzero(is_column)
        deletions = np.zeros((len(chunk), length), dtype=np.int32)
        if (is_insertion := codes == _INSERTION).any():
            total = np.cumsum(is_insertion, dtype=np.int32)
            before = total[starts] - is_insertion[starts]
            deletions = _steps(total[at].reshape(-1, length), before)
        return codes[at].reshape(-1, length).astype(np.int8), deletions

    return convert


def _columns_converter(query: Row, kind: ChainKind, where: str) -> Converter:
    width = len(query[1])
    is_query = _codes([query[1]], 0, kind, where, a3m=False) != GAP
    query_columns = np.flatnonzero(is_query)

    def convert(first: int, chunk: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        for index, (description, row) in enumerate(chunk, start=first + 1):
            if len(row) != width:
                raise AlignmentError(
                    f"{where}, row {index} ({excerpt(description)}) is {len(row)} columns wide and the first row "
                    f"{width}: all must be equally wide, because the first row has gaps or small letters."
                )
        codes = _codes([row for _, row in chunk], first, kind, where, a3m=False).reshape(-1, width)
        total = np.cumsum((codes != GAP) & ~is_query, axis=1, dtype=np.int32)
        deletions = _steps(total[:, query_columns], np.zeros(len(chunk), dtype=np.int32))
        return codes[:, query_columns].astype(np.int8), deletions

    return convert


def _steps(total: Int32[np.ndarray, "s l"], before: Int[np.ndarray, "s"]) -> Int32[np.ndarray, "s l"]:
    """Insertions just before each column, from running totals at the columns and before the row."""
    return np.diff(total, axis=1, prepend=before[:, None].astype(np.int32))
