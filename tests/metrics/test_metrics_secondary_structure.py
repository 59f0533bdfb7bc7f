"""Secondary structure from CA atoms: ideal chains, motions, and DSSP's opinion of real ones."""

import numpy as np
import pytest

from anfinsen.metrics import secondary_structure, stretching, winding


def helix(count: int, turn: float = 100.0, rise: float = 1.5, radius: float = 2.3) -> np.ndarray:
    """CA atoms on a helix; the defaults are those of an alpha helix (degrees, Å)."""
    angle = np.radians(turn) * np.arange(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), rise * np.arange(count)], axis=-1)


def test_ideal_chains_are_what_they_are():
    assert (secondary_structure(helix(12))[1:-1] == "helix").all()
    # A strand is a left-handed helix of 2 residues a turn, a ribbon of 3.8 Å steps on a line is neither.
    assert (secondary_structure(helix(12, turn=-170.0, rise=3.35, radius=0.9))[2:-2] == "strand").all()
    assert (secondary_structure(np.arange(12)[:, None] * np.array([[3.8, 0.0, 0.0]])) == "coil").all()
    assert (secondary_structure(helix(12) * np.array([1.0, 1.0, -1.0])) != "helix").any()  # its mirror image


def test_nothing_changes_with_a_motion():
    rng = np.random.default_rng(0)
    chain = np.concatenate([helix(10), helix(10)[-1] + np.cumsum(rng.normal(size=(10, 3)) * 2.2, axis=0)])
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = chain @ (rotation * np.sign(np.linalg.det(rotation))).T + 40.0
    assert (secondary_structure(chain) == secondary_structure(moved)).all()


def test_short_chains_are_coil():
    assert secondary_structure(helix(3)).tolist() == ["coil"] * 3
    assert not winding(helix(4)).any() and not stretching(helix(4)).any()


def test_a_helix_winds_at_any_size_and_a_ribbon_does_not():
    for scale in (0.4, 1.0, 2.0):
        assert winding(scale * helix(12))[2:-2].all() and winding(scale * helix(12)).sum() == 8
    assert not winding(helix(12) * np.array([1.0, 1.0, -1.0])).any()  # the mirror image winds the other way
    assert not winding(helix(12, turn=-170.0, rise=3.35, radius=0.9)).any()
    rng = np.random.default_rng(0)
    assert winding(np.cumsum(rng.normal(size=(20_000, 3)), axis=0)).mean() == pytest.approx(1 / 36, abs=0.02)


def test_a_ribbon_stretches_twice_as_far_as_a_helix():
    np.testing.assert_allclose(stretching(helix(12)), 6.2, atol=0.1)
    np.testing.assert_allclose(stretching(helix(12, turn=-170.0, rise=3.35, radius=0.9)), 13.4, atol=0.1)


def test_helices_agree_with_dssp(shared):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        shared / "data" / "chains" / "validation.parquet", columns=["x", "y", "z", "secondary_structure"]
    ).slice(0, 40)
    same, found = [], []
    for row in table.to_pylist():
        xyz = np.stack([np.array(row[axis], dtype=np.float64) for axis in "xyz"], axis=-1).reshape(-1, 4, 3) / 100
        true = np.array(list(row["secondary_structure"])) == "H"
        drawn = secondary_structure(xyz[:, 1]) == "helix"
        same.append((true == drawn).mean())
        found.append(abs(true.mean() - drawn.mean()))
    assert np.mean(same) > 0.88 and np.mean(found) < 0.06
