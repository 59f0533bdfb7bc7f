"""Faults planted in a backbone, to measure whether a detector finds them. Arrays [L, 4, 3]: N, CA, C, O in Å."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_N, _CA, _C, _O = range(4)


def with_flipped_peptide(backbone: Float[np.ndarray, "L 4 3"], residue: int) -> Float[np.ndarray, "L 4 3"]:
    """Return the chain with the peptide plane after ``residue`` turned by half a turn about its two CA atoms.

    C and O of ``residue`` and N of the next one move; no CA atom does. A common error of models built into poor maps.

    Args:
        residue: row from 0, not the last.

    Raises:
        IndexError: there is no residue after it.
    """
    if not 0 <= residue < len(backbone) - 1:
        raise IndexError(f"Residue {residue} of {len(backbone)} has no peptide bond after it.")
    result = backbone.copy()
    origin = backbone[residue, _CA]
    axis = backbone[residue + 1, _CA] - origin
    axis = axis / np.linalg.norm(axis)
    for row, atom in ((residue, _C), (residue, _O), (residue + 1, _N)):
        arm = backbone[row, atom] - origin
        result[row, atom] = origin + 2 * (arm @ axis) * axis - arm
    return result


def with_noise(
    backbone: Float[np.ndarray, "L 4 3"], size: float, generator: np.random.Generator
) -> Float[np.ndarray, "L 4 3"]:
    """Return the chain with Gaussian noise on every coordinate, of standard deviation ``size`` Å."""
    return (backbone + generator.normal(scale=size, size=backbone.shape)).astype(backbone.dtype)


def mirrored(backbone: Float[np.ndarray, "L 4 3"]) -> Float[np.ndarray, "L 4 3"]:
    """Return the chain's mirror image: what distances alone cannot tell from the chain itself."""
    image: Float[np.ndarray, "L 4 3"] = backbone * np.array([-1.0, 1.0, 1.0], dtype=backbone.dtype)
    return image
