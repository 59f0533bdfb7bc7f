"""Softmax and the normalisations, step by step as they are defined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anfinsen.common.errors import ConfigError, NonFiniteError

from .calls import Call
from .graph import INFINITY, Ids
from .tracer import Handler, Tracer, literal


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
    shape = tuple(call.out.shape)
    flat = x.dim() == 0  # a single number is a row of one
    ids = np.moveaxis(tracer.ids(x).reshape(1) if flat else tracer.ids(x), dim, -1)
    logits = (x.detach().reshape(1) if flat else x.detach()).movedim(dim, -1)
    # Attention gives nothing where nothing may be looked at; a plain softmax has no value there.
    empty = "safe" in call.name and bool(_all_low(logits, -1).any())
    with tracer.titled("softmax"):
        top = logits.amax(-1)
        if not empty:
            _refuse_empty(logits, -1)
        largest = tracer.reduce("largest logit of the row", "MAX({line})", top, ids)
        shifted = torch.exp(logits - top[..., None])
        shifted = torch.where(_all_low(logits, -1), 1.0, shifted) if empty else shifted
        powers = tracer.map("exponential of logit - largest", "EXP({0}-{1})", shifted, ids, largest[..., None])
        total = tracer.reduce("sum of the row", "SUM({line})", shifted.sum(-1), powers)
        result = (call.out.reshape(1) if flat else call.out).movedim(dim, -1)
        if call.name == "_log_softmax":
            cells = tracer.map("logarithm", "{0}-{1}-LN({2})", result, ids, largest[..., None], total[..., None])
        elif empty:
            template = f"IF({{2}}<={literal(-INFINITY)},0,{{0}}/{{1}})"
            cells = tracer.map("exponential / sum", template, result, powers, total[..., None], largest[..., None])
        else:
            cells = tracer.map("exponential / sum", "{0}/{1}", result, powers, total[..., None])
    return np.moveaxis(cells, -1, dim).reshape(shape)


def _all_low(logits: Tensor, dims: Any) -> Tensor:
    """Return which rows hold nothing but -inf."""
    return logits.amax(dims, keepdim=True) == -torch.inf


def _refuse_empty(logits: Tensor, dims: Any) -> None:
    if _all_low(logits, dims).any():
        raise NonFiniteError(
            "A row of logits is all -inf (everything in it is masked), so that its softmax has no value: leave one "
            "element of each row unmasked, or mask with a large negative number."
        )


def _log_sum_exp(tracer: Tracer, call: Call) -> Ids:
    x, dims = call.get(0), call.get(1)
    lines = lines_of(tracer.ids(x), axes_of(dims, x.dim()))
    _refuse_empty(x.detach(), dims)
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
    """In evaluation mean and variance are those of training; without such ones they are the batch's own."""
    x, weight, bias, mean, variance = (call.get(position) for position in range(5))
    epsilon = call.get("eps", call.get("epsilon"))
    training = bool(call.get("training")) and "no_training" not in call.name
    shape = (1, -1, *(1,) * (x.dim() - 2))
    offset = literal(epsilon)
    operands: list[Ids]
    if not training:
        operands = [tracer.ids(x), *(tracer.ids(each).reshape(shape) for each in (mean, variance))]
        template = f"({{0}}-{{1}})/SQRT({{2}}+{offset})"
    elif mean is not None:
        raise ConfigError("Batch normalisation in training cannot be written as formulas: trace it in evaluation.")
    else:
        lines = np.moveaxis(tracer.ids(x), 1, 0).reshape(x.shape[1], -1)
        values = x.detach().movedim(1, 0).reshape(x.shape[1], -1)
        scale = 1 / torch.sqrt(values.var(-1, unbiased=False) + epsilon)
        means = tracer.reduce("mean of the channel", "AVERAGE({line})", values.mean(-1), lines)
        deviation = f"1/SQRT(DEVSQ({{line}})/{lines.shape[-1]}+{offset})"
        scales = tracer.reduce("1 / standard deviation of the channel", deviation, scale, lines)
        operands, template = [tracer.ids(x), means.reshape(shape), scales.reshape(shape)], "({0}-{1})*{2}"
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
