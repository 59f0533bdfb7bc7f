"""Gated attention along the rows of a tensor: what attention over pairs and over alignments have in common."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .adaptive_layer_norm import lecun_
from .attention import (
    MASKED,
    attention_weights,
    biased_attention,
    gates_are_watched,
    is_watched,
    show_gates,
    show_rows,
    show_weights,
)
from .linear import product
from .memory import KEPT_BYTES, chunk_length, scratch


class RowAttention(nn.Module):
    """Attention among the entries of each row of a [rows, n, c] tensor; subclasses say what rows and biases are.

    The rows of ``projection`` are [q | k | v | gate], each ``heads`` x ``c_head``. With ``bias_from`` a linear map
    ``bias`` of that many channels makes one logit per head and pair of columns. ``biases`` (AlphaFold 2): the gate and
    the output carry biases.
    """

    bias: nn.Linear

    def __init__(self, c: int, heads: int, c_head: int, *, bias_from: int | None = None, biases: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.c_head = c_head
        width = heads * c_head
        self.norm = nn.LayerNorm(c)
        if bias_from is not None:
            self.bias = nn.Linear(bias_from, heads, bias=False)
        self.projection = nn.Linear(c, 4 * width, bias=False)
        self.output = nn.Linear(width, c, bias=biases)
        self.gate_bias = nn.Parameter(torch.ones(width)) if biases else None
        with torch.no_grad():
            if bias_from is not None:
                lecun_(self.bias.weight)
            lecun_(self.projection.weight)
            self.projection.weight[3 * width :].zero_()  # gates start at one half (AlphaFold 3), or at sigmoid(1)
            nn.init.zeros_(self.output.weight)
            if biases:
                nn.init.zeros_(self.output.bias)

    def attend(
        self,
        z: Float[Tensor, "*batch rows n c"],
        bias: Float[Tensor, "*batch heads n n"] | None,
        mask: Bool[Tensor, "*batch #rows n"] | None = None,
    ) -> Float[Tensor, "*batch rows n c"]:
        """Return the update of every row of the normalised ``z``.

        With gradients, and where all attention weights would not fit, some rows at a time are computed, and computed
        again in the backward pass.
        """
        rows, n = z.shape[-3:-1]
        weights_per_row = math.prod(z.shape[:-3]) * self.heads * n * n * z.element_size()
        if weights_per_row * rows <= KEPT_BYTES or is_watched(self) or gates_are_watched(self):
            return self._attend(z, bias, mask)
        length = chunk_length(rows, weights_per_row, z.device)
        parts = [
            checkpoint(
                self._attend,
                z[..., start : start + length, :, :],
                bias,
                _some_rows(mask, slice(start, start + length)),
                use_reentrant=False,
            )
            for start in range(0, rows, length)
        ]
        return torch.cat(parts, dim=-3)

    def accumulate_rows_(
        self,
        z: Float[Tensor, "rows n c"],
        bias: Float[Tensor, "heads n n"] | None,
        mask: Bool[Tensor, "#rows n"] | None,
        out: Float[Tensor, "rows n c"],
    ) -> None:
        """Add the update of ``z`` (not yet normalised) to ``out``, which may be ``z``; without gradients.

        A row of ``out`` changes only after its row of ``z`` was read.
        """
        rows, n, width = z.shape[0], z.shape[1], self.heads * self.c_head
        length = chunk_length(rows, 4 * width * n * z.element_size(), z.device)
        buffer = scratch().take("hidden", (length * n * 4 * width,), z)
        projection, output = self.projection.weight.t(), self.output.weight.t()
        for start in range(0, rows, length):
            some = slice(start, min(start + length, rows))
            normal = self.norm(z[some].contiguous())
            count = normal.shape[0]
            both = buffer[: count * n * 4 * width].view(count * n, 4 * width)
            torch.mm(normal.view(count * n, -1), projection, out=both)
            q, k, v, gate = both.view(count, n, 4, self.heads, self.c_head).unbind(2)
            logit_bias = _logit_bias(bias, _some_rows(mask, some), z)
            if is_watched(self):
                show_rows(self, q.transpose(1, 2), k.transpose(1, 2), logit_bias, start, rows)
            attended = biased_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), logit_bias)
            if self.gate_bias is not None:
                gate += self.gate_bias.view(self.heads, self.c_head)
            gate.sigmoid_()
            if gates_are_watched(self):
                show_gates(self, gate.clone(), start, rows)  # the buffer is written to next
            gate.mul_(attended.transpose(1, 2))
            out[some] += product(both[:, 3 * width :], output, self.output.bias).view(count, n, -1)

    def _attend(
        self,
        z: Float[Tensor, "*batch rows n c"],
        bias: Float[Tensor, "*batch heads n n"] | None,
        mask: Bool[Tensor, "*batch #rows n"] | None,
    ) -> Float[Tensor, "*batch rows n c"]:
        q, k, v, gate = self.projection(z).chunk(4, dim=-1)
        q, k, v = self._split(q), self._split(k), self._split(v)
        logit_bias = _logit_bias(bias, mask, q)
        if is_watched(self):
            show_weights(self, attention_weights(q, k, logit_bias))
        attended = biased_attention(q, k, v, logit_bias)
        if self.gate_bias is not None:
            gate = gate + self.gate_bias
        gate = torch.sigmoid(gate)
        if gates_are_watched(self):
            show_gates(self, gate.view(*gate.shape[:-1], self.heads, self.c_head))
        update: Tensor = self.output(gate * attended.transpose(-2, -3).flatten(-2))
        return update

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.c_head).transpose(-2, -3)


def _some_rows(mask: Tensor | None, rows: slice) -> Tensor | None:
    """Return the mask of some rows; one that all rows share stays as it is."""
    return mask if mask is None or mask.shape[-2] == 1 else mask[..., rows, :]


def _logit_bias(
    bias: Float[Tensor, "*batch heads n n"] | None, mask: Bool[Tensor, "*batch rows n"] | None, like: Tensor
) -> Float[Tensor, "*batch #rows #heads #n n"] | None:
    """Return what is added to the logits of every row; a mask of single rows makes it as large as the weights."""
    shared = None if bias is None else bias.unsqueeze(-4)
    if mask is None:
        return shared
    absent = ~mask[..., :, None, None, :]
    if shared is None:
        return torch.zeros_like(absent, dtype=like.dtype).masked_fill(absent, MASKED)
    return shared.masked_fill(absent, MASKED)
