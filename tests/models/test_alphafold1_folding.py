"""AlphaFold 1's folding: native distograms give the native fold, in the right hand; batches are single starts."""

import dataclasses

import numpy as np
import pytest
import torch

from anfinsen.geometry import pairwise_distances
from anfinsen.metrics import tm_score
from anfinsen.models.alphafold1 import (
    TORSION_FOLDING,
    Backbone,
    FoldingConfig,
    LbfgsConfig,
    PairMaps,
    Potential,
    Stage,
    TermWeights,
    backbone_of_torsions,
    fold,
    hand_of,
    minimise,
    native_maps,
)
from anfinsen.models.alphafold1.starts import mirrored, sampled_torsions, scaled_traces
from anfinsen.training.chain_store import ChainStore

_GLYCINE = 7
QUICK = FoldingConfig(
    starts=2,
    stages=(
        Stage(40, 2, TermWeights(clash=0.0, bond=1.0)),
        Stage(25, 1, TermWeights(clash=1.0, bond=8.0)),
        Stage(40, 1, TermWeights(clash=5.0, bond=60.0)),
    ),
    rounds=0,
)


@pytest.fixture(scope="module")
def store(shared):
    return ChainStore(shared / "data", "test")


def _native(store: ChainStore, index: int) -> tuple[Backbone, torch.Tensor]:
    record = store.record(index)
    return Backbone.of(torch.from_numpy(record.backbone[None, :, :3])), torch.from_numpy(record.restype == _GLYCINE)


def _tm(first: torch.Tensor, second: torch.Tensor) -> float:
    return tm_score(first.double().numpy(), second.double().numpy())


def _fold(maps: PairMaps, glycine: torch.Tensor, config: FoldingConfig, seed: int = 0):
    return fold(maps, Potential(maps, glycine=glycine), torch.Generator().manual_seed(seed), config)


def _helices(length: int = 26) -> Backbone:
    """Two helices and a turn."""
    phi, psi = torch.full((1, length), -1.0), torch.full((1, length), -0.82)
    phi[:, length // 2], psi[:, length // 2 : length // 2 + 2] = 1.0, 2.2
    return backbone_of_torsions(phi, psi)


def test_lbfgs_finds_the_minima_of_quadratics_and_of_rosenbrocks_valley():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    hessian = basis @ torch.diag(torch.logspace(-2, 2, 6, dtype=torch.float64)) @ basis.T
    start = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    found = minimise(lambda x: 0.5 * (x @ hessian * x).sum(-1), start, 80, LbfgsConfig(max_move=10.0, tolerance=1e-14))
    assert found.x.abs().max() < 1e-3
    assert (found.trace.diff(dim=0) <= 0).all()

    def valley(x: torch.Tensor) -> torch.Tensor:
        return (1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2

    start = torch.tensor([[-1.2, 1.0], [2.0, -1.5]], dtype=torch.float64)
    found = minimise(valley, start, 200, LbfgsConfig(tolerance=1e-14, backtracks=20, patience=50))
    torch.testing.assert_close(found.x, torch.ones(2, 2, dtype=torch.float64), atol=1e-4, rtol=0)


def test_lbfgs_survives_energies_that_are_not_finite():
    start = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    found = minimise(lambda x: x[:, 0] - torch.log(x[:, 0]), start, 50, LbfgsConfig(max_move=5.0))
    assert float(found.x[0, 0]) == pytest.approx(1.0, abs=1e-3)
    assert float(found.x[1, 0]) == -1.0


def test_a_batch_of_starts_is_its_single_starts():
    built = _helices()
    potential = Potential(native_maps(built))
    generator = torch.Generator().manual_seed(4)
    phi, psi = sampled_torsions(PairMaps(native_maps(built).distogram), 3, generator)
    start = torch.cat([phi, psi], dim=1).double()

    def energy(x: torch.Tensor) -> torch.Tensor:
        return potential(backbone_of_torsions(*x.chunk(2, dim=1)), TermWeights(bond=0.0))

    together = minimise(energy, start, 8)
    for row in range(3):
        alone = minimise(energy, start[row : row + 1], 8)
        torch.testing.assert_close(together.energy[row : row + 1], alone.energy, rtol=1e-7, atol=1e-5)
        torch.testing.assert_close(together.x[row : row + 1], alone.x, rtol=1e-4, atol=1e-5)


def test_scaled_traces_have_the_distances_of_the_maps():
    built = _helices()
    trace = scaled_traces(native_maps(built, torsion=False, orientation=False), 1, 0.0, torch.Generator())[0]
    true = pairwise_distances(built.cb[0])
    near = true < 18.0
    assert (pairwise_distances(trace) - true)[near].abs().mean() < 0.5
    torch.testing.assert_close(pairwise_distances(mirrored(trace)), pairwise_distances(trace))


def test_sampled_torsions_follow_the_map():
    maps = native_maps(_helices())
    phi, psi = sampled_torsions(maps, 200, torch.Generator().manual_seed(0))
    inner = slice(1, 10)
    assert (torch.cos(phi[:, inner] + 1.0).mean(), torch.cos(psi[:, inner] + 0.82).mean()) > (0.9, 0.9)


def test_hand_tells_helices_from_their_mirror_images():
    ca = _helices().ca[0]
    assert hand_of(ca) == 1.0
    assert hand_of(mirrored(ca)) == -1.0


@pytest.mark.parametrize("seen", ["distances", "all"])
def test_native_distogram_of_a_small_protein_folds_to_it(store, seen):
    index = int(np.argmin(np.where(store.lengths >= 60, store.lengths, 10**6)))
    native, glycine = _native(store, index)
    maps = native_maps(native, torsion=seen == "all", orientation=seen == "all")
    found = _fold(maps, glycine, QUICK)
    assert _tm(found.backbone.ca[0], native.ca[0]) >= 0.95
    assert _tm(found.backbone.ca[0], mirrored(native.ca[0])) < 0.6
    assert (found.energy.diff() >= 0).all()
    # The chain holds together: every peptide bond within a tenth of an ångström, no crushed atoms.
    assert ((found.backbone.c[0, :-1] - found.backbone.n[0, 1:]).norm(dim=-1) - 1.336).abs().max() < 0.1
    assert float(found.terms["clash"][0]) < 5.0
    assert len(found.trajectory) > 10
    assert torch.isfinite(found.trace).all()


def test_rounds_start_from_the_pool_and_its_mirror_image():
    native = _helices(20)
    maps = native_maps(native)
    short = (Stage(8, 4, TermWeights(bond=5.0)),)
    config = dataclasses.replace(QUICK, starts=4, stages=short, rounds=1, pool=4, later=short)
    found = _fold(maps, torch.zeros(20, dtype=torch.bool), config)
    assert sorted(found.origin) == ["mirror", "pool", "pool", "pool", "scaled", "scaled", "scaled", "scaled"]
    again = _fold(maps, torch.zeros(20, dtype=torch.bool), config)
    torch.testing.assert_close(again.energy, found.energy, rtol=0, atol=0)
    # What a later round improved has its parent's past too, back to the start that the parent came from.
    longer = dataclasses.replace(config, shift_noise=0.01, later=(Stage(30, 4, TermWeights(bond=5.0)),))
    first, polished = (
        _fold(maps, torch.zeros(20, dtype=torch.bool), each) for each in (dataclasses.replace(longer, rounds=0), longer)
    )
    assert polished.origin[0] == "pool" and polished.energy[0] < first.energy[0]
    assert len(polished.trace) > len(first.trace) and len(polished.trajectory) > len(first.trajectory)
    assert polished.trace[0] > 2 * polished.trace[-1]


def test_torsion_space_folds_a_small_chain():
    native = _helices(18)
    maps = native_maps(native)
    stage = Stage(25, 3, TermWeights(bond=0.0))
    config = dataclasses.replace(TORSION_FOLDING, starts=3, stages=(stage,), rounds=1, pool=2, later=(stage,))
    found = _fold(maps, torch.zeros(18, dtype=torch.bool), config)
    assert _tm(found.backbone.ca[0], native.ca[0]) > 0.5
    assert float((found.backbone.ca[0] - found.backbone.ca[0].mean(0)).norm(dim=-1).max()) < 40


@pytest.mark.slow
def test_native_distograms_of_twenty_test_proteins_fold_and_never_to_the_mirror_image(store):
    """Distances alone, one-hot and smoothed: no torsions, no orientations tell the hand."""
    chosen = np.argsort(store.lengths, kind="stable")
    chosen = chosen[store.lengths[chosen] >= 60][:60:3]
    assert len(chosen) == 20
    for index in chosen:
        native, glycine = _native(store, int(index))
        found = _fold(native_maps(native, torsion=False, orientation=False), glycine, FoldingConfig())
        score = _tm(found.backbone.ca[0], native.ca[0])
        assert score >= 0.95, (store.ids[int(index)], score)
        assert score > _tm(found.backbone.ca[0], mirrored(native.ca[0]))
