"""Where a chain of CA atoms runs as a helix or a strand, and how it winds and stretches."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from anfinsen.geometry import dihedrals

SecondaryStructure = Literal["helix", "strand", "coil"]
_LETTERS: dict[str, SecondaryStructure] = {"a": "helix", "b": "strand"}
# Dihedral angles of four successive CA atoms, in degrees: 50 in an alpha helix, about -170 in a strand.
WINDING = (20.0, 80.0)
SPAN = 4  # residues; CA atoms so far apart are 6.2 Å from each other in an alpha helix and about 13 Å in a ribbon


def secondary_structure(ca: Float[np.ndarray, "L 3"]) -> NDArray[np.character]:
    """Return "helix", "strand" or "coil" for every residue of one unbroken chain.

    Distances and angles of successive CA atoms decide (P-SEA, Labesse et al. 1997, as biotite has it), because hydrogen
    bonds, which DSSP needs, are seldom exact in predictions by small models.

    Args:
        ca: Å, one after another along the chain.
    """
    from biotite.structure import AtomArray, annotate_sse

    atoms = AtomArray(len(ca))
    atoms.coord = ca.astype(np.float32)
    atoms.atom_name[:], atoms.res_name[:], atoms.element[:] = "CA", "ALA", "C"
    atoms.chain_id[:], atoms.res_id = "A", np.arange(1, len(ca) + 1)
    return np.array([_LETTERS.get(str(letter), "coil") for letter in annotate_sse(atoms)], dtype="U6")


def winding(ca: Float[np.ndarray, "L 3"]) -> Bool[np.ndarray, "L"]:
    """Return which residues of one unbroken chain wind as in an alpha helix: both dihedrals about them say so.

    No length decides, so that a helix drawn too narrow or too short is found, which `secondary_structure` calls coil;
    of a random chain, one residue in 36 winds. The first and last two residues never do.

    Args:
        ca: one after another along the chain, in any unit.
    """
    result = np.zeros(len(ca), dtype=bool)
    if len(ca) > SPAN:
        points = torch.from_numpy(ca.astype(np.float64))
        angles = np.degrees(dihedrals(points[:-3], points[1:-2], points[2:-1], points[3:]).numpy())
        inside = (angles >= WINDING[0]) & (angles <= WINDING[1])
        result[2:-2] = inside[:-1] & inside[1:]
    return result


def stretching(ca: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L"]:
    """Return how far in Å the chain gets in `SPAN` residues around each: 6.2 in an alpha helix, about 13 in a ribbon.

    Residues at the ends have what the nearest one has; a chain of fewer residues has none, and 0 is returned.

    Args:
        ca: Å, one after another along the chain.
    """
    if len(ca) <= SPAN:
        return np.zeros(len(ca))
    distance = np.linalg.norm(ca[SPAN:] - ca[:-SPAN], axis=1)
    return np.asarray(np.pad(distance, SPAN // 2, mode="edge"), dtype=np.float64)
