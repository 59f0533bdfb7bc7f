"""Outer product mean: from the alignment to the pair representation (AlphaFold 3, Algorithm 9; AlphaFold 2, 10)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .adaptive_layer_norm import lecun_
from .memory import KEPT_BYTES, chunk_length, in_place, items

# The released code divides by the number of rows plus this.
EPSILON = 1e-3

Normalisation = Literal["after", "before"]


class OuterProductMean(nn.Module):
    """Mean over alignment rows of the outer product of two projections.

    ``normalisation`` "after" (released code of AlphaFold 2 and 3, OpenFold 3, Protenix): (Linear(sum) + bias) /
    (rows + 0.001); "before" (Boltz): Linear(sum / max(rows, 1)) + bias. ``rows`` are those where both columns are
    present. The rows of ``projection`` are [left | right]. ``biases``: they carry biases (AlphaFold 2).
    """

    def __init__(
        self,
        c_m: int = 64,
        c_z: int = 128,
        c_hidden: int = 32,
        normalisation: Normalisation = "after",
        *,
        biases: bool = False,
    ) -> None:
        super().__init__()
        self.c_hidden = c_hidden
        self.normalisation = normalisation
        self.norm = nn.LayerNorm(c_m)
        self.projection = nn.Linear(c_m, 2 * c_hidden, bias=biases)
        self.output = nn.Linear(c_hidden * c_hidden, c_z)
        lecun_(self.projection.weight)
        if biases:
            nn.init.zeros_(self.projection.bias)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self, msa: Float[Tensor, "*batch s n c_m"], mask: Bool[Tensor, "*batch s n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Return the update of the pair representation."""
        if in_place(msa):
            n = msa.shape[-2]
            return self.accumulate_(msa, mask, msa.new_zeros(*msa.shape[:-3], n, n, self.output.out_features))
        left, right, rows = self._factors(msa, mask)
        n = msa.shape[-2]
        row_bytes = rows[..., 0, :, 0].numel() * self.c_hidden**2 * msa.element_size()
        if row_bytes * n <= KEPT_BYTES:
            return self._mean(left, right, rows)
        length = chunk_length(n, row_bytes, msa.device)
        parts = [
            checkpoint(
                self._mean,
                left[..., start : start + length, :],
                right,
                rows[..., start : start + length, :, :],
                use_reentrant=False,
            )
            for start in range(0, n, length)
        ]
        return torch.cat(parts, dim=-3)

    def accumulate_(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        mask: Bool[Tensor, "*batch s n"],
        pair: Float[Tensor, "*batch n n c_z"],
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Add the update to the contiguous ``pair`` and return it, some rows at a time; without gradients."""
        n = msa.shape[-2]
        length = chunk_length(n, 2 * n * self.c_hidden**2 * msa.element_size(), msa.device)
        for single_msa, single_mask, single_pair in zip(items(msa, 3), items(mask, 2), items(pair, 3), strict=True):
            left, right, rows = self._factors(single_msa, single_mask)
            for start in range(0, n, length):
                some = slice(start, min(start + length, n))
                single_pair[some] += self._mean(left[:, some], right, rows[some])
        return pair

    def _factors(
        self, msa: Float[Tensor, "*batch s n c_m"], mask: Bool[Tensor, "*batch s n"]
    ) -> tuple[Float[Tensor, "*batch s n c"], Float[Tensor, "*batch s n c"], Float[Tensor, "*batch n n 1"]]:
        present = mask.to(self.norm.weight.dtype)
        left, right = (self.projection(self.norm(msa)) * present[..., None]).chunk(2, dim=-1)
        with torch.autocast(msa.device.type, enabled=False):  # bfloat16 cannot count beyond 256
            rows = torch.matmul(present.transpose(-1, -2), present)[..., None]
        return left, right, rows

    def _mean(
        self,
        left: Float[Tensor, "*batch s i c"],
        right: Float[Tensor, "*batch s j c"],
        rows: Float[Tensor, "*batch i j 1"],
    ) -> Float[Tensor, "*batch i j c_z"]:
        outer = torch.einsum("...sic,...sjd->...ijcd", left, right).flatten(-2)
        mean: Tensor
        if self.normalisation == "after":
            mean = self.output(outer) / (rows + EPSILON)
        else:
            mean = self.output(outer / rows.clamp(min=1.0))
        return mean
