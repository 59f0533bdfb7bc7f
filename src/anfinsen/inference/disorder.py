"""How much of a predicted structure is disordered, judged by how exposed its residues are."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from anfinsen.chemistry import ChainKind, Structure

# Relative accessibility above which a smoothed residue counts as disordered (AlphaFold 3 supplement, section 5.9.3;
# the threshold is that of AlphaFold-disorder, Piovesan et al. 2022).
EXPOSED = 0.581
WINDOW = 25  # residues
PROBE = 1.4  # Å, a water molecule
# Largest accessible surface of each residue X in Å² (Rost and Sander 1994), which the threshold was made with.
MAX_ACCESSIBILITY = {
    "ALA": 106.0, "ARG": 248.0, "ASN": 157.0, "ASP": 163.0, "CYS": 135.0, "GLN": 198.0, "GLU": 194.0, "GLY": 84.0,
    "HIS": 184.0, "ILE": 169.0, "LEU": 164.0, "LYS": 205.0, "MET": 188.0, "PHE": 197.0, "PRO": 136.0, "SER": 130.0,
    "THR": 142.0, "TRP": 227.0, "TYR": 222.0, "VAL": 142.0,
}  # fmt: skip
# Radii in Å of DSSP (Kabsch and Sander 1983): backbone atoms by name, all others by one number.
_BACKBONE_RADII = {"N": 1.65, "CA": 1.87, "C": 1.76, "O": 1.40}
_SIDE_CHAIN_RADIUS = 1.80
_POINTS = 200  # on each atom's sphere


def fraction_disordered(structure: Structure, coordinates: Float[np.ndarray, "A 3"]) -> float:
    """Return the share of standard protein residues whose smoothed relative accessibility exceeds 0.581.

    The surface is that of the protein chains together; 0 where there are none.

    Args:
        structure: the molecules. coordinates: Å, one row per atom of ``structure``.

    Source: AlphaFold 3 supplement, section 5.9.3.
    """
    kinds = np.array([chain.kind is ChainKind.PROTEIN for chain in structure.chains])
    protein = kinds[structure.atom_chain]
    if not protein.any():
        return 0.0
    accessibility = _relative_accessibility(structure, coordinates, protein)
    exposed: list[float] = []
    for index in np.flatnonzero(kinds):
        values = accessibility[structure.residues.chain == index]
        values = values[np.isfinite(values)]
        if len(values):
            exposed.extend(_smooth(values) > EXPOSED)
    return float(np.mean(exposed)) if exposed else 0.0


def _relative_accessibility(
    structure: Structure, coordinates: Float[np.ndarray, "A 3"], protein: Bool[np.ndarray, "A"]
) -> Float[np.ndarray, "R"]:
    """Return accessible surface over its maximum for every residue; NaN where no maximum is known."""
    atoms = structure.atoms
    names = atoms.name[protein].astype(str)
    radii = np.array([_BACKBONE_RADII.get(name, _SIDE_CHAIN_RADIUS) for name in names])
    area = accessible_area(coordinates[protein].astype(np.float64), radii)
    total = np.bincount(atoms.residue[protein], weights=area, minlength=len(structure.residues))
    largest = np.array([MAX_ACCESSIBILITY.get(str(name), np.nan) for name in structure.residues.name])
    relative: Float[np.ndarray, "R"] = np.minimum(total / largest, 1.0)
    return relative


def accessible_area(coordinates: Float[np.ndarray, "n 3"], radii: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return the area in Å² that the centre of a water molecule can reach around each atom (Shrake and Rupley 1973).

    Points are looked up in trees, because poor predictions are spread so far that grids of cells exhaust memory, or are
    so dense that lists of neighbours do.
    """
    reach = radii + PROBE
    points = coordinates[:, None] + reach[:, None, None] * _sphere()
    covered = np.zeros(points.shape[:2], dtype=bool)
    for distance in np.unique(reach):
        tree, left = cKDTree(coordinates[reach == distance]), ~covered
        # Just below the reach: an atom does not cover the points on its own sphere.
        found, _ = tree.query(points[left], distance_upper_bound=distance * (1 - 1e-9))
        covered[left] = np.isfinite(found)
    area: Float[np.ndarray, "n"] = (1 - covered.mean(axis=1)) * 4 * np.pi * reach**2
    return area


@cache
def _sphere() -> Float[np.ndarray, "points 3"]:
    """Return points spread evenly over the unit sphere along a golden spiral."""
    index = np.arange(_POINTS) + 0.5
    z = 1 - 2 * index / _POINTS
    angle = np.pi * (1 + np.sqrt(5)) * index
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)


def _smooth(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return the running mean over up to 25 residues; the window is cut off at the ends of the chain."""
    half = WINDOW // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    means: Float[np.ndarray, "n"] = (sums[high] - sums[low]) / (high - low)
    return means
