"""Chains of which the experiment sees only a part, to be predicted whole (AlphaFold 3's cross-distillation)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from anfinsen.chemistry import ChainKind, Structure, read_structure
from anfinsen.common.errors import InputError
from anfinsen.common.progress import Progress, Silent

from .distillation_inputs import SHORTEST, STANDARD, KnownPart, Unlabelled, chain_name, single_chain
from .runner import COMPRESSED_SUFFIXES, Outcome, failure

# Unresolved residues in a row that count: shorter gaps are loops that lack density, not disorder.
STRETCH = 5
STRUCTURE_SUFFIXES = (".cif", ".mmcif", ".bcif", ".pdb", ".ent")
MANIFEST, SPLIT = "manifest.csv", "split"
TRAINING_SPLIT = "train"


@dataclass(frozen=True)
class CrossConfig:
    """Which chains are predicted.

    Attributes:
        min_unresolved: residues in unresolved stretches of at least `STRETCH`; AlphaFold 3's set has chains with 40 and
            more.
        longest: residues; longer chains are left out (None: all are taken).
        split: which rows of a manifest with splits are read.
    """

    min_unresolved: int = 40
    longest: int | None = None
    split: str = TRAINING_SPLIT

    def __post_init__(self) -> None:
        if self.min_unresolved < STRETCH:
            raise InputError(
                f"At least {self.min_unresolved} unresolved residues are asked for: expected {STRETCH} or more, "
                "because shorter gaps are not disorder."
            )


def partly_unresolved(
    folder: Path,
    alignments: Mapping[str, str],
    config: CrossConfig | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[Unlabelled, ...], tuple[Outcome, ...]]:
    """Return the protein chains of the structures in ``folder`` that have disordered stretches, each sequence once.

    Where ``manifest.csv`` has a column ``split``, only files of one split are read: those for training, unless the
    configuration says otherwise. Of copies of a chain, the one of which most is resolved is compared with.

    Args:
        folder: structure files. alignments: alignment texts by sequence. config: which chains. progress: is told.

    Returns:
        The chains, and the files that cannot be read.

    Raises:
        InputError: the folder or its manifest cannot be read.
    """
    config, progress = config or CrossConfig(), progress or Silent()
    files = structure_files(folder, config.split)
    progress.stage("Looking for unresolved stretches", len(files))
    found: dict[str, Unlabelled] = {}
    failed: list[Outcome] = []
    taken: set[str] = set()
    for file in files:
        try:
            structure = read_structure(folder / file)
            for chain, known in _disordered(structure, config):
                sequence = structure.chains[chain].sequence
                if sequence in found:
                    continue
                label = f"{Path(file).name.split('.')[0]}_{structure.chains[chain].chain_id}"
                name = chain_name(label, taken)
                job = single_chain(name, sequence, alignments.get(sequence))
                taken.add(name.lower())
                found[sequence] = Unlabelled(name, job, folder / file, known)
        except Exception as error:
            failed.append(failure(file, error))
        progress.advance()
    return tuple(found.values()), tuple(failed)


def structure_files(folder: Path, split: str) -> tuple[str, ...]:
    """Return the structure files below ``folder``, relative to it; of one split, if its manifest knows of splits.

    Raises:
        InputError: the folder or its manifest cannot be read, or there is no such file.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected a folder of structure files.")
    manifest = folder / MANIFEST
    names: Sequence[str] = ()
    rows: list[dict[str, str]] = []
    if manifest.is_file():
        try:
            with manifest.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{manifest} cannot be read as a table: {error}.") from error
        if rows and "file" not in rows[0]:
            raise InputError(f"{manifest} has no column 'file': expected one row per structure file.")
    if any(SPLIT in row for row in rows):
        names = [row["file"] for row in rows if row[SPLIT] == split]
    else:
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if _is_structure(path)]
    if not names:
        raise InputError(f"{folder} has no structure file of the split {split!r}: expected at least one.")
    return tuple(sorted(names))


def stretches(flags: Bool[np.ndarray, "L"]) -> Int[np.ndarray, "n 2"]:
    """Return beginning and end (exclusive) of every run of true ``flags``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return edges.reshape(-1, 2).astype(np.int64)


def disordered(resolved: Bool[np.ndarray, "L"]) -> Bool[np.ndarray, "L"]:
    """Return which residues lie in unresolved stretches of at least `STRETCH`."""
    result = np.zeros(len(resolved), dtype=bool)
    for start, end in stretches(~resolved):
        result[start:end] = end - start >= STRETCH
    return result


def _disordered(structure: Structure, config: CrossConfig) -> list[tuple[int, KnownPart]]:
    """Chains worth predicting: the best resolved copy of each protein, and what is known of it."""
    best: dict[str, tuple[int, KnownPart]] = {}
    for index, chain in enumerate(structure.chains):
        if chain.kind is not ChainKind.PROTEIN or not set(chain.sequence) <= STANDARD:
            continue
        known = _known(structure, index)
        other = best.get(chain.sequence)
        if other is None or known.resolved.sum() > other[1].resolved.sum():
            best[chain.sequence] = (index, known)
    return [
        (index, known)
        for index, known in best.values()
        if known.resolved.sum() >= SHORTEST
        and disordered(known.resolved).sum() >= config.min_unresolved
        and (config.longest is None or len(known.resolved) <= config.longest)
    ]


def _known(structure: Structure, chain: int) -> KnownPart:
    residues = np.flatnonzero(structure.residues.chain == chain)
    atoms = structure.atoms
    mine = np.flatnonzero((atoms.name == "CA") & atoms.resolved & (structure.atom_chain == chain))
    place = atoms.residue[mine] - residues[0]
    ca, resolved = np.zeros((len(residues), 3)), np.zeros(len(residues), dtype=bool)
    ca[place], resolved[place] = atoms.coordinates[mine], True
    return KnownPart(ca, resolved)


def _is_structure(path: Path) -> bool:
    name = path.name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return path.is_file() and name.endswith(STRUCTURE_SUFFIXES)
