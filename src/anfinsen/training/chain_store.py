"""Backbone chains, profiles and alignments as Parquet files hold them, in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int16, Integer, UInt8

from anfinsen.chemistry.tokens import AMINO_ACIDS, GAP, UNKNOWN_PROTEIN
from anfinsen.common.errors import InputError, MissingExtraError

AMINO_ACID_LETTERS = "ARNDCQEGHILKMFPSTWYV"  # in the order of `AMINO_ACIDS`
PROFILE_LETTERS = "ACDEFGHIKLMNPQRSTVWY"  # order of the stored profiles
BACKBONE_ATOMS = 4  # N, CA, C, O
_CHAIN_COLUMNS = ("id", "cluster", "sequence", "x", "y", "z", "profile", "msa_depth")
_RESOLVED = "resolved"  # optional column: one byte per residue, 0 where it must not be learnt
# Letters as `alignments.parse_msa` reads them: B counts as D, Z as E, U as C, others as unknown.
_RESTYPE_OF_BYTE = np.full(256, UNKNOWN_PROTEIN, dtype=np.int8)
_RESTYPE_OF_BYTE[np.frombuffer(AMINO_ACID_LETTERS.encode(), dtype=np.uint8)] = np.arange(len(AMINO_ACIDS))
_RESTYPE_OF_BYTE[np.frombuffer(b"BZU", dtype=np.uint8)] = [AMINO_ACID_LETTERS.index(letter) for letter in "DEC"]
_RESTYPE_OF_BYTE[ord("-")] = GAP
_NEWLINE, _DASH, _LOWER_A, _LOWER_Z = ord("\n"), ord("-"), ord("a"), ord("z")
_PROFILE_ORDER = np.array([PROFILE_LETTERS.index(letter) for letter in AMINO_ACID_LETTERS])


@dataclass(frozen=True)
class ChainRecord:
    """One stored chain of L residues.

    Attributes:
        restype: 0..19, the order of `AMINO_ACIDS`.
        backbone: Å; N, CA, C, O of each residue.
        profile: amino-acid frequencies in the order of `AMINO_ACIDS`, rows sum to 1.
        has_msa: whether `ChainStore.a3m` has an alignment of it.
        resolved: residues that may be learnt; all but for distilled chains, where the others are not confident.
    """

    id: str
    restype: Int[np.ndarray, "L"]
    backbone: Float[np.ndarray, "L 4 3"]
    profile: Float[np.ndarray, "L 20"]
    has_msa: bool
    resolved: Bool[np.ndarray, "L"]

    @property
    def sequence(self) -> str:
        """One letter per residue."""
        return "".join(AMINO_ACID_LETTERS[index] for index in self.restype)


class ChainStore:
    """Reads ``chains/SPLIT.parquet`` and ``msas/SPLIT*.parquet`` below a folder.

    Chains are held as flat arrays (about 0.1 GB for 12,000); alignments are loaded as text on first use.

    Attributes:
        ids, clusters, lengths, has_msa: one per chain.
    """

    def __init__(self, data_dir: Path, split: str) -> None:
        """Raises InputError: the files are missing or lack a column. MissingExtraError: pyarrow is not installed."""
        self.data_dir, self._split = data_dir, split
        table = _read_table(data_dir / "chains" / f"{split}.parquet", _CHAIN_COLUMNS, (_RESOLVED,))
        self.ids: tuple[str, ...] = tuple(table["id"].to_pylist())
        self.clusters: Integer[np.ndarray, "n"] = table["cluster"].to_numpy()
        self.lengths, letters = _flat_text(table["sequence"])
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._restype = _RESTYPE_OF_BYTE[letters]
        self._xyz = np.stack([_flat_list(table[axis]) for axis in "xyz"], axis=-1).astype(np.int16)
        _, self._profile = _flat_text(table["profile"])
        self.has_msa = table["msa_depth"].to_numpy() > 0
        total = int(self._starts[-1])
        self._resolved = (
            _flat_text(table[_RESOLVED])[1] > 0 if _RESOLVED in table.column_names else np.ones(total, dtype=bool)
        )
        sizes = (len(self._xyz), len(self._profile), len(self._resolved))
        if sizes != (BACKBONE_ATOMS * total, 20 * total, total):
            raise InputError(
                f"{data_dir / 'chains'}: coordinates or profiles of split {split!r} do not fit the sequences "
                f"(expected {BACKBONE_ATOMS} atoms and 20 frequencies for each of {total} residues)."
            )
        self._alignments: tuple[dict[str, int], Int[np.ndarray, "m"], UInt8[np.ndarray, "bytes"]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def record(self, index: int) -> ChainRecord:
        """Return chain ``index``."""
        start, stop = int(self._starts[index]), int(self._starts[index + 1])
        xyz: Int16[np.ndarray, "atoms 3"] = self._xyz[BACKBONE_ATOMS * start : BACKBONE_ATOMS * stop]
        counts = self._profile[20 * start : 20 * stop].reshape(-1, 20)[:, _PROFILE_ORDER].astype(np.float32)
        total = counts.sum(axis=1, keepdims=True)
        return ChainRecord(
            id=self.ids[index],
            restype=self._restype[start:stop].astype(np.int64),
            backbone=(xyz.astype(np.float32) * np.float32(0.01)).reshape(-1, BACKBONE_ATOMS, 3),
            # A column without counts says nothing: every amino acid is as likely.
            profile=np.where(total > 0, counts / np.maximum(total, 1.0), np.float32(0.05)),
            has_msa=bool(self.has_msa[index]),
            resolved=self._resolved[start:stop],
        )

    def a3m(self, index: int) -> UInt8[np.ndarray, "bytes"]:
        """Return the alignment of chain ``index`` as the bytes of its a3m text.

        Raises:
            InputError: there is none.
        """
        if self._alignments is None:
            self._alignments = self._load_alignments()
        rows, offsets, text = self._alignments
        row = rows.get(self.ids[index])
        if row is None:
            raise InputError(f"{self.data_dir / 'msas'} holds no alignment of chain {self.ids[index]!r}.")
        return text[offsets[row] : offsets[row + 1]]

    def _load_alignments(self) -> tuple[dict[str, int], Int[np.ndarray, "m"], UInt8[np.ndarray, "bytes"]]:
        files = sorted((self.data_dir / "msas").glob(f"{self._split}*.parquet"))
        rows: dict[str, int] = {}
        lengths, texts = [], []
        for file in files:
            table = _read_table(file, ("id", "a3m"))
            for name in table["id"].to_pylist():
                rows[name] = len(rows)
            length, text = _flat_text(table["a3m"])
            lengths.append(length)
            texts.append(text)
        if not rows:
            return {}, np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
        return rows, np.concatenate([[0], np.cumsum(np.concatenate(lengths))]), np.concatenate(texts)


def a3m_row_starts(text: UInt8[np.ndarray, "bytes"]) -> Int[np.ndarray, "S 2"]:
    """Return where the aligned sequence of each row begins and ends, for an a3m with one line per sequence."""
    ends = np.flatnonzero(text == _NEWLINE)
    if len(text) and text[-1] != _NEWLINE:
        ends = np.append(ends, len(text))
    starts = np.concatenate([[0], ends[:-1] + 1])
    return np.stack([starts, ends], axis=1)[1::2].astype(np.int64)


def a3m_rows(
    text: UInt8[np.ndarray, "bytes"], spans: Int[np.ndarray, "S 2"], length: int
) -> tuple[Integer[np.ndarray, "S L"], Integer[np.ndarray, "S L"]]:
    """Return residue types and deletions of the rows at ``spans``; ``length`` is that of the query.

    Raises:
        InputError: a row does not have ``length`` aligned positions.
    """
    pieces = np.concatenate([text[start:stop] for start, stop in spans])
    lower = (pieces >= _LOWER_A) & (pieces <= _LOWER_Z)
    aligned = np.flatnonzero(~lower)
    if len(aligned) != len(spans) * length:
        raise InputError(f"An alignment of {len(spans)} rows does not have {length} aligned positions in each.")
    # Insertions counted up to each aligned position, then the differences between neighbours within a row.
    before = np.cumsum(lower, dtype=np.int32)
    row_starts = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])[:-1]])
    at_start = np.where(row_starts > 0, before[np.maximum(row_starts - 1, 0)], 0)
    counted = before[aligned].reshape(len(spans), length)
    deletions = np.diff(counted, axis=1, prepend=at_start[:, None])
    return _RESTYPE_OF_BYTE[pieces[aligned]].reshape(len(spans), length), deletions


def _read_table(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {path} needs pyarrow, which is not installed: pip install 'anfinsen[train]'."
        ) from error
    try:
        there = [name for name in optional if name in parquet.read_schema(path).names] if optional else []
        return parquet.read_table(path, columns=[*columns, *there]).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {path}: {str(error).rstrip('.')}. Expected a Parquet file.") from error
    except KeyError as error:
        raise InputError(f"{path} lacks a column: expected {', '.join(columns)}.") from error


def _flat_text(column: Any) -> tuple[Int[np.ndarray, "n"], UInt8[np.ndarray, "bytes"]]:
    """Return the length of each text (or binary) value and all bytes in one array."""
    values = column.to_pylist()
    data = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array([len(value) for value in data], dtype=np.int64), np.frombuffer(b"".join(data), dtype=np.uint8)


def _flat_list(column: Any) -> Int16[np.ndarray, "n"]:
    return np.asarray(column.combine_chunks().flatten().to_numpy(zero_copy_only=False), dtype=np.int16)
