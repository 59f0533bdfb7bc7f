"""Rigid superposition and random rigid motion of point sets. Lengths in Å; rotations act as ``R x``."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anfinsen.common.seeding import Generators, gaussian


def rotate(points: Float[Tensor, "*batch n 3"], rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch n 3"]:
    """Return ``rotation @ point`` for every point.

    Written without a matrix product: autocast and TF32 would round coordinates to 8 or 11 bits.
    """
    return (points.unsqueeze(-2) * rotation.unsqueeze(-3)).sum(-1)


def superpose(
    moving: Float[Tensor, "*batch n 3"],
    fixed: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"] | None = None,
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"]]:
    """Return the rotation and translation that bring ``moving`` closest to ``fixed``.

    They minimise sum_i w_i |R moving_i + t - fixed_i|². The rotation is proper (determinant +1) for every input: for
    fewer than three points, points on a line or mirror images it is one of the best proper rotations. Where all
    weights are 0 it is the identity without translation. No gradient flows through.

    Args:
        moving, fixed: points in correspondence, Å.
        weights: at least 0; all 1 if not given.

    Source: Kabsch 1976; AlphaFold 3 supplement, algorithm 28.
    """
    with torch.no_grad():
        # Double precision: coordinates of thousands of Å early in diffusion would lose digits in the covariance.
        exact = torch.float32 if moving.device.type == "mps" else torch.float64
        x, y = moving.to(exact), fixed.to(exact)
        w = torch.ones_like(x[..., 0]) if weights is None else weights.to(exact)
        w = w / w.sum(-1, keepdim=True).clamp(min=torch.finfo(exact).tiny)
        x_mean, y_mean = (w.unsqueeze(-1) * x).sum(-2), (w.unsqueeze(-1) * y).sum(-2)
        x, y = x - x_mean.unsqueeze(-2), y - y_mean.unsqueeze(-2)
        covariance = torch.einsum("...n,...ni,...nj->...ij", w, y, x)
        u, _, vh = torch.linalg.svd(covariance)
        # The direction of least spread changes sign where the best orthogonal matrix is a reflection.
        signs = torch.ones_like(x_mean)
        signs[..., 2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
        rotation = torch.einsum("...ij,...j,...jk->...ik", u, signs, vh)
        translation = y_mean - (rotation * x_mean.unsqueeze(-2)).sum(-1)
    return rotation.to(moving.dtype), translation.to(moving.dtype)


def rigid_align(
    moving: Float[Tensor, "*batch n 3"],
    fixed: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"] | None = None,
) -> Float[Tensor, "*batch n 3"]:
    """Return ``moving`` superposed on ``fixed`` (see :func:`superpose`); no gradient flows through."""
    with torch.no_grad():
        rotation, translation = superpose(moving, fixed, weights)
        return rotate(moving, rotation) + translation.unsqueeze(-2)


def random_rotations(count: int, generator: Generators) -> Float[Tensor, "count 3 3"]:
    """Return uniformly distributed rotation matrices, float32, on the device of the generator (one, or ``count``).

    A normalised 4-vector of Gaussians is a uniform unit quaternion (Shoemake 1992).
    """
    return quaternion_to_rotation(gaussian((count, 4), generator))


def quaternion_to_rotation(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation of the quaternion (w, x, y, z), which need not be normalised."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    )
    return torch.stack(rows, dim=-2)


def centre(points: Float[Tensor, "*batch n 3"], mask: Bool[Tensor, "n"]) -> Float[Tensor, "*batch n 3"]:
    """Return the points moved so that the mean of those in ``mask`` is the origin."""
    weight = mask.to(points.dtype).unsqueeze(-1)
    mean = (points * weight).sum(-2, keepdim=True) / weight.sum().clamp(min=1)
    return points - mean


def centre_random_augmentation(
    points: Float[Tensor, "*batch n 3"],
    mask: Bool[Tensor, "n"],
    generator: Generators,
    translation_scale: float = 1.0,
) -> Float[Tensor, "*batch n 3"]:
    """Centre each set of points, then rotate and translate it at random.

    Args:
        points: Å.
        mask: which points count for the centre; all are moved.
        generator: draws one rotation and one translation for each leading index; or one generator for each, where
            there is one leading axis.
        translation_scale: standard deviation of the translation along each axis, Å.

    Source: AlphaFold 3 supplement, algorithm 19.
    """
    batch = points.shape[:-2]
    rotation = random_rotations(batch.numel(), generator).to(points).reshape(*batch, 3, 3)
    shift = gaussian((*batch, 1, 3), generator).to(points)
    return rotate(centre(points, mask), rotation) + translation_scale * shift
