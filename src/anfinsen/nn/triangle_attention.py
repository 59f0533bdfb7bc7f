"""Triangle self-attention around the starting or the ending node (AlphaFold 3, Algorithms 14 and 15)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .adaptive_layer_norm import lecun_
from .attention import biased_attention, mask_keys
from .memory import KEPT_BYTES, chunk_length, in_place, items, scratch

Node = Literal["starting", "ending"]
EndingBias = Literal["ik", "ki"]


class TriangleAttention(nn.Module):
    """Attention between the edges that share a node.

    Starting: edge (i, j) attends to edges (i, k) with bias b_jk. Ending: edge (i, j) attends to edges (k, j), with
    bias b_ik in the released code and OpenFold 3, b_ki in the paper, Protenix and Boltz (``ending_bias``).
    The rows of ``projection`` are [q | k | v | gate], each ``heads`` x ``c_head``.
    """

    def __init__(
        self, node: Node, c_z: int = 128, heads: int = 4, c_head: int = 32, ending_bias: EndingBias = "ik"
    ) -> None:
        super().__init__()
        self.node = node
        self.heads = heads
        self.c_head = c_head
        self.transpose_bias = node == "ending" and ending_bias == "ki"
        width = heads * c_head
        self.norm = nn.LayerNorm(c_z)
        self.bias = nn.Linear(c_z, heads, bias=False)
        self.projection = nn.Linear(c_z, 4 * width, bias=False)
        self.output = nn.Linear(width, c_z, bias=False)
        with torch.no_grad():
            lecun_(self.bias.weight)
            lecun_(self.projection.weight)
            self.projection.weight[3 * width :].zero_()  # gates start at one half
            nn.init.zeros_(self.output.weight)

    def forward(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Return the update of ``pair``; tokens outside ``mask`` are not attended to."""
        if in_place(pair):
            return self.accumulate_(pair, mask, torch.zeros_like(pair))
        z = self.norm(pair)
        bias = self.bias(z).movedim(-1, -3)
        bias = mask_keys(bias.transpose(-1, -2) if self.transpose_bias else bias, mask)[..., None, :, :, :]
        if self.node == "ending":
            z = z.transpose(-2, -3)
        n = z.shape[-2]
        weights_per_row = z[..., 0, 0, 0].numel() * self.heads * n * n * z.element_size()
        if weights_per_row * n <= KEPT_BYTES:
            update = self._attend(z, bias)
        else:
            length = chunk_length(n, weights_per_row, z.device)
            rows = [
                checkpoint(self._attend, z[..., start : start + length, :, :], bias, use_reentrant=False)
                for start in range(0, n, length)
            ]
            update = torch.cat(rows, dim=-3)
        return update.transpose(-2, -3) if self.node == "ending" else update

    def _attend(
        self, z: Float[Tensor, "*batch rows n c_z"], bias: Float[Tensor, "*batch 1 heads n n"]
    ) -> Float[Tensor, "*batch rows n c_z"]:
        q, k, v, gate = self.projection(z).chunk(4, dim=-1)
        attended = biased_attention(self._split(q), self._split(k), self._split(v), bias)
        update: Tensor = self.output(torch.sigmoid(gate) * attended.transpose(-2, -3).flatten(-2))
        return update

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.c_head).transpose(-2, -3)

    def accumulate_(
        self,
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch n"],
        out: Float[Tensor, "*batch n n c_z"],
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Add the update of ``pair`` to the contiguous ``out`` (may be ``pair``) and return it; without gradients."""
        for single_pair, single_mask, single_out in zip(items(pair, 3), items(mask, 1), items(out, 3), strict=True):
            bias = self._bias(single_pair, single_mask)
            if self.node == "ending":
                self._accumulate_rows_(single_pair.transpose(0, 1), bias, single_out.transpose(0, 1))
            else:
                self._accumulate_rows_(single_pair, bias, single_out)
        return out

    def _bias(self, pair: Float[Tensor, "n n c_z"], mask: Bool[Tensor, n]) -> Float[Tensor, "heads n n"]:
        n, c_z = pair.shape[0], pair.shape[-1]
        bias = pair.new_empty(self.heads, n, n)
        flat, positions = bias.view(self.heads, n * n), pair.reshape(n * n, c_z)
        length = chunk_length(n * n, 2 * c_z * pair.element_size(), pair.device)
        for start in range(0, n * n, length):
            chunk = slice(start, min(start + length, n * n))
            flat[:, chunk] = torch.mm(self.bias.weight, self.norm(positions[chunk]).t())
        if self.transpose_bias:
            bias = bias.transpose(-1, -2).contiguous()
        return mask_keys(bias, mask)

    def _accumulate_rows_(
        self, z: Float[Tensor, "n n c_z"], bias: Float[Tensor, "heads n n"], out: Float[Tensor, "n n c_z"]
    ) -> None:
        """Attend along the rows of ``z``; a row of ``out`` changes only after its row of ``z`` was read."""
        n, width = z.shape[0], self.heads * self.c_head
        length = chunk_length(n, 4 * width * n * z.element_size(), z.device)
        buffer = scratch().take("hidden", (length * n * 4 * width,), z)
        projection, output = self.projection.weight.t(), self.output.weight.t()
        for start in range(0, n, length):
            rows = self.norm(z[start : start + length].contiguous())
            count = rows.shape[0]
            both = buffer[: count * n * 4 * width].view(count * n, 4 * width)
            torch.mm(rows.view(count * n, -1), projection, out=both)
            q, k, v, gate = both.view(count, n, 4, self.heads, self.c_head).unbind(2)
            attended = biased_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias[None])
            gate.sigmoid_().mul_(attended.transpose(1, 2))
            gated = both[:, 3 * width :]
            out[start : start + count] += torch.mm(gated, output).view(count, n, -1)
