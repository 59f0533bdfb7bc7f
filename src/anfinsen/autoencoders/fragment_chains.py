"""Backbones from a Parquet file of chains, and fragments drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from anfinsen.common.errors import InputError, MissingExtraError

from .fragments import FragmentConfig, Fragments, backbone_fragments

ATOMS = 4  # N, CA, C, O
HUNDREDTHS = 0.01  # Å: the unit of the file's coordinates
_COLUMNS = ("id", "sequence", "x", "y", "z")
_CLUSTER, _RESOLVED = "cluster", "resolved"


@dataclass(frozen=True)
class BackboneChain:
    """One stored chain of L residues.

    Attributes:
        sequence: one letter per residue.
        backbone: Å; N, CA, C, O of each residue; float32.
        resolved: residues whose atoms may be used.
    """

    id: str
    sequence: str
    backbone: Float[np.ndarray, "L 4 3"]
    resolved: Bool[np.ndarray, "L"]


def read_backbones(path: Path, generator: np.random.Generator | None = None) -> Iterator[BackboneChain]:
    """Yield the chains of a Parquet file.

    Columns: ``id``, ``sequence``, ``x``, ``y`` and ``z`` (lists of whole hundredths of Å, N, CA, C, O of residue 1,
    then 2, …); optional ``resolved`` (bytes, 0 where a residue must not be used) and ``cluster``.

    Args:
        generator: with one, one chain of each cluster is drawn, and they come in random order; else all, as stored.

    Raises:
        InputError: the file cannot be read, lacks a column, or its coordinates do not fit the sequences.
        MissingExtraError: pyarrow is not installed.
    """
    table = _read(path)
    order = np.arange(table.num_rows)
    if generator is not None:
        order = generator.permutation(order)
        if _CLUSTER in table.column_names:
            _, first = np.unique(table[_CLUSTER].to_numpy()[order], return_index=True)
            order = order[np.sort(first)]
    for row in order.tolist():
        yield _chain({name: table[name][row] for name in table.column_names}, path)


def sample_fragments(path: Path, config: FragmentConfig, n_windows: int, generator: np.random.Generator) -> Fragments:
    """Return up to ``n_windows`` windows of chains in random order, one chain of each cluster.

    Args:
        path: Parquet file of chains (see :func:`read_backbones`).
        n_windows: fewer are returned if the file has no more.

    Raises:
        InputError: the file cannot be read, or has no chain as long as a window.
    """
    parts: list[Fragments] = []
    found = 0
    for chain in read_backbones(path, generator):
        part = backbone_fragments(chain.backbone, config, resolved=chain.resolved, source=chain.id)
        found += len(part)
        if len(part):
            parts.append(part)
        if found >= n_windows:
            break
    if not parts:
        raise InputError(f"{path} has no chain with {config.length} successive residues: expected one at least.")
    return Fragments.join(parts).take(np.arange(min(found, n_windows)))


def _chain(row: dict[str, Any], path: Path) -> BackboneChain:
    name, sequence = row["id"].as_py(), row["sequence"].as_py()
    axes = [np.asarray(row[axis].values.to_numpy(zero_copy_only=False)) for axis in "xyz"]
    resolved = np.ones(len(sequence), dtype=bool)
    if _RESOLVED in row:
        resolved = np.frombuffer(row[_RESOLVED].as_py(), dtype=np.uint8) > 0
    if {len(axis) for axis in axes} != {ATOMS * len(sequence)} or len(resolved) != len(sequence):
        raise InputError(
            f"{path}: coordinates of chain {name!r} do not fit its sequence (expected {ATOMS} atoms for each of "
            f"{len(sequence)} residues)."
        )
    xyz = np.stack(axes, axis=-1).astype(np.float32) * np.float32(HUNDREDTHS)
    return BackboneChain(name, sequence, xyz.reshape(-1, ATOMS, 3), resolved)


def _read(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {path} needs pyarrow, which is not installed: pip install 'anfinsen[autoencoders]'."
        ) from error
    try:
        there = parquet.read_schema(path).names
        missing = [name for name in _COLUMNS if name not in there]
        if missing:
            raise InputError(f"{path} lacks the column {missing[0]!r}: expected {', '.join(_COLUMNS)}.")
        optional = [name for name in (_CLUSTER, _RESOLVED) if name in there]
        return parquet.read_table(path, columns=[*_COLUMNS, *optional])
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {path}: {str(error).rstrip('.')}. Expected a Parquet file.") from error
