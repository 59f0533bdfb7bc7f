"""Triangle self-attention around the starting or the ending node (AlphaFold 3, Algorithms 14 and 15; AlphaFold 2, 13
and 14)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .attention import mask_keys
from .memory import chunk_length, in_place, items
from .row_attention import RowAttention

Node = Literal["starting", "ending"]
EndingBias = Literal["ik", "ki"]


class TriangleAttention(RowAttention):
    """Attention between the edges that share a node.

    Starting: edge (i, j) attends to edges (i, k) with bias b_jk. Ending: edge (i, j) attends to edges (k, j), with
    bias b_ik in the released AlphaFold 3 code and OpenFold 3, b_ki in the papers, AlphaFold 2, Protenix and Boltz
    (``ending_bias``). ``biases``: see `RowAttention`.
    """

    def __init__(
        self,
        node: Node,
        c_z: int = 128,
        heads: int = 4,
        c_head: int = 32,
        ending_bias: EndingBias = "ik",
        *,
        biases: bool = False,
    ) -> None:
        super().__init__(c_z, heads, c_head, bias_from=c_z, biases=biases)
        self.node = node
        self.transpose_bias = node == "ending" and ending_bias == "ki"

    def forward(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Return the update of ``pair``; tokens outside ``mask`` are not attended to."""
        if in_place(pair):
            return self.accumulate_(pair, mask, torch.zeros_like(pair))
        z = self.norm(pair)
        bias = self.bias(z).movedim(-1, -3)
        bias = mask_keys(bias.transpose(-1, -2) if self.transpose_bias else bias, mask)
        if self.node == "starting":
            return self.attend(z, bias)
        return self.attend(z.transpose(-2, -3), bias).transpose(-2, -3)

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
                self.accumulate_rows_(single_pair.transpose(0, 1), bias, None, single_out.transpose(0, 1))
            else:
                self.accumulate_rows_(single_pair, bias, None, single_out)
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
