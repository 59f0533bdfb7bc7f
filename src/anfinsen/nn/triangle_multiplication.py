"""Triangle multiplicative update (AlphaFold 3, Algorithms 12 and 13; AlphaFold 2, 11 and 12)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .adaptive_layer_norm import lecun_
from .linear import product
from .memory import chunk_length, in_place, items, scratch

Direction = Literal["outgoing", "incoming"]
# At least so many channels are multiplied at a time: enough matrices for all cores.
PRODUCT_CHANNELS = 4


class TriangleMultiplication(nn.Module):
    """Update of pair (i, j) by the products of its triangles' other two edges.

    Outgoing: sum over k of a_ik b_jk; incoming: sum over k of a_ki b_kj (as the paper writes it; the released code
    names the two factors the other way round, which its converter undoes).
    The rows of ``projection`` are [a | b | gate of a | gate of b]. ``biases``: all linear maps carry biases
    (AlphaFold 2).
    """

    def __init__(self, direction: Direction, c_z: int = 128, c_hidden: int = 128, *, biases: bool = False) -> None:
        super().__init__()
        self.direction = direction
        self.c_hidden = c_hidden
        self.norm_in = nn.LayerNorm(c_z)
        self.projection = nn.Linear(c_z, 4 * c_hidden, bias=biases)
        self.gate = nn.Linear(c_z, c_z, bias=biases)
        self.norm_out = nn.LayerNorm(c_hidden)
        self.output = nn.Linear(c_hidden, c_z, bias=biases)
        with torch.no_grad():
            lecun_(self.projection.weight)
            self.projection.weight[2 * c_hidden :].zero_()  # gates start at one half (AlphaFold 3), or at sigmoid(1)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.output.weight)
            if biases:
                self.projection.bias[: 2 * c_hidden] = 0
                self.projection.bias[2 * c_hidden :] = 1
                nn.init.ones_(self.gate.bias)
                nn.init.zeros_(self.output.bias)

    def forward(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Return the update of ``pair``; triangles through tokens outside ``mask`` do not count."""
        if in_place(pair):
            return self.accumulate_(pair, mask, torch.zeros_like(pair))
        z = self.norm_in(pair)
        value, gate = self.projection(z).chunk(2, dim=-1)
        a, b = (value * torch.sigmoid(gate)).movedim(-1, -3).chunk(2, dim=-3)
        third = mask[..., None, None, :].to(a.dtype)
        if self.direction == "outgoing":
            triangles = torch.matmul(a * third, b.transpose(-1, -2))
        else:
            triangles = torch.matmul(a.transpose(-1, -2) * third, b)
        update: Tensor = self.output(self.norm_out(triangles.movedim(-3, -1)))
        return torch.sigmoid(self.gate(z)) * update

    def accumulate_(
        self,
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch n"],
        out: Float[Tensor, "*batch n n c_z"],
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Add the update of ``pair`` to the contiguous ``out`` (may be ``pair``) and return it; without gradients."""
        for single_pair, single_mask, single_out in zip(items(pair, 3), items(mask, 1), items(out, 3), strict=True):
            factors = self._factors(single_pair, single_mask)
            self._multiply_(factors)
            self._project_out_(factors[: self.c_hidden], single_pair, single_out)
        return out

    def _factors(self, pair: Float[Tensor, "n n c_z"], mask: Bool[Tensor, n]) -> Float[Tensor, "c2 n n"]:
        """Return a and b, channels first: every channel is one matrix product of contiguous matrices."""
        n, c_z = pair.shape[0], pair.shape[-1]
        width = 2 * self.c_hidden
        buffers = scratch()
        factors = buffers.take("factors", (width, n, n), pair)
        flat, positions = factors.view(width, n * n), pair.reshape(n * n, c_z)
        length = chunk_length(n * n, 2 * width * pair.element_size(), pair.device)
        hidden = buffers.take("hidden", (2 * width * length,), pair)
        bias = None if self.projection.bias is None else self.projection.bias[:, None]
        for start in range(0, n * n, length):
            chunk = slice(start, min(start + length, n * n))
            z = self.norm_in(positions[chunk])
            both = hidden[: 2 * width * z.shape[0]].view(2 * width, -1)
            product(self.projection.weight, z.t(), bias, out=both)
            torch.mul(both[:width], both[width:].sigmoid_(), out=flat[:, chunk])
        masked = (~mask).nonzero().squeeze(-1)
        factors[: self.c_hidden].index_fill_(-1 if self.direction == "outgoing" else -2, masked, 0.0)
        return factors

    def _multiply_(self, factors: Float[Tensor, "c2 n n"]) -> None:
        """Replace a by its product with b, a few channels at a time."""
        n = factors.shape[-1]
        a, b = factors.chunk(2, dim=0)
        length = chunk_length(self.c_hidden, n * n * factors.element_size(), factors.device)
        length = max(length, min(PRODUCT_CHANNELS, self.c_hidden))
        buffer = scratch().take("product", (length, n, n), factors)
        for start in range(0, self.c_hidden, length):
            some_a, some_b = a[start : start + length], b[start : start + length]
            triangles = buffer[: some_a.shape[0]]
            if self.direction == "outgoing":
                torch.bmm(some_a, some_b.transpose(-1, -2), out=triangles)
            else:
                torch.bmm(some_a.transpose(-1, -2), some_b, out=triangles)
            some_a.copy_(triangles)

    def _project_out_(
        self, triangles: Float[Tensor, "c n n"], pair: Float[Tensor, "n n c_z"], out: Float[Tensor, "n n c_z"]
    ) -> None:
        n, c_z = pair.shape[0], pair.shape[-1]
        positions, updated, columns = pair.reshape(n * n, c_z), out.view(n * n, c_z), triangles.view(-1, n * n)
        output, gate = self.output.weight.t(), self.gate.weight.t()
        length = chunk_length(n * n, (2 * self.c_hidden + 3 * c_z) * pair.element_size(), pair.device)
        for start in range(0, n * n, length):
            chunk = slice(start, min(start + length, n * n))
            update = product(self.norm_out(columns[:, chunk].t().contiguous()), output, self.output.bias)
            open_by = product(self.norm_in(positions[chunk]), gate, self.gate.bias).sigmoid_()
            updated[chunk].addcmul_(open_by, update)
