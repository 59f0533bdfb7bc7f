"""Arithmetic in CLIP's embedding space: all vectors have unit length, so paths are arcs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def slerp(a: Float[Tensor, "*b c"], b: Float[Tensor, "*b c"], weight: float) -> Float[Tensor, "*b c"]:
    """Return the point a share ``weight`` of the way along the arc from ``a`` to ``b``; unit vectors all.

    Opposite vectors have no one arc between them: the result is then some unit vector between.

    Source: Shoemake 1985; Ramesh et al. 2022, section 3.2.
    """
    cosine = (a * b).sum(-1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    # Where the arc is too short (or has no direction) for the formula, the chord serves.
    short = sine < 1e-4
    safe = torch.where(short, torch.ones_like(sine), sine)
    share_a = torch.where(short, torch.full_like(sine, 1 - weight), torch.sin((1 - weight) * angle) / safe)
    share_b = torch.where(short, torch.full_like(sine, weight), torch.sin(weight * angle) / safe)
    return F.normalize(share_a * a + share_b * b, dim=-1)


def text_difference(
    image: Float[Tensor, "*b c"],
    before: Float[Tensor, "*b c"],
    after: Float[Tensor, "*b c"],
    weight: float,
) -> Float[Tensor, "*b c"]:
    """Return the image embedding turned toward the direction from text ``before`` to text ``after``.

    ``weight`` 0 is the image itself; the paper goes to between 0.25 and 0.5.

    Source: Ramesh et al. 2022, section 3.3.
    """
    return slerp(image, F.normalize(after - before, dim=-1), weight)
