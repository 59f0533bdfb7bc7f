"""Running the models over a split, entry by entry, and keeping what is done so that an interrupted run goes on."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import accuracy_scores as scores
import numpy as np
import torch

from anfinsen.chemistry import ComponentLibrary
from anfinsen.chemistry.read_structure import read_structure_and_library
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.files import write_text
from anfinsen.common.seeding import torch_generator
from anfinsen.features import FeatureConfig, complex_from_structure
from anfinsen.inference.alignment_scores import alignment_scores
from anfinsen.inference.confidence import contact_probabilities, expected_plddt, ranking_score
from anfinsen.losses import batch_symmetries, permute_labels
from anfinsen.metrics import contact_precision, has_clash
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.nn.batch import Batch, Labels
from anfinsen.training.data_chains import ChainDataset
from anfinsen.training.data_structures import hide_polymer_bonds
from anfinsen.training.examples import structure_example
from anfinsen.training.structure_index import summarise

CONTACT = 8.0  # Å
LEAST_CONTACT_LENGTH = 40  # residues
SEPARATION = 24  # residues between the partners of a long-range contact
DIGITS = 4  # of the residues' figures in the file of results
CONFORMER_SEED = 0
ALIGNMENT_CLASSES = ((300, "neff >= 300"), (100, "neff 100-300"), (50, "neff 50-100"), (0, "neff < 50"))
NO_ALIGNMENT = "no alignment (stored profile)"


@dataclass(frozen=True)
class Settings:
    """What decides the figures of an entry. ``models``: name and SHA-256 of each model's weights."""

    models: dict[str, tuple[str, str]]
    split: str
    samples: int
    steps: int
    recycles: int
    seed: int


@dataclass(frozen=True)
class Chosen:
    """Which entries are run: at most ``limit`` of each class, of at most ``longest`` tokens."""

    limit: int
    longest: int


@dataclass(frozen=True)
class Predicted:
    """The sample that the product would rank first. ``contact``: probability that two tokens are within 8 Å."""

    coordinates: np.ndarray
    plddt: np.ndarray
    contact: np.ndarray


class Results:
    """Rows by their key; with a path also the lines of a file, the first of which tells the settings."""

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
            raise ConfigError(f"{path} holds the results of other settings or weights: name another file.")
        self.rows = {(row["set"], row["id"]): row for row in lines[1:]}
        if whole != text:
            write_text(path, whole)

    def add(self, row: dict[str, object]) -> None:
        """Keep a row, and write it at once."""
        self.rows[row["set"], row["id"]] = row
        if self._path is None:
            return
        line = json.dumps(row, allow_nan=False) + "\n"
        if self._is_new:
            write_text(self._path, self._first + line)
            self._is_new = False
        else:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)


@torch.no_grad()
def predict(model: AlphaFold3, batch: Batch, settings: Settings, name: str) -> Predicted:
    """Run the trunk once, sample all structures in one batch, and return the one ranked first.

    The rank is the product's (equation 19) without its term for disorder.
    """
    generator = torch_generator(settings.seed, name)
    trunk = model.trunk(batch, recycles=settings.recycles, generator=generator)
    x = model.sample(batch, trunk, samples=settings.samples, steps=settings.steps, generator=generator)
    logits = model.confidence(batch, trunk, x)
    chain = torch.unique(batch.asym_id, return_inverse=True)[1]
    polymer = (batch.kind != scores.LIGAND)[batch.atom_to_token].cpu().numpy()
    atom_chain = chain[batch.atom_to_token].cpu().numpy()[polymer]
    ranks = []
    for pae, places in zip(logits.pae, x.cpu().numpy(), strict=True):
        found = alignment_scores(pae, chain, batch.frame_mask)
        ranks.append(ranking_score(found.ptm, found.iptm, 0.0, has_clash(places[polymer], atom_chain)))
    best = int(np.argmax(ranks))
    return Predicted(
        coordinates=x[best].double().cpu().numpy(),
        plddt=expected_plddt(logits.plddt[best]).double().cpu().numpy(),
        contact=contact_probabilities(model.distogram_logits(trunk)).astype(np.float64),
    )


def evaluate(
    models: dict[str, AlphaFold3], batch: Batch, labels: Labels, counted: set[int], settings: Settings, name: str
) -> dict[str, object]:
    """Return the scores of every model on one entry, and those of helices; ``counted``: see `placed_groups`."""
    symmetries = batch_symmetries(batch)
    row: dict[str, object] = {"tokens": len(batch.restype), "helix": {}}
    for who, model in models.items():
        device = next(model.parameters()).device
        start = time.process_time()
        out = predict(model, batch.to(device), settings, name)
        seconds = time.process_time() - start
        named = permute_labels(torch.from_numpy(out.coordinates), batch, labels, symmetric_atoms=symmetries)
        truth = scores.Truth.of(batch, named)
        whole, true, expected = scores.residue_lddt(out.coordinates, truth, out.plddt)
        row[who] = {
            "lddt": whole,
            "plddt": float(out.plddt[truth.resolved].mean()),
            **scores.protein_scores(out.coordinates, truth),
            **_precision(out.contact, batch, labels),
            "classes": scores.class_lddt(out.coordinates, truth),
            "groups": scores.placed_groups(out.coordinates, truth, counted),
            "interfaces": scores.interfaces(out.coordinates, truth),
            "seconds": seconds,
        }
        if who == "trained":
            row["residues"] = {"plddt": expected.round(DIGITS).tolist(), "lddt": true.round(DIGITS).tolist()}
            row["helix"] = scores.protein_scores(scores.with_helices(truth), truth)
    return row


def _precision(contact: np.ndarray, batch: Batch, labels: Labels) -> dict[str, float]:
    """Contact precision of a single protein chain that has long-range contacts."""
    known = labels.resolved[batch.distogram_atom].numpy()
    single = len(torch.unique(batch.asym_id)) == 1 and bool((batch.kind == 0).all() and batch.is_standard.all())
    if not single or len(known) <= LEAST_CONTACT_LENGTH:
        return {}
    beta = labels.coordinates[batch.distogram_atom].double().numpy()
    near = (np.linalg.norm(beta[:, None] - beta[None], axis=-1) < CONTACT) & known[:, None] & known
    if not np.triu(near, SEPARATION).any():
        return {}
    return {"precision": contact_precision(contact, near, known[:, None] & known, divisor=5.0)}


def chain_rows(folder: Path, models: dict[str, AlphaFold3], settings: Settings, chosen: Chosen) -> Iterator[tuple]:
    """Yield class, key and a function that scores it, for each chain; see `run`."""
    data = ChainDataset(folder, settings.split)
    neff = _read_neff(folder, settings.split)
    for index in range(len(data)):
        record = data.store.record(index)
        if not record.has_msa:
            name = NO_ALIGNMENT
        else:
            name = next(name for limit, name in ALIGNMENT_CLASSES if neff[record.id] >= limit)

        def score(index: int = index, record=record) -> dict[str, object]:
            if len(record.restype) > chosen.longest:
                return {"tokens": len(record.restype)}
            batch, labels = data.whole(index)
            return evaluate(models, batch, labels, set(), settings, record.id)

        yield name, record.id, score


def structure_rows(folder: Path, models: dict[str, AlphaFold3], settings: Settings, chosen: Chosen) -> Iterator[tuple]:
    """Yield class, key and a function that scores it, for each file of the split; see `run`."""
    library = ComponentLibrary()
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        manifest = [row for row in csv.DictReader(file) if row["split"] == settings.split]
    for entry in manifest:

        def score(name: str = entry["file"]) -> dict[str, object]:
            try:
                found = read_entry(folder / name, library, chosen.longest)
            except InputError as error:
                return {"refused": str(error)}
            if isinstance(found, int):
                return {"tokens": found}
            batch, labels, counted = found
            return evaluate(models, batch, labels, counted, settings, name)

        yield entry["kind"], entry["file"], score


def read_entry(path: Path, library: ComponentLibrary, longest: int) -> tuple[Batch, Labels, set[int]] | int:
    """Return features, labels and the asym ids of chains that are scored; or the number of tokens if it is larger.

    The chains are those of the file as it stands, each with its sequence alone (no alignment is known for these
    entries); disulfides are hidden, as a user seldom knows them.

    Raises:
        InputError: the file cannot be used; the message says why.
    """
    structure, own = read_structure_and_library(path, library=library)
    with_atoms = len(np.unique(structure.atoms.residue))
    if with_atoms > longest:
        return with_atoms  # every residue is one token at least
    complex_ = complex_from_structure(structure, own, seed=CONFORMER_SEED)
    if len(complex_.tokens) > longest:
        return len(complex_.tokens)
    batch, labels = structure_example(complex_, FeatureConfig(), CONFORMER_SEED)
    summary = summarise(complex_.structure, len(complex_.tokens))
    return hide_polymer_bonds(batch), labels, {chain.asym_id for chain in summary.chains}


def run(name: str, entries: Iterator[tuple], results: Results, chosen: Chosen) -> tuple[list[dict], list[dict]]:
    """Score the entries that `results` does not have yet; return the rows scored and those left out.

    ``entries`` yields class, key, and a function that gives the scores; or, for an entry that is left out, its tokens
    or why it is refused.
    """
    scored, left = [], []
    taken: Counter[str] = Counter()
    for class_, key, score in entries:
        if taken[class_] >= chosen.limit:
            continue
        row = results.rows.get((name, key))
        # An entry that was too large for an earlier run may not be for this one.
        if row is None or not ("trained" in row or "refused" in row or row["tokens"] > chosen.longest):
            row = {"set": name, "id": key, "class": class_, **score()}
            results.add(row)
            print(_line(row), flush=True)
        if "trained" in row and row["tokens"] <= chosen.longest:
            scored.append(row)
            taken[class_] += 1
        else:
            left.append(row)
    return scored, left


def _line(row: dict[str, object]) -> str:
    title = f"{row['id']} [{row['class']}]"
    if "trained" not in row:
        return (
            f"{title}: left out, {row['refused'] if 'refused' in row else 'at least ' + str(row['tokens']) + ' tokens'}"
        )
    each = ", ".join(f"{who} {row[who]['lddt']:.3f} ({row[who]['seconds']:.1f} s)" for who in ("trained", "untrained"))
    return f"{title} {row['tokens']} tokens: lDDT {each}, pLDDT {row['trained']['plddt']:.1f}"


def _read_neff(folder: Path, split: str) -> dict[str, float]:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "chains" / f"{split}.parquet", columns=["id", "msa_neff"])
    return dict(zip(table["id"].to_pylist(), map(float, table["msa_neff"].to_pylist()), strict=True))
