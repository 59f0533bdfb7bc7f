"""Chains and interfaces of structures as training entries: what they resemble, how often they are drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from anfinsen.chemistry import ChainKind, Structure
from anfinsen.common.files import write_text

from .sampling import EntryWeights, entry_weights

# Chains whose atoms come this near each other (Å) form an interface (supplement section 2.5.1).
CONTACT_DISTANCE = 5.0
# Polymers with fewer resolved residues are no entries (supplement section 2.5.4).
MIN_RESOLVED_RESIDUES = 4
# Sequence identity that puts two proteins into one cluster (supplement section 2.5.3).
PROTEIN_IDENTITY = 0.4
# Shorter proteins are peptides, alike only if equal, as nucleic acids are (the same section).
MIN_PROTEIN_LENGTH = 10
# Crystallisation aids are seen in crops, but no example is about them (supplement table 9).
CRYSTALLISATION_AIDS = frozenset(
    ("SO4", "GOL", "EDO", "PO4", "ACT", "PEG", "DMS", "TRS", "PGE", "PG4", "FMT", "EPE", "MPD", "MES", "CD", "IOD")
)
# Only proteins that share words are aligned: at 40 % identity about 0.4^4 of the 4-letter words agree even if mutations
# are spread evenly (5 of 200), while unrelated proteins of 200 residues share one in four pairs.
_WORD = 4
_MIN_SHARED_WORDS = 2


@dataclass(frozen=True)
class ChainSummary:
    """One chain of a file: its asym id, kind, and its sequence or component codes."""

    asym_id: int
    kind: str
    sequence: str


@dataclass(frozen=True)
class StructureSummary:
    """What the index must know of one file. ``interfaces``: pairs of asym ids in contact, smaller first."""

    chains: tuple[ChainSummary, ...]
    interfaces: tuple[tuple[int, int], ...]
    n_tokens: int

    def to_json(self) -> str:
        """Return the summary as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StructureSummary:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        chains = tuple(ChainSummary(**chain) for chain in values["chains"])
        return cls(chains, tuple((int(a), int(b)) for a, b in values["interfaces"]), values["n_tokens"])


@dataclass(frozen=True)
class Entry:
    """One chain or interface to train on: the file and the asym ids it is about."""

    file: int
    chains: tuple[int, ...]


def summarise(structure: Structure, n_tokens: int) -> StructureSummary:
    """Return the chains of ``structure`` that make entries, and the contacts between them."""
    chains = []
    for index, chain in enumerate(structure.chains):
        mine = structure.residues.chain == index
        codes = structure.residues.name[mine]
        resolved = np.unique(structure.atoms.residue[structure.atoms.resolved & mine[structure.atoms.residue]])
        needed = MIN_RESOLVED_RESIDUES if chain.kind.is_polymer else 1
        if len(resolved) >= needed and not (len(codes) == 1 and str(codes[0]) in CRYSTALLISATION_AIDS):
            text = chain.sequence if chain.kind.is_polymer else " ".join(map(str, codes))
            chains.append(ChainSummary(index + 1, str(chain.kind), text))
    kept = {chain.asym_id for chain in chains}
    contacts = tuple(pair for pair in _contacts(structure) if set(pair) <= kept)
    return StructureSummary(tuple(chains), contacts, n_tokens)


def build_entries(
    files: Sequence[StructureSummary],
    given_clusters: Sequence[str | None],
    factors: EntryWeights,
    stored: Path | None = None,
) -> tuple[tuple[Entry, ...], Float[np.ndarray, "n"]]:
    """Return all chains and interfaces of ``files`` and their sampling weights, which sum to 1.

    ``given_clusters`` names the cluster of all polymers of a file; None clusters them by sequence. ``stored`` is a
    folder that keeps such a clustering (a minute's work for a thousand chains).
    """
    keys = _cluster_keys(files, given_clusters, stored)
    entries: list[Entry] = []
    clusters: list[str] = []
    counts: list[Int[np.ndarray, "3"]] = []
    for number, file in enumerate(files):
        by_id = {chain.asym_id: chain for chain in file.chains}
        about = [(chain.asym_id,) for chain in file.chains]
        for asym_ids in [*about, *file.interfaces]:
            entries.append(Entry(number, tuple(asym_ids)))
            clusters.append(" + ".join(sorted(keys[number, asym_id] for asym_id in asym_ids)))
            counts.append(sum((_count(by_id[asym_id].kind) for asym_id in asym_ids), np.zeros(3, dtype=np.int64)))
    if not entries:
        return (), np.zeros(0)
    is_interface = np.array([len(entry.chains) == 2 for entry in entries])
    _, inverse, sizes = np.unique(np.array(clusters), return_inverse=True, return_counts=True)
    weights = entry_weights(np.stack(counts), sizes[inverse].astype(np.int64), is_interface, factors)
    return tuple(entries), weights / weights.sum()


def cluster_sequences(sequences: Sequence[str], identity: float) -> list[int]:
    """Group protein sequences greedily, longest first: each joins the first representative it resembles enough.

    Identity is counted over the shorter sequence in a local alignment (BLOSUM62, gaps 10 and 1).
    """
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), sequences[i], i))
    representatives: list[tuple[str, frozenset[str]]] = []
    known: dict[str, int] = {}
    clusters = [0] * len(sequences)
    for index in order:
        sequence = sequences[index]
        if sequence not in known:
            words = frozenset(sequence[i : i + _WORD] for i in range(len(sequence) - _WORD + 1))
            matches = (
                number
                for number, (other, theirs) in enumerate(representatives)
                if len(words & theirs) >= _MIN_SHARED_WORDS and _identity(sequence, other) >= identity
            )
            found = next(matches, None)
            if found is None:
                found = len(representatives)
                representatives.append((sequence, words))
            known[sequence] = found
        clusters[index] = known[sequence]
    return clusters


def _cluster_keys(
    files: Sequence[StructureSummary], given: Sequence[str | None], stored: Path | None
) -> dict[tuple[int, int], str]:
    proteins = [
        (number, chain)
        for number, file in enumerate(files)
        for chain in file.chains
        if chain.kind == ChainKind.PROTEIN and len(chain.sequence) >= MIN_PROTEIN_LENGTH and given[number] is None
    ]
    numbers = _stored_clusters([chain.sequence for _, chain in proteins], stored)
    keys = {
        (number, chain.asym_id): f"protein {cluster}"
        for (number, chain), cluster in zip(proteins, numbers, strict=True)
    }
    for number, file in enumerate(files):
        for chain in file.chains:
            if chain.kind != ChainKind.LIGAND and given[number] is not None:
                keys[number, chain.asym_id] = f"given {given[number]}"
            # Nucleic acids and peptides cluster at full identity, ligands by their components (section 2.5.3).
            keys.setdefault((number, chain.asym_id), f"{chain.kind} {chain.sequence}")
    return keys


def _stored_clusters(sequences: list[str], folder: Path | None) -> list[int]:
    if folder is None:
        return cluster_sequences(sequences, PROTEIN_IDENTITY)
    key = hashlib.sha256(repr((sequences, PROTEIN_IDENTITY, _WORD, _MIN_SHARED_WORDS)).encode()).hexdigest()[:16]
    path = folder / f"clusters-{key}.json"
    if path.is_file():
        return [int(number) for number in json.loads(path.read_text(encoding="utf-8"))]
    clusters = cluster_sequences(sequences, PROTEIN_IDENTITY)
    write_text(path, json.dumps(clusters))
    return clusters


def _count(kind: str) -> Int[np.ndarray, "3"]:
    column = {ChainKind.PROTEIN: 0, ChainKind.DNA: 1, ChainKind.RNA: 1, ChainKind.LIGAND: 2}[ChainKind(kind)]
    return np.asarray(np.eye(3, dtype=np.int64)[column])


def _contacts(structure: Structure) -> tuple[tuple[int, int], ...]:
    from scipy.spatial import cKDTree

    known = np.flatnonzero(structure.atoms.resolved)
    if known.size == 0 or len(structure.chains) < 2:
        return ()
    pairs = cKDTree(structure.atoms.coordinates[known]).query_pairs(CONTACT_DISTANCE, output_type="ndarray")
    chains = np.sort(structure.atom_chain[known][pairs] + 1, axis=1)
    chains = np.unique(chains[chains[:, 0] != chains[:, 1]], axis=0)
    return tuple((int(first), int(second)) for first, second in chains)


def _identity(first: str, second: str) -> float:
    from biotite.sequence import ProteinSequence
    from biotite.sequence.align import SubstitutionMatrix, align_optimal

    pair = [ProteinSequence("".join(c if c in _KNOWN else "X" for c in text)) for text in (first, second)]
    matrix = SubstitutionMatrix.std_protein_matrix()
    alignment = align_optimal(*pair, matrix, gap_penalty=(-10, -1), local=True, max_number=1)[0]
    trace = alignment.trace[(alignment.trace >= 0).all(axis=1)]
    same = np.count_nonzero(pair[0].code[trace[:, 0]] == pair[1].code[trace[:, 1]])
    return float(same) / max(1, min(len(first), len(second)))


_KNOWN = frozenset("ACDEFGHIKLMNPQRSTVWY")
