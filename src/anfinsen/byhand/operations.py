"""How each primitive operation of PyTorch becomes formulas that every spreadsheet program knows.

Whatever is not here is taken apart by PyTorch's own decompositions into what is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anfinsen.common.errors import ConfigError

from .convolutions import CONVOLUTIONS
from .graph import Ids
from .moves import MOVES
from .normalisations import NORMALISATIONS, axes_of, lines_of
from .tracer import Call, Handler, Tracer, literal

# EXP of more than 709 is an error in a spreadsheet; sigmoid(-700) is 0 to 304 decimals.
SIGMOID = "1/(1+EXP(-MAX({0},-700)))"

# name: (what is done, template, positions of the operands)
_MAPS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "mul.Tensor": ("product", "{0}*{1}", (0, 1)),
    "mul.Scalar": ("product", "{0}*{1}", (0, 1)),
    "div.Tensor": ("quotient", "{0}/{1}", (0, 1)),
    "div.Scalar": ("quotient", "{0}/{1}", (0, 1)),
    "neg": ("minus", "-{0}", (0,)),
    "exp": ("exponential", "EXP({0})", (0,)),
    "expm1": ("exponential less 1", "EXP({0})-1", (0,)),
    "log": ("logarithm", "LN({0})", (0,)),
    "log1p": ("logarithm of 1 + x", "LN(1+{0})", (0,)),
    "log2": ("logarithm, base 2", "LN({0})/LN(2)", (0,)),
    "log10": ("logarithm, base 10", "LOG10({0})", (0,)),
    "sqrt": ("square root", "SQRT({0})", (0,)),
    "rsqrt": ("1 / square root", "1/SQRT({0})", (0,)),
    "reciprocal": ("reciprocal", "1/{0}", (0,)),
    "sin": ("sine", "SIN({0})", (0,)),
    "cos": ("cosine", "COS({0})", (0,)),
    "acos": ("arc cosine", "ACOS({0})", (0,)),
    "atan": ("arc tangent", "ATAN({0})", (0,)),
    "atan2": ("angle", "ATAN2({1},{0})", (0, 1)),
    "tanh": ("hyperbolic tangent", "TANH({0})", (0,)),
    "sigmoid": ("sigmoid", SIGMOID, (0,)),
    "silu": ("swish: x · sigmoid(x)", "{0}/(1+EXP(-MAX({0},-700)))", (0,)),
    "relu": ("rectifier: max(x, 0)", "MAX({0},0)", (0,)),
    "abs": ("absolute value", "ABS({0})", (0,)),
    "sign": ("sign", "SIGN({0})", (0,)),
    "sgn": ("sign", "SIGN({0})", (0,)),
    "floor": ("rounded down", "INT({0})", (0,)),
    "erf": ("error function", "2*NORMSDIST({0}*SQRT(2))-1", (0,)),
    "square": ("square", "{0}^2", (0,)),
    "pow.Tensor_Scalar": ("power", "{0}^{1}", (0, 1)),
    "pow.Tensor_Tensor": ("power", "{0}^{1}", (0, 1)),
    "pow.Scalar": ("power", "{0}^{1}", (0, 1)),
    "maximum": ("larger", "MAX({0},{1})", (0, 1)),
    "minimum": ("smaller", "MIN({0},{1})", (0, 1)),
    "clamp_min": ("at least", "MAX({0},{1})", (0, 1)),
    "clamp_max": ("at most", "MIN({0},{1})", (0, 1)),
    "gt": ("greater? (1 or 0)", "IF({0}>{1},1,0)", (0, 1)),
    "ge": ("at least? (1 or 0)", "IF({0}>={1},1,0)", (0, 1)),
    "lt": ("less? (1 or 0)", "IF({0}<{1},1,0)", (0, 1)),
    "le": ("at most? (1 or 0)", "IF({0}<={1},1,0)", (0, 1)),
    "eq": ("equal? (1 or 0)", "IF({0}={1},1,0)", (0, 1)),
    "ne": ("different? (1 or 0)", "IF({0}<>{1},1,0)", (0, 1)),
    "logical_and": ("both? (1 or 0)", "{0}*{1}", (0, 1)),
    "bitwise_and.Tensor": ("both? (1 or 0)", "{0}*{1}", (0, 1)),
    "__and__.Tensor": ("both? (1 or 0)", "{0}*{1}", (0, 1)),
    "__or__.Tensor": ("either? (1 or 0)", "MAX({0},{1})", (0, 1)),
    "logical_or": ("either? (1 or 0)", "MAX({0},{1})", (0, 1)),
    "bitwise_or.Tensor": ("either? (1 or 0)", "MAX({0},{1})", (0, 1)),
    "logical_not": ("not? (1 or 0)", "1-{0}", (0,)),
    "bitwise_not": ("not? (1 or 0)", "1-{0}", (0,)),
    "threshold_backward": ("gradient where the rectifier was open", "IF({1}>{2},{0},0)", (0, 1, 2)),
    "sigmoid_backward": ("gradient of the sigmoid: g y (1 - y)", "{0}*{1}*(1-{1})", (0, 1)),
    "tanh_backward": ("gradient of tanh: g (1 - y²)", "{0}*(1-{1}^2)", (0, 1)),
    "addcmul": ("a + b · c", "{0}+{1}*{2}", (0, 1, 2)),
}  # fmt: skip
for _name in ("gt", "ge", "lt", "le", "eq", "ne"):
    for _overload in ("Tensor", "Scalar"):
        _MAPS[f"{_name}.{_overload}"] = _MAPS[_name]


def _map(tracer: Tracer, call: Call) -> Ids:
    name, template, positions = _MAPS[call.name]
    return tracer.map(name, template, call.out, *(call.get(position) for position in positions))


def _add(tracer: Tracer, call: Call) -> Ids:
    sign, alpha = ("-" if call.name.startswith("sub") else "+"), call.kwargs.get("alpha", 1)
    scaled = "{1}" if alpha == 1 else f"{literal(alpha)}*{{1}}"
    return tracer.map(
        "difference" if sign == "-" else "sum", f"{{0}}{sign}{scaled}", call.out, call.get(0), call.get(1)
    )


def _rsub(tracer: Tracer, call: Call) -> Ids:
    return tracer.map("difference", "{1}-{0}", call.out, call.get(0), call.get(1))


def _addcdiv(tracer: Tracer, call: Call) -> Ids:
    scale = "" if call.kwargs["value"] == 1 else f"{literal(call.kwargs['value'])}*"
    return tracer.map("a + b / c", f"{{0}}+{scale}{{1}}/{{2}}", call.out, call.get(0), call.get(1), call.get(2))


def _clamp(tracer: Tracer, call: Call) -> Ids:
    low, high = call.get(1), call.get(2)
    operands = [value for value in (low, high) if value is not None]
    template = "{0}" if low is None else "MAX({0},{1})"
    template = template if high is None else f"MIN({template},{{{len(operands)}}})"
    return tracer.map("within bounds", template, call.out, call.get(0), *operands)


def _where(tracer: Tracer, call: Call) -> Ids:
    condition, a, b = call.args
    if not tracer.depends(condition):
        # Which of the two stands where is no computation: cells move.
        shape = tuple(call.out.shape)
        a, b = (np.broadcast_to(tracer.ids(_as_tensor(value, call.out)), shape) for value in (a, b))
        return np.where(np.broadcast_to(condition.numpy(), shape), a, b)
    return tracer.map("one or the other", "IF({0}<>0,{1},{2})", call.out, condition, a, b)


def _masked_fill(tracer: Tracer, call: Call) -> Ids:
    x, mask, value = call.args
    if tracer.depends(mask):
        return tracer.map("masked", "IF({0}<>0,{1},{2})", call.out, mask, value, x)
    shape = tuple(call.out.shape)
    if not mask.any():
        return np.broadcast_to(tracer.ids(x), shape)
    filler = tracer.ids(_as_tensor(value, call.out))
    return np.where(np.broadcast_to(mask.numpy(), shape), filler, np.broadcast_to(tracer.ids(x), shape))


def _as_tensor(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.full((), float(value), dtype=like.dtype)


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


def _var(tracer: Tracer, call: Call) -> Ids:
    ids = tracer.ids(call.get(0))
    lines = lines_of(ids, axes_of(call.get(1), ids.ndim))
    correction = call.kwargs.get("correction")
    count = lines.shape[-1] - (1 if correction is None else int(correction))
    values = call.out.reshape(lines.shape[:-1])
    return tracer.reduce("variance", f"DEVSQ({{line}})/{count}", values, lines).reshape(tuple(call.out.shape))


def _cumsum(tracer: Tracer, call: Call) -> Ids:
    ids = np.moveaxis(tracer.ids(call.get(0)), call.get(1), -1)
    values = call.out.movedim(call.get(1), -1)
    parts = [
        tracer.reduce("running sum", "SUM({line})", values[..., n], ids[..., : n + 1]) for n in range(ids.shape[-1])
    ]
    return np.moveaxis(np.stack(parts, -1), -1, call.get(1))


def _distances(tracer: Tracer, call: Call) -> Ids:
    """Distances between each row of one array and each row of another."""
    a, b = tracer.ids(call.get(0)), tracer.ids(call.get(1))
    shape = tuple(call.out.shape)
    batch = shape[:-2]
    left = np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    right = np.broadcast_to(b, (*batch, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    values = call.out.reshape(-1, *shape[-2:])
    return tracer.pairwise("distance", "SQRT({square})", values, left, right).reshape(shape)


def _softplus(tracer: Tracer, call: Call) -> Ids:
    return tracer.map("softplus: ln(1 + exp x)", "MAX({0},0)+LN(1+EXP(-ABS({0})))", call.out, call.get(0))


def _elu(tracer: Tracer, call: Call) -> Ids:
    alpha = "" if call.get(1) == 1 else f"{literal(call.get(1))}*"
    return tracer.map("elu", f"IF({{0}}>0,{{0}},{alpha}(EXP(MIN({{0}},0))-1))", call.out, call.get(0))


def _gelu(tracer: Tracer, call: Call) -> Ids:
    if call.kwargs.get("approximate", "none") == "none":
        return tracer.map("gelu: x times the normal distribution", "{0}*NORMSDIST({0})", call.out, call.get(0))
    template = "0.5*{0}*(1+TANH(SQRT(2/PI())*({0}+0.044715*{0}^3)))"
    return tracer.map("gelu, by tanh", template, call.out, call.get(0))


def _average_pool(tracer: Tracer, call: Call) -> Ids:
    x, kernel, stride, padding = (call.get(position) for position in range(4))
    if any(padding):
        raise ConfigError("Average pooling with padding cannot be written as formulas.")
    ids, stride = tracer.ids(x), stride or kernel
    windows = np.lib.stride_tricks.sliding_window_view(ids, kernel, axis=(-2, -1))[
        ..., :: stride[0], :: stride[-1], :, :
    ]
    lines = windows.reshape(*windows.shape[:-2], -1)
    return tracer.reduce("mean of the window", "AVERAGE({line})", call.out, lines)


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
    return _product(tracer, call, call.args[0], call.args[1])


def _addmm(tracer: Tracer, call: Call) -> Ids:
    if call.kwargs.get("beta", 1) != 1 or call.kwargs.get("alpha", 1) != 1:
        raise ConfigError("A matrix product with factors cannot be written as formulas yet.")
    return _product(tracer, call, call.args[1], call.args[2], call.args[0])


def _mv(tracer: Tracer, call: Call) -> Ids:
    a, x = tracer.ids(call.args[0]), tracer.ids(call.args[1])
    return tracer.dot("matrix times vector", call.out[None, :, None], a[None], x[None, None])[0, :, 0]


def _inner(tracer: Tracer, call: Call) -> Ids:
    a, b = tracer.ids(call.args[0]), tracer.ids(call.args[1])
    return tracer.dot("inner product", call.out[None, None, None], a[None, None], b[None, None]).reshape(())


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_MAPS, _map),
    **MOVES,
    **NORMALISATIONS,
    **dict.fromkeys(("add.Tensor", "add.Scalar", "sub.Tensor", "sub.Scalar"), _add),
    **dict.fromkeys(("rsub.Tensor", "rsub.Scalar"), _rsub),
    "addcdiv": _addcdiv,
    **dict.fromkeys(("clamp", "clamp.Tensor"), _clamp),
    **dict.fromkeys(("where.self", "where.ScalarOther", "where.ScalarSelf"), _where),
    **dict.fromkeys(("masked_fill.Scalar", "masked_fill.Tensor"), _masked_fill),
    **dict.fromkeys(
        ("sum", "sum.dim_IntList", "mean", "mean.dim", "amax", "amin", "max", "min", "max.dim", "min.dim", "prod",
         "prod.dim_int", "linalg_vector_norm"),
        _reduce,
    ),
    "var.correction": _var,
    "cumsum": _cumsum,
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), _distances),
    "softplus": _softplus,
    "elu": _elu,
    "gelu": _gelu,
    "avg_pool2d": _average_pool,
    **dict.fromkeys(("mm", "bmm"), _mm),
    **dict.fromkeys(("addmm", "baddbmm"), _addmm),
    "mv": _mv,
    "dot": _inner,
    **CONVOLUTIONS,
}  # fmt: skip


def handler_of(name: str) -> Handler | None:
    """Return what records operation ``name``, None if it has to be taken apart."""
    return _HANDLERS.get(name)
