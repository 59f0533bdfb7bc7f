"""The diffusion loss against loops written from the supplement, and its invariances."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import random_rotations, rotate
from anfinsen.losses import (
    LossConfig,
    aligned_mse,
    atom_weights,
    bond_loss,
    diffusion_loss,
    distogram_loss,
    level_weight,
    shared_single,
    smooth_lddt_loss,
    training_loss,
)
from anfinsen.nn.batch import Batch, Labels


def _noisy(labels: Labels, samples: int = 3, scale: float = 2.0, seed: int = 0) -> Tensor:
    shape = (samples, *labels.coordinates.shape)
    return labels.coordinates + scale * torch.randn(shape, generator=torch_generator(seed))


def _algorithm_27(x: np.ndarray, batch: Batch, labels: Labels) -> float:
    """Smooth lDDT in a double loop over atoms, as printed."""
    known = (labels.resolved & batch.atom_mask).nonzero()[:, 0].tolist()
    true = labels.coordinates.double().numpy()
    kind = batch.kind[batch.atom_to_token].tolist()
    top, bottom = 0.0, 0.0
    for first in known:
        for second in known:
            if first == second:
                continue
            distance = np.linalg.norm(true[first] - true[second])
            delta = abs(np.linalg.norm(x[first] - x[second]) - distance)
            epsilon = sum(1 / (1 + math.exp(delta - t)) for t in (0.5, 1, 2, 4)) / 4
            counts = distance < (30 if kind[first] in (1, 2) else 15)
            top += counts * epsilon
            bottom += counts
    return 1 - top / bottom


def test_smooth_lddt_is_algorithm_27(batch: Batch, labels: Labels) -> None:
    x = _noisy(labels)
    expected = [_algorithm_27(sample.double().numpy(), batch, labels) for sample in x]
    torch.testing.assert_close(smooth_lddt_loss(x, batch, labels), torch.tensor(expected).float(), rtol=2e-5, atol=0)


def test_smooth_lddt_gradient(batch: Batch, labels: Labels) -> None:
    x = _noisy(labels, samples=2).requires_grad_()
    upstream = torch.tensor([1.0, -2.0])
    (gradient,) = torch.autograd.grad((smooth_lddt_loss(x, batch, labels) * upstream).sum(), x)
    # central differences of the double loop, at a handful of coordinates
    base = x.detach().double().numpy()
    for sample, atom, axis in ((0, 0, 0), (0, 30, 1), (1, 61, 2), (1, 12, 0)):
        step = np.zeros_like(base[sample])
        step[atom, axis] = 1e-5
        up, down = (_algorithm_27(base[sample] + s * step, batch, labels) for s in (1, -1))
        expected = upstream[sample].item() * (up - down) / 2e-5
        assert gradient[sample, atom, axis].item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert bool((gradient[:, ~labels.resolved] == 0).all())


def test_smooth_lddt_in_parts_is_the_same(batch: Batch, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    import anfinsen.losses.smooth_lddt as module

    x = _noisy(labels, samples=5)
    whole = smooth_lddt_loss(x, batch, labels)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 1)
    assert torch.equal(smooth_lddt_loss(x, batch, labels), whole)


def test_smooth_lddt_far_away_is_finite(batch: Batch, labels: Labels) -> None:
    x = _noisy(labels, scale=2560.0).requires_grad_()
    loss = smooth_lddt_loss(x, batch, labels)
    assert bool((loss > 0.95).all())
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert torch.isfinite(gradient).all()


def test_aligned_mse_is_invariant_and_pulls_towards_the_truth(batch: Batch, labels: Labels) -> None:
    weight = atom_weights(batch, LossConfig()) * labels.resolved
    x = _noisy(labels)
    expected = aligned_mse(x, labels.coordinates, weight)
    turn = random_rotations(1, torch_generator(1))[0]
    moved = rotate(x, turn.expand(3, 3, 3)) + 40
    torch.testing.assert_close(aligned_mse(moved, labels.coordinates, weight), expected, rtol=1e-4, atol=0)
    # a mirror image is not the same thing
    mirrored = labels.coordinates[None] * torch.tensor([1.0, 1.0, -1.0])
    assert aligned_mse(mirrored, labels.coordinates, weight).item() > 1
    exact = aligned_mse(labels.coordinates[None].expand(3, -1, -1), labels.coordinates, weight)
    assert exact.max().item() < 1e-8
    # one step down the gradient lowers the loss
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(aligned_mse(x, labels.coordinates, weight).sum(), x)
    after = aligned_mse(x.detach() - 0.5 * gradient, labels.coordinates, weight)
    assert bool((after < expected).all())


def test_mse_counts_a_third_of_weighted_squares(batch: Batch, labels: Labels) -> None:
    """All weight on a stretch: the mean over its atoms of 11 d² / 3, with the alignment done by SciPy."""
    from scipy.spatial.transform import Rotation

    weight = atom_weights(batch, LossConfig())
    assert sorted(set(weight.tolist())) == [1.0, 6.0, 11.0]
    assert set(weight[batch.kind[batch.atom_to_token] == 3].tolist()) == {11.0}
    weight = weight * (batch.kind[batch.atom_to_token] == 3) * labels.resolved
    chosen = (weight > 0).numpy()
    x = _noisy(labels, samples=1)
    a, b = labels.coordinates.double().numpy()[chosen], x[0].double().numpy()[chosen]
    a, b = a - a.mean(0), b - b.mean(0)
    rotation, _ = Rotation.align_vectors(b, a)
    expected = 11 * ((rotation.apply(a) - b) ** 2).sum(-1).mean() / 3
    assert aligned_mse(x, labels.coordinates, weight)[0].item() == pytest.approx(expected, rel=1e-4)


def test_bond_loss_counts_resolved_bonds(batch: Batch, labels: Labels) -> None:
    resolved = labels.resolved.clone()
    resolved[[0, 5, 60, 62]] = True
    resolved[64] = False
    labels = dataclasses.replace(labels, resolved=resolved)
    x = labels.coordinates[None].clone()
    assert bond_loss(x, batch, labels).item() == 0
    # Stretch the first bond by 0.6 Å along its direction; the third bond is not resolved and does not count.
    direction = torch.nn.functional.normalize(x[0, 5] - x[0, 0], dim=-1)
    x[0, 5] += 0.6 * direction
    x[0, 64] += 100
    assert bond_loss(x, batch, labels).item() == pytest.approx(0.36 / 2, rel=1e-4)
    empty = dataclasses.replace(labels, bonds=labels.bonds[:0])
    assert bond_loss(x, batch, empty).tolist() == [0.0]


def test_both_weightings() -> None:
    sigma = torch.tensor([0.4, 16.0, 200.0])
    edm = level_weight(sigma, LossConfig())
    torch.testing.assert_close(edm, (sigma**2 + 256) / (sigma * 16) ** 2)
    supplement = level_weight(sigma, LossConfig(weighting="supplement"))
    torch.testing.assert_close(supplement, (sigma**2 + 256) / (sigma + 16) ** 2)


def test_total_is_the_sum_of_its_terms(batch: Batch, labels: Labels) -> None:
    x, sigma = _noisy(labels), torch.tensor([0.5, 4.0, 30.0])
    config = LossConfig(bond=1.0)
    loss = diffusion_loss(x, sigma, batch, labels, config)
    mse = aligned_mse(x, labels.coordinates, atom_weights(batch, config) * labels.resolved)
    expected = level_weight(sigma, config) * (mse + bond_loss(x, batch, labels)) + smooth_lddt_loss(x, batch, labels)
    torch.testing.assert_close(loss.samples, expected)
    torch.testing.assert_close(loss.total, expected.mean())


def test_masked_atoms_change_nothing(batch: Batch, labels: Labels) -> None:
    x, sigma = _noisy(labels), torch.ones(3)
    config = LossConfig(bond=1.0)
    expected = diffusion_loss(x, sigma, batch, labels, config)
    unknown = ~labels.resolved
    y, true = x.clone(), labels.coordinates.clone()
    y[:, unknown] += 1e3
    true[unknown] -= 500
    actual = diffusion_loss(y, sigma, batch, dataclasses.replace(labels, coordinates=true), config)
    torch.testing.assert_close(actual.total, expected.total)


def test_nothing_resolved_gives_zero_and_no_nan(batch: Batch, labels: Labels) -> None:
    nothing = dataclasses.replace(labels, resolved=torch.zeros_like(labels.resolved))
    x = _noisy(labels).requires_grad_()
    loss = diffusion_loss(x, torch.ones(3), batch, nothing, LossConfig(bond=1.0))
    assert loss.total.item() == 0
    (gradient,) = torch.autograd.grad(loss.total, x)
    assert bool((gradient == 0).all())


def test_training_loss_is_equation_15(batch: Batch, labels: Labels) -> None:
    config = LossConfig()
    diffusion = diffusion_loss(_noisy(labels), torch.ones(3), batch, labels, config)
    distogram = distogram_loss(torch.zeros(len(batch.kind), len(batch.kind), 64), batch, labels)
    assert distogram.item() == pytest.approx(math.log(64), rel=1e-5)
    loss = training_loss(config, diffusion, distogram, weight=2.0)
    torch.testing.assert_close(loss.total, 2 * (4 * diffusion.total + 0.03 * distogram))
    assert {"total", "diffusion", "mse", "bond", "smooth_lddt", "distogram"} == set(loss.terms)
    with pytest.raises(ValueError, match="at least one"):
        training_loss(config)


def test_what_all_tokens_share_is_measured_and_what_tells_them_apart_is_not() -> None:
    own = torch.randn(7, 16, generator=torch_generator(5))
    own = own - own.mean(0)
    assert shared_single(own).item() == pytest.approx(0.0, abs=1e-12)
    common = torch.randn(16, generator=torch_generator(6))
    assert shared_single(100 * own + common).item() == pytest.approx(common.square().mean().item(), rel=1e-4)
    loss = training_loss(LossConfig(shared_single=0.5), shared=shared_single(own + common))
    assert loss.total.item() == pytest.approx(0.5 * loss.terms["shared_single"].item())
