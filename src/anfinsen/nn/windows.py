"""Windows of sequence-local attention: blocks of queries along an axis, each with its own stretch of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

WindowEdges = Literal["masked", "shifted"]


@dataclass(frozen=True)
class Windows:
    """W blocks of ``queries`` successive rows of an axis of length L, the last one padded, and the keys each may see.

    Attributes:
        key_index: row of each key, always in range. key_mask: whether that key exists and is not padding.
        length: L. queries: rows in a block.
    """

    key_index: Int[Tensor, "w k"]
    key_mask: Bool[Tensor, "w k"]
    length: int
    queries: int

    @property
    def count(self) -> int:
        """Return the number of blocks, W."""
        return self.key_index.shape[0]

    def split_queries(self, x: Tensor, dim: int) -> Tensor:
        """Return ``x`` with axis ``dim`` of length L padded with zeros and split into [W, queries]."""
        dim %= x.ndim
        missing = self.count * self.queries - self.length
        if missing:
            x = F.pad(x, [0, 0] * (x.ndim - 1 - dim) + [0, missing])
        return x.view(*x.shape[:dim], self.count, self.queries, *x.shape[dim + 1 :])

    def merge_queries(self, x: Tensor, dim: int) -> Tensor:
        """Undo `split_queries`: axes ``dim`` and ``dim`` + 1 become one of length L."""
        dim %= x.ndim
        return x.flatten(dim, dim + 1).narrow(dim, 0, self.length)

    def gather_keys(self, x: Tensor, dim: int, buffer: Tensor | None = None) -> Tensor:
        """Return ``x`` with axis ``dim`` of length L replaced by [W, keys], in ``buffer`` if it is given."""
        dim %= x.ndim
        out = None if buffer is None else buffer.flatten(dim, dim + 1)
        gathered = torch.index_select(x, dim, self.key_index.flatten(), out=out)
        return gathered.view(*x.shape[:dim], *self.key_index.shape, *x.shape[dim + 1 :])


def make_windows(mask: Bool[Tensor, " length"], queries: int, keys: int, edges: WindowEdges) -> Windows:
    """Return the windows over an axis whose real rows are ``mask``.

    Keys lie symmetrically around the centre of their queries (AlphaFold 3, Algorithm 7). At the ends of the axis a
    window has fewer keys ("masked": the paper; Protenix and Boltz pad and mask, which is the same), or it is shifted
    inwards so that it has as many as it can ("shifted": the released AlphaFold 3 code, OpenFold 3). Rows after the
    last real one move no window.
    """
    length = mask.shape[0]
    device = mask.device
    starts = torch.arange(0, length, queries, device=device) + (queries - keys) // 2
    if edges == "shifted":
        real = int((mask * torch.arange(1, length + 1, device=device)).amax()) if length else 0
        starts = starts.clamp(min=0).clamp(max=max(real - keys, 0))
    index = starts[:, None] + torch.arange(keys, device=device)
    inside = (index >= 0) & (index < length)
    index = index.clamp(0, max(length - 1, 0))
    return Windows(key_index=index, key_mask=inside & mask[index], length=length, queries=queries)
