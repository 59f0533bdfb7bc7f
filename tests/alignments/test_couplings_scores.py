"""Scores: gauge, average-product correction, z-scores; which rows are taken; a real family."""

import numpy as np
import pytest
import torch

from anfinsen.alignments import Msa, parse_msa
from anfinsen.alignments.couplings import (
    CouplingConfig,
    Couplings,
    RowConfig,
    average_product_correction,
    contact_probability,
    draw_sample,
    infer_couplings,
    ranked_contacts,
    z_scores,
)
from anfinsen.alignments.couplings.scores import frobenius_norms, varying_columns, zero_sum_
from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.chemistry.tokens import GAP, UNKNOWN_PROTEIN
from anfinsen.inference.families import read_family
from anfinsen.metrics import contact_precision

LENGTH, Q = 7, 5


def random_couplings(seed=0):
    rng = torch.Generator().manual_seed(seed)
    j = torch.randn(LENGTH * Q, LENGTH * Q, generator=rng, dtype=torch.float64)
    return j + j.T


def test_scores_do_not_depend_on_the_gauge():
    j = random_couplings()
    rng = np.random.default_rng(0)
    moved = j.clone().view(LENGTH, Q, LENGTH, Q)
    for i in range(LENGTH):
        for k in range(i):
            change = torch.from_numpy(rng.normal(size=(Q, 1)) + rng.normal(size=(1, Q)))
            moved[i, :, k] += change
            moved[k, :, i] += change.T
    moved = moved.view(LENGTH * Q, LENGTH * Q)
    plain = frobenius_norms(j.clone(), Q, Q)
    assert np.abs(frobenius_norms(moved.clone(), Q, Q) - plain).max() > 0.5
    norms = [frobenius_norms(zero_sum_(each.clone(), Q), Q, Q) for each in (j, moved)]
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-5)
    # The zero-sum gauge is the one with the smallest norms.
    assert (norms[0] <= plain + 1e-5).all()
    centred = zero_sum_(j.clone(), Q).view(LENGTH, Q, LENGTH, Q)
    for dim in (1, 3):
        torch.testing.assert_close(centred.sum(dim), torch.zeros_like(centred.sum(dim)), atol=1e-12, rtol=0)


def test_the_gap_state_does_not_count():
    j = random_couplings()
    norms = frobenius_norms(j, Q, Q - 1)
    changed = j.clone().view(LENGTH, Q, LENGTH, Q)
    changed[:, -1] = 9.0
    changed[..., -1] = 9.0
    np.testing.assert_array_equal(frobenius_norms(changed.view_as(j), Q, Q - 1), norms)
    block = j.view(LENGTH, Q, LENGTH, Q)[2, :-1, 4, :-1].numpy()
    assert norms[2, 4] == pytest.approx(np.sqrt((block**2).sum()), rel=1e-6)
    assert (np.diag(norms) == 0).all()


def test_average_product_correction():
    rng = np.random.default_rng(0)
    norms = rng.random((9, 9)).astype(np.float32)
    norms = norms + norms.T
    np.fill_diagonal(norms, 0)
    found = average_product_correction(norms)
    off = ~np.eye(9, dtype=bool)
    overall = norms[off].mean()
    for i in range(9):
        for j in range(9):
            mean_i, mean_j = norms[i, off[i]].mean(), norms[j, off[j]].mean()
            expected = 0 if i == j else norms[i, j] - mean_i * mean_j / overall
            assert found[i, j] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(found, found.T)
    np.testing.assert_allclose(average_product_correction(3 * norms), 3 * found, rtol=1e-4, atol=1e-6)
    order = rng.permutation(9)
    np.testing.assert_allclose(average_product_correction(norms[order][:, order]), found[order][:, order], atol=1e-6)
    flat = (1 - np.eye(9)).astype(np.float32)
    np.testing.assert_allclose(average_product_correction(flat), 0, atol=1e-6)
    np.testing.assert_array_equal(average_product_correction(0 * flat), 0 * flat)


def test_z_scores_forget_scale_and_offset():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 40)).astype(np.float32)
    scores = scores + scores.T
    np.fill_diagonal(scores, 0)
    z = z_scores(scores)
    far = z[np.triu_indices(40, 6)]
    assert np.median(far) == pytest.approx(0, abs=1e-6)
    assert far.std() == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(z_scores(7 * scores + 5)[~np.eye(40, dtype=bool)], z[~np.eye(40, dtype=bool)], atol=1e-4)
    for constant in (np.zeros((5, 5)), np.zeros((2, 2))):
        np.testing.assert_array_equal(z_scores(constant.astype(np.float32)), constant)


@pytest.mark.parametrize("method", ["potts", "mean-field"])
def test_the_few_columns_of_a_conserved_family_that_vary_are_not_contacts(method):
    rng = np.random.default_rng(3)
    query = "IWVFNYSWDYASKVIHSVVSPFIFTFADGWCLAKSYPQPWR"
    rows = [list(query) for _ in range(60)]
    for row in rows[1:]:
        for column in (2, 11, 20, 29, 38):  # one in four has another letter there, independently
            if rng.random() < 0.25:
                row[column] = "ACDEFGHIKL"[rng.integers(10)]
    text = "".join(f">r{n}\n{''.join(row)}\n" for n, row in enumerate(rows))
    msa = parse_msa(text, query, ChainKind.PROTEIN, "made up")
    found = infer_couplings(msa, CouplingConfig(method=method))
    varies = np.zeros(len(query), dtype=bool)
    varies[[2, 11, 20, 29, 38]] = True
    np.testing.assert_array_equal(varying_columns(found.norms), varies)
    z = found.z_scores()
    assert not z[~np.outer(varies, varies)].any() and np.abs(z).max() < 12
    assert ranked_contacts(found, 20).probability.max() < 0.5


def test_equal_rows_are_coupled_to_nothing():
    query = "IWVFNYSWDYASKVIHSVVSPFIFT"
    msa = parse_msa("".join(f">r{n}\n{query}\n" for n in range(10)), query, ChainKind.PROTEIN, "made up")
    for method in ("potts", "mean-field"):
        found = infer_couplings(msa, CouplingConfig(method=method))
        assert not found.z_scores().any()
        assert ranked_contacts(found, 5).probability.max() < 0.1


def couplings_of(scores: np.ndarray) -> Couplings:
    return Couplings(scores, scores, None, None, "AGCU", 9, 9, 9.0, "potts", 3, True)


def test_contacts_are_ranked_and_their_chances_fall():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30, 30)).astype(np.float32)
    scores = scores + scores.T
    np.fill_diagonal(scores, 0)
    found = ranked_contacts(couplings_of(scores), 50)
    assert len(found) == 50
    assert (found.second - found.first >= 6).all()
    np.testing.assert_array_equal(found.score, np.sort(scores[np.triu_indices(30, 6)])[::-1][:50])
    assert (np.diff(found.probability) <= 0).all()
    assert ((found.probability > 0) & (found.probability < 1)).all()
    assert len(ranked_contacts(couplings_of(scores[:5, :5]), 50)) == 0
    for method in ("potts", "mean-field"):
        chances = contact_probability(np.array([-5, 0, 3, 8, 1e9], dtype=np.float32), 500.0, method)
        assert (np.diff(chances) > 0).all()
        assert chances[1] < 0.2 < 0.6 < chances[-1]


def family(depth=60, length=30, parents=6, seed=0):
    rng = np.random.default_rng(seed)
    founders = rng.integers(0, 20, (parents, length))
    # Half of the rows are copies of one founder, so that a diverse subset differs from the first rows.
    rows = founders[np.where(np.arange(depth) < depth // 2, 0, rng.integers(0, parents, depth))]
    changed = rng.random(rows.shape) < 0.05
    rows = np.where(changed, rng.integers(0, 20, rows.shape), rows).astype(np.int8)
    return Msa(rows, np.zeros(rows.shape, dtype=np.int32), tuple(map(str, range(depth))))


def test_rows_of_low_coverage_are_left_out_and_unknown_residues_are_gaps():
    msa = family()
    msa.restypes[3, :16] = GAP
    msa.restypes[4, :8], msa.restypes[4, 8:16] = GAP, UNKNOWN_PROTEIN
    msa.restypes[5, :15] = GAP
    sample = draw_sample(msa, ChainKind.PROTEIN, RowConfig(min_coverage=0.5))
    assert (len(sample.states), sample.depth, sample.n_states) == (58, 60, 20)
    assert (sample.states[3, :15] == -1).all()  # row 5, now the fourth
    assert sample.states.max() == 19
    assert sample.effective_depth < 30
    assert draw_sample(msa, ChainKind.PROTEIN, RowConfig(min_coverage=0.0)).states.shape == (60, 30)


def test_of_many_rows_a_diverse_subset_is_taken():
    msa = family(400, parents=200)
    config = RowConfig(max_rows=100)
    sample = draw_sample(msa, ChainKind.PROTEIN, config)
    again = draw_sample(msa, ChainKind.PROTEIN, config)
    np.testing.assert_array_equal(sample.states, again.states)
    assert len(sample.states) == 100
    np.testing.assert_array_equal(sample.states[0], msa.restypes[0])
    first = draw_sample(Msa(msa.restypes[:100], msa.deletions[:100], msa.descriptions[:100]), ChainKind.PROTEIN, config)
    assert sample.effective_depth > 5 * first.effective_depth
    compared = draw_sample(msa, ChainKind.PROTEIN, RowConfig(max_rows=100, max_compared=150))
    assert len(compared.states) == 100
    np.testing.assert_array_equal(compared.states[0], msa.restypes[0])


@pytest.mark.parametrize("method", ["mean-field", "potts"])
def test_a_real_family_shows_its_contacts(shared, method):
    """A small domain with 2,492 relatives; its coordinates were never used for any setting."""
    folder = shared / "data" / "families"
    query, msa = read_family(folder / "5fbz_1_B.a3m.gz", ChainKind.PROTEIN)
    structure = read_structure(folder / "5fbz_1_B.pdb.gz")
    atoms, residues = structure.atoms, structure.residues
    assert structure.chains[0].sequence == query
    beta = np.full((len(query), 3), np.nan)
    for index in np.flatnonzero(atoms.resolved):
        residue = atoms.residue[index]
        if atoms.name[index] == ("CA" if residues.name[residue] == "GLY" else "CB"):
            beta[residues.number[residue] - 1] = atoms.coordinates[index]
    distance = np.linalg.norm(beta[:, None] - beta[None], axis=-1)
    config = CouplingConfig(method=method, rows=RowConfig(max_rows=800))
    found = infer_couplings(msa, config, device="cpu")
    assert (found.depth, found.rows) == (msa.depth, 800)
    precision = contact_precision(
        found.scores.astype(float), distance < 8, ~np.isnan(distance), divisor=5.0, separation=6
    )
    assert precision >= 0.6
    strongest = ranked_contacts(found, len(query) // 5)
    assert strongest.probability[0] > 0.7 and (np.diff(strongest.probability) <= 0).all()
