"""How each primitive operation of PyTorch becomes formulas that every spreadsheet program knows.

Whatever is not here is taken apart by PyTorch's own decompositions into what is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anfinsen.common.errors import ConfigError

from .calls import Call
from .convolutions import CONVOLUTIONS
from .elementwise import ELEMENTWISE, MAPS
from .graph import Ids
from .moves import MOVES
from .normalisations import NORMALISATIONS, axes_of, lines_of
from .tracer import Handler, Tracer, literal

# Sums, means, largest values

_REDUCTIONS = {
    "sum": ("sum", "SUM({line})"),
    "mean": ("mean", "AVERAGE({line})"),
    "amax": ("largest", "MAX({line})"),
    "amin": ("smallest", "MIN({line})"),
    "max": ("largest", "MAX({line})"),
    "min": ("smallest", "MIN({line})"),
    "prod": ("product", "PRODUCT({line})"),
    "linalg_vector_norm": ("length", "SQRT(SUMSQ({line}))"),
}


def _reduce(tracer: Tracer, call: Call) -> Ids | tuple[Ids | None, ...]:
    base, _, overload = call.name.partition(".")
    name, template = _REDUCTIONS[base]
    ids = tracer.ids(call.get(0))
    if base == "linalg_vector_norm":
        axes = axes_of(call.get(2), ids.ndim)
        if call.get(1) not in (2, None):
            return _norm_of_order(tracer, call, ids, axes)
    else:
        dims = {"": None, "dim_IntList": 1, "dim": 1, "dim_int": 1}.get(overload, 1)
        dims = 1 if base in ("amax", "amin") else dims
        axes = axes_of(None if dims is None else call.get(dims), ids.ndim)
    lines = lines_of(ids, axes)
    values = call.out.reshape(lines.shape[:-1])
    cells = tracer.reduce(name, template, values, lines).reshape(tuple(call.out.shape))
    return (cells, None) if len(call.outs) > 1 else cells


def _norm_of_order(tracer: Tracer, call: Call, ids: Ids, axes: tuple[int, ...]) -> Ids:
    if call.get(1) != 1:
        raise ConfigError(f"A norm of order {call.get(1)} cannot be written as formulas yet.")
    absolute = tracer.map("absolute values", "ABS({0})", call.get(0).abs(), ids)
    lines = lines_of(absolute, axes)
    return tracer.reduce("sum", "SUM({line})", call.out.reshape(lines.shape[:-1]), lines).reshape(tuple(call.out.shape))


def _var(tracer: Tracer, call: Call) -> Ids | tuple[Ids | None, ...]:
    """Variance or standard deviation, and with "_mean" the mean too."""
    ids = tracer.ids(call.get(0))
    lines = lines_of(ids, axes_of(call.get(1), ids.ndim))
    correction = call.get("correction")
    count = lines.shape[-1] - (1 if correction is None else int(correction))
    name, template = "variance", f"DEVSQ({{line}})/{count}"
    if call.name.startswith("std"):
        name, template = "standard deviation", f"SQRT({template})"
    found = [
        tracer.reduce(name, template, values.reshape(lines.shape[:-1]), lines).reshape(tuple(values.shape))
        for values, (name, template) in zip(call.outs, ((name, template), ("mean", "AVERAGE({line})")), strict=False)
    ]
    return found[0] if len(found) == 1 else tuple(found)


def _running(tracer: Tracer, call: Call) -> Ids:
    ids, dim = tracer.ids(call.get(0)), call.get(1)
    if not ids.ndim or not ids.size:
        return ids
    lines, values = np.moveaxis(ids, dim, -1), call.out.movedim(dim, -1)
    name, template = {"cumsum": ("running sum", "SUM({line})"), "cumprod": ("running product", "PRODUCT({line})")}[
        call.name
    ]
    parts = [tracer.reduce(name, template, values[..., n], lines[..., : n + 1]) for n in range(lines.shape[-1])]
    return np.moveaxis(np.stack(parts, -1), -1, dim)


def _distances(tracer: Tracer, call: Call) -> Ids:
    """Distances between each row of one array and each row of another."""
    a, b = tracer.ids(call.get(0)), tracer.ids(call.get(1))
    if call.get("p", 2) != 2:
        raise ConfigError(f"Distances of order {call.get('p')} cannot be written as formulas yet: use p=2.")
    shape = tuple(call.out.shape)
    batch = shape[:-2]
    left = np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    right = np.broadcast_to(b, (*batch, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    values = call.out.reshape(-1, *shape[-2:])
    return tracer.pairwise("distance", "SQRT({square})", values, left, right).reshape(shape)


def _pool(tracer: Tracer, call: Call) -> Ids | tuple[Ids | None, ...]:
    """Means, or largest values, of windows of images."""
    largest = call.name.startswith("max")
    kernel, stride, padding = (call.get(position) for position in range(1, 4))
    kernel, stride, padding = (
        list(each) * (2 if len(each) == 1 else 1) for each in (kernel, stride or kernel, padding or [0])
    )
    ids, divisor = tracer.ids(call.get(0)), call.get("divisor_override")
    if any(padding):
        if not largest:
            raise ConfigError("Average pooling with padding cannot be written as formulas.")
        edge = int(tracer.ids(torch.full((), -torch.inf, dtype=torch.float64)))
        margins = [(0, 0)] * (ids.ndim - 2) + [(size, size) for size in padding]
        ids = np.pad(ids, margins, constant_values=edge)
    windows = np.lib.stride_tricks.sliding_window_view(ids, kernel, axis=(-2, -1))
    windows = windows[..., :: stride[0], :: stride[1], :, :]
    call.get("ceil_mode")  # without effect if the shape is that of whole windows
    if windows.shape[:-2] != tuple(call.out.shape) or set(call.get("dilation", [1])) != {1}:
        raise ConfigError("Pooling with windows that are dilated or cut off cannot be written as formulas yet.")
    lines = windows.reshape(*windows.shape[:-2], -1)
    if largest:
        return tracer.reduce("largest of the window", "MAX({line})", call.out, lines), None
    template = "AVERAGE({line})" if divisor is None else f"SUM({{line}})/{literal(divisor)}"
    return tracer.reduce("mean of the window", template, call.out, lines)


# Matrix products


def _product(tracer: Tracer, call: Call, left: Any, right: Any, plus: Any = None) -> Ids:
    """left [.., m, k] times right [.., k, n], of the same batch."""
    a, b = tracer.ids(left), tracer.ids(right)
    batched = a.ndim == 3
    a, b = (a, b) if batched else (a[None], b[None])
    values = call.out if batched else call.out[None]
    extra = [] if plus is None else [plus]
    name = "matrix product" + ("" if plus is None else " + offset")
    cells = tracer.dot(name, values, a, b.swapaxes(1, 2), *extra)
    return cells if batched else cells[0]


def _mm(tracer: Tracer, call: Call) -> Ids:
    return _product(tracer, call, call.get(0), call.get(1))


def _addmm(tracer: Tracer, call: Call) -> Ids:
    if call.get("beta", 1) != 1 or call.get("alpha", 1) != 1:
        raise ConfigError("A matrix product with factors cannot be written as formulas yet.")
    return _product(tracer, call, call.get(1), call.get(2), call.get(0))


def _mv(tracer: Tracer, call: Call) -> Ids:
    a, x = tracer.ids(call.get(0)), tracer.ids(call.get(1))
    return tracer.dot("matrix times vector", call.out[None, :, None], a[None], x[None, None])[0, :, 0]


def _inner(tracer: Tracer, call: Call) -> Ids:
    a, b = tracer.ids(call.get(0)), tracer.ids(call.get(1))
    return tracer.dot("inner product", call.out[None, None, None], a[None, None], b[None, None]).reshape(())


_HANDLERS: dict[str, Handler] = {
    **ELEMENTWISE,
    **MOVES,
    **NORMALISATIONS,
    **dict.fromkeys(
        ("sum", "sum.dim_IntList", "mean", "mean.dim", "amax", "amin", "max", "min", "max.dim", "min.dim", "prod",
         "prod.dim_int", "linalg_vector_norm"),
        _reduce,
    ),
    **dict.fromkeys(("var.correction", "std.correction", "var_mean.correction", "std_mean.correction"), _var),
    **dict.fromkeys(("cumsum", "cumprod"), _running),
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), _distances),
    **dict.fromkeys(("avg_pool2d", "max_pool2d_with_indices"), _pool),
    **dict.fromkeys(("mm", "bmm"), _mm),
    **dict.fromkeys(("addmm", "baddbmm"), _addmm),
    "mv": _mv,
    "dot": _inner,
    **CONVOLUTIONS,
}  # fmt: skip


def handler_of(name: str, namespace: str = "aten") -> Handler | None:
    """Return what records operation ``name``, None if it has to be taken apart.

    Of other namespaces ("prims") only operations on each element are what their namesakes are.
    """
    return _HANDLERS.get(name) if namespace == "aten" or name in MAPS else None
