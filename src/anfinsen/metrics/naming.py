"""Symmetric atoms of residues: names that mean nothing are exchanged where that fits the reference better."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .lddt import INCLUSION_RADIUS, THRESHOLDS

# Mariani et al. 2013 (supplement), and the free oxygens of nucleotides.
SYMMETRIC: dict[str, tuple[tuple[str, str], ...]] = {
    "ARG": (("NH1", "NH2"),),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "LEU": (("CD1", "CD2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "VAL": (("CG1", "CG2"),),
    **dict.fromkeys(("A", "C", "G", "U", "DA", "DC", "DG", "DT"), (("OP1", "OP2"),)),
}


def partners(
    residue: Int[np.ndarray, "A"], residue_name: NDArray[np.character], name: NDArray[np.character]
) -> Int[np.ndarray, "A"]:
    """Return for every atom the one that it may exchange its name with; itself where there is none.

    Args:
        residue: of each atom. residue_name: component code of each atom's residue. name: of each atom.
    """
    other = {(code, a): b for code, pairs in SYMMETRIC.items() for pair in pairs for a, b in (pair, pair[::-1])}
    rows = {(int(r), str(n)): row for row, (r, n) in enumerate(zip(residue, name, strict=True))}
    result = np.arange(len(name))
    for row, (r, code, n) in enumerate(zip(residue, residue_name, name, strict=True)):
        partner = other.get((str(code), str(n)))
        if partner is not None:
            result[row] = rows.get((int(r), partner), row)
    return result


def exchanged(
    predicted: Float[np.ndarray, "A 3"],
    true: Float[np.ndarray, "A 3"],
    resolved: Bool[np.ndarray, "A"],
    residue: Int[np.ndarray, "A"],
    partner: Int[np.ndarray, "A"],
) -> Int[np.ndarray, "A"]:
    """Return which predicted atom to take for each atom, so that each residue has the naming with more distances kept.

    Only distances to atoms that have no partner are looked at, so that residues can be judged one by one.

    Args:
        predicted, true: Å, in correspondence. resolved: atoms with a known true position.
        residue: of each atom. partner: what `partners` returns.

    Source: Mariani et al. 2013.
    """
    order = np.arange(len(true))
    known = np.flatnonzero(resolved)
    moving, fixed = known[partner[known] != known], known[partner[known] == known]
    if not len(moving) or not len(fixed):
        return order
    near = cKDTree(true[moving]).query_ball_tree(cKDTree(true[fixed]), INCLUSION_RADIUS)
    first = np.repeat(moving, [len(row) for row in near])
    second = fixed[np.array([j for row in near for j in row], dtype=np.int64)]
    apart = residue[first] != residue[second]
    first, second = first[apart], second[apart]
    wanted = np.linalg.norm(true[first] - true[second], axis=1)
    kept = []
    for chosen in (first, partner[first]):
        error = np.abs(np.linalg.norm(predicted[chosen] - predicted[second], axis=1) - wanted)
        counts = np.sum([error < threshold for threshold in THRESHOLDS], axis=0)
        kept.append(np.bincount(residue[first], weights=counts, minlength=int(residue.max()) + 1))
    better = (kept[1] > kept[0])[residue]
    return np.where(better, partner, order)
