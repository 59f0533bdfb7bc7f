"""Superposition against SciPy and biotite; uniform rotations; degenerate inputs."""

import math

import biotite.structure as struc
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from anfinsen.common.seeding import torch_generator
from anfinsen.geometry import (
    centre,
    centre_random_augmentation,
    quaternion_to_rotation,
    random_rotations,
    rigid_align,
    rotate,
    superpose,
)


def _points(*shape: int, seed: int = 0) -> torch.Tensor:
    return 10 * torch.randn((*shape, 3), generator=torch_generator(seed), dtype=torch.float64)


def test_weighted_superposition_is_scipys() -> None:
    moving, fixed = _points(4, 12), _points(4, 12, seed=1)
    weights = torch.rand((4, 12), generator=torch_generator(2), dtype=torch.float64)
    rotation, translation = superpose(moving, fixed, weights)
    for i in range(4):
        w = weights[i].numpy()
        x, y = moving[i].numpy(), fixed[i].numpy()
        x_mean, y_mean = (w @ x) / w.sum(), (w @ y) / w.sum()
        expected, _ = Rotation.align_vectors(y - y_mean, x - x_mean, weights=w)
        np.testing.assert_allclose(rotation[i].numpy(), expected.as_matrix(), atol=1e-10)
        np.testing.assert_allclose(translation[i].numpy(), y_mean - expected.apply(x_mean), atol=1e-9)


def test_rigid_align_is_biotites() -> None:
    fixed, moving = _points(30), _points(30, seed=1)
    expected, _ = struc.superimpose(fixed.numpy().astype(np.float32), moving.numpy().astype(np.float32))
    np.testing.assert_allclose(rigid_align(moving, fixed).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recovers_a_known_motion(dtype: torch.dtype) -> None:
    fixed = _points(50).to(dtype)
    rotation = random_rotations(1, torch_generator(4))[0].to(dtype)
    moving = rotate(fixed, rotation) + 500
    tolerance = 1e-3 if dtype == torch.float32 else 1e-5
    aligned = rigid_align(moving, fixed)
    assert aligned.dtype == dtype
    torch.testing.assert_close(aligned, fixed, rtol=0, atol=tolerance)


def test_zero_weights_do_not_count() -> None:
    fixed, moving = _points(10), _points(10, seed=1)
    weights = torch.ones(10, dtype=torch.float64)
    weights[6:] = 0
    subset = superpose(moving[:6], fixed[:6])
    moving[6:] += 1e3
    for actual, expected in zip(superpose(moving, fixed, weights), subset, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("case", ["mirror", "plane", "line", "two", "one", "same point", "nothing weighs"])
def test_rotation_is_proper_for_every_input(case: str) -> None:
    moving, fixed = _points(8), _points(8, seed=1)
    weights = torch.ones(8, dtype=torch.float64)
    if case == "mirror":
        fixed = moving * torch.tensor([1.0, 1.0, -1.0])
    elif case == "plane":
        moving[:, 2] = 0
        fixed = moving @ torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    elif case == "line":
        moving = torch.arange(8.0, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, 3.0])
        fixed = torch.arange(8.0, dtype=torch.float64)[:, None] * torch.tensor([3.0, -2.0, 1.0])
    elif case in ("two", "one"):
        keep = 2 if case == "two" else 1
        moving, fixed, weights = moving[:keep], fixed[:keep], weights[:keep]
    elif case == "same point":
        moving, fixed = torch.ones_like(moving), torch.zeros_like(fixed)
    else:
        weights = torch.zeros_like(weights)
    rotation, translation = superpose(moving, fixed, weights)
    assert torch.linalg.det(rotation).item() == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    if case in ("line", "plane", "one", "same point"):
        torch.testing.assert_close(rigid_align(moving, fixed, weights), fixed, atol=1e-8, rtol=0)
    if case == "nothing weighs":
        assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))
        assert torch.equal(translation, torch.zeros(3, dtype=torch.float64))


def test_no_gradient_and_no_autocast_loss() -> None:
    moving, fixed = _points(20).float().requires_grad_(), _points(20, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        aligned = rigid_align(moving, fixed)
    assert not aligned.requires_grad
    torch.testing.assert_close(aligned, rigid_align(moving, fixed))


def test_rotations_are_uniform() -> None:
    rotations = random_rotations(20_000, torch_generator(7)).double()
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity, atol=1e-5, rtol=0)
    assert bool((torch.linalg.det(rotations) > 0.99).all())
    assert rotations.mean(0).abs().max().item() < 0.02
    # Uniform rotations turn by theta with density (1 - cos theta) / pi: the mean is pi/2 + 2/pi.
    trace = rotations.diagonal(dim1=-2, dim2=-1).sum(-1)
    theta = torch.arccos(((trace - 1) / 2).clamp(-1, 1))
    assert theta.mean().item() == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)


def test_quaternions_are_scipys() -> None:
    quaternion = torch.randn((5, 4), generator=torch_generator(0), dtype=torch.float64)
    expected = Rotation.from_quat(quaternion.numpy(), scalar_first=True).as_matrix()
    np.testing.assert_allclose(quaternion_to_rotation(quaternion).numpy(), expected, atol=1e-12)


def test_augmentation_is_rigid_and_one_angstrom() -> None:
    x = _points(6).float().expand(3000, 6, 3) + 100
    mask = torch.tensor([True] * 5 + [False])
    moved = centre_random_augmentation(x, mask, torch_generator(3))
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(x, x), atol=2e-3, rtol=0)
    centres = moved[:, :5].mean(1)
    assert centres.std().item() == pytest.approx(1.0, abs=0.03)
    assert centres.mean().abs().item() < 0.05
    unmoved = centre_random_augmentation(x, mask, torch_generator(3), translation_scale=0.0)
    torch.testing.assert_close(centre(unmoved, mask), unmoved, atol=1e-4, rtol=0)
    # every copy has its own motion
    assert (moved[0] - moved[1]).abs().max() > 1


def test_a_motion_of_its_own_generator_does_not_depend_on_the_others() -> None:
    x, mask = _points(6).float().expand(4, 6, 3), torch.ones(6, dtype=torch.bool)
    moved = centre_random_augmentation(x, mask, [torch_generator(n) for n in range(4)])
    alone = centre_random_augmentation(x[:1], mask, [torch_generator(2)])
    assert torch.equal(moved[2:3], alone)
    assert (moved[0] - moved[1]).abs().max() > 1
