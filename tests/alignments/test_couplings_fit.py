"""The Potts model's gradient, fit and products; mean-field DCA: against autograd, numpy and a known model."""

import numpy as np
import pytest
import torch

from anfinsen.alignments import Msa
from anfinsen.alignments.couplings import (
    CouplingConfig,
    MeanFieldConfig,
    PottsConfig,
    RowConfig,
    draw_sample,
    infer_couplings,
)
from anfinsen.alignments.couplings.kernels import DenseRows, GatheredRows
from anfinsen.alignments.couplings.lbfgs import Curvature, Parameters, minimise
from anfinsen.alignments.couplings.mean_field import letter_covariance, mean_field_couplings
from anfinsen.alignments.couplings.potts import PseudoLikelihood
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import RESTYPE_INDEX
from anfinsen.common.errors import AlignmentError, ConfigError, MemoryLimitError, NonFiniteError

N, LENGTH, Q = 40, 11, 5


@pytest.fixture
def states() -> torch.Tensor:
    rng = np.random.default_rng(1)
    states = rng.integers(0, Q, (N, LENGTH))
    return torch.from_numpy(np.where(rng.random(states.shape) < 0.2, -1, states))


def kernels(states):
    return GatheredRows(states, Q), DenseRows(states, Q, torch.float64)


def test_both_products_are_the_one_hot_ones(states):
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(LENGTH * Q, 7, generator=rng, dtype=torch.float64)
    rows = torch.randn(N, 7, generator=rng, dtype=torch.float64)
    one_hot = torch.zeros(N, LENGTH, Q, dtype=torch.float64)
    for n in range(N):
        for i in range(LENGTH):
            if states[n, i] >= 0:
                one_hot[n, i, states[n, i]] = 1
    one_hot = one_hot.flatten(1)
    for kernel in kernels(states):
        torch.testing.assert_close(kernel.times(matrix), one_hot @ matrix)
        torch.testing.assert_close(kernel.transposed_times(rows), one_hot.T @ rows)


def by_definition(states, weights, centre, fields, couplings, penalties):
    """Loops over rows and columns, as the formula stands in the papers; J is the symmetric part of its argument."""
    j = 0.5 * (couplings + couplings.T).view(LENGTH, Q, LENGTH, Q)
    total = penalties[0] * fields.square().sum()
    for i in range(LENGTH):
        for k in range(i + 1, LENGTH):
            total = total + penalties[1] * j[i, :, k].square().sum()
    for n in range(len(states)):
        for i in range(LENGTH):
            if states[n, i] < 0:
                continue
            energy = fields[i].clone()
            for k in range(LENGTH):
                if k != i:
                    x = torch.zeros(Q, dtype=fields.dtype)
                    if states[n, k] >= 0:
                        x[states[n, k]] = 1
                    energy = energy + j[i, :, k] @ (x - centre.view(LENGTH, Q)[k])
            total = total - weights[n] * torch.log_softmax(energy, 0)[states[n, i]]
    return total


@pytest.mark.parametrize("which", [0, 1], ids=["gathered", "dense"])
def test_gradient_against_autograd_of_the_definition(states, which):
    rng = torch.Generator().manual_seed(3)
    states = states[:12]
    weights = torch.rand(12, generator=rng, dtype=torch.float64)
    centre = torch.rand(LENGTH * Q, generator=rng, dtype=torch.float64)
    fields = torch.randn(LENGTH, Q, generator=rng, dtype=torch.float64, requires_grad=True)
    couplings = torch.randn(LENGTH * Q, LENGTH * Q, generator=rng, dtype=torch.float64)
    couplings = couplings + couplings.T
    couplings.view(LENGTH, Q, LENGTH, Q).diagonal(dim1=0, dim2=2).zero_()
    couplings.requires_grad_()
    expected = by_definition(states, weights, centre, fields, couplings, (0.3, 0.7))
    expected.backward()

    objective = PseudoLikelihood(kernels(states)[which], weights, centre, 0.3, 0.7)
    gradient = torch.full_like(couplings, torch.nan)
    with torch.no_grad():
        value, by_field = objective(fields.detach(), couplings.detach(), gradient)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(by_field, fields.grad)
    torch.testing.assert_close(gradient, couplings.grad)


def test_minimise_finds_the_minimum_of_a_quadratic():
    rng = torch.Generator().manual_seed(0)
    goal = Parameters(torch.randn(3, 2, generator=rng), torch.randn(6, 6, generator=rng))
    scale = 1 + 20 * torch.rand(6, 6, generator=rng)

    def objective(fields, couplings, gradient):
        gradient.copy_(scale * (couplings - goal.couplings))
        by_field = 5 * (fields - goal.fields)
        value = 0.5 * (scale * (couplings - goal.couplings) ** 2).sum() + 2.5 * ((fields - goal.fields) ** 2).sum()
        return float(value), by_field

    point, seen = Parameters(torch.zeros(3, 2), torch.zeros(6, 6)), []
    curvature = Curvature(torch.full((3, 2), 5.0), 10.0)
    settings = {"iterations": 60, "tolerance": 1e-9, "history": 4}
    found = minimise(objective, point, curvature, **settings, on_step=seen.append)
    assert found.converged
    assert list(found.trace[1:]) == seen
    assert all(later <= earlier for earlier, later in zip(found.trace, found.trace[1:], strict=False))
    torch.testing.assert_close(point.couplings, goal.couplings, atol=1e-3, rtol=0)
    torch.testing.assert_close(point.fields, goal.fields, atol=1e-3, rtol=0)


def gibbs(fields, couplings, n, sweeps, rng):
    """Rows of a Potts model; every row a chain of its own."""
    length, q = fields.shape
    x = rng.integers(0, q, (n, length))
    for _ in range(sweeps):
        for i in range(length):
            energy = fields[i] + sum(couplings[i, :, k][:, x[:, k]].T for k in range(length) if k != i)
            x[:, i] = (energy + rng.gumbel(size=(n, q))).argmax(1)
    return x


TRUE_PAIRS = {(0, 8), (1, 7), (2, 6), (0, 11), (3, 10), (4, 9), (5, 11)}


@pytest.fixture(scope="module")
def known_model():
    rng = np.random.default_rng(0)
    length, q = 12, 4
    fields, couplings = rng.normal(size=(length, q)) * 0.5, np.zeros((length, q, length, q))
    for i, j in TRUE_PAIRS:
        block = rng.normal(size=(q, q))
        block -= block.mean(0, keepdims=True)
        block -= block.mean(1, keepdims=True)
        block *= 1.6 * q / np.linalg.norm(block)
        couplings[i, :, j], couplings[j, :, i] = block, block.T
    x = gibbs(fields, couplings, 2500, 40, rng)
    msa = Msa((x + RESTYPE_INDEX["A"]).astype(np.int8), np.zeros_like(x), tuple(map(str, range(len(x)))))
    return x, couplings, msa


ALL_ROWS = RowConfig(identity=1.0)


@pytest.mark.parametrize("gap", ["missing", "state"])
def test_a_known_model_is_recovered_from_its_samples(known_model, gap):
    x, true, msa = known_model
    config = CouplingConfig(gap=gap, rows=ALL_ROWS, potts=PottsConfig(0.02, iterations=100, tolerance=1e-6))
    found = infer_couplings(msa, config, ChainKind.RNA, device="cpu", keep=True)
    first, second = np.triu_indices(12, 1)
    order = np.argsort(-found.scores[first, second])
    assert {(int(first[k]), int(second[k])) for k in order[: len(TRUE_PAIRS)]} == TRUE_PAIRS
    assert found.letters == ("AGCU" if gap == "missing" else "AGCU-")
    upper = np.array([true[i, :, j] for i, j in sorted(TRUE_PAIRS)])
    fitted = np.array([found.couplings[i, :4, j, :4] for i, j in sorted(TRUE_PAIRS)])
    assert np.corrcoef(upper.ravel(), fitted.ravel())[0, 1] > 0.97
    assert np.abs(fitted - upper).mean() < 0.2 * np.abs(upper).mean()
    np.testing.assert_allclose(found.couplings, found.couplings.transpose(2, 3, 0, 1), atol=1e-5)
    np.testing.assert_allclose(found.couplings.sum(1), 0, atol=1e-4)
    assert found.converged
    # At the minimum each letter is expected as often as it is seen: fields and couplings are in the same gauge.
    # Rows that occur twice share a vote.
    votes = draw_sample(msa, ChainKind.RNA, ALL_ROWS).weights / found.effective_depth
    for i in range(12):
        energies = found.fields[i] + sum(found.couplings[i, :, k][:, x[:, k]].T for k in range(12) if k != i)
        chances = np.exp(energies) / np.exp(energies).sum(1, keepdims=True)
        seen = np.bincount(x[:, i], votes, minlength=len(found.letters))
        np.testing.assert_allclose(votes @ chances, seen, atol=0.005)


def test_mean_field_finds_the_same_pairs(known_model):
    *_, msa = known_model
    for settings in (MeanFieldConfig(), MeanFieldConfig(pseudocount=0.5, shrinkage=0.0)):
        config = CouplingConfig(method="mean-field", rows=ALL_ROWS, mean_field=settings)
        scores = infer_couplings(msa, config, ChainKind.RNA, device="cpu").scores
        first, second = np.triu_indices(12, 1)
        order = np.argsort(-scores[first, second])[: len(TRUE_PAIRS)]
        assert {(int(first[k]), int(second[k])) for k in order} == TRUE_PAIRS


@pytest.mark.parametrize(("pseudocount", "shrinkage"), [(0.5, 0.0), (0.0, 4.5), (0.2, 1.0)])
def test_mean_field_against_numpy(states, pseudocount, shrinkage):
    weights = np.random.default_rng(0).random(N)
    x = (states.numpy()[:, :, None] == np.arange(Q)).astype(float)
    t, share = pseudocount, weights / weights.sum()
    f = (1 - t) * np.einsum("n,nia->ia", share, x) + t / (Q + 1)
    expected = np.zeros((LENGTH, Q, LENGTH, Q))
    for i in range(LENGTH):
        for j in range(LENGTH):
            pair = (1 - t) * np.einsum("n,na,nb->ab", share, x[:, i], x[:, j]) + t / (Q + 1) ** 2
            expected[i, :, j] = (np.diag(f[i]) if i == j else pair) - np.outer(f[i], f[j])
    expected = expected.reshape(LENGTH * Q, LENGTH * Q)
    for kernel in kernels(states):
        found = letter_covariance(kernel, torch.from_numpy(weights), pseudocount)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
        inverse = mean_field_couplings(kernel, torch.from_numpy(weights), MeanFieldConfig(pseudocount, shrinkage))
        whole = expected + shrinkage / np.sqrt(weights.sum()) * np.eye(len(expected))
        np.testing.assert_allclose(inverse.numpy(), -np.linalg.inv(whole), rtol=1e-6, atol=1e-8)


def test_a_covariance_that_cannot_be_inverted_is_refused(states):
    with pytest.raises(NonFiniteError, match="raise the shrinkage"):
        mean_field_couplings(GatheredRows(states[:5], Q), torch.ones(5), MeanFieldConfig(0.0, 1e-30))


def test_what_cannot_be_inferred_is_refused(known_model, monkeypatch):
    *_, msa = known_model
    one = Msa(msa.restypes[:1], msa.deletions[:1], ("q",))
    with pytest.raises(AlignmentError, match="has 1 row, of which 1 cover 50%"):
        infer_couplings(one, kind=ChainKind.RNA, device="cpu")
    with pytest.raises(AlignmentError, match="of which 0 cover"):
        infer_couplings(msa, kind=ChainKind.PROTEIN, device="cpu")
    with pytest.raises(AlignmentError, match="belongs to a ligand"):
        infer_couplings(msa, kind=ChainKind.LIGAND, device="cpu")
    narrow = Msa(msa.restypes[:, :1], msa.deletions[:, :1], msa.descriptions)
    with pytest.raises(AlignmentError, match="has 1 column"):
        infer_couplings(narrow, kind=ChainKind.RNA, device="cpu")
    monkeypatch.setattr("anfinsen.alignments.couplings.infer._MEMORY_SHARE", 1e-9)
    with pytest.raises(MemoryLimitError, match="use --method mean-field"):
        infer_couplings(msa, kind=ChainKind.RNA, device="cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RowConfig(identity=1.2),
        lambda: RowConfig(min_coverage=float("nan")),
        lambda: RowConfig(max_rows=1),
        lambda: RowConfig(max_rows=True),
        lambda: PottsConfig(coupling_penalty=0.0),
        lambda: PottsConfig(iterations=0),
        lambda: MeanFieldConfig(pseudocount=0.0, shrinkage=0.0),
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"expected|larger"):
        wrong()
