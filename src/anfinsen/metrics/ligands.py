"""Ligands and ions: which predicted copy stands for which true one, and how far it is from its place."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from anfinsen.chemistry import ChainKind, Structure
from anfinsen.common.errors import MissingExtraError
from anfinsen.geometry import rotate, superpose

from .correspondence import Correspondence
from .lddt import THRESHOLDS, lddt

POCKET = 10.0  # Å around a ligand: atoms that are superposed (AlphaFold 3, Methods)
SITE = 6.0  # Å around a ligand: residues of the lDDT of the pocket, and contacts of lDDT-PLI (CASP15)
FEWEST_POCKET_ATOMS = 3
_UNPLACED = 1e6  # Å, the cost of a pair that cannot be superposed
BACKBONE = {
    ChainKind.PROTEIN: ("N", "CA", "C", "O"),
    ChainKind.DNA: ("P", "O5'", "C5'", "C4'", "C3'", "O3'"),
    ChainKind.RNA: ("P", "O5'", "C5'", "C4'", "C3'", "O3'"),
}


@dataclass(frozen=True)
class LigandScore:
    """One ligand or ion.

    Attributes:
        reference_chain, predicted_chain: indices into the chains of the two structures.
        rmsd: Å, with symmetric atoms named at best, once the pocket (backbone within 10 Å, of the polymer chain that
            has most of it) is superposed.
        lddt_pocket: all-atom lDDT of the residues that have an atom within 6 Å, 0 to 1; None if there are none.
        lddt_pli: share of the distances below 6 Å between ligand and polymers that are kept, mean over 0.5, 1, 2 and
            4 Å; None if there are none.
        matched: the predicted atom of each reference atom of the chain, in order.
    """

    reference_chain: int
    predicted_chain: int
    rmsd: float
    lddt_pocket: float | None
    lddt_pli: float | None
    matched: Int[np.ndarray, "m"]


@dataclass(frozen=True)
class LostLigand:
    """A ligand or ion of the reference that no molecule of the prediction stands for.

    Attributes:
        reference_chain: index into the chains of the reference.
        lddt_pocket: as in `LigandScore`. lddt_pli: 0; None where it touches no polymer.
    """

    reference_chain: int
    lddt_pocket: float | None
    lddt_pli: float | None


def isomorphisms(
    first: tuple[Int[np.ndarray, "m"], Int[np.ndarray, "b 2"]],
    second: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "c 2"]],
) -> Int[np.ndarray, "k m"]:
    """Return every way to lay one molecule on another: for each atom of the first, its atom of the second.

    Args:
        first, second: atomic numbers, and bonds as pairs of atoms; bond orders do not count.

    Raises:
        MissingExtraError: spyrmsd is not installed.
    """
    (elements, bonds), (others, links) = first, second
    if len(elements) != len(others) or len(bonds) != len(links) or sorted(elements) != sorted(others):
        return np.zeros((0, len(elements)), dtype=np.int64)
    if len(elements) == 1:
        return np.zeros((1, 1), dtype=np.int64)
    try:
        from spyrmsd import graph
        from spyrmsd.exceptions import NonIsomorphicGraphs
    except ModuleNotFoundError as error:
        raise MissingExtraError("Ligand RMSD needs spyrmsd: pip install 'anfinsen[evaluate]'.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a ligand may be several molecules to it, where metals bind
        made = [
            graph.graph_from_adjacency_matrix(_adjacency(len(numbers), pairs), [int(number) for number in numbers])
            for numbers, pairs in (first, second)
        ]
        try:
            found = graph.match_graphs(*made)
        except NonIsomorphicGraphs:
            return np.zeros((0, len(elements)), dtype=np.int64)
    rows = np.array([np.array(there)[np.argsort(here)] for here, there in found], dtype=np.int64)
    return rows.reshape(-1, len(elements))


def ligand_scores(predicted: Structure, reference: Structure, polymers: Correspondence) -> tuple[LigandScore, ...]:
    """Return the scores of the reference's ligands that the prediction has too.

    Copies of one molecule are paired so that the sum of their RMSDs is lowest. A ligand with fewer than three backbone
    atoms of one chain around it is left out: its place cannot be told.

    Raises:
        MissingExtraError: spyrmsd is not installed, and there is a ligand of several atoms.
    """
    made, true = _molecules(predicted), _molecules(reference)
    matches: dict[tuple[int, int], LigandScore] = {}
    for r, mine in true.items():
        around = _Surroundings(reference, polymers, r)
        if around.backbone is None:
            continue
        for p, theirs in made.items():
            rows = isomorphisms(mine, theirs)
            if len(rows):
                first = int(np.flatnonzero(predicted.atom_chain == p)[0])
                known = predicted.atoms.resolved[first + rows].all(1)
                if known.any():
                    matches[r, p] = around.score(p, first + rows[known], predicted)
    if not matches:
        return ()
    mine_left, theirs_left = sorted({r for r, _ in matches}), sorted({p for _, p in matches})
    cost = np.array([[matches[r, p].rmsd if (r, p) in matches else _UNPLACED for p in theirs_left] for r in mine_left])
    chosen = [(mine_left[i], theirs_left[j]) for i, j in zip(*linear_sum_assignment(cost), strict=True)]
    return tuple(matches[pair] for pair in chosen if pair in matches)


def lost_ligands(
    reference: Structure, polymers: Correspondence, found: Sequence[LigandScore]
) -> tuple[LostLigand, ...]:
    """Return the reference's ligands that are not among those ``found``, if its own polymers tell their place."""
    result = []
    for index in _molecules(reference):
        if index not in {score.reference_chain for score in found}:
            around = _Surroundings(reference, polymers, index)
            if around.placed:
                result.append(LostLigand(index, around.pocket(), 0.0 if around.touches else None))
    return tuple(result)


class _Surroundings:
    """The true pocket of one ligand, and where the prediction has it."""

    def __init__(self, reference: Structure, polymers: Correspondence, chain: int) -> None:
        atoms = reference.atoms
        self.chain, self.reference, self.polymers = chain, reference, polymers
        self.own = np.flatnonzero(reference.atom_chain == chain)
        self.known = atoms.resolved[self.own]
        kinds = [each.kind for each in reference.chains]
        in_polymer = np.array([kind.is_polymer for kind in kinds])[reference.atom_chain] & atoms.resolved
        self.near = self._within(np.flatnonzero(in_polymer), SITE)
        self.touches = bool(len(self.near))
        names = [BACKBONE.get(kind, ()) for kind in kinds]
        around = self._within(np.flatnonzero(in_polymer), POCKET)
        around = around[np.array([atoms.name[a] in names[reference.atom_chain[a]] for a in around], dtype=bool)]
        self.placed = self._most(around) is not None  # in the reference, whatever the prediction has
        self.backbone = self._most(around[polymers.present[around]])

    def _most(self, atoms: Int[np.ndarray, "k"]) -> Int[np.ndarray, "m"] | None:
        """Those of the chain that has most of them; None where that is too few."""
        if not len(atoms):
            return None
        own = self.reference.atom_chain[atoms]
        chains, counts = np.unique(own, return_counts=True)
        return atoms[own == chains[counts.argmax()]] if counts.max() >= FEWEST_POCKET_ATOMS else None

    def _within(self, atoms: Int[np.ndarray, "k"], distance: float) -> Int[np.ndarray, "m"]:
        x = self.reference.atoms.coordinates
        mine = x[self.own[self.known]]
        if not len(atoms) or not len(mine):
            return atoms[:0]
        near: Int[np.ndarray, "m"] = atoms[cKDTree(mine).query(x[atoms])[0] < distance]
        return near

    def score(self, chain: int, rows: Int[np.ndarray, "k m"], predicted: Structure) -> LigandScore:
        """Score predicted ligand ``chain``; ``rows`` are the ways to lay its atoms on the reference's."""
        assert self.backbone is not None
        true = self.reference.atoms.coordinates
        x = self.polymers.coordinates
        made = predicted.atoms.coordinates.astype(np.float64)
        rotation, shift = superpose(torch.from_numpy(x[self.backbone]), torch.from_numpy(true[self.backbone]))
        moved = (rotate(torch.from_numpy(made), rotation) + shift).numpy()
        square = ((moved[rows] - true[self.own]) ** 2).sum(-1)[:, self.known].mean(-1)
        return LigandScore(
            reference_chain=self.chain,
            predicted_chain=chain,
            rmsd=float(np.sqrt(square.min())),
            lddt_pocket=self.pocket(),
            lddt_pli=self._contacts(made, rows),
            matched=rows[int(square.argmin())],
        )

    def pocket(self) -> float | None:
        """LDDT of the residues around, 0 to 1; None where there are none."""
        atoms = self.reference.atoms
        site = np.isin(atoms.residue, atoms.residue[self.near]) & atoms.resolved
        if not site.any():
            return None
        found = lddt(self.polymers.coordinates, atoms.coordinates, site, residue=atoms.residue)
        return found.score if found.pairs.any() else None

    def _contacts(self, made: Float[np.ndarray, "n 3"], rows: Int[np.ndarray, "k m"]) -> float | None:
        true = self.reference.atoms.coordinates
        mine = np.flatnonzero(self.known)
        wanted = np.linalg.norm(true[self.own[mine]][:, None] - true[self.near], axis=-1)
        counted = wanted < SITE
        if not counted.any():
            return None
        best = 0.0
        for row in rows:
            found = np.linalg.norm(made[row[mine]][:, None] - self.polymers.coordinates[self.near], axis=-1)
            error = np.abs(found - wanted)[counted]
            best = max(best, float(np.mean([error < threshold for threshold in THRESHOLDS])))
        return best


def _molecules(structure: Structure) -> dict[int, tuple[Int[np.ndarray, "m"], Int[np.ndarray, "b 2"]]]:
    """Atomic numbers and inner bonds of every ligand, by chain."""
    result = {}
    for index, chain in enumerate(structure.chains):
        if chain.kind is ChainKind.LIGAND:
            atoms = np.flatnonzero(structure.atom_chain == index)
            if len(atoms) and structure.atoms.resolved[atoms].any():
                pairs = structure.bonds.atoms
                inside = ((pairs >= atoms[0]) & (pairs <= atoms[-1])).all(1)
                result[index] = (structure.atoms.element[atoms].astype(np.int64), pairs[inside] - atoms[0])
    return result


def _adjacency(count: int, bonds: Int[np.ndarray, "b 2"]) -> Int[np.ndarray, "n n"]:
    matrix = np.zeros((count, count), dtype=np.int64)
    matrix[bonds[:, 0], bonds[:, 1]] = matrix[bonds[:, 1], bonds[:, 0]] = 1
    return matrix
