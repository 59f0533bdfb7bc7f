"""Operations on each element alone, as formulas that every spreadsheet program knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anfinsen.common.errors import ConfigError

from .calls import Call
from .graph import Ids
from .tracer import Handler, Tracer, literal

# EXP of more than 709 is an error in a spreadsheet; sigmoid(-700) is 0 to 304 decimals.
SIGMOID = "1/(1+EXP(-MAX({0},-700)))"
# To the nearest whole number, and of two equally near ones to the even one.
_ROUND = "IF({0}-INT({0})=0.5,2*INT({0}/2+0.5),INT({0}+0.5))"

# name: (what is done, template, positions of the operands)
MAPS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "mul.Tensor": ("product", "{0}*{1}", (0, 1)),
    "mul.Scalar": ("product", "{0}*{1}", (0, 1)),
    "div.Tensor": ("quotient", "{0}/{1}", (0, 1)),
    "div.Scalar": ("quotient", "{0}/{1}", (0, 1)),
    "floor_divide": ("quotient, rounded down", "INT({0}/{1})", (0, 1)),
    "remainder.Tensor": ("remainder", "{0}-{1}*INT({0}/{1})", (0, 1)),
    "remainder.Scalar": ("remainder", "{0}-{1}*INT({0}/{1})", (0, 1)),
    "fmod.Tensor": ("remainder", "{0}-{1}*TRUNC({0}/{1})", (0, 1)),
    "fmod.Scalar": ("remainder", "{0}-{1}*TRUNC({0}/{1})", (0, 1)),
    "neg": ("minus", "-{0}", (0,)),
    "exp": ("exponential", "EXP({0})", (0,)),
    "exp2": ("power of 2", "2^{0}", (0,)),
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
    "tan": ("tangent", "TAN({0})", (0,)),
    "asin": ("arc sine", "ASIN({0})", (0,)),
    "acos": ("arc cosine", "ACOS({0})", (0,)),
    "atan": ("arc tangent", "ATAN({0})", (0,)),
    "atan2": ("angle", "ATAN2({1},{0})", (0, 1)),
    "sinh": ("hyperbolic sine", "SINH({0})", (0,)),
    "cosh": ("hyperbolic cosine", "COSH({0})", (0,)),
    "tanh": ("hyperbolic tangent", "TANH({0})", (0,)),
    "asinh": ("inverse hyperbolic sine", "ASINH({0})", (0,)),
    "sigmoid": ("sigmoid", SIGMOID, (0,)),
    "silu": ("swish: x · sigmoid(x)", "{0}/(1+EXP(-MAX({0},-700)))", (0,)),
    "relu": ("rectifier: max(x, 0)", "MAX({0},0)", (0,)),
    "abs": ("absolute value", "ABS({0})", (0,)),
    "sign": ("sign", "SIGN({0})", (0,)),
    "sgn": ("sign", "SIGN({0})", (0,)),
    "signbit": ("negative? (1 or 0)", "IF({0}<0,1,0)", (0,)),
    "floor": ("rounded down", "INT({0})", (0,)),
    "ceil": ("rounded up", "-INT(-{0})", (0,)),
    "trunc": ("rounded towards zero", "TRUNC({0})", (0,)),
    "round": ("rounded", _ROUND, (0,)),
    "erf": ("error function", "2*NORMSDIST({0}*SQRT(2))-1", (0,)),
    "square": ("square", "{0}^2", (0,)),
    "pow.Tensor_Scalar": ("power", "{0}^{1}", (0, 1)),
    "pow.Tensor_Tensor": ("power", "{0}^{1}", (0, 1)),
    "pow.Scalar": ("power", "{0}^{1}", (0, 1)),
    **dict.fromkeys(
        ("xlogy.Tensor", "xlogy.Scalar_Self", "xlogy.Scalar_Other"),
        ("x · ln y", "IF({0}=0,0,{0}*LN({1}))", (0, 1)),
    ),
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
    "threshold_backward": ("gradient where the rectifier was open", "IF({1}>{2},{0},0)", (0, 1, 2)),
    "sigmoid_backward": ("gradient of the sigmoid: g y (1 - y)", "{0}*{1}*(1-{1})", (0, 1)),
    "tanh_backward": ("gradient of tanh: g (1 - y²)", "{0}*(1-{1}^2)", (0, 1)),
}  # fmt: skip
for _name in ("gt", "ge", "lt", "le", "eq", "ne"):
    for _overload in ("Tensor", "Scalar"):
        MAPS[f"{_name}.{_overload}"] = MAPS[_name]


def _map(tracer: Tracer, call: Call) -> Ids:
    name, template, positions = MAPS[call.name]
    return tracer.map(name, template, call.out, *(call.get(position) for position in positions))


def _factor(value: Any) -> str:
    return "" if value == 1 else f"{literal(value)}*"


def _add(tracer: Tracer, call: Call) -> Ids:
    sign, alpha = ("-" if call.name.startswith("sub") else "+"), call.get("alpha", 1)
    if call.out.dtype == torch.bool:
        return tracer.map("either? (1 or 0)", "MAX({0},{1})", call.out, call.get(0), call.get(1))
    template = f"{{0}}{sign}{_factor(alpha)}{{1}}"
    return tracer.map("difference" if sign == "-" else "sum", template, call.out, call.get(0), call.get(1))


def _rsub(tracer: Tracer, call: Call) -> Ids:
    template = f"{{1}}-{_factor(call.get('alpha', 1))}{{0}}"
    return tracer.map("difference", template, call.out, call.get(0), call.get(1))


def _add_combined(tracer: Tracer, call: Call) -> Ids:
    """a plus a product or quotient of b and c."""
    word, sign = ("·", "*") if call.name == "addcmul" else ("/", "/")
    template = f"{{0}}+{_factor(call.get('value'))}{{1}}{sign}{{2}}"
    return tracer.map(f"a + b {word} c", template, call.out, call.get(0), call.get(1), call.get(2))


def _rounded_quotient(tracer: Tracer, call: Call) -> Ids:
    mode = call.get("rounding_mode")
    name, template = {
        None: ("quotient", "{0}/{1}"),
        "floor": ("quotient, rounded down", "INT({0}/{1})"),
        "trunc": ("quotient, rounded towards zero", "TRUNC({0}/{1})"),
    }[mode]
    return tracer.map(name, template, call.out, call.get(0), call.get(1))


_LOGIC = {
    "and": ("both? (1 or 0)", "{0}*{1}"),
    "or": ("either? (1 or 0)", "MAX({0},{1})"),
    "xor": ("one of the two? (1 or 0)", "IF({0}={1},0,1)"),
    "not": ("not? (1 or 0)", "1-{0}"),
}


def _logic(tracer: Tracer, call: Call) -> Ids:
    """Logic of truths; of other numbers, whatever is not zero is true."""
    base = call.name.partition(".")[0].strip("_")
    kind = base.removeprefix("logical_").removeprefix("bitwise_")
    if call.out.dtype != torch.bool:
        raise ConfigError(f"Operation {base} on the bits of whole numbers cannot be written as spreadsheet formulas.")
    operands = [call.get(position) for position in range(1 if kind == "not" else 2)]
    truths = []
    for n, operand in enumerate(operands):
        is_truth = isinstance(operand, Tensor) and operand.dtype == torch.bool
        truths.append(f"{{{n}}}" if is_truth else f"IF({{{n}}}<>0,1,0)")
    name, template = _LOGIC[kind]
    return tracer.map(name, template.format(*truths), call.out, *operands)


def _clamp(tracer: Tracer, call: Call) -> Ids:
    low, high = call.get(1), call.get(2)
    operands = [value for value in (low, high) if value is not None]
    template = "{0}" if low is None else "MAX({0},{1})"
    template = template if high is None else f"MIN({template},{{{len(operands)}}})"
    return tracer.map("within bounds", template, call.out, call.get(0), *operands)


def _where(tracer: Tracer, call: Call) -> Ids:
    condition, a, b = (call.get(position) for position in range(3))
    if not tracer.depends(condition):
        # Which of the two stands where is no computation: cells move.
        shape = tuple(call.out.shape)
        a, b = (np.broadcast_to(tracer.ids(_as_tensor(value, call.out)), shape) for value in (a, b))
        return np.where(np.broadcast_to(condition.numpy(), shape), a, b)
    return tracer.map("one or the other", "IF({0}<>0,{1},{2})", call.out, condition, a, b)


def _masked_fill(tracer: Tracer, call: Call) -> Ids:
    x, mask, value = (call.get(position) for position in range(3))
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


def _bucketize(tracer: Tracer, call: Call) -> Ids:
    """How many boundaries lie below."""
    values, edges = call.get(0), tracer.ids(call.get(1))
    sign = ">=" if call.get("right") else ">"
    template = "+".join(f"IF({{0}}{sign}{{{n + 1}}},1,0)" for n in range(edges.size))
    operands = (values, *np.split(edges, edges.size))
    return tracer.map("bin: how many boundaries lie below", template, call.out, *operands)


def _scatter_value(tracer: Tracer, call: Call) -> Ids:
    """A number written at positions, as `one_hot` does; where inputs decide these, each place asks if it is meant."""
    x, dim, index, value = (call.get(position) for position in range(4))
    filler = _as_tensor(value, call.out)
    ids = np.array(tracer.ids(x))
    if not tracer.depends(index):
        return torch.from_numpy(ids).scatter(dim, index, int(tracer.ids(filler))).numpy()
    dim %= ids.ndim
    if tuple(index.shape) != tuple(1 if axis == dim else size for axis, size in enumerate(ids.shape)):
        raise ConfigError("Numbers written at positions that the inputs decide cannot be formulas: use one_hot.")
    places = torch.arange(ids.shape[dim], dtype=torch.float64).reshape(-1, *(1,) * (ids.ndim - 1 - dim))
    return tracer.map("is it this one? (1 or 0)", "IF({0}={1},{2},{3})", call.out, index, places, filler, ids)


def _softplus(tracer: Tracer, call: Call) -> Ids:
    beta, threshold = call.get("beta"), call.get("threshold")
    scaled = f"{_factor(beta)}{{0}}"
    share = "" if beta == 1 else f"/{literal(beta)}"
    template = f"IF({scaled}>{literal(threshold)},{{0}},(MAX({scaled},0)+LN(1+EXP(-ABS({scaled})))){share})"
    return tracer.map("softplus: ln(1 + exp x)", template, call.out, call.get(0))


def _elu(tracer: Tracer, call: Call) -> Ids:
    alpha, scale, inside = (_factor(call.get(name)) for name in ("alpha", "scale", "input_scale"))
    template = f"{scale}IF({{0}}>0,{{0}},{alpha}(EXP({inside}MIN({{0}},0))-1))"
    return tracer.map("elu", template, call.out, call.get(0))


def _gelu(tracer: Tracer, call: Call) -> Ids:
    if call.get("approximate") == "none":
        return tracer.map("gelu: x times the normal distribution", "{0}*NORMSDIST({0})", call.out, call.get(0))
    template = "0.5*{0}*(1+TANH(SQRT(2/PI())*({0}+0.044715*{0}^3)))"
    return tracer.map("gelu, by tanh", template, call.out, call.get(0))


ELEMENTWISE: dict[str, Handler] = {
    **dict.fromkeys(MAPS, _map),
    **dict.fromkeys(("add.Tensor", "add.Scalar", "sub.Tensor", "sub.Scalar"), _add),
    **dict.fromkeys(("rsub.Tensor", "rsub.Scalar"), _rsub),
    **dict.fromkeys(("addcmul", "addcdiv"), _add_combined),
    **dict.fromkeys(("div.Tensor_mode", "div.Scalar_mode"), _rounded_quotient),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_not"), _logic),
    **dict.fromkeys(
        (f"{name}.{kind}" for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__")
         for kind in ("Tensor", "Scalar")),
        _logic,
    ),
    **dict.fromkeys(("clamp", "clamp.Tensor"), _clamp),
    **dict.fromkeys(("where.self", "where.ScalarOther", "where.ScalarSelf"), _where),
    **dict.fromkeys(("masked_fill.Scalar", "masked_fill.Tensor"), _masked_fill),
    "bucketize.Tensor": _bucketize,
    "scatter.value": _scatter_value,
    "softplus": _softplus,
    "elu": _elu,
    "gelu": _gelu,
}  # fmt: skip
