"""Invariant point attention: attention among residues that also see each other's place (AlphaFold 2, Algorithm 22)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.geometry import Frames, rotate
from anfinsen.nn.attention import MASKED, show_weights
from anfinsen.nn.dense import dense

# softplus of this is 1: at the start every head weighs points alike.
POINT_WEIGHT_START = math.log(math.e - 1)
LENGTH_EPSILON = 1e-8
# Variance of half a squared distance between two points of unit variance (section 1.8.2).
VARIANCE_PER_POINT = 9 / 2


@dataclass(frozen=True)
class PointAttentionConfig:
    """Sizes and variant of `InvariantPointAttention`.

    Attributes:
        c_s, c_z: widths of the single and the pair representation. heads, c_head: heads and their width.
        query_points, value_points: points of each head.
        multimer: the multimer's kind: queries, keys and values without biases.
    """

    c_s: int = 384
    c_z: int = 128
    heads: int = 12
    c_head: int = 16
    query_points: int = 4
    value_points: int = 8
    multimer: bool = False


class InvariantPointAttention(nn.Module):
    """Algorithm 22, without the residual connection.

    The rows of ``scalars`` are [q | k | v], each heads x width; those of ``points`` the same, heads x points x 3. The
    columns of ``output`` are [values | x of all points | y | z | their lengths | pair], heads first.
    """

    def __init__(self, config: PointAttentionConfig) -> None:
        super().__init__()
        self.config = config
        heads, width = config.heads, config.heads * config.c_head
        self.scalars = dense(config.c_s, 3 * width, bias=not config.multimer)
        self.points = dense(config.c_s, heads * (2 * config.query_points + config.value_points) * 3)
        self.bias = dense(config.c_z, heads)
        self.point_weights = nn.Parameter(torch.full((heads,), POINT_WEIGHT_START))
        self.output = dense(width + heads * (4 * config.value_points + config.c_z), config.c_s, "zeros")

    def forward(
        self,
        single: Float[Tensor, "n c_s"],
        pair: Float[Tensor, "n n c_z"],
        frames: Frames,
        mask: Bool[Tensor, "n"],
    ) -> Float[Tensor, "n c_s"]:
        """Return the update of ``single``; residues outside ``mask`` are not attended to.

        ``frames``: the residues' frames, [n]; the unit of length is the caller's.
        """
        config = self.config
        n, heads = single.shape[0], config.heads
        q, k, v = self.scalars(single).view(n, 3, heads, config.c_head).permute(1, 2, 0, 3).unbind(0)
        q_points, k_points, v_points = self._points(single, frames)
        # Distances between all points of a head at once are one distance in 3 x points dimensions.
        distances = torch.cdist(q_points, k_points, compute_mode="donot_use_mm_for_euclid_dist")
        strength = F.softplus(self.point_weights) * (config.query_points * VARIANCE_PER_POINT) ** -0.5
        logits = torch.matmul(q * config.c_head**-0.5, k.transpose(-1, -2)) + self.bias(pair).movedim(-1, 0)
        logits = logits - 0.5 * strength[:, None, None] * distances.square()
        weights = torch.softmax((logits * 3**-0.5).masked_fill(~mask, MASKED), dim=-1)
        show_weights(self, weights)

        values = torch.matmul(weights, v).transpose(0, 1).flatten(1)
        points = torch.matmul(weights, v_points).transpose(0, 1).reshape(n, -1, 3)
        points = rotate(points - frames.origin[:, None], frames.rotation.transpose(-1, -2))
        of_pairs = torch.matmul(weights.transpose(0, 1), pair).flatten(1)
        parts = (values, points.transpose(-1, -2).flatten(1), self._lengths(points), of_pairs)
        return self.output(torch.cat(parts, dim=-1))  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped

    def _points(
        self, single: Float[Tensor, "n c_s"], frames: Frames
    ) -> tuple[Float[Tensor, "heads n q3"], Float[Tensor, "heads n q3"], Float[Tensor, "heads n v3"]]:
        """Return query, key and value points in the common coordinate system, 3 numbers for each."""
        config = self.config
        n, heads = single.shape[0], config.heads
        local = self.points(single).view(n, -1, 3)
        everywhere = rotate(local, frames.rotation) + frames.origin[:, None]
        counts = (config.query_points, config.query_points, config.value_points)
        groups = torch.split(everywhere, [heads * count for count in counts], dim=1)
        q, k, v = (group.reshape(n, heads, -1).transpose(0, 1) for group in groups)
        return q, k, v

    def _lengths(self, points: Float[Tensor, "n p 3"]) -> Float[Tensor, "n p"]:
        squared = points.square().sum(-1)
        # The two released versions keep lengths of 0 differentiable in different ways.
        if self.config.multimer:
            return squared.clamp(min=LENGTH_EPSILON**2).sqrt()
        return (squared + LENGTH_EPSILON).sqrt()
