"""Operations that move, copy or drop elements: cells get new places, and formulas arise only where inputs choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calls import Call
from .graph import Ids
from .tracer import Handler, Tracer


def zero_cell(tracer: Tracer) -> int:
    """Return the cell of the number 0."""
    return int(tracer.ids(torch.zeros((), dtype=torch.float64)))


def _moved(tracer: Tracer, call: Call) -> Ids:
    """Do the same to the cell numbers; arguments that are no cells (indices) stay as they are."""

    def swap(tensor: Tensor) -> Tensor:
        is_index = not (tensor.is_floating_point() or tracer.depends(tensor))
        return tensor if is_index else torch.from_numpy(np.array(tracer.ids(tensor)))

    args, kwargs = call.replaced(swap)
    kept = {name: value for name, value in kwargs.items() if name not in ("dtype", "layout", "device", "pin_memory")}
    packet, _, overload = call.name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
    result: Any = operation(*args, **kept)
    first: Tensor = result[0] if isinstance(result, (tuple, list)) else result
    moved: Ids = first.numpy()
    return moved


def _looked_up(tracer: Tracer, call: Call) -> Ids:
    """Rows of a table; where inputs decide which, each row asks if it is meant, and a product takes it."""
    table, index = call.get(0), call.get("indices", call.get("index"))
    index = index[0] if isinstance(index, list) else index
    if index is None or not tracer.depends(index):
        return _moved(tracer, call)
    if not call.out.numel():
        return np.empty(tuple(call.out.shape), np.int32)
    for name in ("dim", "padding_idx", "scale_grad_by_freq", "sparse"):
        call.get(name)  # the first axis, as `names_rows` saw; the others change gradients only
    count = len(table)
    meant = tracer.map(
        "is it this row? (1 or 0)",
        f"IF({{0}}+IF({{0}}<0,{count},0)={{1}},1,0)" if call.name == "index.Tensor" else "IF({0}={1},1,0)",
        torch.nn.functional.one_hot(index.reshape(-1).long() % count, count).double(),
        tracer.ids(index).reshape(-1, 1),
        torch.arange(count, dtype=torch.float64),
    )
    columns = tracer.ids(table).reshape(count, -1).T
    values = call.out.reshape(1, len(meant), len(columns))
    return tracer.dot("row of the table", values, meant[None], columns[None]).reshape(tuple(call.out.shape))


def _copied(tracer: Tracer, call: Call) -> Ids:
    call.get("dtype")
    return _cast(tracer, call.get(0), call.out)


def _copy_into(tracer: Tracer, call: Call) -> Ids:
    return _cast(tracer, call.get(1), call.out)


def _cast(tracer: Tracer, source: Tensor, out: Tensor) -> Ids:
    """Return the cells of ``source``, as what the type of ``out`` makes of them."""
    ids = np.broadcast_to(tracer.ids(source), tuple(out.shape))
    if out.is_floating_point() or source.dtype in (out.dtype, torch.bool):
        return ids
    if out.dtype == torch.bool:
        return tracer.map("not zero? (1 or 0)", "IF({0}<>0,1,0)", out, ids)
    return tracer.map("rounded towards zero", "TRUNC({0})", out, ids) if source.is_floating_point() else ids


def _padded(tracer: Tracer, call: Call) -> Ids:
    x, pad, value = call.get(0), call.get(1), call.get(2)
    filler = tracer.ids(torch.full((), float(value), dtype=torch.float64))
    ids = torch.from_numpy(np.array(tracer.ids(x)))
    return torch.constant_pad_nd(ids, pad, int(filler)).numpy()


def _filled(tracer: Tracer, call: Call) -> Ids:
    value = call.get(1)
    return _cast(tracer, value if isinstance(value, Tensor) else torch.tensor(value, dtype=call.out.dtype), call.out)


def _zeros(tracer: Tracer, call: Call) -> Ids:
    return np.full(tuple(call.out.shape), zero_cell(tracer), np.int32)


def _into_zeros(tracer: Tracer, call: Call) -> Ids:
    """The gradient of a view: its cells at their places among zeros."""
    ids = torch.full(tuple(call.out.shape), zero_cell(tracer), dtype=torch.int32)
    gradient = torch.from_numpy(np.array(tracer.ids(call.get(0))))
    if call.name == "slice_backward":
        _, _, dim, start, stop, step = (call.get(position) for position in range(6))
        places = torch.ops.aten.slice.Tensor(ids, dim, start, stop, step)
    else:
        places = ids.select(call.get(2), call.get(3))
    places.copy_(gradient)
    return ids.numpy()


def _triangle(tracer: Tracer, call: Call) -> Ids:
    keep = getattr(torch, call.name)(torch.ones(tuple(call.out.shape), dtype=torch.bool), call.get(1)).numpy()
    return np.where(keep, tracer.ids(call.get(0)), zero_cell(tracer))


def _index_put(tracer: Tracer, call: Call) -> Ids:
    x, indices, values, accumulate = (call.get(position) for position in range(4))
    if accumulate:
        return _index_add(tracer, call, x, indices, values)
    ids = torch.from_numpy(tracer.ids(x).copy())
    source = torch.from_numpy(np.array(tracer.ids(values)))
    written: Ids = torch.ops.aten.index_put.default(ids, indices, source).numpy()
    return written


def _index_add(tracer: Tracer, call: Call, x: Tensor, indices: Any, values: Tensor) -> Ids:
    """Gradients that meet in one element are added."""
    shape = tuple(x.shape)
    places = torch.ops.aten.index.Tensor(torch.arange(x.numel()).view(shape), indices).reshape(-1).numpy()
    sources = np.broadcast_to(tracer.ids(values), tuple(torch.empty(shape)[_python(indices)].shape)).reshape(-1)
    result = tracer.ids(x).reshape(-1).copy()
    totals = call.out.detach().reshape(-1)
    for place in np.unique(places):
        lines = np.concatenate([[result[place]], sources[places == place]]).astype(np.int32)
        result[place] = tracer.reduce("sum", "SUM({line})", totals[place], lines).reshape(())
    return result.reshape(shape)


def _python(indices: Any) -> tuple[Any, ...]:
    return tuple(slice(None) if index is None else index for index in indices)


MOVES: dict[str, Handler] = {
    **dict.fromkeys(
        ("cat", "stack", "_unsafe_index.Tensor", "gather", "flip", "roll", "repeat",
         "select_scatter", "slice_scatter", "take", "masked_select"),
        _moved,
    ),
    **dict.fromkeys(("embedding", "index.Tensor", "index_select"), _looked_up),
    **dict.fromkeys(("clone", "_to_copy", "contiguous", "lift_fresh_copy", "view_copy",
                     "expand_copy", "alias_copy", "detach_copy"), _copied),
    **dict.fromkeys(("copy",), _copy_into),
    "constant_pad_nd": _padded,
    **dict.fromkeys(("fill.Scalar", "fill.Tensor"), _filled),
    "zero": _zeros,
    **dict.fromkeys(("slice_backward", "select_backward"), _into_zeros),
    **dict.fromkeys(("tril", "triu"), _triangle),
    "index_put": _index_put,
}  # fmt: skip
