"""Metrics: identity, invariance, mirror images, and independent programs (biotite, TM-align, DockQ)."""

import functools
import gzip
import math
from pathlib import Path

import biotite.structure as struc
import numpy as np
import pytest
import tmtools
import torch
from biotite.structure.io import pdb
from scipy.spatial.transform import Rotation

from anfinsen.geometry import backbone_from_dihedrals
from anfinsen.metrics import (
    contact_precision,
    dockq,
    has_clash,
    lddt,
    rmsd,
    spearman,
    superposed_scores,
    tm_distance,
    tm_score,
)


@functools.cache
def _trace(length: int, seed: int, hinge: float = 0.0) -> np.ndarray:
    """CA atoms of helices and strands joined by loops; ``hinge`` turns the second half by some radians."""
    rng = np.random.default_rng(seed)
    phi, psi = np.empty(length), np.empty(length)
    for start in range(0, length, 12):
        helix = rng.random() < 0.6
        phi[start : start + 12], psi[start : start + 12] = (-57.8, -47.0) if helix else (-120.0, 130.0)
        phi[start : start + 3] = rng.uniform(-140, -50, size=len(phi[start : start + 3]))
        psi[start : start + 3] = rng.uniform(-60, 150, size=len(psi[start : start + 3]))
    phi, psi = np.radians(phi), np.radians(psi)
    psi[length // 2] += hinge
    angles = (torch.from_numpy(phi), torch.from_numpy(psi), torch.full((length,), math.pi, dtype=torch.float64))
    return backbone_from_dihedrals(*angles)[:, 1].numpy()


def _moved(x: np.ndarray, seed: int = 0) -> np.ndarray:
    return Rotation.random(random_state=seed).apply(x) + np.array([30.0, -20.0, 7.0])


@functools.cache
def _pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(8)
    cases = []
    for length, seed, noise, hinge in ((60, 0, 0.5, 0.0), (120, 1, 1.5, 0.3), (150, 2, 0.7, 1.5), (250, 3, 3.0, 0.0)):
        true = _trace(length, seed)
        cases.append((_moved(_trace(length, seed, hinge) + noise * rng.normal(size=true.shape)), true))
    return cases


@pytest.mark.parametrize("case", range(4))
def test_tm_score_is_tm_aligns_with_the_alignment_given(case: int) -> None:
    predicted, true = _pairs()[case]
    letters = "A" * len(true)
    expected = tmtools.tm_align(predicted, true, letters, letters, alignment=[letters, letters]).tm_norm_chain2
    actual = tm_score(predicted, true)
    # both are searches that can miss the optimum by a hair
    assert actual == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("case", range(4))
def test_tm_score_of_the_superposition_found_is_biotites(case: int) -> None:
    predicted, true = _pairs()[case]
    scores = superposed_scores(predicted, true)
    placed = predicted @ scores.rotation.T + scores.translation
    index = np.arange(len(true))
    reference, subject = (struc.AtomArray(len(true)) for _ in range(2))
    reference.coord, subject.coord = true, placed
    for atoms in (reference, subject):
        atoms.res_name[:], atoms.atom_name[:], atoms.element[:] = "ALA", "CA", "C"
        atoms.res_id = index
    assert scores.tm_score == pytest.approx(struc.tm_score(reference, subject, index, index), abs=1e-4)
    distance = np.linalg.norm(placed - true, axis=1)
    for value, limits in ((scores.gdt_ts, (1, 2, 4, 8)), (scores.gdt_ha, (0.5, 1, 2, 4))):
        # the best superposition for each threshold is at least as good as this one
        assert np.mean([(distance < limit).mean() for limit in limits]) - 1e-9 <= value <= 1


def test_identity_motion_and_mirror() -> None:
    true = _trace(80, 5)
    for x in (true, _moved(true)):
        scores = superposed_scores(x, true)
        assert (scores.tm_score, scores.gdt_ts, scores.gdt_ha) == pytest.approx((1, 1, 1), abs=1e-6)
        assert rmsd(x, true) == pytest.approx(0, abs=1e-5)
        assert lddt(x, true).score == 1
    mirrored = true * np.array([1.0, 1.0, -1.0])
    assert lddt(mirrored, true).score == 1
    assert superposed_scores(mirrored, true).tm_score < 0.6
    assert rmsd(mirrored, true) > 3


def test_two_domains_are_found_one_by_one() -> None:
    """A half that is exactly right scores at least a half, however far the other one is."""
    true = _trace(100, 6)
    predicted = true.copy()
    predicted[50:] = _moved(predicted[50:]) + 100
    scores = superposed_scores(predicted, true)
    assert 0.5 <= scores.tm_score < 0.52
    assert 0.5 <= scores.gdt_ts < 0.6
    assert rmsd(predicted, true) > 20


def test_published_numbers() -> None:
    # Zhang and Skolnick: d0 = 1.24 (L - 15)^(1/3) - 1.8
    assert tm_distance(100) == pytest.approx(3.652, abs=1e-3)
    assert tm_distance(10) == 0.5


def test_length_and_mask_count() -> None:
    true = _trace(90, 7)
    resolved = np.arange(90) < 60
    predicted = true.copy()
    predicted[60:] = 1e3
    assert tm_score(predicted, true, resolved) == pytest.approx(1.0)
    assert tm_score(predicted, true, resolved, length=90) == pytest.approx(60 / 90, abs=1e-6)
    with pytest.raises(ValueError, match="No atom"):
        tm_score(predicted, true, np.zeros(90, dtype=bool))
    for few in (1, 2, 3, 5):
        assert tm_score(_moved(true[:few]), true[:few]) == pytest.approx(1.0)


def test_rmsd_is_biotites() -> None:
    predicted, true = _pairs()[1]
    fitted, _ = struc.superimpose(true, predicted)
    assert rmsd(predicted, true) == pytest.approx(struc.rmsd(true, fitted), rel=1e-4)
    assert rmsd(predicted, true, superposed=False) == pytest.approx(struc.rmsd(true, predicted), rel=1e-6)


def _atoms(residues: int, seed: int) -> struc.AtomArray:
    """Five atoms a residue around a trace, in two chains."""
    rng = np.random.default_rng(seed)
    atoms = struc.AtomArray(5 * residues)
    atoms.coord = (np.repeat(_trace(residues, seed), 5, axis=0) + rng.normal(size=(5 * residues, 3))).astype(np.float32)
    atoms.res_id = np.repeat(np.arange(residues), 5)
    atoms.chain_id = np.where(atoms.res_id < residues // 2, "A", "B")
    atoms.atom_name[:] = "C"
    atoms.element[:] = "C"
    return atoms


def test_lddt_is_biotites() -> None:
    true = _atoms(60, 3)
    predicted = true.coord + np.random.default_rng(1).normal(scale=1.2, size=true.coord.shape).astype(np.float32)
    residue, chain = true.res_id.astype(int), (true.chain_id == "B").astype(int)
    resolved = np.random.default_rng(2).random(len(residue)) > 0.2

    every = lddt(predicted, true.coord)
    assert every.score == pytest.approx(struc.lddt(true, predicted, exclude_same_residue=False), abs=1e-5)
    usual = lddt(predicted, true.coord, residue=residue)
    assert usual.score == pytest.approx(struc.lddt(true, predicted), abs=1e-5)
    np.testing.assert_allclose(usual.per_atom, struc.lddt(true, predicted, aggregation="atom"), atol=1e-5)
    per_residue, counts = usual.per_group(residue, 60)
    np.testing.assert_allclose(per_residue, struc.lddt(true, predicted, aggregation="residue"), atol=1e-5)
    assert (counts > 0).all()
    between = lddt(predicted, true.coord, chain=chain)
    assert between.score == pytest.approx(struc.lddt(true, predicted, exclude_same_chain=True), abs=1e-5)
    partly = lddt(predicted, true.coord, resolved, residue)
    expected = struc.lddt(true, predicted, atom_mask=resolved, partner_mask=resolved)
    assert partly.score == pytest.approx(expected, abs=1e-5)
    assert not partly.pairs[~resolved].any()


def test_lddt_without_pairs_is_zero_and_finite() -> None:
    far = np.arange(12.0).reshape(4, 3) * 100
    result = lddt(far, far)
    assert result.score == 0
    assert not result.per_atom.any()
    assert lddt(far, far, np.zeros(4, dtype=bool)).score == 0


# Output of DockQ 2.1.3 for chain B of 1AY7 turned about its centre and shifted: DockQ, fnat, iRMSD, LRMSD.
DOCKQ = (
    (8, (1.0, 0.5, -0.5), (0.783, 0.675, 0.942, 1.827)),
    (25, (2.0, 2.0, 0.0), (0.471, 0.400, 2.439, 5.066)),
    (90, (0.0, 6.0, 3.0), (0.109, 0.050, 7.177, 15.287)),
)


def test_dockq_is_dockqs(shared: Path) -> None:
    with gzip.open(shared / "data" / "structures" / "protein_protein" / "1AY7.pdb.gz", "rt") as handle:
        atoms = pdb.PDBFile.read(handle).get_structure(model=1)
    atoms = atoms[struc.filter_amino_acids(atoms) & (atoms.element != "H")]
    second = atoms.chain_id == sorted(set(atoms.chain_id.tolist()))[1]
    residue = struc.get_all_residue_positions(atoms)
    backbone = np.isin(atoms.atom_name, ["N", "CA", "C", "O"])
    true = atoms.coord.astype(np.float64)
    for angle, shift, expected in DOCKQ:
        predicted = true.copy()
        centre = true[second].mean(0)
        turn = Rotation.from_rotvec(np.radians(angle) * np.array([0.6, 0.0, 0.8]))
        predicted[second] = turn.apply(true[second] - centre) + centre + np.array(shift)
        result = dockq(_moved(predicted), true, second, residue, backbone)
        assert result is not None
        actual = (result.score, result.fnat, result.irmsd, result.lrmsd)
        # the PDB files that DockQ read have three decimals
        assert actual == pytest.approx(expected, abs=2e-3)


def test_dockq_of_a_perfect_and_of_no_interface() -> None:
    x = np.concatenate([_trace(20, 0), _trace(20, 0) + np.array([0.0, 0.0, 4.5])])
    second = np.arange(40) >= 20
    residue, backbone = np.arange(40), np.ones(40, dtype=bool)
    perfect = dockq(_moved(x), x, second, residue, backbone)
    assert perfect is not None
    assert (perfect.score, perfect.fnat) == pytest.approx((1, 1))
    apart = x.copy()
    apart[20:] += 100
    assert dockq(x, apart, second, residue, backbone) is None


def test_of_chains_of_one_size_dockq_moves_the_first() -> None:
    rng = np.random.default_rng(5)
    x = np.concatenate([_trace(20, 0), _trace(20, 0) + np.array([0.0, 0.0, 4.5])])
    second = np.arange(40) >= 20
    # Only the second chain is bent, so that moving it and moving the first are not the same.
    made = x + np.where(second[:, None], rng.normal(scale=2.0, size=x.shape), 0.0)
    _, onto_second = struc.superimpose(x[second], made[second])
    _, onto_first = struc.superimpose(x[~second], made[~second])
    for count, transform, moved in ((40, onto_second, slice(0, 20)), (39, onto_first, slice(20, 39))):
        found = dockq(made[:count], x[:count], second[:count], np.arange(count), np.ones(count, dtype=bool))
        assert found is not None
        expected = float(struc.rmsd(x[moved], transform.apply(made[moved])))
        assert found.lrmsd == pytest.approx(expected, abs=1e-3)


def test_residues_near_missing_ones_alone_are_not_of_the_interface() -> None:
    x = np.concatenate([_trace(10, 0), _trace(1, 0) + np.array([0.0, 0.0, 4.5])])
    # The last residue of the first chain is near nothing but the second chain's last, which is missing.
    x = np.concatenate([x[:10], [[300.0, 0.0, 0.0]], x[10:], [x[10] + 1.0, x[10] + 2.0, [300.0, 0.0, 6.0]]])
    second = np.arange(len(x)) > 10
    made, present = x.copy(), np.ones(len(x), dtype=bool)
    made[10] += 5.0
    made[-1], present[-1] = 1e4, False
    everywhere = np.ones(len(x), dtype=bool)
    found = dockq(made, x, second, np.arange(len(x)), everywhere, present)
    assert found is not None
    assert found.irmsd == pytest.approx(0.0, abs=1e-6)


def test_clash() -> None:
    x = np.random.default_rng(0).uniform(0, 60, size=(400, 3))
    chain = np.repeat([0, 1], 200)
    apart = x.copy()
    apart[200:] += 100
    assert not has_clash(apart, chain)
    for overlapping, expected in ((101, True), (100, False)):
        clashing = apart.copy()
        clashing[200 : 200 + overlapping] = x[:overlapping] + 0.5
        assert has_clash(clashing, chain) is expected
    # half of a small chain is enough, clashes within a chain are none
    small = np.concatenate([x[:200], x[:11] + 0.3, x[:9] + 200])
    assert has_clash(small, np.repeat([3, 7], [200, 20]))
    assert not has_clash(np.zeros((50, 3)), np.zeros(50, dtype=int))


def test_contact_precision() -> None:
    n = 60
    contact = np.zeros((n, n), dtype=bool)
    for i, j in ((0, 30), (5, 40), (10, 59)):
        contact[i, j] = contact[j, i] = True
    probability = np.zeros((n, n))
    probability[0, 30], probability[5, 40], probability[2, 50] = 0.9, 0.8, 0.7
    # closer than 24 residues along the chain: must not count
    probability[0, 10] = 1.0
    assert contact_precision(probability, contact, divisor=n / 2) == 1.0
    assert contact_precision(probability, contact, divisor=n / 3) == pytest.approx(2 / 3)
    known = np.ones((n, n), dtype=bool)
    known[2, 50] = known[50, 2] = False
    probability[10, 59] = 0.1
    assert contact_precision(probability, contact, known, divisor=n / 3) == 1.0
    with pytest.raises(ValueError, match="24 apart"):
        contact_precision(probability[:20, :20], contact[:20, :20])


def test_spearman() -> None:
    x = np.arange(10.0)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    # with ties: 1 - 6 sum d² / (n (n² - 1)) does not hold, the correlation of mean ranks does
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.9487, abs=1e-4)
    with pytest.raises(ValueError, match="not all equal"):
        spearman(np.ones(5), np.arange(5.0))
