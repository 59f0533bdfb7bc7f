"""Which atoms of a predicted structure stand for which atoms of a reference: chains, residues and names, all found.

Nothing is taken from chain names or residue numbers. Residues correspond by alignment of sequences; chains by the
mapping under which the prediction scores best, so that copies of one sequence may be called anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import gemmi
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from anfinsen.chemistry import ChainKind, Structure
from anfinsen.common.errors import StructureError
from anfinsen.geometry import rotate, superpose

from .lddt import lddt
from .superposed import rmsd

REPRESENTATIVE = {ChainKind.PROTEIN: "CA", ChainKind.DNA: "C1'", ChainKind.RNA: "C1'"}
LEAST_IDENTITY = 0.7  # of aligned residues, for two chains to be the same molecule
LEAST_OF_BEST = 0.8  # of the equal residues of the chain that is most like it, for another to be a copy
MOST_MAPPINGS = 200  # of all chains that are tried one by one; beyond, chains follow superpositions of pairs
NOWHERE = 1e6  # Å between atoms that the prediction lacks: no distance to them is ever kept
# Equal molecules differ by what a file left out and by a few mutations: two gaps cost less than letters between them
# that differ. Where a reference's chain is interrupted, a gap costs only its length.
_MATCH, _MISMATCH, _GAP_OPEN, _GAP_EXTEND = 2, -3, -3, -1


@dataclass(frozen=True)
class Correspondence:
    """A prediction on the atoms of a reference's polymers.

    Attributes:
        chains: predicted chain of each reference chain; -1 where there is none, and for ligands.
        identity: share of equal residues among the aligned ones, for each reference chain; 0 where unpaired.
        residues: predicted residue of each reference residue; -1 where there is none.
        atoms: predicted atom of each reference atom; -1 where there is none or it has no coordinates.
        coordinates: predicted, of each reference atom, Å; those without one stand `NOWHERE` from each other.
    """

    chains: Int[np.ndarray, "C"]
    identity: Float[np.ndarray, "C"]
    residues: Int[np.ndarray, "R"]
    atoms: Int[np.ndarray, "A"]
    coordinates: Float[np.ndarray, "A 3"]

    @property
    def present(self) -> Bool[np.ndarray, "A"]:
        """Reference atoms that the prediction has."""
        return self.atoms >= 0


def representatives(structure: Structure) -> Int[np.ndarray, "R"]:
    """Return the resolved CA or C1' atom of every residue of a polymer; -1 where there is none."""
    kinds = np.array([REPRESENTATIVE.get(chain.kind, "") for chain in structure.chains])
    wanted = kinds[structure.atom_chain]
    chosen = np.flatnonzero((structure.atoms.name == wanted) & structure.atoms.resolved)
    result = np.full(len(structure.residues), -1, dtype=np.int64)
    result[structure.atoms.residue[chosen]] = chosen
    return result


def aligned_residues(
    predicted: str, reference: str, breaks: tuple[int, ...] = (), made_breaks: tuple[int, ...] = ()
) -> tuple[Int[np.ndarray, "n 2"], float]:
    """Return the pairs of positions that a global alignment puts together, and the share of equal letters in them.

    Where fewer than half of the shorter sequence are aligned, the share is of that half: a few letters that fit by
    chance do not make two molecules one. Of alignments that are equally good, gaps stand at the ends of chains or where
    these are interrupted.

    Args:
        predicted, reference: sequences. breaks, made_breaks: positions of the reference, and of the prediction, that
            are not linked to the one before.
    """
    scoring = gemmi.AlignmentScoring()
    scoring.match, scoring.mismatch, scoring.gapo, scoring.gape = _MATCH, _MISMATCH, _GAP_OPEN, _GAP_EXTEND
    opening = [_GAP_OPEN] * (len(reference) + 1)
    for position in breaks:
        opening[position] = 0
    result = gemmi.align_string_sequences(list(predicted), list(reference), opening, scoring)
    rows = [list(result.add_gaps(predicted, 1)), list(result.add_gaps(reference, 2))]
    # What an experiment did not resolve may lie anywhere. A prediction rather lacks an end than what is before its last
    # residue, and a bad one is interrupted where nothing is missing.
    _settle(rows, 0, ((0, len(predicted)), made_breaks))
    _settle(rows, 1, (breaks, (0, len(reference))))
    letters = np.array(rows)
    place = np.cumsum(letters != "-", axis=1) - 1
    both = (letters != "-").all(0)
    equal = letters[0, both] == letters[1, both]
    counted = max(len(equal), min(len(predicted), len(reference)) / 2)
    return place[:, both].T.astype(np.int64), float(equal.sum() / counted) if counted else 0.0


def _settle(rows: list[list[str]], row: int, wanted: Sequence[Sequence[int]]) -> None:
    """Move the gaps of one row of an alignment, where no equal pair is lost, to the best of the ``wanted`` positions.

    A letter of an end that occurs again across a gap is aligned to either place at one price, and there it would lie
    far from its neighbours.

    Args:
        rows: letters of both sequences and "-", changed in place. wanted: positions in the sequence of ``row`` before
            which a gap may stand, the first set before the second, the nearest of a set before the others.
    """
    own, other = rows[row], rows[1 - row]
    end = 0
    while "-" in own[end:]:
        start = own.index("-", end)
        end = next((column for column in range(start, len(own)) if own[column] != "-"), len(own))
        position = start - own[:start].count("-")
        for places in wanted:
            steps = sorted((place - position for place in places), key=abs)
            moved = next((step for step in steps if _slide(own, other, start, end, step)), None)
            if moved is not None:
                end += max(moved, 0)
                break


def _slide(own: list[str], other: list[str], start: int, end: int, step: int) -> bool:
    """Move the gap ``start`` to ``end`` of ``own`` over ``step`` letters where no equal pair is lost; say if so."""
    low, high = (start + step, end) if step < 0 else (start, end + step)
    letters = own[low:start] + own[end:high]
    if low < 0 or high > len(own) or "-" in letters or "-" in other[low:high]:
        return False
    gap = ["-"] * (end - start)
    moved = [*gap, *letters] if step < 0 else [*letters, *gap]
    equal = [sum(map(str.__eq__, each, other[low:high])) for each in (moved, own[low:high])]
    if equal[0] < equal[1]:
        return False
    own[low:high] = moved
    return True


def correspond(predicted: Structure, reference: Structure) -> Correspondence:
    """Return the best correspondence of polymers.

    Raises:
        StructureError: no polymer chain of one is like one of the other.
    """
    search = _Search(predicted, reference)
    return search.result(search.best())


class _Search:
    """Chains that may be paired, and what each pair would mean."""

    def __init__(self, predicted: Structure, reference: Structure) -> None:
        self.predicted, self.reference = predicted, reference
        self._starts = [np.searchsorted(s.residues.chain, np.arange(len(s.chains) + 1)) for s in (predicted, reference)]
        self._representatives = representatives(predicted), representatives(reference)
        self.alignments: dict[tuple[int, int], tuple[Int[np.ndarray, "n 2"], float]] = {}
        closest = 0.0
        known: dict[tuple[str, str, tuple[int, ...], tuple[int, ...]], tuple[Int[np.ndarray, "n 2"], float]] = {}
        made_breaks = [_breaks(predicted, *self._span(0, p)) for p in range(len(predicted.chains))]
        for r, true in enumerate(reference.chains):
            breaks = _breaks(reference, *self._span(1, r))
            for p, made in enumerate(predicted.chains):
                # Prediction files without entities do not tell DNA from RNA for sure.
                if not (true.kind.is_polymer and made.kind.is_polymer and _alike(true.kind, made.kind)):
                    continue
                key = (made.sequence, true.sequence, breaks, made_breaks[p])
                if key not in known:
                    known[key] = aligned_residues(*key)
                closest = max(closest, known[key][1])
                if known[key][1] >= LEAST_IDENTITY:
                    self.alignments[r, p] = known[key]
        self._drop_relatives()
        if not self.alignments:
            raise StructureError(
                f"No polymer chain of the prediction {predicted.name} is like one of the reference {reference.name}: "
                f"the closest two share {closest:.0%} of aligned residues, and at least {LEAST_IDENTITY:.0%} is needed."
            )

    def _span(self, side: int, chain: int) -> tuple[int, int]:
        return int(self._starts[side][chain]), int(self._starts[side][chain + 1])

    def _drop_relatives(self) -> None:
        """Leave out pairs that share a part only, such as one domain, where a chain has a better partner.

        They would win on what little they align, since what is not aligned is not compared.
        """
        share: dict[tuple[int, int], float] = {}
        for (r, p), (pairs, identity) in self.alignments.items():
            shorter = min(len(self.predicted.chains[p].sequence), len(self.reference.chains[r].sequence))
            share[r, p] = identity * max(len(pairs), shorter / 2) / shorter
        best = {r: max(value for (other, _), value in share.items() if other == r) for r, _ in share}
        for (r, p), value in share.items():
            if value < LEAST_OF_BEST * best[r]:
                del self.alignments[r, p]

    def residues(self, r: int, p: int) -> Int[np.ndarray, "n 2"]:
        """Predicted and reference residues that an alignment of two chains puts together."""
        pairs, _ = self.alignments[r, p]
        rows: Int[np.ndarray, "n 2"] = pairs + np.array([self._starts[0][p], self._starts[1][r]])
        return rows

    @cached_property
    def traces(self) -> dict[tuple[int, int], tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]]:
        """Representative atoms that both chains of a pair have, Å: predicted, true."""
        result = {}
        for r, p in self.alignments:
            residues = self.residues(r, p)
            found = np.stack([self._representatives[side][residues[:, side]] for side in (0, 1)])
            found = found[:, (found >= 0).all(0)]
            sides = (self.predicted, self.reference)
            made, true = (s.atoms.coordinates[rows] for s, rows in zip(sides, found, strict=True))
            result[r, p] = (made, true)
        return result

    def best(self) -> dict[int, int]:
        """Return the mapping (reference chain to predicted) with the most pairs, then lDDT, then the lowest RMSD."""
        groups = self._groups()
        options = [
            list(_assignments(group, self.alignments)) if _count(group) <= MOST_MAPPINGS else [] for group in groups
        ]
        total = int(np.prod([len(each) or MOST_MAPPINGS + 1 for each in options]))
        candidates: list[dict[int, int]] = [{}]
        if total <= MOST_MAPPINGS:
            for each in options:
                candidates = [before | added for before in candidates for added in each]
        else:
            candidates = self._by_superposition() or [self._by_sequence()]
        return candidates[0] if len(candidates) == 1 else max(candidates, key=self._score)

    def _groups(self) -> list[tuple[list[int], list[int]]]:
        """Sets of chains that can only be paired within: reference chains, predicted chains."""
        groups: list[tuple[list[int], list[int]]] = []
        for r, p in self.alignments:
            touching = [group for group in groups if r in group[0] or p in group[1]]
            merged = ({r}.union(*(g[0] for g in touching)), {p}.union(*(g[1] for g in touching)))
            groups = [group for group in groups if group not in touching]
            groups.append((sorted(merged[0]), sorted(merged[1])))
        return groups

    def _score(self, mapping: dict[int, int]) -> tuple[int, float, float]:
        parts = [self.traces[pair] for pair in mapping.items()]
        if not parts:  # related chains in a row, of which this mapping pairs only strangers
            return 0, 0.0, 0.0
        made, true = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        if not len(true):
            return len(mapping), 0.0, 0.0
        return len(mapping), round(lddt(made, true).score, 6), -rmsd(made, true)

    def _by_superposition(self) -> list[dict[int, int]]:
        """One mapping for each pair of chains: that pair superposed, the others go where they lie best."""
        result = []
        for made, true in (trace for trace in self.traces.values() if len(trace[1]) > 2):
            rotation, shift = superpose(torch.from_numpy(made), torch.from_numpy(true))
            cost = np.full((len(self.reference.chains), len(self.predicted.chains)), NOWHERE)
            for (r, p), (there, here) in self.traces.items():
                cost[r, p] = NOWHERE / 2
                if len(here):
                    moved = (rotate(torch.from_numpy(there), rotation) + shift).numpy()
                    cost[r, p] = min(rmsd(moved, here, superposed=False), NOWHERE / 2)
            rows, columns = linear_sum_assignment(cost)
            mapping = {int(r): int(p) for r, p in zip(rows, columns, strict=True) if cost[r, p] < NOWHERE}
            if mapping not in result:
                result.append(mapping)
        return result

    def _by_sequence(self) -> dict[int, int]:
        """The mapping of most identity, where no two chains have enough atoms to be superposed."""
        identity = np.zeros((len(self.reference.chains), len(self.predicted.chains)))
        for pair, (_, share) in self.alignments.items():
            identity[pair] = share
        rows, columns = linear_sum_assignment(identity, maximize=True)
        return {int(r): int(p) for r, p in zip(rows, columns, strict=True) if (r, p) in self.alignments}

    def result(self, mapping: dict[int, int]) -> Correspondence:
        reference, predicted = self.reference, self.predicted
        chains = np.full(len(reference.chains), -1, dtype=np.int64)
        identity = np.zeros(len(reference.chains))
        residues = np.full(len(reference.residues), -1, dtype=np.int64)
        for r, p in mapping.items():
            chains[r], identity[r] = p, self.alignments[r, p][1]
            pairs = self.residues(r, p)
            residues[pairs[:, 1]] = pairs[:, 0]
        names = {
            (int(residue), str(name)): row
            for row, (residue, name) in enumerate(zip(predicted.atoms.residue, predicted.atoms.name, strict=True))
            if predicted.atoms.resolved[row]
        }
        atoms = np.array(
            [
                names.get((int(residues[residue]), str(name)), -1)
                for residue, name in zip(reference.atoms.residue, reference.atoms.name, strict=True)
            ],
            dtype=np.int64,
        )
        # In mutated or modified residues a name may mean another element.
        atoms[(predicted.atoms.element[atoms] != reference.atoms.element) & (atoms >= 0)] = -1
        return Correspondence(chains, identity, residues, atoms, coordinates_on(atoms, predicted))


def coordinates_on(atoms: Int[np.ndarray, "A"], predicted: Structure) -> Float[np.ndarray, "A 3"]:
    """Return the coordinates of predicted ``atoms``, Å; for each -1 a place `NOWHERE` from every other."""
    x: Float[np.ndarray, "A 3"] = predicted.atoms.coordinates[atoms].astype(np.float64)
    absent = np.flatnonzero(atoms < 0)
    x[absent] = 0.0
    x[absent, 0] = NOWHERE * (1.0 + np.arange(len(absent)))
    return x


def _breaks(structure: Structure, start: int, end: int) -> tuple[int, ...]:
    """Positions in a chain (residues ``start`` to ``end``) without a bond to the one before."""
    rows = structure.atoms.residue[structure.bonds.atoms[structure.bonds.is_inter]]
    linked = set(rows.max(1)[np.abs(rows[:, 0] - rows[:, 1]) == 1].tolist())
    return tuple(row - start for row in range(start + 1, end) if row not in linked)


def _alike(first: ChainKind, second: ChainKind) -> bool:
    return first is second or ChainKind.PROTEIN not in (first, second)


def _count(group: tuple[list[int], list[int]]) -> int:
    few, many = sorted(map(len, group))
    return int(np.prod(np.arange(many - few + 1, many + 1, dtype=float).clip(max=1e6)).clip(max=1e9))


def _assignments(
    group: tuple[list[int], list[int]], allowed: dict[tuple[int, int], tuple[Int[np.ndarray, "n 2"], float]]
) -> Iterator[dict[int, int]]:
    """Every way to give the chains of the smaller side different partners, as far as pairs are allowed."""
    true, made = group
    if len(true) <= len(made):
        choices = (zip(true, chosen, strict=True) for chosen in permutations(made, len(true)))
    else:
        choices = (zip(chosen, made, strict=True) for chosen in permutations(true, len(made)))
    for pairs in choices:
        yield {r: p for r, p in pairs if (r, p) in allowed}
