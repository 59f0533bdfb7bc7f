"""Rigid groups of amino acids, against the CCD and against what crystals measure."""

import csv
import itertools
from pathlib import Path

import gemmi
import numpy as np
import pytest

from anfinsen.chemistry import (
    ATOM37,
    RESIDUE_TYPES,
    ComponentLibrary,
    atom14_names,
    distance_bounds,
    rigid_groups,
    with_positions,
)
from anfinsen.chemistry.rigid_groups import CHI_PATHS, SYMMETRIC_ATOMS

AMINO_ACIDS = RESIDUE_TYPES[:20]


def _bonds(code: str) -> set[frozenset[str]]:
    component = ComponentLibrary().get(code)
    names = [str(name) for name in component.atom_names]
    pairs = {frozenset((names[i], names[j])) for i, j in component.bonds.tolist()}
    return {pair for pair in pairs if "OXT" not in pair}


@pytest.mark.parametrize("code", AMINO_ACIDS)
def test_atoms_and_their_order_are_the_dictionarys(code) -> None:
    component = ComponentLibrary().get(code)
    assert atom14_names(code) == tuple(str(name) for name in component.atom_names if name != "OXT")
    row, names = RESIDUE_TYPES.index(code), atom14_names(code)
    tables = rigid_groups()
    assert tables.atom_mask[row].sum() == len(names)
    assert tuple(ATOM37[i] for i in tables.atom37[row, : len(names)]) == names


@pytest.mark.parametrize("code", AMINO_ACIDS)
def test_groups_are_what_turns_with_each_bond(code) -> None:
    """Cut the bond a chi turns about in the dictionary's graph: what falls off is in that group or a later one."""
    row, names, bonds = RESIDUE_TYPES.index(code), atom14_names(code), _bonds(code)
    group = dict(zip(names, rigid_groups().atom_group[row], strict=False))
    path = CHI_PATHS.get(code, "").split()
    for chi in range(len(path) - 3):
        assert {frozenset(pair) for pair in itertools.pairwise(path)} <= bonds
        # Proline's ring closes on N: open it there.
        cut = bonds - {frozenset(path[chi + 1 : chi + 3])} - ({frozenset(("N", "CD"))} if code == "PRO" else set())
        loose, more = set(), {path[chi + 2]}
        while more - loose:
            loose |= more
            more = {name for pair in cut if pair & loose for name in pair}
        # The atom at the end of the bond does not move.
        assert {name for name in names if group[name] >= 4 + chi} == loose - {path[chi + 2]}
    assert group["O"] == 3
    assert all(group[name] == 0 for name in ("N", "CA", "C", "CB") if name in names)


def test_a_half_turn_lays_symmetric_atoms_on_each_other() -> None:
    exchanged = {code: {frozenset(pair) for pair in pairs} for code, pairs in SYMMETRIC_ATOMS.items()}
    tables = rigid_groups()
    for code in AMINO_ACIDS:
        row, names = RESIDUE_TYPES.index(code), atom14_names(code)
        partner = tables.atom_partner[row]
        found = {frozenset((names[i], names[partner[i]])) for i in range(len(names)) if partner[i] != i}
        assert found == exchanged.get(code, set())
        assert (tables.chi_symmetric[row].sum() == 1) == (code in exchanged)
        # A half turn of the last chi lays the atoms on each other's places, to what refined structures differ by.
        position = tables.atom_position[row]
        for i in np.flatnonzero(partner[: len(names)] != np.arange(len(names))):
            np.testing.assert_allclose(position[i] * (1, -1, -1), position[partner[i]], atol=0.03)


@pytest.mark.parametrize("code", AMINO_ACIDS)
def test_bounds_know_the_bonds_of_the_dictionary(code) -> None:
    row, names = RESIDUE_TYPES.index(code), atom14_names(code)
    bounds, component = distance_bounds(overlap_tolerance=1.5, deviations=0.0), ComponentLibrary().get(code)
    ideal = {str(name): place for name, place in zip(component.atom_names, component.ideal, strict=True)}
    bonds = _bonds(code)
    second = {frozenset(a ^ b) for a, b in itertools.combinations(bonds, 2) if len(a & b) == 1}
    for i, j in itertools.combinations(range(len(names)), 2):
        pair = frozenset((names[i], names[j]))
        lower, upper = bounds.lower[row, i, j], bounds.upper[row, i, j]
        assert lower == bounds.lower[row, j, i]
        if pair in bonds | second:
            assert lower == upper
            # The dictionary draws free acids (C=O 1.21, C-OH 1.34 Å) and angles from a force field.
            expected = float(np.linalg.norm(ideal[names[i]] - ideal[names[j]]))
            assert lower == pytest.approx(expected, abs=0.1 if pair in bonds else 0.2)
        else:
            assert np.isinf(upper)
            assert lower == pytest.approx(sum({"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}[n[0]] for n in pair) - 1.5)
    wide = distance_bounds(overlap_tolerance=1.5, deviations=12.0)
    assert wide.lower[row, 0, 1] == pytest.approx(bounds.lower[row, 0, 1] - 12 * 0.02)


def test_tables_are_shared_and_frames_follow_positions() -> None:
    tables = rigid_groups()
    assert tables is rigid_groups()
    with pytest.raises(ValueError, match="read-only"):
        tables.atom_position[0, 0] = 1.0
    rotation = tables.group_rotation
    np.testing.assert_allclose(np.swapaxes(rotation, -1, -2) @ rotation, np.tile(np.eye(3), (21, 8, 1, 1)), atol=1e-12)
    assert (np.linalg.det(rotation) > 0.999).all()
    position = tables.atom_position.copy()
    position[..., 2, 0] += 0.1  # C, along the first axis
    moved = with_positions(tables, position)
    np.testing.assert_allclose(moved.group_origin[:, 3, 0], tables.group_origin[:, 3, 0] + 0.1)
    np.testing.assert_allclose(moved.group_rotation, rotation, atol=1e-12)


def test_ideal_places_are_the_medians_of_crystals(shared) -> None:
    """Measured with gemmi and numpy alone; proline's CD is released with a ring flatter than that of crystals."""
    folder = Path(shared) / "data" / "structures"
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train" and row["kind"] == "single"]
    places: dict[tuple[str, str], list[np.ndarray]] = {}
    used = 0
    for row in rows:
        structure = gemmi.read_structure(str(folder / row["file"]))
        if not 0 < structure.resolution <= 1.8:
            continue
        used += 1
        for residue in (residue for chain in structure[0] for residue in chain if residue.name in AMINO_ACIDS):
            sharp = (atom for atom in residue if atom.altloc == "\0" and 2 < atom.b_iso < 40 and atom.occ > 0.99)
            _measure(residue.name, {atom.name: np.array(atom.pos.tolist()) for atom in sharp}, places)
    assert used >= 10
    errors = []
    for (code, name), found in places.items():
        if len(found) >= 60:
            row = RESIDUE_TYPES.index(code)
            ideal = rigid_groups().atom_position[row, atom14_names(code).index(name)]
            error = np.abs(np.median(found, axis=0) - ideal).max()
            assert error < (0.12 if (code, name) == ("PRO", "CD") else 0.05), (code, name)
            errors.append(error)
    assert len(errors) > 100
    assert np.mean(errors) < 0.012


def _measure(code: str, atoms: dict[str, np.ndarray], places: dict[tuple[str, str], list[np.ndarray]]) -> None:
    tables, row, names = rigid_groups(), RESIDUE_TYPES.index(code), atom14_names(code)
    for group in np.flatnonzero(tables.group_mask[row]):
        aside, origin, axis = (names[i] for i in tables.group_atoms[row, group])
        if not {aside, origin, axis} <= set(atoms):
            continue
        x = (atoms[axis] - atoms[origin]) * (1 if group == 0 else -1)
        x /= np.linalg.norm(x)
        y = atoms[aside] - atoms[origin]
        y -= (y @ x) * x
        y /= np.linalg.norm(y)
        for place, name in enumerate(names):
            if tables.atom_group[row, place] == group and name in atoms:
                offset = atoms[name] - atoms[origin]
                local = np.array([offset @ x, offset @ y, offset @ np.cross(x, y)])
                places.setdefault((code, name), []).append(local)
