"""Scores of interfaces between chains, and clashes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from anfinsen.geometry import rotate, superpose

from .superposed import rmsd

CONTACT, INTERFACE = 5.0, 10.0  # Å between any atoms: a native contact; a residue of the interface (DockQ)
IRMSD_HALF, LRMSD_HALF = 1.5, 8.5  # Å, DockQ's scales
ENOUGH = 0.5  # of the true contacts, whose residues are there: with less, what RMSDs are worth falls with the share
CLASH_DISTANCE = 1.1  # Å (AlphaFold 3 supplement, section 5.9.2)
CLASH_ATOMS, CLASH_SHARE = 100, 0.5


@dataclass(frozen=True)
class DockQ:
    """Quality of one interface (Basu and Wallner 2016).

    Attributes:
        score: mean of fnat and the two scaled RMSDs, 0 to 1; 0.23 acceptable, 0.49 medium, 0.80 high. Where less than
            half of the true contacts have both residues in the prediction, the RMSDs count less by as much: they say
            nothing of the rest.
        fnat: share of true residue contacts that the prediction has.
        f1: harmonic mean of that share and of the share of the prediction's contacts that are true.
        irmsd: RMSD of the backbone of interface residues, Å; None where none of it is there. lrmsd: RMSD of the smaller
            chain's backbone when the larger one is superposed, Å.
    """

    score: float
    fnat: float
    f1: float
    irmsd: float | None
    lrmsd: float

    @property
    def score_f1(self) -> float:
        """The score with ``f1`` in place of ``fnat`` (Mirabello and Wallner 2024).

        ``fnat`` does not mind false contacts, so that it gives chains that run through each other a third for nothing.
        """
        return self.score + (self.f1 - self.fnat) / 3


def dockq(
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    second_chain: Bool[np.ndarray, "n"],
    residue: Int[np.ndarray, "n"],
    backbone: Bool[np.ndarray, "n"],
    present: Bool[np.ndarray, "n"] | None = None,
) -> DockQ | None:
    """Return DockQ of two chains, or None if they do not touch in the true structure.

    As DockQ 2.1.3 computes it, but that residues which differ in name count, too.

    Args:
        predicted, true: resolved heavy atoms of both chains in correspondence, Å.
        second_chain: whether an atom belongs to the second chain.
        residue: residue number of each atom, distinct between the chains.
        backbone: N, CA, C and O (or the atoms that stand for them).
        present: atoms that the prediction has (at least one of each backbone); all if not given. The others must stand
            far from everything in ``predicted``: their contacts are lost, and no RMSD counts them.
    """
    native = _residue_contacts(true, second_chain, residue, CONTACT)
    if not native:
        return None
    found = _residue_contacts(predicted, second_chain, residue, CONTACT)
    fnat = len(native & found) / len(native)
    f1 = 2 * len(native & found) / (len(native) + len(found))
    if present is None:
        present = np.ones(len(true), dtype=bool)
    # RMSDs are of residues that are there; so is the interface, whose residues may be in it for the sake of others.
    kept = np.isin(residue, residue[present])
    pairs = _residue_contacts(true[kept], second_chain[kept], residue[kept], INTERFACE)
    near = np.array(sorted({number for pair in pairs for number in pair}))
    backbone = backbone & present
    there = set(residue[backbone].tolist())
    share = sum(there.issuperset(pair) for pair in native) / len(native)
    interface = np.isin(residue, near) & backbone
    irmsd = rmsd(predicted, true, interface) if interface.any() else None
    # Of chains of the same size DockQ moves the first.
    smaller = second_chain if 2 * len(set(residue[second_chain])) < len(set(residue)) else ~second_chain
    x, y = (torch.from_numpy(part.astype(np.float64)) for part in (predicted, true))
    rotation, shift = superpose(x, y, torch.from_numpy((backbone & ~smaller).astype(np.float64)))
    moved = (rotate(x, rotation) + shift).numpy()
    lrmsd = rmsd(moved, true, backbone & smaller, superposed=False)
    near_enough = 0.0 if irmsd is None else 1 / (1 + (irmsd / IRMSD_HALF) ** 2) + 1 / (1 + (lrmsd / LRMSD_HALF) ** 2)
    score = (fnat + min(1.0, share / ENOUGH) * near_enough) / 3
    return DockQ(score, fnat, f1, irmsd, lrmsd)


def has_clash(coordinates: Float[np.ndarray, "n 3"], chain: Int[np.ndarray, "n"]) -> bool:
    """Return whether two chains overlap: more than 100 atoms, or half of the smaller chain's, within 1.1 Å.

    Args:
        coordinates: atoms of polymer chains, Å.
        chain: chain number of each atom.

    Source: AlphaFold 3 supplement, section 5.9.2.
    """
    members = {int(c): coordinates[chain == c] for c in np.unique(chain)}
    trees = {c: cKDTree(x) for c, x in members.items()}
    for a, b in combinations(members, 2):
        near = trees[a].query_ball_tree(trees[b], CLASH_DISTANCE)
        clashes = min(sum(map(bool, near)), len({j for row in near for j in row}))
        if clashes > CLASH_ATOMS or clashes > CLASH_SHARE * min(len(members[a]), len(members[b])):
            return True
    return False


def _residue_contacts(
    x: Float[np.ndarray, "n 3"], second: Bool[np.ndarray, "n"], residue: Int[np.ndarray, "n"], distance: float
) -> set[tuple[int, int]]:
    left, right = np.flatnonzero(~second), np.flatnonzero(second)
    near = cKDTree(x[left]).query_ball_tree(cKDTree(x[right]), distance)
    return {(int(residue[left[i]]), int(residue[right[j]])) for i, partners in enumerate(near) for j in partners}
