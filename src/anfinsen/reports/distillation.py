"""Predicted chains as data that training reads: structures, a manifest, and the same chains as Parquet files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from jaxtyping import Float, Int, UInt8

from anfinsen.alignments import Msa, query_msa, read_msa
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import AMINO_ACIDS, GAP
from anfinsen.common.distilled import STRUCTURE_SUFFIX, DistilledFolder, DistilledRecord
from anfinsen.common.errors import InputError, MissingExtraError
from anfinsen.common.files import atomic_path, write_text
from anfinsen.inference.distillation import DistilledChain
from anfinsen.training.chain_store import AMINO_ACID_LETTERS, PROFILE_LETTERS
from anfinsen.training.data_structures import MANIFEST
from anfinsen.training.structure_index import PROTEIN_IDENTITY, cluster_sequences

from .folder import model_cif

TRAINING_SPLIT = "train"
_COLUMNS = (
    "file", "split", "kind", "cluster", "residues", "confident", "mean_plddt", "gdt", "model", "weights_sha256",
    "source",
)  # fmt: skip
_ATOMS, _POSITION = "_atom_site.", "label_seq_id"
# Coordinates are stored as 16-bit numbers of 0.01 Å around the chain's centre.
_LARGEST = np.iinfo(np.int16).max
_PROFILE_ORDER = [AMINO_ACID_LETTERS.index(letter) for letter in PROFILE_LETTERS]
_LETTERS = np.array([*AMINO_ACID_LETTERS, "X"])


@dataclass(frozen=True)
class DistilledSummary:
    """What a folder holds.

    Attributes:
        kept, left_out: chains. too_large: kept ones that the Parquet files cannot hold.
        broken: what is wrong with chains whose record or alignment cannot be read, by name; they are in no list.
    """

    kept: int
    left_out: int
    too_large: int
    broken: Mapping[str, InputError]


def require_parquet() -> None:
    """Check that Parquet files can be written, before time is spent on what goes into them.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401 - whether it is there is the question
    except ImportError as error:
        raise MissingExtraError(
            "Distilled chains are written as Parquet files, which needs pyarrow: pip install 'anfinsen[train]'."
        ) from error


def write_chain(chain: DistilledChain, folder: DistilledFolder) -> None:
    """Write structure and alignment of one kept chain, each whole or not at all.

    Atoms of residues that are not confident are left out, so that no reader can learn from them.

    Raises:
        OutputError: a file cannot be written. NonFiniteError: a number is not finite.
    """
    record = chain.record
    text = _confident_part(model_cif(chain.prediction, chain.ranked), record)
    if chain.alignment:
        write_text(folder.alignment(record.name), chain.alignment)
    write_text(folder.structure(record.name), text)


def finish(folder: DistilledFolder) -> DistilledSummary:
    """Write what lists all chains of ``folder``: the manifest and the Parquet files; to be called when a run ends.

    Raises:
        OutputError: a file cannot be written.
    """
    chains: list[tuple[DistilledRecord, _Rows]] = []
    broken: dict[str, InputError] = {}
    names = folder.names()
    for name in names:
        try:
            record = folder.read(name)
            if record.kept:
                chains.append((record, _rows(folder, record)))
        except InputError as error:
            broken[name] = error
    kept = [record for record, _ in chains]
    clusters = cluster_sequences([record.sequence for record in kept], PROTEIN_IDENTITY)
    write_text(folder.structures / MANIFEST, _manifest(kept, clusters, folder.kind()))
    small = [(rows, cluster) for (record, rows), cluster in zip(chains, clusters, strict=True) if _fits(record)]
    _write_parquet(folder, small)
    return DistilledSummary(len(kept), len(names) - len(kept) - len(broken), len(kept) - len(small), broken)


def a3m_of(msa: Msa) -> str:
    """Return ``msa`` as a3m with one line per row; only how many residues were inserted is known, not which."""
    return "".join(_a3m_rows(msa))


def _a3m_rows(msa: Msa) -> Iterator[str]:
    letters = np.full(GAP + 1, "X")
    letters[: len(_LETTERS)] = _LETTERS
    letters[GAP] = "-"
    for number, (types, inserted) in enumerate(zip(msa.restypes, msa.deletions, strict=True)):
        row = letters[types]
        for place in np.flatnonzero(inserted):
            row = row if row.dtype == object else row.astype(object)
            row[place] = "x" * int(inserted[place]) + row[place]
        yield f">{number}\n{''.join(row)}\n"


def _confident_part(text: str, record: DistilledRecord) -> str:
    """Return the ModelCIF ``text`` without the atoms of residues that are not confident."""
    if all(record.confident):
        return text
    document = gemmi.cif.read_string(text)
    block = document.sole_block()
    columns: dict[str, list[Any]] = block.get_mmcif_category(_ATOMS)
    keep = [record.confident[int(number) - 1] for number in columns[_POSITION]]
    block.set_mmcif_category(
        _ATOMS,
        {name: [v for v, kept in zip(values, keep, strict=True) if kept] for name, values in columns.items()},
    )
    return str(document.as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.Pdbx)))


def _manifest(records: Sequence[DistilledRecord], clusters: Sequence[int], kind: str) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for record, cluster in zip(records, clusters, strict=True):
        gdt = "" if record.gdt is None else f"{record.gdt:.4f}"
        writer.writerow(
            (
                f"{record.name}{STRUCTURE_SUFFIX}", TRAINING_SPLIT, f"{kind}-distilled", cluster, len(record.sequence),
                sum(record.confident), f"{record.mean_plddt:.2f}", gdt, record.model, record.weights_sha256,
                record.source,
            )
        )  # fmt: skip
    return table.getvalue()


_Rows = tuple[dict[str, Any], dict[str, Any] | None]  # of a chain, but for its cluster, and of its alignment


def _rows(folder: DistilledFolder, record: DistilledRecord) -> _Rows:
    path = folder.alignment(record.name)
    given = path.is_file()
    msa = read_msa(path, record.sequence, ChainKind.PROTEIN) if given else query_msa(record.sequence, ChainKind.PROTEIN)
    centred = _centred(record)
    chain = {
        "id": record.name,
        "sequence": record.sequence,
        **{axis: centred[:, number].tolist() for number, axis in enumerate("xyz")},
        "profile": _profile(msa).tobytes(),
        "msa_depth": msa.depth if given else 0,
        "resolved": bytes(record.confident),
    }
    return chain, {"id": record.name, "depth": msa.depth, "a3m": a3m_of(msa)} if given else None


def _write_parquet(folder: DistilledFolder, chains: Sequence[tuple[_Rows, int]]) -> None:
    require_parquet()
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{**chain, "cluster": cluster} for (chain, _), cluster in chains]
    alignments = [alignment for (_, alignment), _ in chains if alignment is not None]
    coordinates = pa.list_(pa.int16())
    chain_schema = pa.schema(
        [
            ("id", pa.string()), ("cluster", pa.int64()), ("sequence", pa.string()), ("x", coordinates),
            ("y", coordinates), ("z", coordinates), ("profile", pa.binary()), ("msa_depth", pa.int64()),
            ("resolved", pa.binary()),
        ]
    )  # fmt: skip
    alignment_schema = pa.schema([("id", pa.string()), ("depth", pa.int64()), ("a3m", pa.string())])
    # Alignments first: chains that say they have one must find it.
    for part, content, schema in (("msas", alignments, alignment_schema), ("chains", rows, chain_schema)):
        with atomic_path(folder.path / part / f"{TRAINING_SPLIT}.parquet") as temporary:
            parquet.write_table(pa.Table.from_pylist(content, schema=schema), temporary, compression="zstd")


def _centred(record: DistilledRecord) -> Int[np.ndarray, "atoms 3"]:
    backbone = np.array(record.backbone, dtype=np.int64).reshape(-1, 3)
    middle = (backbone.min(axis=0) + backbone.max(axis=0)) // 2
    return np.asarray(backbone - middle)


def _fits(record: DistilledRecord) -> bool:
    return bool(np.abs(_centred(record)).max() <= _LARGEST)


def _profile(msa: Msa) -> UInt8[np.ndarray, "L 20"]:
    """Amino-acid frequencies of each column x 255, gaps left out, in the order of the stored profiles."""
    counts: Float[np.ndarray, "L 20"] = np.stack(
        [(msa.restypes == kind).sum(axis=0) for kind in range(len(AMINO_ACIDS))], axis=1
    ).astype(np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(np.rint(255 * share[:, _PROFILE_ORDER]), dtype=np.uint8)


def summary_sentence(summary: DistilledSummary, path: Path) -> str:
    """Return what ``path`` holds, for the screen."""
    text = f"{path}: {summary.kept} chains to train on, {summary.left_out} predicted and left out."
    if summary.too_large:
        text += f" {summary.too_large} of them are too large for chains/{TRAINING_SPLIT}.parquet."
    return text
