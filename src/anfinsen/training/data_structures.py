"""Training on a folder of structure files (mmCIF, BinaryCIF, PDB; gzipped or not)."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from anfinsen.alignments import Msa
from anfinsen.chemistry import ComponentLibrary
from anfinsen.chemistry.read_structure import read_structure_and_library
from anfinsen.chemistry.structure import Structure
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.files import write_text
from anfinsen.common.progress import Progress, Silent
from anfinsen.features import Complex, FeatureConfig, complex_from_structure
from anfinsen.nn.batch import Batch, Labels

from .crops import CropConfig, choose_crop, crop_batch
from .examples import load_example, load_metadata, save_example, structure_example
from .sampling import EntryWeights
from .structure_index import StructureSummary, build_entries, summarise

SUFFIXES = (".cif", ".mmcif", ".bcif", ".pdb", ".ent")
MANIFEST = "manifest.csv"
# Raised whenever stored examples change their meaning, so that old ones are not used.
_FORMAT = 1
_SUMMARY = "summary"

AlignmentsOf = Callable[[Structure], Mapping[str, Msa]]


@dataclass(frozen=True)
class StructureDataConfig:
    """What an example from a structure folder shows.

    Attributes:
        crop: size and kinds of crops (0.2, 0.4, 0.4 as for the PDB; supplement section 2.7).
        weights: factors of the sampling weights.
        max_msa_rows: rows shown, the query included; drawn at random where there are more.
        hidden_polymer_bonds: probability that bonds between standard residues (disulfides) are not shown as token
            bonds; a user seldom knows them.
        max_tokens: larger structures are refused (they are never shown whole, but featurised whole).
        features: settings shared with inference. conformer_seed: decides the reference conformers.
        assembly: biological assembly to build ("1"), None for the chains as they stand in each file.
    """

    crop: CropConfig = field(default_factory=CropConfig)
    weights: EntryWeights = field(default_factory=EntryWeights)
    max_msa_rows: int = 128
    hidden_polymer_bonds: float = 0.5
    max_tokens: int = 4096
    features: FeatureConfig = field(default_factory=FeatureConfig)
    conformer_seed: int = 0
    assembly: str | None = None

    def __post_init__(self) -> None:
        if self.max_msa_rows < 1 or self.max_tokens < 4 or not 0 <= self.hidden_polymer_bonds <= 1:
            raise ConfigError(
                "Structure data need max_msa_rows >= 1, max_tokens >= 4 and hidden_polymer_bonds between 0 and 1."
            )


class StructureDataset:
    """All readable structures of a folder, parsed and featurised once, kept in ``cache``.

    Attributes:
        files: the files used, relative to the folder. refused: reason for each file that cannot be used.
        entries: chains and interfaces to train on.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        config: StructureDataConfig | None = None,
        *,
        files: Iterable[str] | None = None,
        alignments: AlignmentsOf | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Read, featurise and store what is not in ``cache`` yet (about a second per file).

        ``files`` restricts the set to these names (relative to the folder); else a ``manifest.csv`` with a ``split``
        column restricts it to the split ``train``; else every structure file below the folder is used.

        Raises:
            InputError: the folder or a file named does not exist, or no file can be used.
        """
        self.config = config or StructureDataConfig()
        self._folder, self._cache, self._alignments = Path(folder), Path(cache), alignments
        self._library = ComponentLibrary()
        manifest = _read_manifest(self._folder / MANIFEST)
        names = list(files) if files is not None else _training_files(self._folder, manifest)
        self.refused: dict[str, str] = {}
        summaries: dict[str, StructureSummary] = {}
        progress = progress or Silent()
        progress.stage("reading structures", len(names))
        for name in names:
            summary = self._prepare(name)
            if isinstance(summary, StructureSummary):
                summaries[name] = summary
            else:
                self.refused[name] = summary
            progress.advance()
        self.files = tuple(summaries)
        given = [manifest.get(name, {}).get("cluster") or None for name in self.files]
        self.entries, self.weights = build_entries(
            list(summaries.values()), given, self.config.weights, stored=self._cache
        )
        if not self.entries:
            reasons = "; ".join(list(self.refused.values())[:3]) or "there is none"
            raise InputError(f"No structure in {folder} can be used for training: {reasons}.")
        self._cumulative = np.cumsum(self.weights)

    def __len__(self) -> int:
        return len(self.entries)

    def draw(self, rng: np.random.Generator) -> int:
        """Return the index of an entry, drawn by its weight."""
        return min(int(np.searchsorted(self._cumulative, rng.random(), side="right")), len(self.entries) - 1)

    def example(self, index: int, rng: np.random.Generator) -> tuple[Batch, Labels]:
        """Return a random crop around entry ``index``."""
        entry = self.entries[index]
        batch, labels = self.whole(entry.file)
        centers = labels.coordinates[batch.center_atom].numpy().astype(np.float64)
        resolved = labels.resolved[batch.center_atom].numpy()
        crop = choose_crop(batch.asym_id.numpy(), centers, resolved, self.config.crop, rng, chains=entry.chains)
        batch, labels = crop_batch(batch, labels, crop)
        batch = sample_rows(batch, self.config.max_msa_rows, rng)
        if rng.random() < self.config.hidden_polymer_bonds:
            batch = hide_polymer_bonds(batch)
        return batch, labels

    def whole(self, file: int) -> tuple[Batch, Labels]:
        """Return file number ``file`` of `files`, uncropped."""
        return load_example(self._stored(self.files[file]))

    def complex(self, file: int) -> Complex:
        """Read file number ``file`` again, with its names."""
        return self._read(self.files[file])

    def _read(self, name: str) -> Complex:
        structure, library = read_structure_and_library(
            self._folder / name, library=self._library, assembly=self.config.assembly
        )
        given = self._alignments(structure) if self._alignments is not None else {}
        return complex_from_structure(structure, library, given, self.config.conformer_seed)

    def _prepare(self, name: str) -> StructureSummary | str:
        """Return the summary of a file, or why it cannot be used."""
        stored = self._stored(name)
        note = stored.with_suffix(".refused.txt")
        if stored.exists():
            return StructureSummary.from_json(load_metadata(stored)[_SUMMARY])
        if note.exists():
            return note.read_text(encoding="utf-8")
        try:
            complex_ = self._read(name)
            if len(complex_.tokens) > self.config.max_tokens:
                raise InputError(
                    f"{name} has {len(complex_.tokens)} tokens: expected {self.config.max_tokens} at most."
                )
            batch, labels = structure_example(complex_, self.config.features, self.config.conformer_seed)
        except InputError as error:
            write_text(note, str(error))
            return str(error)
        summary = summarise(complex_.structure, len(complex_.tokens))
        save_example(stored, batch, labels, {_SUMMARY: summary.to_json()})
        return summary

    def _stored(self, name: str) -> Path:
        path = self._folder / name
        if not path.is_file():
            raise InputError(f"{path} does not exist: expected a structure file.")
        config = self.config
        settings = (_FORMAT, config.features, config.conformer_seed, config.assembly)
        identity = (name, *self._state(path), *settings)
        key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        return self._cache / f"{path.name.split('.')[0]}-{key}.safetensors"

    def _state(self, path: Path) -> tuple[object, ...]:
        """What changes when the files that an example is made from do."""
        state = path.stat()
        return state.st_size, state.st_mtime_ns


def sample_rows(batch: Batch, max_rows: int, rng: np.random.Generator) -> Batch:
    """Return ``batch`` with the query and at most ``max_rows - 1`` other MSA rows, drawn at random, in order."""
    depth = len(batch.msa)
    if depth <= max_rows:
        return batch
    rows = torch.from_numpy(np.concatenate([[0], 1 + np.sort(rng.permutation(depth - 1)[: max_rows - 1])]))
    names = ("msa", "has_deletion", "deletion_value", "msa_mask")
    return dataclasses.replace(batch, **{name: getattr(batch, name)[rows] for name in names})


def hide_polymer_bonds(batch: Batch) -> Batch:
    """Return ``batch`` without token bonds between standard residues."""
    standard = batch.is_standard[:, None] & batch.is_standard[None, :]
    return dataclasses.replace(batch, token_bonds=batch.token_bonds & ~standard)


def _read_manifest(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "file" not in (rows.fieldnames or ()):
            raise InputError(f"{path} has no column 'file': expected one row per structure file.")
        return {row["file"]: row for row in rows}


def list_training_files(folder: Path) -> list[str]:
    """Return the files of ``folder`` that may be trained on: those that its manifest, if it has one, gives to "train".

    Raises:
        InputError: it is no folder, or its manifest is broken.
    """
    return _training_files(folder, _read_manifest(folder / MANIFEST))


def _training_files(folder: Path, manifest: dict[str, dict[str, str]]) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected a folder of structure files.")
    if any("split" in row for row in manifest.values()):
        return sorted(name for name, row in manifest.items() if row["split"] == "train")
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found if _is_structure(path))


def _is_structure(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES)
