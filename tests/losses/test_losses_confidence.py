"""Confidence targets and losses against loops written from the supplement, and their invariances."""

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
    confidence_loss,
    distogram_loss,
    pae_target,
    pde_target,
    plddt_target,
)
from anfinsen.nn.batch import Batch, Labels


def _predicted(labels: Labels, scale: float = 1.5) -> Tensor:
    shape = labels.coordinates.shape
    return labels.coordinates + scale * torch.randn(shape, generator=torch_generator(2))


def _logits(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch_generator(seed))


def test_plddt_target_by_loops(batch: Batch, labels: Labels) -> None:
    x = _predicted(labels)
    actual, known = plddt_target(x, batch, labels)
    p, t = x.double().numpy(), labels.coordinates.double().numpy()
    counted = 0
    for atom in range(len(p)):
        scores = []
        for token in range(len(batch.kind)):
            other = int(batch.center_atom[token])
            usable = batch.is_standard[token] and batch.token_mask[token] and labels.resolved[other]
            distance = np.linalg.norm(t[atom] - t[other])
            if not usable or other == atom or distance >= (30 if batch.kind[token] in (1, 2) else 15):
                continue
            error = abs(np.linalg.norm(p[atom] - p[other]) - distance)
            scores.append(sum(error < limit for limit in (0.5, 1, 2, 4)) / 4)
        expected = bool(scores) and bool(labels.resolved[atom]) and bool(batch.atom_mask[atom])
        assert bool(known[atom]) == expected
        if expected:
            counted += 1
            assert actual[atom].item() == pytest.approx(np.mean(scores), abs=1e-6)
    assert counted > 40


def _alignment_error(x: np.ndarray, t: np.ndarray, frame: list[int], centre: int) -> float:
    """Algorithms 29 and 30 for one pair."""
    seen = []
    for y in (x, t):
        a, b, c = y[frame]
        w1, w2 = (a - b) / np.linalg.norm(a - b), (c - b) / np.linalg.norm(c - b)
        e1, e2 = (w1 + w2) / np.linalg.norm(w1 + w2), (w2 - w1) / np.linalg.norm(w2 - w1)
        d = y[centre] - b
        seen.append(np.array([d @ e1, d @ e2, d @ np.cross(e1, e2)]))
    return float(np.linalg.norm(seen[0] - seen[1]))


def test_pae_target_by_loops(batch: Batch, labels: Labels) -> None:
    x = _predicted(labels)
    actual, known = pae_target(x, batch, labels)
    p, t = x.double().numpy(), labels.coordinates.double().numpy()
    rows, columns = known.nonzero(as_tuple=True)
    assert len(rows) > 50
    for i, j in zip(rows.tolist()[::7], columns.tolist()[::7], strict=True):
        expected = _alignment_error(p, t, batch.frame_atoms[i].tolist(), int(batch.center_atom[j]))
        assert actual[i, j].item() == pytest.approx(expected, rel=1e-3, abs=1e-3)
    for i in set(range(len(batch.kind))) - set(rows.tolist()):
        a, b, c = t[batch.frame_atoms[i]]
        cosine = (a - b) @ (c - b) / max(np.linalg.norm(a - b) * np.linalg.norm(c - b), 1e-9)
        whole = bool(labels.resolved[batch.frame_atoms[i]].all()) and bool(batch.frame_mask[i])
        assert not whole or abs(cosine) > math.cos(math.radians(25)) - 1e-6


def test_errors_ignore_rigid_motion_but_see_a_mirror(batch: Batch, labels: Labels) -> None:
    x = rotate(labels.coordinates, random_rotations(1, torch_generator(0))[0]) - 30
    for target in (pae_target, pde_target):
        error, known = target(x, batch, labels)
        assert error[known].max().item() < 1e-3
    scores, known = plddt_target(x, batch, labels)
    assert bool((scores[known] == 1).all())
    mirrored = labels.coordinates * torch.tensor([-1.0, 1.0, 1.0])
    error, known = pae_target(mirrored, batch, labels)
    assert error[known].mean().item() > 3
    assert pde_target(mirrored, batch, labels)[0].max().item() < 1e-3


def test_flat_frames_are_left_out(batch: Batch, labels: Labels) -> None:
    true = labels.coordinates.clone()
    a, b, c = batch.frame_atoms[0].tolist()
    true[b] = 0.5 * (true[a] + true[c]) + 0.01
    straight = dataclasses.replace(labels, coordinates=true, resolved=batch.atom_mask)
    _, known = pae_target(_predicted(labels), batch, straight)
    assert not known[0].any()
    assert known[1].any()


def _all_logits(batch: Batch, samples: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a, n = len(batch.atom_mask), len(batch.kind)
    return (
        _logits((samples, a, 50), 1),
        _logits((samples, n, n, 64), 2),
        _logits((samples, n, n, 64), 3),
        _logits((samples, a, 2), 4),
    )


def test_losses_are_mean_cross_entropies(batch: Batch, labels: Labels) -> None:
    logits = _all_logits(batch, 2)
    x = torch.stack([_predicted(labels), _predicted(labels, 4.0)])
    loss = confidence_loss(*logits, x, batch, [labels, labels], LossConfig(pae=0.5))
    expected = torch.zeros(4)
    for sample in range(2):
        score, scored = plddt_target(x[sample], batch, labels)
        pae, framed = pae_target(x[sample], batch, labels)
        pde, known = pde_target(x[sample], batch, labels)
        targets = (
            (torch.floor(score * 50).clamp(max=49), scored),
            (torch.floor(pae / 0.5).clamp(max=63), framed),
            (torch.floor(pde / 0.5).clamp(max=63), known),
            (labels.resolved.float(), batch.atom_mask),
        )
        for k, (target, mask) in enumerate(targets):
            chosen = logits[k][sample].log_softmax(-1).gather(-1, target.long()[..., None])[..., 0]
            expected[k] -= chosen[mask].mean() / 2
    actual = torch.stack([loss.plddt, loss.pae, loss.pde, loss.resolved])
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    total = expected[0] + expected[2] + expected[3] + 0.5 * expected[1]
    torch.testing.assert_close(loss.total, total, rtol=1e-5, atol=0)


def test_gradient_reaches_logits_only(batch: Batch, labels: Labels) -> None:
    logits = tuple(part.requires_grad_() for part in _all_logits(batch, 1))
    x = _predicted(labels)[None].requires_grad_()
    loss = confidence_loss(*logits, x, batch, [labels], LossConfig(pae=1.0))
    gradients = torch.autograd.grad(loss.total, [*logits, x], allow_unused=True)
    assert all(gradient is not None and bool((gradient != 0).any()) for gradient in gradients[:4])
    assert gradients[4] is None
    # padding tokens and unresolved atoms teach nothing but "not resolved"
    n = int(batch.token_mask.sum())
    assert bool((gradients[1][:, n:] == 0).all())
    assert bool((gradients[0][:, ~labels.resolved] == 0).all())


def test_distogram_bins(batch: Batch, labels: Labels) -> None:
    """Logits that are certain of the right bin give a loss of 0; of a wrong one a large loss."""
    true = torch.cdist(labels.coordinates[batch.distogram_atom], labels.coordinates[batch.distogram_atom])
    bins = ((true - 2) / (20 / 64)).floor().clamp(0, 63).long()
    certain = 50 * torch.nn.functional.one_hot(bins, 64).float()
    # distances within float noise of a boundary may fall on either side
    assert distogram_loss(certain, batch, labels).item() < 0.01
    assert distogram_loss(certain.roll(1, dims=-1), batch, labels).item() > 40


def test_nothing_resolved_gives_no_nan(batch: Batch, labels: Labels) -> None:
    nothing = dataclasses.replace(labels, resolved=torch.zeros_like(labels.resolved))
    loss = confidence_loss(*_all_logits(batch, 1), _predicted(labels)[None], batch, [nothing], LossConfig(pae=1.0))
    assert (loss.plddt.item(), loss.pae.item(), loss.pde.item()) == (0, 0, 0)
    assert loss.resolved.item() > 0
    assert distogram_loss(torch.zeros(len(batch.kind), len(batch.kind), 64), batch, nothing).item() == 0
