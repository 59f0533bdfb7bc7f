"""Pair-weighted averaging: alignment rows mixed by weights from the pair representation (AlphaFold 3, Algorithm 10)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .adaptive_layer_norm import lecun_
from .attention import gates_are_watched, mask_keys, show_gates, show_weights
from .memory import chunk_length, in_place, items


class PairWeightedAveraging(nn.Module):
    """Every row's columns are averaged with weights that all rows share.

    ``c_head`` is the width of a value: 8 in the released code, 32 in Boltz.
    The rows of ``projection`` are [value | gate], each ``heads`` x ``c_head``.
    """

    def __init__(self, c_m: int = 64, c_z: int = 128, heads: int = 8, c_head: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.c_head = c_head
        width = heads * c_head
        self.norm_msa = nn.LayerNorm(c_m)
        self.norm_pair = nn.LayerNorm(c_z)
        self.weights = nn.Linear(c_z, heads, bias=False)
        self.projection = nn.Linear(c_m, 2 * width, bias=False)
        self.output = nn.Linear(width, c_m, bias=False)
        with torch.no_grad():
            lecun_(self.projection.weight)
            self.projection.weight[width:].zero_()  # gates start at one half
            lecun_(self.weights.weight)
            nn.init.zeros_(self.output.weight)

    def forward(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch n"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Return the update of ``msa``; columns outside ``mask`` do not count."""
        if in_place(msa):
            return self.accumulate_(msa, pair, mask, torch.zeros_like(msa))
        return self._average(msa, self._weights(pair, mask))

    def accumulate_(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch n"],
        out: Float[Tensor, "*batch s n c_m"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Add the update to the contiguous ``out`` (which may be ``msa``), some rows at a time; without gradients."""
        row_bytes = 4 * msa.shape[-2] * self.output.in_features * msa.element_size()
        for one_msa, one_pair, one_mask, one_out in zip(
            items(msa, 3), items(pair, 3), items(mask, 1), items(out, 3), strict=True
        ):
            weights = self._weights(one_pair, one_mask)
            length = chunk_length(one_msa.shape[0], row_bytes, msa.device)
            for start in range(0, one_msa.shape[0], length):
                some = one_msa[start : start + length]
                one_out[start : start + length] += self._average(some, weights, start, one_msa.shape[0])
        return out

    def _weights(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch heads n n"]:
        logits = self.weights(self.norm_pair(pair)).movedim(-1, -3)
        weights = torch.softmax(mask_keys(logits, mask), dim=-1)
        show_weights(self, weights)
        return weights

    def _average(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        weights: Float[Tensor, "*batch heads n n"],
        start: int = 0,
        total: int | None = None,
    ) -> Float[Tensor, "*batch s n c_m"]:
        value, gate = self.projection(self.norm_msa(msa)).chunk(2, dim=-1)
        # [heads, n, s x c]: one matrix product per head for all rows.
        value = value.view(*value.shape[:-1], self.heads, self.c_head).movedim(-2, -4).transpose(-2, -3).flatten(-2)
        mixed = torch.matmul(weights, value)
        mixed = mixed.view(*mixed.shape[:-1], msa.shape[-3], self.c_head)
        mixed = mixed.movedim(-4, -2).transpose(-3, -4).flatten(-2)
        gate = torch.sigmoid(gate)
        if gates_are_watched(self):
            show_gates(self, gate.view(*gate.shape[:-1], self.heads, self.c_head), start, total)
        update: Tensor = self.output(gate * mixed)
        return update
