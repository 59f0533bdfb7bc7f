"""Outer product mean: from the alignment to the pair representation (AlphaFold 3, Algorithm 9; AlphaFold 2, 10)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .adaptive_layer_norm import lecun_
from .linear import product
from .memory import KEPT_BYTES, chunk_length, in_place, items, scratch

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
        """Add the update to the contiguous ``pair`` and return it, some pairs at a time; without gradients."""
        for single_msa, single_mask, single_pair in zip(items(msa, 3), items(mask, 2), items(pair, 3), strict=True):
            self._accumulate_(single_msa, single_mask, single_pair)
        return pair

    def _accumulate_(
        self, msa: Float[Tensor, "s n c_m"], mask: Bool[Tensor, "s n"], pair: Float[Tensor, "n n c_z"]
    ) -> None:
        s, n, c = *mask.shape, self.c_hidden
        left, right = self._written_factors(msa, mask)
        rows = _common_rows(mask.to(msa.dtype)) + EPSILON
        if self.normalisation == "before":
            rows, bias = (rows - EPSILON).clamp(min=1.0), None
            pair += self.output.bias
        else:
            bias = self.output.bias
        # Blocks whose two products are both of near square matrices: [i c, s] [s, d j] and [j, c d] [c d, c_z].
        pairs = chunk_length(n * n, c * c * msa.element_size(), msa.device)
        width = min(n, max(1, math.isqrt(pairs * c)))
        height = min(n, max(1, pairs // width))
        outer = scratch().take("hidden", (height * width * c * c,), msa)
        update = msa.new_empty(height, width, self.output.out_features)
        for start in range(0, n, width):
            columns = slice(start, min(start + width, n))
            # With d before j the first product is already laid out as the second reads it.
            some_right = right[:, columns].transpose(1, 2).flatten(1)
            j = columns.stop - start
            for top in range(0, n, height):
                lines = slice(top, min(top + height, n))
                i = lines.stop - top
                block = outer[: i * j * c * c]
                torch.mm(left.view(s, n * c)[:, top * c : lines.stop * c].t(), some_right, out=block.view(i * c, c * j))
                for one, products in zip(update, block.view(i, c * c, j), strict=False):
                    product(products.t(), self.output.weight.t(), bias, out=one[:j])
                pair[lines, columns].addcdiv_(update[:i, :j], rows[lines, columns])

    def _written_factors(
        self, msa: Float[Tensor, "s n c_m"], mask: Bool[Tensor, "s n"]
    ) -> tuple[Float[Tensor, "s n c"], Float[Tensor, "s n c"]]:
        """Return the two projections, each contiguous, without another copy of the alignment; without gradients."""
        s, n, c_m = msa.shape
        factors = scratch().take("factors", (2, s, n, self.c_hidden), msa)
        length = chunk_length(s, 2 * n * c_m * msa.element_size(), msa.device)
        for start in range(0, s, length):
            some = slice(start, min(start + length, s))
            both = self.projection(self.norm(msa[some])).unflatten(-1, (2, self.c_hidden))
            torch.mul(both.movedim(-2, 0), mask[some, :, None], out=factors[:, some])
        left, right = factors.unbind(0)
        return left, right

    def _factors(
        self, msa: Float[Tensor, "*batch s n c_m"], mask: Bool[Tensor, "*batch s n"]
    ) -> tuple[Float[Tensor, "*batch s n c"], Float[Tensor, "*batch s n c"], Float[Tensor, "*batch n n 1"]]:
        present = mask.to(self.norm.weight.dtype)
        left, right = (self.projection(self.norm(msa)) * present[..., None]).chunk(2, dim=-1)
        return left, right, _common_rows(present)

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


def _common_rows(present: Float[Tensor, "*batch s n"]) -> Float[Tensor, "*batch n n 1"]:
    """Return in how many rows both columns are present."""
    with torch.autocast(present.device.type, enabled=False):  # bfloat16 cannot count beyond 256
        return torch.matmul(present.transpose(-1, -2), present)[..., None]
