"""`parse_msa` and `read_msa`: alignment text laid over its query, as residue types and deletion counts."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from ..chemistry.structure import ChainKind
from ..chemistry.tokens import AMINO_ACIDS, GAP, RESTYPE_INDEX, UNKNOWN_DNA, UNKNOWN_PROTEIN, UNKNOWN_RNA
from ..common.errors import AlignmentError
from .msa import Msa
from .records import Rows, excerpt, split_rows

MAX_BYTES = 1024 * 2**20
"""Largest alignment file, after decompression."""

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


def read_msa(path: Path | str, query: str, kind: ChainKind, where: str = "", max_rows: int | None = None) -> Msa:
    """Return the alignment in the file at ``path``, plain or compressed with gzip or xz (see :func:`parse_msa`).

    Raises:
        AlignmentError: also when the file cannot be read.
    """
    path = Path(path)
    return parse_msa(_file_text(path), query, kind, where or f"MSA file {excerpt(str(path), 200)}", max_rows)


def parse_msa(text: str, query: str, kind: ChainKind, where: str, max_rows: int | None = None) -> Msa:
    """Return the alignment in ``text``: a3m, aligned FASTA or Stockholm, told apart by content.

    In a3m, small letters are insertions. Where the first row has gaps or small letters, all rows are equally long,
    and columns in which the first row has a gap are insertions.

    Args:
        text: the alignment; its first row is the query.
        query: the chain's sequence, one letter per residue.
        kind: protein, RNA or DNA.
        where: what the alignment is called in messages, such as "MSA of chain A".
        max_rows: rows to read at most, the query included; all where None.

    Raises:
        AlignmentError: the text is empty or of no known format, the first row is not the query, rows do not fit it, or
            a letter is not one.
    """
    if kind not in _TYPES:
        raise AlignmentError(f"{where} belongs to a ligand, which has no alignment: remove it.")
    if max_rows is not None and max_rows < 1:
        raise AlignmentError(f"{where} is to be read with at most {max_rows} rows: the query alone needs 1.")
    rows = split_rows(text, where, max_rows)
    _check_query(rows, query, kind, where)
    if rows.aligned:
        restypes, deletions = _from_columns(rows, kind, where)
    else:
        restypes, deletions = _from_a3m(rows, len(query), kind, where)
    return Msa(restypes, deletions, rows.descriptions)


def query_msa(query: str, kind: ChainKind, description: str = "query") -> Msa:
    """Return the alignment that holds the query alone.

    Raises:
        AlignmentError: the query holds a letter that is not one.
    """
    return parse_msa(f">{description}\n{query}\n", query, kind, "The sequence")


def _check_query(rows: Rows, query: str, kind: ChainKind, where: str) -> None:
    first = rows.rows[0]
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
        f"{where} is an MSA of another sequence: its first row ({excerpt(rows.descriptions[0])}) must be the chain's "
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


def _chunks(rows: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Runs of rows with a bounded number of letters, each with the number of its first row."""
    start, size = 0, 0
    for index, row in enumerate(rows):
        if size and size + len(row) > _CHUNK_LETTERS:
            yield start, rows[start:index]
            start, size = index, 0
        size += len(row)
    yield start, rows[start:]


def _from_a3m(rows: Rows, length: int, kind: ChainKind, where: str) -> tuple[np.ndarray, np.ndarray]:
    restypes = np.empty((len(rows.rows), length), dtype=np.int8)
    deletions = np.zeros((len(rows.rows), length), dtype=np.int32)
    for first, chunk in _chunks(rows.rows):
        codes = _codes(chunk, first, kind, where, a3m=True)
        lengths = np.array([len(row) for row in chunk])
        starts = np.cumsum(lengths) - lengths
        is_column = codes < _INSERTION
        columns = np.add.reduceat(is_column, starts, dtype=np.int64)
        wrong = np.flatnonzero(columns != length)
        if wrong.size:
            row = first + int(wrong[0])
            raise AlignmentError(
                f"{where}, row {row + 1} ({excerpt(rows.descriptions[row])}) has {columns[wrong[0]]} columns: expected "
                f"{length}, one per residue of the query (capitals and dashes count, small letters do not)."
            )
        at = np.flatnonzero(is_column)
        block = slice(first, first + len(chunk))
        restypes[block] = codes[at].reshape(-1, length)
        if (is_insertion := codes == _INSERTION).any():
            total = np.cumsum(is_insertion, dtype=np.int32)
            before = total[starts] - is_insertion[starts]
            deletions[block] = _steps(total[at].reshape(-1, length), before)
    return restypes, deletions


def _from_columns(rows: Rows, kind: ChainKind, where: str) -> tuple[np.ndarray, np.ndarray]:
    width = len(rows.rows[0])
    for index, row in enumerate(rows.rows):
        if len(row) != width:
            raise AlignmentError(
                f"{where}, row {index + 1} ({excerpt(rows.descriptions[index])}) is {len(row)} columns wide and "
                f"the first row {width}: all must be equally wide, because the first row has gaps or small letters."
            )
    is_query = _codes(rows.rows[:1], 0, kind, where, a3m=False) != GAP
    query_columns = np.flatnonzero(is_query)
    restypes = np.empty((len(rows.rows), len(query_columns)), dtype=np.int8)
    deletions = np.zeros((len(rows.rows), len(query_columns)), dtype=np.int32)
    for first, chunk in _chunks(rows.rows):
        codes = _codes(chunk, first, kind, where, a3m=False).reshape(-1, width)
        block = slice(first, first + len(chunk))
        restypes[block] = codes[:, query_columns]
        total = np.cumsum((codes != GAP) & ~is_query, axis=1, dtype=np.int32)
        deletions[block] = _steps(total[:, query_columns], np.zeros(len(chunk), dtype=np.int32))
    return restypes, deletions


def _steps(total: Int32[np.ndarray, "s l"], before: Int32[np.ndarray, "s"]) -> Int32[np.ndarray, "s l"]:
    """Insertions just before each column, from running totals at the columns and before the row."""
    return np.diff(total, axis=1, prepend=before[:, None])


def _file_text(path: Path) -> str:
    where = f"MSA file {excerpt(str(path), 200)}"
    try:
        if not path.is_file():
            raise AlignmentError(f"{where} does not exist, or is not a file: check the path.")
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    data = unpacked.read(MAX_BYTES + 1)
            elif magic == b"\xfd7zXZ\x00":
                with lzma.open(file) as unpacked_xz:
                    data = unpacked_xz.read(MAX_BYTES + 1)
            else:
                data = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise AlignmentError(f"{where} is damaged: it cannot be decompressed.") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise AlignmentError(f"{where} cannot be read: {reason}.") from error
    if len(data) > MAX_BYTES:
        raise AlignmentError(f"{where} holds more than {MAX_BYTES // 2**20} MiB, the most that is read.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AlignmentError(f"{where} is not text: byte {error.start} is not valid UTF-8 (a binary file?).") from error
