"""Protein chains with an alignment and a known structure, as benchmarks read them from a data folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anfinsen.alignments import Msa, parse_msa
from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.common.errors import InputError
from anfinsen.geometry import ideal_cbeta
from anfinsen.inference.families import read_family
from anfinsen.metrics import contact_precision

CONTACT = 8.0  # Å between CB atoms
DIVISORS = (5, 2, 1)
DEPTHS = ((300, "neff ≥ 300"), (100, "neff 100–300"), (50, "neff 50–100"), (0, "neff < 50"))


@dataclass(frozen=True)
class Case:
    """``ca`` and ``beta`` (CA of glycine) in Å, NaN where not resolved; ``neff`` as published beside the alignment."""

    name: str
    msa: Msa
    ca: np.ndarray
    beta: np.ndarray
    neff: float | None

    @property
    def near(self) -> np.ndarray:
        """Which pairs are in contact."""
        return self._distance < CONTACT

    @property
    def known(self) -> np.ndarray:
        """Of which pairs that is known."""
        return ~np.isnan(self._distance)

    def precision(self, scores: np.ndarray) -> list[float]:
        """Return long-range precision at each of `DIVISORS`; nothing where there is no long-range contact to find."""
        if not np.triu(self.near & self.known, 24).any():
            return []
        return [contact_precision(scores.astype(float), self.near, self.known, divisor=d) for d in DIVISORS]

    @property
    def _distance(self) -> np.ndarray:
        return np.linalg.norm(self.beta[:, None] - self.beta[None], axis=-1)


def depth_class(neff: float) -> str:
    """Return the name of the class of `DEPTHS` that an effective depth belongs to."""
    return next(name for least, name in DEPTHS if neff >= least)


def deep_families(data: Path, longest: int) -> Iterator[Case]:
    """The families of ``families/``, all of them test proteins."""
    found = sorted((data / "families").glob("*.a3m.gz"))
    if not found:
        raise InputError(f"{data} holds no families/*.a3m.gz: expected a data folder with families/.")
    for path in found:
        query, msa = read_family(path, ChainKind.PROTEIN)
        if len(query) <= longest:
            ca, beta = _atoms_of_file(path.with_name(path.name.replace(".a3m", ".pdb")), query)
            yield Case(path.name.removesuffix(".a3m.gz"), msa, ca, beta, None)


def chain_families(data: Path, split: str, longest: int, every: int = 1) -> Iterator[Case]:
    """Every n-th chain of a split that has an alignment."""
    import pyarrow.parquet as pq

    if not (data / "chains" / f"{split}.parquet").exists():
        raise InputError(f"{data} holds no chains/{split}.parquet: expected a data folder with chains/ and msas/.")
    table = pq.read_table(data / "chains" / f"{split}.parquet", columns=["id", "sequence", "x", "y", "z"])
    row_of = {name: row for row, name in enumerate(table["id"].to_pylist())}
    count = 0
    for file in sorted((data / "msas").glob(f"{split}*.parquet")):
        for record in pq.read_table(file).to_pylist():
            chain = table.slice(row_of[record["id"]], 1).to_pylist()[0]
            sequence = chain["sequence"]
            if len(sequence) > longest:
                continue
            count += 1
            if count % every:
                continue
            msa = parse_msa(record["a3m"], sequence, ChainKind.PROTEIN, record["id"])
            yield Case(record["id"], msa, *_atoms_of_row(chain), record["neff"])


def _atoms_of_file(path: Path, query: str) -> tuple[np.ndarray, np.ndarray]:
    structure = read_structure(path)
    atoms, residues = structure.atoms, structure.residues
    if structure.chains[0].sequence != query:
        raise InputError(f"{path}: its chain is not the query of the alignment beside it.")
    ca, beta = np.full((2, len(query), 3), np.nan)
    for index in np.flatnonzero(atoms.resolved):
        residue = atoms.residue[index]
        if residues.chain[residue] != 0:
            continue
        name, place = atoms.name[index], residues.number[residue] - 1
        if name == "CA":
            ca[place] = atoms.coordinates[index]
        if name == ("CA" if residues.name[residue] == "GLY" else "CB"):
            beta[place] = atoms.coordinates[index]
    return ca, beta


def _atoms_of_row(chain: dict) -> tuple[np.ndarray, np.ndarray]:
    length = len(chain["sequence"])
    backbone = np.stack([np.array(chain[axis], dtype=float).reshape(length, 4) for axis in "xyz"], -1) / 100
    n, ca, c = (torch.from_numpy(backbone[:, atom]) for atom in range(3))
    glycine = np.array([letter == "G" for letter in chain["sequence"]])
    return backbone[:, 1], np.where(glycine[:, None], backbone[:, 1], ideal_cbeta(n, ca, c).numpy())
