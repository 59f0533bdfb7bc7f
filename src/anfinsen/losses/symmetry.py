"""Which atoms of a component may be renamed: the automorphisms of its molecular graph that space allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from rdkit import Chem

from anfinsen.chemistry.component import Component

# Elements whose terminal atoms share charge and double bond with their twins (carboxylate, phosphate, guanidine).
RESONANT = frozenset({7, 8, 16})
# Bond classes stand as RDKit bond types because its matcher compares those; the names mean nothing here.
_RESONANT, _RING = Chem.BondType.QUINTUPLE, Chem.BondType.HEXTUPLE
_BY_ORDER = {
    1: Chem.BondType.SINGLE,
    2: Chem.BondType.DOUBLE,
    3: Chem.BondType.TRIPLE,
    4: Chem.BondType.QUADRUPLE,
    5: Chem.BondType.AROMATIC,
}
_CARBON = 6
LEAST_VOLUME = 0.2  # of three unit vectors; a tetrahedral centre has 0.77, a planar one 0


def symmetric_atom_permutations(
    component: Component, limit: int = 1000, *, allow_inversion: bool = False
) -> Int[np.ndarray, "k n"]:
    """Return the renamings of a component's atoms that give the same molecule; row 0 is the identity.

    In row p the atom called i takes the place of atom ``p[i]``. Orders of ring bonds and of bonds to terminal N, O and
    S do not count (resonance). A renaming that would invert a centre, judged by the component's coordinates, is left
    out: the methyl groups of valine and the oxygens of a phosphodiester have names that mean a place in space.

    Args:
        component: heavy atoms and bonds; ideal or model coordinates where known.
        limit: at most this many automorphisms are looked at.
        allow_inversion: also return renamings that invert a centre: the two ends of glycerol, which depositors of
            ligands name as it comes.
    """
    coordinates = component.ideal if component.ideal is not None else component.model
    order = {tuple(sorted(pair)): int(o) for pair, o in zip(component.bonds.tolist(), component.orders, strict=True)}
    return automorphisms(component.elements.astype(np.int64), order, None if allow_inversion else coordinates, limit)


def automorphisms(
    elements: Int[np.ndarray, "n"],
    bonds: Mapping[tuple[int, int], int],
    coordinates: Float[np.ndarray, "n 3"] | None,
    limit: int = 1000,
) -> Int[np.ndarray, "k n"]:
    """Return the permutations of atoms that keep elements, bonds and handedness; row 0 is the identity.

    Args:
        elements: atomic numbers.
        bonds: `BondOrder` of each pair of bonded atoms, smaller index first (one value for all if orders are unknown).
        coordinates: of any conformer, to judge handedness by, Å; without them it does not count.
        limit: at most this many automorphisms are looked at.
    """
    molecule = _graph(elements, bonds)
    matches = molecule.GetSubstructMatches(molecule, uniquify=False, useChirality=False, maxMatches=limit)
    identity = np.arange(len(elements))
    rows = [row for row in map(np.array, matches) if not np.array_equal(row, identity)]
    # RDKit lets an atom of unknown element match any other.
    rows = [row for row in rows if np.array_equal(elements[row], elements)]
    if coordinates is not None:
        centres = _signed_centres(bonds, coordinates)
        rows = [row for row in rows if _keeps_hands(row, centres)]
    return np.stack([identity, *rows]).astype(np.int64)


def stereo_automorphisms(
    elements: Int[np.ndarray, "n"],
    bonds: Sequence[tuple[int, int]],
    coordinates: Float[np.ndarray, "n 3"],
    limit: int = 1000,
) -> Int[np.ndarray, "k n"]:
    """Return the permutations of atoms that keep elements, bonds and stereo-centres; row 0 is the identity.

    Unlike :func:`automorphisms` it leaves centres alone that are none of chemistry's: the ends of glycerol may change
    places, though that mirrors their names in space, because depositors name them as it comes. The halves of
    meso-tartaric acid, one R and one S, may not. Bond orders do not count.

    Args:
        elements: atomic numbers. bonds: pairs of atoms.
        coordinates: of a conformer with the right hands, Å; bonded atoms are apart.
        limit: at most this many automorphisms are returned.
    """
    molecule = _molecule_in_space(elements, bonds, coordinates)
    # Centres by RDKit, rings of interdependent ones (inositol) included; its matcher then compares their parities.
    Chem.AssignStereochemistryFrom3D(molecule)
    matches = molecule.GetSubstructMatches(molecule, uniquify=False, useChirality=True, maxMatches=limit)
    identity = np.arange(len(elements))
    rows = [row for row in map(np.array, matches) if not np.array_equal(row, identity)]
    rows = [row for row in rows if np.array_equal(elements[row], elements)]
    return np.stack([identity, *rows]).astype(np.int64)


def _molecule_in_space(
    elements: Int[np.ndarray, "n"], bonds: Sequence[tuple[int, int]], coordinates: Float[np.ndarray, "n 3"]
) -> Chem.Mol:
    """A molecule of single bonds; carbons with three neighbours out of their plane have a hydrogen."""
    volumes = _signed_centres(bonds, coordinates)
    degree = np.bincount(np.array(bonds, dtype=np.int64).reshape(-1), minlength=len(elements))
    molecule, conformer = Chem.RWMol(), Chem.Conformer(len(elements))
    for index, (element, position) in enumerate(zip(elements.tolist(), coordinates.tolist(), strict=True)):
        atom = Chem.Atom(element)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
        conformer.SetAtomPosition(index, position)
    for (centre, *_), volume in volumes.items():
        if elements[centre] == _CARBON and degree[centre] == 3 and abs(volume) > LEAST_VOLUME:
            molecule.GetAtomWithIdx(centre).SetNumExplicitHs(1)
    for first, second in bonds:
        molecule.AddBond(first, second, Chem.BondType.SINGLE)
    molecule.AddConformer(conformer, assignId=True)
    Chem.FastFindRings(molecule)
    molecule.UpdatePropertyCache(strict=False)
    return molecule.GetMol()


def restrict_permutations(
    permutations: Int[np.ndarray, "k n"], present: Bool[np.ndarray, "n"], fixed: Bool[np.ndarray, "n"]
) -> Int[np.ndarray, "l m"]:
    """Return the renamings among the atoms that are there, as indices into those atoms.

    Args:
        permutations: renamings of all atoms of the component, row 0 the identity.
        present: atoms of the component that the residue has (leaving atoms may be gone).
        fixed: atoms that must keep their name, because a bond to another residue tells them apart.
    """
    place = np.cumsum(present) - 1
    keeps = (present[permutations] == present).all(1) & (permutations == np.arange(len(present)))[:, fixed].all(1)
    rows: Int[np.ndarray, "l m"] = place[permutations[keeps][:, present]]
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.asarray(rows[np.sort(first)])


def _graph(elements: Int[np.ndarray, "n"], bonds: Mapping[tuple[int, int], int]) -> Chem.Mol:
    molecule = Chem.RWMol()
    for element in elements:
        atom = Chem.Atom(int(element))
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for (first, second), order in bonds.items():
        molecule.AddBond(first, second, _BY_ORDER.get(order, Chem.BondType.UNSPECIFIED))
    Chem.FastFindRings(molecule)
    for bond in molecule.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        if bond.IsInRing():
            bond.SetBondType(_RING)
        elif any(end.GetDegree() == 1 and end.GetAtomicNum() in RESONANT for end in ends):
            bond.SetBondType(_RESONANT)
    return molecule.GetMol()


def _signed_centres(bonds: Iterable[tuple[int, int]], x: Float[np.ndarray, "n 3"]) -> dict[tuple[int, ...], float]:
    """Signed volume of each atom's bonds, three at a time: (centre, i < j < k) → volume of the unit vectors."""
    neighbours: list[list[int]] = [[] for _ in range(len(x))]
    for first, second in bonds:
        neighbours[first].append(second)
        neighbours[second].append(first)
    volumes: dict[tuple[int, ...], float] = {}
    for centre, around in enumerate(neighbours):
        for triple in combinations(sorted(around), 3):
            vectors = x[list(triple)] - x[centre]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            volumes[(centre, *triple)] = float(np.linalg.det(vectors / np.maximum(lengths, 1e-6)))
    return volumes


def _keeps_hands(row: Int[np.ndarray, "n"], centres: dict[tuple[int, ...], float]) -> bool:
    for (centre, *triple), volume in centres.items():
        image = row[triple]
        order = np.argsort(image)
        # an odd reordering of three vectors changes the sign of their volume
        sign = -1.0 if _is_odd(order) else 1.0
        other = sign * centres[(int(row[centre]), *(int(i) for i in image[order]))]
        if min(abs(volume), abs(other)) > LEAST_VOLUME and volume * other < 0:
            return False
    return True


def _is_odd(order: Int[np.ndarray, "3"]) -> bool:
    inversions = sum(int(order[i] > order[j]) for i, j in combinations(range(3), 2))
    return inversions % 2 == 1
