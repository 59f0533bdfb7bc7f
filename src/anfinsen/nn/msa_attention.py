"""Attention over an alignment: along its rows with a bias from the pairs, and down its columns (AlphaFold 2, 1.6)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .adaptive_layer_norm import lecun_
from .attention import MASKED, gates_are_watched, mask_keys, show_gates, show_weights
from .dense import dense
from .memory import chunk_length, in_place, items
from .row_attention import RowAttention

# Added to the number of rows that a mean is taken over (released code).
EPSILON = 1e-10


class MsaRowAttention(RowAttention):
    """Row-wise gated self-attention with pair bias (AlphaFold 2, Algorithm 7)."""

    def __init__(self, c_m: int = 256, c_z: int = 128, heads: int = 8, c_head: int = 32) -> None:
        super().__init__(c_m, heads, c_head, bias_from=c_z, biases=True)
        self.norm_pair = nn.LayerNorm(c_z)

    def forward(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch s n"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Return the update of ``msa``; entries outside ``mask`` are not attended to."""
        if in_place(msa):
            return self.accumulate_(msa, pair, mask, torch.zeros_like(msa))
        return self.attend(self.norm(msa), *self._bias(pair, mask))

    def accumulate_(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch s n"],
        out: Float[Tensor, "*batch s n c_m"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Add the update of ``msa`` to the contiguous ``out`` (may be ``msa``) and return it; without gradients."""
        for one_msa, one_pair, one_mask, one_out in zip(
            items(msa, 3), items(pair, 3), items(mask, 2), items(out, 3), strict=True
        ):
            self.accumulate_rows_(one_msa, *self._bias(one_pair, one_mask), one_out)
        return out

    def _bias(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch s n"]
    ) -> tuple[Float[Tensor, "*batch heads n n"], Bool[Tensor, "*batch s n"] | None]:
        """Return the bias that all rows share, and the mask that it does not contain."""
        n, c_z = pair.shape[-2:]
        if in_place(pair):
            bias = pair.new_empty(self.heads, n, n)
            flat, positions = bias.view(self.heads, n * n), pair.reshape(n * n, c_z)
            length = chunk_length(n * n, 2 * c_z * pair.element_size(), pair.device)
            for start in range(0, n * n, length):
                chunk = slice(start, min(start + length, n * n))
                flat[:, chunk] = torch.mm(self.bias.weight, self.norm_pair(positions[chunk]).t())
        else:
            bias = self.bias(self.norm_pair(pair)).movedim(-1, -3)
        columns = _shared_columns(mask)
        return (bias, mask) if columns is None else (mask_keys(bias, columns), None)


class MsaColumnAttention(RowAttention):
    """Column-wise gated self-attention (AlphaFold 2, Algorithm 8)."""

    def __init__(self, c_m: int = 256, heads: int = 8, c_head: int = 32) -> None:
        super().__init__(c_m, heads, c_head, biases=True)

    def forward(
        self, msa: Float[Tensor, "*batch s n c_m"], mask: Bool[Tensor, "*batch s n"]
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Return the update of ``msa``; entries outside ``mask`` are not attended to."""
        if in_place(msa):
            return self.accumulate_(msa, mask, torch.zeros_like(msa))
        z = self.norm(msa).transpose(-2, -3)
        return self.attend(z, None, _present(mask.transpose(-1, -2))).transpose(-2, -3)

    def accumulate_(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        mask: Bool[Tensor, "*batch s n"],
        out: Float[Tensor, "*batch s n c_m"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Add the update of ``msa`` to the contiguous ``out`` (may be ``msa``) and return it; without gradients."""
        for one_msa, one_mask, one_out in zip(items(msa, 3), items(mask, 2), items(out, 3), strict=True):
            self.accumulate_rows_(
                one_msa.transpose(0, 1), None, _present(one_mask.transpose(0, 1)), one_out.transpose(0, 1)
            )
        return out


class MsaColumnGlobalAttention(nn.Module):
    """Column-wise attention whose single query is the column's mean (AlphaFold 2, Algorithm 19).

    Keys and values have one head, queries and gates ``heads``. The rows of ``key_value`` are [k | v].
    """

    def __init__(self, c_m: int = 64, heads: int = 8, c_head: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.c_head = c_head
        self.norm = nn.LayerNorm(c_m)
        self.query = dense(c_m, heads * c_head, bias=False)
        self.key_value = nn.Linear(c_m, 2 * c_head, bias=False)
        self.gate = dense(c_m, heads * c_head, "gate")
        self.output = dense(heads * c_head, c_m, "zeros")
        lecun_(self.key_value.weight)

    def forward(
        self, msa: Float[Tensor, "*batch s n c_m"], mask: Bool[Tensor, "*batch s n"]
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Return the update of ``msa``; entries outside ``mask`` do not count."""
        if in_place(msa):
            return self.accumulate_(msa, mask, torch.zeros_like(msa))
        return self._attend(msa.transpose(-2, -3), mask.transpose(-1, -2)).transpose(-2, -3)

    def accumulate_(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        mask: Bool[Tensor, "*batch s n"],
        out: Float[Tensor, "*batch s n c_m"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        """Add the update to the contiguous ``out`` (may be ``msa``), some columns at a time; without gradients."""
        column_bytes = 3 * msa.shape[-3] * self.heads * self.c_head * msa.element_size()
        for one_msa, one_mask, one_out in zip(items(msa, 3), items(mask, 2), items(out, 3), strict=True):
            n = one_msa.shape[1]
            length = chunk_length(n, column_bytes, msa.device)
            for start in range(0, n, length):
                some = slice(start, min(start + length, n))
                columns = one_msa[:, some].transpose(0, 1).contiguous()
                update = self._attend(columns, one_mask[:, some].transpose(0, 1), start, n)
                one_out[:, some] += update.transpose(0, 1)
        return out

    def _attend(
        self,
        msa: Float[Tensor, "*batch n s c_m"],
        mask: Bool[Tensor, "*batch n s"],
        start: int = 0,
        total: int | None = None,
    ) -> Float[Tensor, "*batch n s c_m"]:
        z = self.norm(msa)
        present = mask.to(z.dtype)
        mean = (z * present[..., None]).sum(-2) / (present.sum(-1, keepdim=True) + EPSILON)
        query = self.query(mean).unflatten(-1, (self.heads, self.c_head)) * self.c_head**-0.5
        key, value = self.key_value(z).chunk(2, dim=-1)
        logits = torch.matmul(query, key.transpose(-1, -2))
        weights = torch.softmax(logits.masked_fill(~mask[..., None, :], MASKED), dim=-1)
        show_weights(self, weights, start, total)
        attended = torch.matmul(weights, value).flatten(-2)[..., None, :]
        gate = torch.sigmoid(self.gate(z))
        if gates_are_watched(self):
            show_gates(self, gate.view(*gate.shape[:-1], self.heads, self.c_head), start, total)
        update: Tensor = self.output(gate * attended)
        return update


def _shared_columns(mask: Bool[Tensor, "*batch rows n"]) -> Bool[Tensor, "*batch n"] | None:
    """Return the columns that exist, if they are the same in all rows that are not empty; such rows share one mask.

    An alignment is of this kind unless single residues of it are masked. (What empty rows attend to is never read.)
    """
    columns, rows = mask.any(dim=-2), mask.any(dim=-1)
    same = torch.equal(mask, columns[..., None, :] & rows[..., :, None])
    return columns if same else None


def _present(mask: Bool[Tensor, "*batch rows n"]) -> Bool[Tensor, "*batch #rows n"] | None:
    """Return the smallest mask that says the same for rows that are not empty."""
    columns = _shared_columns(mask)
    if columns is None:
        return mask
    return None if bool(columns.all()) else columns[..., None, :]
