"""Rigid frames from three points, and points seen from a frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-8  # Å; keeps directions of length 0 finite


@dataclass(frozen=True)
class Frames:
    """Local coordinate systems: columns of ``rotation`` are the axes, ``origin`` is in Å."""

    rotation: Float[Tensor, "*frames 3 3"]
    origin: Float[Tensor, "*frames 3"]


def gram_schmidt_frames(
    first: Float[Tensor, "*frames 3"], second: Float[Tensor, "*frames 3"], third: Float[Tensor, "*frames 3"]
) -> Frames:
    """Return frames with origin ``second``, first axis towards ``third``, ``first`` in the upper half of the xy plane.

    For N, CA, C these are AlphaFold 2's backbone frames (supplement of AlphaFold 2, algorithm 21).
    """
    e1 = _unit(third - second)
    v2 = first - second
    e2 = _unit(v2 - (e1 * v2).sum(-1, keepdim=True) * e1)
    e3 = torch.linalg.cross(e1, e2)
    return Frames(torch.stack([e1, e2, e3], dim=-1), second)


def bisector_frames(
    first: Float[Tensor, "*frames 3"], second: Float[Tensor, "*frames 3"], third: Float[Tensor, "*frames 3"]
) -> Frames:
    """Return frames with origin ``second`` and first axis along the bisector of the angle at it.

    Source: AlphaFold 3 supplement, algorithm 29, lines 1-5.
    """
    w1, w2 = _unit(first - second), _unit(third - second)
    e1, e2 = _unit(w1 + w2), _unit(w2 - w1)
    return Frames(torch.stack([e1, e2, torch.linalg.cross(e1, e2)], dim=-1), second)


def express_in_frames(points: Float[Tensor, "*batch n 3"], frames: Frames) -> Float[Tensor, "*batch f n 3"]:
    """Return every point as seen from every frame: ``R^T (x - origin)``.

    Args:
        points: Å.
        frames: [*batch, f].

    Source: AlphaFold 3 supplement, algorithm 29, lines 6-8.
    """
    offset = points.unsqueeze(-3) - frames.origin.unsqueeze(-2)
    # Axis by axis: no matrix product (autocast would round it) and no second n x n x 3 x 3 tensor.
    axes = [(offset * frames.rotation[..., :, k].unsqueeze(-2)).sum(-1) for k in range(3)]
    return torch.stack(axes, dim=-1)


def compose_frames(outer: Frames, inner: Frames) -> Frames:
    """Return ``inner``, given as seen from ``outer``, in the coordinates ``outer`` is given in; shapes broadcast."""
    # No matrix product: autocast would round it.
    rotation = (outer.rotation.unsqueeze(-1) * inner.rotation.unsqueeze(-3)).sum(-2)
    origin = (outer.rotation * inner.origin.unsqueeze(-2)).sum(-1) + outer.origin
    return Frames(rotation, origin)


def _unit(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    length: Tensor = vector.norm(dim=-1, keepdim=True)
    return vector / length.clamp(min=EPSILON)
