"""Convolutions, transposed ones and the gradients of both: every output is the product of a window with a filter.

Both the transposed convolution and the gradient of a convolution's input are convolutions, with the filters turned
round, of an array that has zeros between its elements. Terms with these zeros, and those beyond the edges, are left out
of formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from anfinsen.common.errors import ConfigError

from .calls import Call
from .graph import Ids
from .moves import zero_cell
from .tracer import Handler, Tracer

Margins = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class _Shape:
    """How windows lie: as many numbers as there are spatial axes in each."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int

    @property
    def margins(self) -> Margins:
        return [(padding, padding) for padding in self.padding]


def _windows(
    tracer: Tracer, ids: Ids, kernel: Sequence[int], stride: Sequence[int], margins: Margins, dilation: Sequence[int]
) -> Ids:
    """Return the cells under each window [batch, *out, channels, *kernel] of ``ids`` [batch, channels, *size]."""
    spatial = len(kernel)
    padded = np.pad(ids, [(0, 0), (0, 0), *margins], constant_values=zero_cell(tracer))
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + spatial)))
    every = [slice(None), slice(None), *(slice(None, None, step) for step in (*stride, *dilation))]
    return np.moveaxis(windows[tuple(every)], 1, 1 + spatial)


def _correlation(
    tracer: Tracer, name: str, values: Tensor, windows: Ids, filters: Ids, groups: int, bias: Tensor | None = None
) -> Ids:
    """Record the products of windows [batch, *out, c_in, *kernel] with filters [c_out, c_in / groups, *kernel]."""
    spatial = filters.ndim - 2
    batch, out_shape = windows.shape[0], windows.shape[1 : 1 + spatial]
    c_in, c_out = filters.shape[1], filters.shape[0] // groups
    parts = []
    for group in range(groups):
        some = np.take(windows, range(group * c_in, (group + 1) * c_in), axis=1 + spatial)
        lines = some.reshape(1, batch * math.prod(out_shape), -1)
        mine = slice(group * c_out, (group + 1) * c_out)
        rows = filters[mine].reshape(1, c_out, -1)
        results = values[:, mine].movedim(1, -1).reshape(1, -1, c_out)
        plus = [] if bias is None else [tracer.ids(bias)[mine]]
        cells = tracer.dot(name, results, lines, rows, *plus)
        parts.append(np.moveaxis(cells.reshape(batch, *out_shape, c_out), -1, 1))
    return np.concatenate(parts, axis=1)


def _spread(tracer: Tracer, ids: Ids, stride: Sequence[int]) -> Ids:
    """Return ``ids`` with zeros between neighbours: ``stride`` - 1 of them."""
    size = [(length - 1) * step + 1 for length, step in zip(ids.shape[2:], stride, strict=True)]
    spread = np.full((*ids.shape[:2], *size), zero_cell(tracer), np.int32)
    spread[(slice(None), slice(None), *(slice(None, None, step) for step in stride))] = ids
    return spread


def _turned(filters: Ids, groups: int) -> Ids:
    """Return filters [c_out, c_in / groups, *kernel] as those of the way back: [c_in, c_out / groups, *kernel]."""
    parts = filters.reshape(groups, -1, *filters.shape[1:]).swapaxes(1, 2)
    return np.flip(parts.reshape(-1, *parts.shape[2:]), tuple(range(2, filters.ndim)))


def _back(
    tracer: Tracer, name: str, values: Tensor, ids: Ids, filters: Ids, shape: _Shape, bias: Tensor | None = None
) -> Ids:
    """Record the transposed convolution of ``ids`` to the shape of ``values``."""
    spread = _spread(tracer, ids, shape.stride)
    kernel = filters.shape[2:]
    margins = []
    for length, size, wanted, padding, dilation in zip(
        spread.shape[2:], kernel, values.shape[2:], shape.padding, shape.dilation, strict=True
    ):
        before = dilation * (size - 1) - padding
        after = wanted - length - before + dilation * (size - 1)
        if before < 0 or after < 0:
            raise ConfigError("A convolution padded by more than its filter cannot be written as formulas.")
        margins.append((before, after))
    windows = _windows(tracer, spread, kernel, [1] * len(kernel), margins, shape.dilation)
    return _correlation(tracer, name, values, windows, _turned(filters, shape.groups), shape.groups, bias)


def _filters_gradient(tracer: Tracer, values: Tensor, windows: Ids, outside: Ids, groups: int) -> Ids:
    """Record the gradient of filters: each of its numbers met a window's element wherever an output arose."""
    spatial = outside.ndim - 2
    c_out, c_in = outside.shape[1] // groups, windows.shape[1 + spatial] // groups
    kernel = windows.shape[2 + spatial :]
    parts = []
    for group in range(groups):
        gradients = np.moveaxis(outside[:, group * c_out : (group + 1) * c_out], 1, 0).reshape(1, c_out, -1)
        some = np.take(windows, range(group * c_in, (group + 1) * c_in), axis=1 + spatial)
        elements = np.moveaxis(some.reshape(-1, c_in, *kernel), 0, -1).reshape(1, c_in * math.prod(kernel), -1)
        results = values[group * c_out : (group + 1) * c_out].reshape(1, c_out, -1)
        cells = tracer.dot("gradient of filters", results, gradients, elements)
        parts.append(cells.reshape(c_out, c_in, *kernel))
    return np.concatenate(parts, axis=0)


def _convolution(tracer: Tracer, call: Call) -> Ids:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = (call.get(n) for n in range(9))
    shape = _Shape(stride, padding, dilation, groups)
    ids, filters = tracer.ids(x), tracer.ids(weight)
    if transposed:
        # PyTorch keeps these filters as those of the convolution that they undo.
        return _back(tracer, "transposed convolution", call.out, ids, filters, shape, bias)
    windows = _windows(tracer, ids, filters.shape[2:], stride, shape.margins, dilation)
    return _correlation(tracer, "convolution", call.out, windows, filters, groups, bias)


def _convolution_backward(tracer: Tracer, call: Call) -> tuple[Ids | None, ...]:
    """Gradients of input, filters and offset."""
    gradient, x, weight, _, stride, padding, dilation, transposed, _, groups, wanted = (call.get(n) for n in range(11))
    shape = _Shape(stride, padding, dilation, groups)
    ids, inputs, filters = tracer.ids(gradient), tracer.ids(x), tracer.ids(weight)
    kernel = filters.shape[2:]
    # Of a transposed convolution the gradient is what is convolved, and the input what came of it.
    seen, made = (ids, inputs) if transposed else (inputs, ids)
    windows = _windows(tracer, seen, kernel, stride, shape.margins, dilation)
    of_input, of_filters, of_bias = None, None, None
    if wanted[0]:
        name = "gradient of the input"
        if transposed:
            of_input = _correlation(tracer, name, call.outs[0], windows, filters, groups)
        else:
            of_input = _back(tracer, name, call.outs[0], ids, filters, shape)
    if wanted[1]:
        of_filters = _filters_gradient(tracer, call.outs[1], windows, made, groups)
    if wanted[2]:
        lines = np.moveaxis(ids, 1, 0).reshape(ids.shape[1], -1)
        of_bias = tracer.reduce("gradient of the offset", "SUM({line})", call.outs[2], lines)
    return of_input, of_filters, of_bias


CONVOLUTIONS: dict[str, Handler] = {"convolution": _convolution, "convolution_backward": _convolution_backward}
