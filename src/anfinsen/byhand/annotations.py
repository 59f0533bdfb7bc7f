"""What the rows and columns of weights are, for the blocks that stack several maps in one matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from .slots import Labels, Names, axis_labels

# Axes of a weight whose maker is not known: what comes out, what goes in, and a filter's rows and columns.
WEIGHT_SLOTS = ("c", "d", "y", "x", None, None)

Part = tuple[str, int, int]
"""Name, heads (0: rows belong to no head) and rows for each head of a part of a stack."""


def weight_labels(module: nn.Module, name: str, tensor: Tensor, names: Names) -> Labels:
    """Return the labels of the parameter ``name`` of ``module``: output channels, input channels, heads and parts."""
    shape = tuple(tensor.shape)
    if not shape or tensor.numel() == 0:
        return {}
    labels = axis_labels(shape, WEIGHT_SLOTS[: len(shape)])
    owner, _, leaf = name.rpartition(".")
    parent, _, last = owner.rpartition(".")
    if leaf in ("gate_bias", "query_bias"):  # of the attention itself
        parts = _stack(module.get_submodule(owner), leaf, shape[0])
    else:
        parts = _stack(module.get_submodule(parent), last, shape[0])
    if parts and sum(max(1, heads) * rows for _, heads, rows in parts) == shape[0]:
        labels = {slot: values for slot, values in labels.items() if slot != "c"} | _rows(parts, names, len(shape))
    return labels


def _stack(holder: nn.Module, layer: str, rows: int) -> Sequence[Part]:
    """Return what the rows of ``layer`` of a block are, nothing if there is one map only."""
    config = getattr(holder, "config", None)
    heads = getattr(holder, "heads", None) or getattr(config, "heads", None)
    c_head = getattr(holder, "c_head", None) or getattr(config, "c_head", None)
    c_hidden = getattr(holder, "c_hidden", None)
    found: list[Part] = []
    if isinstance(heads, int) and isinstance(c_head, int):
        points, values = getattr(config, "query_points", 0), getattr(config, "value_points", 0)
        found = {
            "projection": [(part, heads, c_head) for part in ("q", "k", "v", "gate")],
            "scalars": [(part, heads, c_head) for part in ("q", "k", "v")],
            "points": [
                (f"{part} points", heads, 3 * count)
                for part, count in (("query", points), ("key", points), ("value", values))
            ],
            "bias": [("", heads, 1)],
            "gate_bias": [("gate", heads, c_head)],
            "query_bias": [("q", heads, c_head)],
        }.get(layer, [])
    elif isinstance(c_hidden, int) and layer == "projection":
        parts = ("a", "b", "gate of a", "gate of b")
        found = [(part, 0, c_hidden) for part in parts[: rows // c_hidden]]
    elif type(holder).__name__ == "PairBias" and layer == "linear":
        found = [("", rows, 1)]
    return found


def _rows(parts: Sequence[Part], names: Names, ndim: int) -> Labels:
    """Return the labels of rows that run over parts, then heads, then channels."""
    columns: dict[str, list[int]] = {"p": [], "h": [], "c": []}
    for part, heads, width in parts:
        count = max(1, heads)
        columns["p"] += [names.part(part) if part else -1] * (count * width)
        columns["h"] += list(np.repeat(np.arange(count) if heads else [-1], width))
        columns["c"] += list(np.tile(np.arange(width) if width > 1 else [-1], count))
    return {
        slot: np.array(values, np.int32).reshape(-1, *(1,) * (ndim - 1))
        for slot, values in columns.items()
        if max(values) >= 0
    }
