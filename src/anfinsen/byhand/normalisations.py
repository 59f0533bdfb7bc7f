"""Softmax and the normalisations, step by step as they are defined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anfinsen.common.errors import ConfigError

from .graph import Ids
from .tracer import Call, Handler, Tracer, literal


def axes_of(dim: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes that an argument ``dim`` means, counted from 0."""
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return tuple(range(ndim))
    axes = dim if isinstance(dim, (list, tuple)) else [dim]
    return tuple(axis % ndim for axis in axes) if ndim else ()


def lines_of(ids: Ids, axes: Sequence[int]) -> Ids:
    """Return ``ids`` with ``axes`` moved to the end and made one."""
    kept = [axis for axis in range(ids.ndim) if axis not in axes]
    moved = ids.transpose(*kept, *axes)
    return moved.reshape(*(ids.shape[axis] for axis in kept), -1)


def _softmax(tracer: Tracer, call: Call) -> Ids:
    """max(x, -1) first, as the model does: no exponential can overflow."""
    x, dim = call.get(0), call.get(1)
    ids = np.moveaxis(tracer.ids(x), dim, -1)
    logits = x.detach().movedim(dim, -1)
    with tracer.titled("softmax"):
        top = logits.amax(-1)
        largest = tracer.reduce("largest logit of the row", "MAX({line})", top, ids)
        shifted = torch.exp(logits - top[..., None])
        powers = tracer.map("exponential of logit - largest", "EXP({0}-{1})", shifted, ids, largest[..., None])
        total = tracer.reduce("sum of the row", "SUM({line})", shifted.sum(-1), powers)
        result = call.out.movedim(dim, -1)
        if call.name == "_log_softmax":
            cells = tracer.map("logarithm", "{0}-{1}-LN({2})", result, ids, largest[..., None], total[..., None])
        else:
            cells = tracer.map("exponential / sum", "{0}/{1}", result, powers, total[..., None])
    return np.moveaxis(cells, -1, dim)


def _log_sum_exp(tracer: Tracer, call: Call) -> Ids:
    x, dims = call.get(0), call.get(1)
    lines = lines_of(tracer.ids(x), axes_of(dims, x.dim()))
    top = x.detach().amax(dims, keepdim=True)
    with tracer.titled("logarithm of the sum of exponentials"):
        shape = lines.shape[:-1]
        largest = tracer.reduce("largest", "MAX({line})", x.detach().amax(dims).reshape(shape), lines)
        shifted = torch.exp(x.detach() - top)
        kept = [axis for axis in range(x.dim()) if axis not in axes_of(dims, x.dim())]
        moved = shifted.permute(*kept, *axes_of(dims, x.dim())).reshape(lines.shape)
        powers = tracer.map("exponential of x - largest", "EXP({0}-{1})", moved, lines, largest[..., None])
        total = tracer.reduce("sum", "SUM({line})", moved.sum(-1), powers)
        cells = tracer.map("logarithm", "LN({0})+{1}", call.out.reshape(shape), total, largest)
    return cells.reshape(tuple(call.out.shape))


def _layer_norm(tracer: Tracer, call: Call) -> tuple[Ids, Ids, Ids]:
    x, shape, weight, bias, epsilon = (call.get(position) for position in range(5))
    axes = tuple(range(x.dim() - len(shape), x.dim()))
    ids = tracer.ids(x)
    lines = lines_of(ids, axes)
    outs, mean, scale = call.outs
    with tracer.titled("layer norm"):
        means = tracer.reduce("mean of the row", "AVERAGE({line})", mean.reshape(lines.shape[:-1]), lines)
        scales = tracer.reduce(
            "1 / standard deviation of the row",
            f"1/SQRT(DEVSQ({{line}})/{lines.shape[-1]}+{literal(epsilon)})",
            scale.reshape(lines.shape[:-1]),
            lines,
        )
        means, scales = means.reshape(tuple(mean.shape)), scales.reshape(tuple(scale.shape))
        template, operands = "({0}-{1})*{2}", [ids, means, scales]
        name = "(x - mean) / deviation"
        for extra, sign, word in ((weight, "*", " · scale"), (bias, "+", " + offset")):
            if extra is not None:
                template += f"{sign}{{{len(operands)}}}"
                operands.append(tracer.ids(extra))
                name += word
        cells = tracer.map(name, template, outs, *operands)
    return cells, means, scales


def _group_norm(tracer: Tracer, call: Call) -> tuple[Ids, Ids, Ids]:
    """Each sample's channels in groups, every group one row."""
    x, weight, bias, samples, channels, _, groups, epsilon = (call.get(position) for position in range(8))
    shape = tuple(call.out.shape)
    ids = tracer.ids(x).reshape(samples, groups, -1)
    outs, mean, scale = call.outs
    with tracer.titled("group norm"):
        means = tracer.reduce("mean of the group", "AVERAGE({line})", mean.reshape(samples, groups), ids)
        scales = tracer.reduce(
            "1 / standard deviation of the group",
            f"1/SQRT(DEVSQ({{line}})/{ids.shape[-1]}+{literal(epsilon)})",
            scale.reshape(samples, groups),
            ids,
        )
        spread = [np.broadcast_to(each[..., None], ids.shape).reshape(shape) for each in (means, scales)]
        template, operands = "({0}-{1})*{2}", [tracer.ids(x), *spread]
        for extra, sign in ((weight, "*"), (bias, "+")):
            if extra is not None:
                template += f"{sign}{{{len(operands)}}}"
                operands.append(tracer.ids(extra).reshape(1, channels, *(1,) * (len(shape) - 2)))
        cells = tracer.map("(x - mean) / deviation", template, outs, *operands)
    return cells, means.reshape(tuple(mean.shape)), scales.reshape(tuple(scale.shape))


def _batch_norm(tracer: Tracer, call: Call) -> tuple[Ids | None, ...]:
    """As in evaluation: mean and variance are those of training."""
    x, weight, bias, mean, variance = (call.get(position) for position in range(5))
    training, _, epsilon = (call.get(position) for position in ((5, 6, 7) if len(call.outs) > 1 else (5, 5, 6)))
    if training and "no_training" not in call.name:
        raise ConfigError("Batch normalisation in training cannot be written as formulas: trace it in evaluation.")
    shape = (1, -1, *(1,) * (x.dim() - 2))
    operands = [tracer.ids(x), *(tracer.ids(each).reshape(shape) for each in (mean, variance))]
    template = f"({{0}}-{{1}})/SQRT({{2}}+{literal(epsilon)})"
    for extra, sign in ((weight, "*"), (bias, "+")):
        if extra is not None:
            template += f"{sign}{{{len(operands)}}}"
            operands.append(tracer.ids(extra).reshape(shape))
    return tracer.map("batch norm", template, call.out, *operands), None, None


NORMALISATIONS: dict[str, Handler] = {
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    "logsumexp": _log_sum_exp,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"), _batch_norm),
}
