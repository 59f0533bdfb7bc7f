"""Let a network make all its tensors without computing them: its memory is seen in minutes where a pass takes hours.

Inside :class:`WithoutArithmetic` matrix products, attention, normalisation and the like write zeros where their results
would stand, so that the system hands out the same pages as in a real run; everything else runs as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_ATEN = torch.ops.aten
SKIPPED = {
    _ATEN.mm, _ATEN.addmm, _ATEN.addmm_, _ATEN.bmm, _ATEN.baddbmm, _ATEN._scaled_dot_product_flash_attention_for_cpu,
    _ATEN.native_layer_norm, _ATEN._softmax, _ATEN.sigmoid, _ATEN.sigmoid_, _ATEN.mul, _ATEN.mul_, _ATEN.add_,
    _ATEN.addcdiv_, _ATEN.addcmul_, _ATEN.relu, _ATEN.relu_,
}  # fmt: skip


class WithoutArithmetic(TorchDispatchMode):
    """Skip the arithmetic on floating-point tensors, not the memory of its results."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple, object] = {}

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: Sequence[type], args: tuple = (), kwargs: Mapping | None = None
    ) -> object:
        kwargs = dict(kwargs or {})
        if func.overloadpacket not in SKIPPED or not args[0].is_floating_point():
            return func(*args, **kwargs)
        if "out" in kwargs:
            return kwargs["out"].fill_(0.0)
        if func._schema.is_mutable:
            return args[0]
        return tree_map(_zeros, self._results(func, args, kwargs))

    def _results(self, func: torch._ops.OpOverload, args: tuple, kwargs: Mapping) -> object:
        """Return what ``func`` would, on the device without memory."""
        key = (func, str(tree_map(_layout, (args, kwargs))))
        if key not in self.known:
            self.known[key] = func(*tree_map(_without_memory, args), **tree_map(_without_memory, kwargs))
        return self.known[key]


def _layout(value: object) -> object:
    return (value.shape, value.stride(), value.dtype) if isinstance(value, torch.Tensor) else value


def _without_memory(value: object) -> object:
    return value.to("meta") if isinstance(value, torch.Tensor) else value


def _zeros(value: object) -> object:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype).fill_(0.0)
