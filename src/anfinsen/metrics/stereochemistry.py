"""Whether a structure could be real: bond lengths, angles, handedness and clashes; no reference is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from rdkit import Chem
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from anfinsen.chemistry import Component, ComponentLibrary, Structure, is_metal
from anfinsen.geometry import angles

from .backbone import backbone_atoms, following_residues

# Engh and Huber 2001 (International Tables F, 18.3), protein backbone: mean and standard deviation; Å and degrees.
# A "+" marks an atom of the next residue.
Ideal = dict[tuple[str, ...], tuple[float, float]]
BACKBONE_BONDS: Ideal = {
    ("N", "CA"): (1.459, 0.020),
    ("CA", "C"): (1.525, 0.026),
    ("C", "O"): (1.229, 0.019),
    ("C", "+N"): (1.336, 0.023),
}
BACKBONE_ANGLES: Ideal = {
    ("N", "CA", "C"): (111.0, 2.7),
    ("CA", "C", "O"): (120.1, 2.1),
    ("CA", "C", "+N"): (117.2, 2.2),
    ("O", "C", "+N"): (122.7, 1.6),
    ("C", "+N", "+CA"): (121.7, 2.5),
}
OUTLIER = 4.0  # standard deviations (MolProbity, Williams et al. 2018)
DISTORTED = 0.25  # of the ideal bond length (PoseBusters, Buttenschoen et al. 2024)
# Overlap of van der Waals spheres that is a clash, and what a hydrogen bond may overlap besides (UCSF ChimeraX), Å.
CLASH_OVERLAP, HYDROGEN_BOND = 0.6, 0.4
_POLAR = (7, 8, 9, 16)
_FAR_BONDED = 3  # bonds: atoms so near along bonds do not clash
_FLATTEST = 0.1  # of the volume of a centre spanned by unit vectors; a regular one has 0.77


@dataclass(frozen=True)
class Stereochemistry:
    """What is unusual in one structure; shares are 0 to 1, and None where there is nothing to judge.

    Attributes:
        bond_rmsd, angle_rmsd: of protein backbones from Engh and Huber's means, Å and degrees.
        bond_outliers, angle_outliers: share of these beyond four standard deviations.
        distorted_bonds: number of bonds of all molecules that are 25 % longer or shorter than in their component.
        chiral_centres, chirality_errors: centres that were judged, and those of the wrong hand (or flat).
        clashes: pairs of atoms more than three bonds apart whose spheres overlap by 0.6 Å or more (1.0 Å between atoms
            that may form a hydrogen bond). clashes_per_1000_atoms: of them.
    """

    bond_rmsd: float | None
    angle_rmsd: float | None
    bond_outliers: float | None
    angle_outliers: float | None
    distorted_bonds: int
    chiral_centres: int
    chirality_errors: int
    clashes: int
    clashes_per_1000_atoms: float


def stereochemistry(structure: Structure, library: ComponentLibrary) -> Stereochemistry:
    """Judge the resolved atoms of ``structure``; ``library`` knows its components."""
    bond_rmsd, bond_share = _deviations(_backbone(structure, BACKBONE_BONDS), BACKBONE_BONDS)
    angle_rmsd, angle_share = _deviations(_backbone(structure, BACKBONE_ANGLES), BACKBONE_ANGLES)
    centres, wrong, distorted = 0, 0, 0
    rows = np.searchsorted(structure.atoms.residue, np.arange(len(structure.residues) + 1))
    outside = _outside_bonds(structure)
    components = {str(code): library.get(str(code)) for code in np.unique(structure.residues.name)}
    hands = {code: _centres(component) for code, component in components.items()}
    for residue, code in enumerate(structure.residues.name.tolist()):
        own = {
            str(structure.atoms.name[a]): a
            for a in range(rows[residue], rows[residue + 1])
            if structure.atoms.resolved[a]
        }
        right, judged = _hands(structure, hands[code], own, outside)
        centres, wrong = centres + judged, wrong + judged - right
        distorted += _distorted(structure, components[code], own)
    clashing = len(clashes(structure))
    return Stereochemistry(
        bond_rmsd,
        angle_rmsd,
        bond_share,
        angle_share,
        distorted,
        centres,
        wrong,
        clashing,
        1000 * clashing / max(1, int(structure.atoms.resolved.sum())),
    )


def clashes(structure: Structure) -> Int[np.ndarray, "k 2"]:
    """Return the pairs of resolved atoms that overlap too much (see `Stereochemistry`); metals never do."""
    radius = _radii()[structure.atoms.element]
    known = np.flatnonzero(structure.atoms.resolved & (radius > 0))
    x = structure.atoms.coordinates[known]
    if len(known) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = known[cKDTree(x).query_pairs(2 * float(radius.max()) - CLASH_OVERLAP, output_type="ndarray")]
    first, second = pairs.reshape(-1, 2).T
    distance = np.linalg.norm(structure.atoms.coordinates[first] - structure.atoms.coordinates[second], axis=1)
    polar = np.isin(structure.atoms.element, _POLAR)
    allowed = CLASH_OVERLAP + HYDROGEN_BOND * (polar[first] & polar[second])
    overlapping = radius[first] + radius[second] - distance >= allowed
    first, second = first[overlapping], second[overlapping]
    near = _within_bonds(structure)
    apart = ~np.asarray(near[first, second], dtype=bool).ravel() if len(first) else np.zeros(0, dtype=bool)
    return np.stack([first[apart], second[apart]], axis=1)


def _within_bonds(structure: Structure) -> csr_array:
    """Whether two atoms are at most three bonds apart, as a sparse matrix."""
    count = len(structure.atoms)
    i, j = structure.bonds.atoms.T
    ones = np.ones(2 * len(i) + count, dtype=np.int8)
    every = np.arange(count)
    step = coo_array(
        (ones, (np.concatenate([i, j, every]), np.concatenate([j, i, every]))), shape=(count, count)
    ).tocsr()
    reach = step
    for _ in range(_FAR_BONDED - 1):
        reach = ((reach @ step) > 0).astype(np.int8)
    return reach > 0


@cache
def _radii() -> Float[np.ndarray, "119"]:
    """Van der Waals radii by atomic number, Å; 0 for metals (they bind) and unknown elements."""
    table = Chem.GetPeriodicTable()
    return np.array([0.0] + [0.0 if is_metal(n) else table.GetRvdw(n) for n in range(1, 119)])


def _backbone(
    structure: Structure,
    ideal: Ideal,
) -> dict[tuple[str, ...], Float[np.ndarray, "k"]]:
    """Return the lengths (Å) or angles (degrees) of protein backbones, by their atoms' names."""
    place, following = backbone_atoms(structure), following_residues(structure)
    result: dict[tuple[str, ...], Float[np.ndarray, "k"]] = {}
    for names in ideal:
        rows = []
        for name in names:
            atoms = place[name.lstrip("+")]
            rows.append(np.where(following >= 0, atoms[following], -1) if name.startswith("+") else atoms)
        chosen = np.stack(rows)[:, (np.stack(rows) >= 0).all(0)]
        points = [torch.from_numpy(structure.atoms.coordinates[row].astype(np.float64)) for row in chosen]
        if len(names) == 2:
            result[names] = (points[0] - points[1]).norm(dim=-1).numpy()
        else:
            result[names] = angles(*points).rad2deg().numpy()
    return result


def _deviations(
    found: dict[tuple[str, ...], Float[np.ndarray, "k"]],
    ideal: Ideal,
) -> tuple[float | None, float | None]:
    error = np.concatenate([found[names] - ideal[names][0] for names in found])
    scale = np.concatenate([np.full(len(found[names]), ideal[names][1]) for names in found])
    if not len(error):
        return None, None
    return float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error) > OUTLIER * scale))


def _outside_bonds(structure: Structure) -> dict[int, list[int]]:
    """Atoms of other residues that an atom is bonded to."""
    result: dict[int, list[int]] = {}
    for first, second in structure.bonds.atoms[structure.bonds.is_inter].tolist():
        result.setdefault(first, []).append(second)
        result.setdefault(second, []).append(first)
    return result


def _hands(
    structure: Structure,
    centres: list[tuple[str, list[str], float]],
    own: dict[str, int],
    outside: dict[int, list[int]],
) -> tuple[int, int]:
    """Return how many chiral centres of a residue have the right hand, and how many were judged."""
    right = judged = 0
    for centre, neighbours, volume in centres:
        atom = own.get(centre)
        if atom is None:
            continue
        places = [own.get(name, -1) for name in neighbours]
        # The atom of the next residue stands where the leaving atom stood.
        others = [a for a in outside.get(atom, ()) if structure.atoms.resolved[a]]
        if places.count(-1) == 1 and len(others) == 1:
            places[places.index(-1)] = others[0]
        if -1 not in places:
            judged += 1
            actual = _volume(structure.atoms.coordinates[atom], structure.atoms.coordinates[places])
            right += int(actual * volume > 0 and abs(actual) > _FLATTEST)
    return right, judged


def _centres(component: Component) -> list[tuple[str, list[str], float]]:
    """Chiral centres with three heavy neighbours at least: name, three of them, volume of the right hand."""
    ideal = component.ideal if component.ideal is not None else component.model
    if ideal is None:
        return []
    result = []
    for row in np.flatnonzero(np.isin(component.stereo, ["R", "S"])).tolist():
        around = [b if a == row else a for a, b in component.bonds.tolist() if row in (a, b)]
        # Leaving atoms last: the others are always there.
        around.sort(key=lambda atom: (bool(component.leaving[atom]), atom))
        if len(around) >= 3:
            volume = _volume(ideal[row], ideal[around[:3]])
            if abs(volume) > _FLATTEST:
                names = [str(component.atom_names[atom]) for atom in around[:3]]
                result.append((str(component.atom_names[row]), names, volume))
    return result


def _volume(centre: Float[np.ndarray, "3"], around: Float[np.ndarray, "3 3"]) -> float:
    arms = (around - centre).astype(np.float64)
    length = np.linalg.norm(arms, axis=1, keepdims=True)
    return float(np.linalg.det(arms / np.maximum(length, 1e-9)))


def _distorted(structure: Structure, component: Component, own: dict[str, int]) -> int:
    ideal = component.ideal if component.ideal is not None else component.model
    if ideal is None:
        return 0
    atoms = np.array([own.get(str(name), -1) for name in component.atom_names], dtype=np.int64)
    bonds = component.bonds[(atoms[component.bonds] >= 0).all(1)]
    if not len(bonds):
        return 0
    metal: Bool[np.ndarray, "n"] = np.array([is_metal(int(number)) for number in component.elements])
    bonds = bonds[~metal[bonds].any(1)]
    x = structure.atoms.coordinates
    length = np.linalg.norm(x[atoms[bonds[:, 0]]] - x[atoms[bonds[:, 1]]], axis=1)
    wanted = np.linalg.norm((ideal[bonds[:, 0]] - ideal[bonds[:, 1]]).astype(np.float64), axis=1)
    return int((np.abs(length / np.maximum(wanted, 1e-6) - 1) > DISTORTED).sum())
