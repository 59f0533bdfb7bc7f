"""How far apart two atoms of one amino acid may be, and what a peptide bond looks like. Å."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .rigid_groups import RESIDUE_TYPES, RigidGroups, rigid_groups

# Mean and standard deviation of the C-N bond, before any residue and before proline (Engh and Huber 1991).
PEPTIDE_BOND, PEPTIDE_BOND_PROLINE = (1.329, 0.014), (1.341, 0.016)
# Of the cosines of the angles CA-C-N and C-N-CA (116.6 +- 2.0 and 121.4 +- 2.4 degrees), as in AlphaFold 2's code.
COS_CA_C_N, COS_C_N_CA = (-0.4473, 0.0311), (-0.5203, 0.0353)

_LONGEST_BOND = 2.0  # Å; atoms of an amino acid that are not bonded are 2.1 Å apart at least
# Engh and Huber's (1991) standard deviations of bonds are 0.012-0.033 Å, of angles 0.5-3 degrees; one value each here.
_BOND_DEVIATION, _ANGLE_DEVIATION = 0.02, np.radians(2.0)
# The torsions at which proline's ring closes: N-CD is then 1.48 Å, CA-CD 2.43 Å (Engh and Huber 1991: 1.473, 2.44).
_PROLINE_CHIS = np.radians([-28.0, 22.0])
# Every other side chain, so that only bonded atoms are near.
_EXTENDED = np.radians([-60.0, 180.0, 180.0, 180.0])


@dataclass(frozen=True)
class DistanceBounds:
    """Bounds on the distance of two atoms of one residue, by type (T = 21) and places; 0 where there is no pair.

    Attributes:
        lower, upper: Å; no upper bound (infinity) for atoms more than two bonds apart.
    """

    lower: Float[np.ndarray, "T 14 14"]
    upper: Float[np.ndarray, "T 14 14"]


def distance_bounds(overlap_tolerance: float = 1.5, deviations: float = 12.0) -> DistanceBounds:
    """Return the bounds: atoms one or two bonds apart stay near the ideal distance, others do not overlap.

    Args:
        overlap_tolerance: how much van der Waals spheres may overlap, Å.
        deviations: how many standard deviations a distance over one or two bonds may be off.

    Source: AlphaFold 2 supplement, section 1.9.11; released code, ``make_atom14_dists_bounds``, whose table of standard
    deviations is replaced by one value for bonds and one for angles.
    """
    tables = rigid_groups()
    shape = (len(RESIDUE_TYPES), *tables.atom_mask.shape[1:], *tables.atom_mask.shape[1:])
    lower, upper = np.zeros(shape), np.zeros(shape)
    for row, code in enumerate(RESIDUE_TYPES):
        pairs = np.logical_and.outer(tables.atom_mask[row], tables.atom_mask[row])
        np.fill_diagonal(pairs, False)
        lower[row] = np.add.outer(tables.atom_radius[row], tables.atom_radius[row]) - overlap_tolerance
        upper[row] = np.inf
        x = _ideal_coordinates(tables, row, _PROLINE_CHIS if code == "PRO" else _EXTENDED)
        distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
        bonded = (distance < _LONGEST_BOND) & pairs
        deviation = _deviation(distance, bonded)
        fixed = pairs & np.isfinite(deviation)
        slack = deviations * deviation[fixed]
        lower[row][fixed], upper[row][fixed] = distance[fixed] - slack, distance[fixed] + slack
        lower[row][~pairs] = upper[row][~pairs] = 0.0
    return DistanceBounds(lower, upper)


def _deviation(distance: Float[np.ndarray, "14 14"], bonded: Bool[np.ndarray, "14 14"]) -> Float[np.ndarray, "14 14"]:
    """Standard deviation of distances over one or two bonds; infinite for the others."""
    result = np.where(bonded, _BOND_DEVIATION, np.inf)
    for middle in range(len(bonded)):
        arms = np.flatnonzero(bonded[middle])
        for i in arms:
            for j in arms:
                if i == j or bonded[i, j]:
                    continue
                a, b, c = distance[middle, i], distance[middle, j], distance[i, j]
                # The law of cosines, differentiated by the angle and by each length.
                cosine = (a * a + b * b - c * c) / (2 * a * b)
                by_angle = a * b * np.sqrt(1 - cosine * cosine) / c
                by_length = np.array([a - b * cosine, b - a * cosine]) / c
                terms = [by_angle * _ANGLE_DEVIATION, *(by_length * _BOND_DEVIATION)]
                result[i, j] = min(result[i, j], float(np.linalg.norm(terms)))
    return result


def _ideal_coordinates(tables: RigidGroups, row: int, chis: Float[np.ndarray, "k"]) -> Float[np.ndarray, "14 3"]:
    """The residue with the given chis, radians; psi, and those not given, are 0."""
    rotation, origin = tables.group_rotation[row].copy(), tables.group_origin[row].copy()
    for group in range(4, rotation.shape[0]):
        angle = chis[group - 4] if group - 4 < len(chis) else 0.0
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        rotation[group] = rotation[group] @ turn
        if group > 4:
            origin[group] = rotation[group - 1] @ origin[group] + origin[group - 1]
            rotation[group] = rotation[group - 1] @ rotation[group]
    group = tables.atom_group[row]
    x: Float[np.ndarray, "14 3"] = np.einsum("aij,aj->ai", rotation[group], tables.atom_position[row]) + origin[group]
    return x
