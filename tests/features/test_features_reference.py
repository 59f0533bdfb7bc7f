"""Reference frames: canonical ones do not depend on where a component comes from; random ones keep its shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from anfinsen.chemistry.tokens import Atoms, Tokens
from anfinsen.features.reference import reference_positions


def _ligand(names, elements, positions):
    """A ligand: one token per atom, one residue."""
    n = len(names)
    zeros, ones = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    chars = np.array([[max(0, ord(c) - 32) for c in f"{name:<4}"] for name in names], dtype=np.int64)
    tokens = Tokens(
        residue=zeros, chain=zeros, restype=20 * ones, residue_index=ones, asym_id=ones, entity_id=ones, sym_id=ones,
        kind=3 * ones, is_standard=np.zeros(n, dtype=bool), atom_start=np.arange(n), atom_count=ones,
        center_atom=np.arange(n), distogram_atom=np.arange(n), frame_atoms=-np.ones((n, 3), dtype=np.int64),
    )  # fmt: skip
    atoms = Atoms(
        token=np.arange(n), ref_pos=np.asarray(positions, dtype=np.float64), ref_mask=np.ones(n, dtype=bool),
        ref_element=np.asarray(elements, dtype=np.int64), ref_charge=zeros, ref_atom_name_chars=chars,
        ref_space_uid=zeros, conformer_source=("ccd-ideal",),
    )  # fmt: skip
    return tokens, atoms


def _place(names, elements, positions, frame="canonical", seed=0):
    return reference_positions(*_ligand(names, elements, positions), frame, seed)


TETRAHEDRON = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.9
HEXAGON = np.array([[np.cos(a), np.sin(a), 0] for a in np.arange(6) * np.pi / 3]) * 1.4
MOLECULES = {
    "sulfate": (["S", "O1", "O2", "O3", "O4"], [16, 8, 8, 8, 8], TETRAHEDRON),
    "benzene": ([f"C{i}" for i in range(1, 7)], [6] * 6, HEXAGON),
    "carbon dioxide": (["C", "O1", "O2"], [6, 8, 8], np.array([[0, 0, 0], [1.2, 0, 0], [-1.2, 0, 0]])),
    "ion": (["ZN"], [30], np.zeros((1, 3))),
}


@pytest.mark.parametrize("name", MOLECULES)
def test_canonical_frames_ignore_rotation_and_atom_order(name):
    names, elements, positions = MOLECULES[name]
    expected = _place(names, elements, positions)
    rng = np.random.default_rng(0)
    for rotation in Rotation.random(10, random_state=1):
        order = rng.permutation(len(names))
        moved = rotation.apply(positions)[order] + rng.normal(size=3) * 10
        found = _place([names[i] for i in order], [elements[i] for i in order], moved)
        np.testing.assert_allclose(found, expected[order], atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 30), st.integers(0, 2**32), st.sampled_from(["canonical", "random"]))
def test_frames_keep_distances_and_handedness(n, seed, frame):
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(n, 3)) * 3
    names = [f"C{i}" for i in range(n)]
    found = _place(names, [6] * n, positions, frame, seed)
    before = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=-1), before, atol=3e-4)
    if n >= 4:  # positions are rounded to 1e-4 Å
        triples = [np.linalg.det(p[1:4] - p[0]) for p in (positions, found)]
        np.testing.assert_allclose(triples[0], triples[1], rtol=1e-3, atol=0.02)


def test_mirror_images_stay_apart():
    rng = np.random.default_rng(2)
    positions = rng.normal(size=(6, 3))
    names = [f"C{i}" for i in range(6)]
    first, second = (_place(names, [6] * 6, p) for p in (positions, positions * [1, 1, -1]))
    assert np.abs(first - second).max() > 0.1


def test_random_frames_follow_the_seed():
    names, elements, positions = MOLECULES["sulfate"]
    same = [_place(names, elements, positions, "random", seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(same[0] - same[2]).max() > 0.1


def test_given_frames_stay_as_they_are():
    names, elements, positions = MOLECULES["benzene"]
    np.testing.assert_array_equal(_place(names, elements, positions, "given"), positions)
