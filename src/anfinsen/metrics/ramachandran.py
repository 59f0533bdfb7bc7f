"""Ramachandran outliers: backbones that bend as next to no real one does.

The regions were counted from the phi and psi of 12,150 chains of the Protein Data Bank by
`scripts/ramachandran_regions.py`, in the classes of MolProbity (Lovell et al. 2003). A residue's level is the share of
residues of its class that are rarer than its place; as there, 98 % of real residues are favoured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from jaxtyping import Float, Int, UInt16
from numpy.typing import NDArray

from anfinsen.chemistry import Structure

from .backbone import following_residues, phi_psi

CLASSES = ("general", "isoleucine or valine", "before proline", "glycine", "proline")
GENERAL, BRANCHED, BEFORE_PROLINE, GLYCINE, PROLINE = range(5)
BINS = 72  # per angle: 5 degrees
SCALE = 65535  # of the file's levels
FAVOURED, OUTLIER = 0.02, 0.002  # levels; the chains counted have no resolution cut-off, MolProbity's have


@dataclass(frozen=True)
class Ramachandran:
    """Backbone angles of one structure.

    Attributes:
        residues: those with phi and psi, as rows of the residue table. levels: of each, 0 to 1.
        favoured, outliers: share of them above 0.02 and below 0.002; None without residues.
    """

    residues: Int[np.ndarray, "k"]
    levels: Float[np.ndarray, "k"]
    favoured: float | None
    outliers: float | None


def ramachandran(structure: Structure) -> Ramachandran:
    """Judge every residue of a protein that has both neighbours."""
    residues, found = phi_psi(structure)
    following = following_residues(structure)
    name = structure.residues.name
    levels = ramachandran_levels(found, ramachandran_class(name[residues], name[following[residues]]))
    if not len(residues):
        return Ramachandran(residues, levels, None, None)
    return Ramachandran(residues, levels, float((levels >= FAVOURED).mean()), float((levels < OUTLIER).mean()))


def ramachandran_class(name: NDArray[np.character], following: NDArray[np.character]) -> Int[np.ndarray, "k"]:
    """Return the index into `CLASSES` of residues with these component codes, followed by those."""
    result = np.full(len(name), GENERAL, dtype=np.int64)
    result[np.isin(name, ["ILE", "VAL"])] = BRANCHED
    result[following == "PRO"] = BEFORE_PROLINE
    result[name == "GLY"] = GLYCINE
    result[name == "PRO"] = PROLINE
    return result


def ramachandran_bins(angles: Float[np.ndarray, "k 2"]) -> Int[np.ndarray, "k 2"]:
    """Return the cell of phi and psi, radians."""
    bins: Int[np.ndarray, "k 2"] = np.floor((angles / (2 * np.pi) + 0.5) * BINS).astype(np.int64) % BINS
    return bins


def ramachandran_levels(angles: Float[np.ndarray, "k 2"], kind: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Return how common phi and psi (radians) are: the share of residues of the class in rarer places."""
    phi, psi = ramachandran_bins(angles).T
    levels: Float[np.ndarray, "k"] = _table()[kind, phi, psi] / SCALE
    return levels


@cache
def _table() -> UInt16[np.ndarray, "5 72 72"]:
    with resources.files("anfinsen.metrics").joinpath("ramachandran.npz").open("rb") as file, np.load(file) as arrays:
        table: UInt16[np.ndarray, "5 72 72"] = arrays["levels"]
    return table
