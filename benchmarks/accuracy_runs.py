"""Running the models over a split, entry by entry, and keeping what is done so that an interrupted run goes on."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import accuracy_scores as scores
import numpy as np
import pyarrow.parquet as pq
from accuracy_models import ALIGNMENT_CLASSES, CONFORMER_SEED, HELIX, NO_ALIGNMENT, Entry, Model, Settings

from anfinsen.chemistry import ComponentLibrary, Structure, read_structure_and_library
from anfinsen.common.errors import AnfinsenError, ConfigError
from anfinsen.common.files import write_text
from anfinsen.features import complex_from_structure, prepare_job
from anfinsen.jobs import Job, Polymer
from anfinsen.training.structure_index import summarise

BACKBONE = ("N", "CA", "C", "O")  # what the chains' files hold of each residue, in this order
LEFT = ""  # stands for a model in the rows of entries that are left out
Row = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """Which entries are run: at most ``limit`` of each class, of at most ``longest`` tokens."""

    limit: int
    longest: int


@dataclass(frozen=True)
class Source:
    """One entry before it is read: ``load`` gives it, or its number of tokens where these are too many.

    ``load`` raises `AnfinsenError` for what cannot be read.
    """

    kind: str
    key: str
    load: Callable[[], Entry | int]


class Results:
    """Rows by set, entry and model; with a path also the lines of a file, the first of which tells the settings."""

    def __init__(self, path: Path | None, settings: Settings) -> None:
        """Read what an earlier run left; a last line that was cut off is dropped.

        Raises:
            ConfigError: the file holds figures of other settings, or something else.
        """
        self._path, self.rows = path, {}
        header = {"settings": json.loads(json.dumps(asdict(settings)))}
        self._first = json.dumps(header) + "\n"
        text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        self._is_new = not whole
        if self._first.startswith(text):
            return
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path} is not a file of results ({error}): name another file.") from error
        if lines[:1] != [header]:
            raise ConfigError(f"{path} holds the results of other settings: name another file.")
        # Of two rows the later counts: a model's weights may have changed.
        self.rows = {(row["set"], row["id"], row["model"]): row for row in lines[1:]}
        if whole != text:
            write_text(path, whole)

    def find(self, name: str, key: str, model: str, weights: str = "") -> Row | None:
        """Return a row that these weights gave."""
        row = self.rows.get((name, key, model))
        return row if row is not None and row["weights"] == weights else None

    def add(self, row: Row) -> None:
        """Keep a row, and write it at once."""
        self.rows[row["set"], row["id"], row["model"]] = row
        if self._path is None:
            return
        line = json.dumps(row, allow_nan=False) + "\n"
        if self._is_new:
            write_text(self._path, self._first + line)
            self._is_new = False
        else:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)


def chain_sources(folder: Path, split: str, longest: int) -> Iterator[Source]:
    """Return the protein chains of a split, each with its alignment where it has one."""
    msas = {}
    for path in sorted((folder / "msas").glob(f"{split}*.parquet")):
        table = pq.read_table(path, columns=["id", "a3m"])
        msas.update(zip(table["id"].to_pylist(), table["a3m"].to_pylist(), strict=True))
    columns = ["id", "sequence", "x", "y", "z", "msa_neff"]
    for row in pq.read_table(folder / "chains" / f"{split}.parquet", columns=columns).to_pylist():
        msa = msas.get(row["id"])
        kind = (
            NO_ALIGNMENT if msa is None else next(name for least, name in ALIGNMENT_CLASSES if row["msa_neff"] >= least)
        )

        def load(row: Row = row, msa: str | None = msa) -> Entry | int:
            length = len(row["sequence"])
            return length if length > longest else _chain_entry(row, msa)

        yield Source(kind, row["id"], load)


def _chain_entry(row: Row, msa: str | None) -> Entry:
    polymer = Polymer(kind="protein", ids=("A",), sequence=row["sequence"], unpaired_msa=msa)
    prepared = prepare_job(Job(name=row["id"], seeds=(CONFORMER_SEED,), entities=(polymer,)), CONFORMER_SEED)
    return Entry(prepared, with_backbone(prepared.structure, np.stack([row[axis] for axis in "xyz"], axis=-1) / 100))


def with_backbone(structure: Structure, places: np.ndarray) -> Structure:
    """Return ``structure`` with N, CA, C and O of each residue at ``places`` [4 L, 3], Å, and nothing else resolved."""
    atoms = structure.atoms
    role = np.array([BACKBONE.index(name) if name in BACKBONE else -1 for name in atoms.name.tolist()])
    resolved = role >= 0
    x = np.zeros((len(atoms), 3))
    x[resolved] = places.reshape(-1, len(BACKBONE), 3)[atoms.residue[resolved], role[resolved]]
    return dataclasses.replace(structure, atoms=dataclasses.replace(atoms, coordinates=x, resolved=resolved))


def structure_sources(folder: Path, split: str, longest: int) -> Iterator[Source]:
    """Return the files of a split in a folder with a manifest."""
    library = ComponentLibrary()
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        manifest = [row for row in csv.DictReader(file) if row["split"] == split]
    for row in manifest:

        def load(name: str = row["file"]) -> Entry | int:
            return read_entry(folder / name, library, longest)

        yield Source(row["kind"], row["file"], load)


def read_entry(path: Path, library: ComponentLibrary, longest: int) -> Entry | int:
    """Return the molecules of a file as they stand, each chain with its sequence alone; or the number of tokens.

    Raises:
        InputError: the file cannot be used; the message says why.
    """
    structure, own = read_structure_and_library(path, library=library)
    with_atoms = len(np.unique(structure.atoms.residue))
    if with_atoms > longest:
        return with_atoms  # every residue is one token at least
    prepared = complex_from_structure(structure, own, seed=CONFORMER_SEED)
    if len(prepared.tokens) > longest:
        return len(prepared.tokens)
    chains = summarise(prepared.structure, len(prepared.tokens)).chains
    counted = frozenset(chain.asym_id - 1 for chain in chains)
    return Entry(prepared, prepared.structure, counted, from_file=True)


def run(
    name: str, sources: Iterator[Source], models: Sequence[Model], results: Results, chosen: Chosen
) -> tuple[list[Row], list[Row]]:
    """Score what `results` does not have yet; return one row for each entry, and the entries that are left out.

    A row has ``set``, ``id``, ``class``, ``tokens`` and ``models``: the scores by model, ideal helices among them.
    """
    scored: list[Row] = []
    left: list[Row] = []
    taken: Counter[str] = Counter()
    for source in sources:
        if taken[source.kind] >= chosen.limit:
            continue
        row = _entry_row(name, source, models, results, chosen)
        if "models" in row:
            scored.append(row)
            taken[source.kind] += 1
        else:
            left.append(row)
    return scored, left


def _entry_row(name: str, source: Source, models: Sequence[Model], results: Results, chosen: Chosen) -> Row:
    labels: Row = {"set": name, "id": source.key, "class": source.kind}
    gone = results.find(name, source.key, LEFT)
    # An entry that was too large for an earlier run may not be for this one.
    if gone is not None and ("refused" in gone or gone["tokens"] > chosen.longest):
        return gone
    found: dict[str, Row] = {}
    entry: Entry | None = None
    for model in (None, *models):
        who, weights = (HELIX, "") if model is None else (model.name, model.weights)
        row = results.find(name, source.key, who, weights)
        if row is not None and row["tokens"] > chosen.longest:
            return {**labels, "tokens": row["tokens"]}
        if row is None:
            added = {**labels, "model": who, "weights": weights}
            try:
                loaded = entry or source.load()
                if isinstance(loaded, Entry):
                    entry = loaded
                    row = {**added, "tokens": len(entry.prepared.tokens), "scores": _scores(entry, model, source.key)}
                else:
                    row = {**added, "model": LEFT, "weights": "", "tokens": loaded}
            except AnfinsenError as error:
                row = {**added, "model": LEFT, "weights": "", "refused": str(error)}
            results.add(row)
            print(_line(row), flush=True)
        if "scores" not in row:
            return row
        found[who] = row
    tokens = found[HELIX]["tokens"]
    return {**labels, "tokens": tokens, "models": {who: row["scores"] for who, row in found.items() if row["scores"]}}


def _scores(entry: Entry, model: Model | None, key: str) -> Row:
    """Scores of one model, None for helices; nothing where it does not fold such an entry."""
    if model is None:
        return scores.helix_scores(entry.reference)
    if model.chains_only and (entry.from_file or not entry.is_single_protein):
        return {}
    start = time.process_time()
    predicted = model.fold(entry, key)
    seconds = time.process_time() - start
    return {**scores.all_scores(predicted, entry.reference, set(entry.counted)), "seconds": seconds}


def _line(row: Row) -> str:
    title = f"{row['id']} [{row['class']}]"
    if "scores" not in row:
        why = row["refused"] if "refused" in row else f"at least {row['tokens']} tokens"
        return f"{title}: left out, {why}"
    each = row["scores"]
    parts = [f"{label} {each[key]:.3f}" for key, label in (("lddt", "lDDT"), ("tm", "TM")) if key in each]
    parts += [f"{each['seconds']:.1f} s"] if "seconds" in each else []
    return f"{title} {row['tokens']} tokens, {row['model']}: {', '.join(parts) or 'not folded'}"
