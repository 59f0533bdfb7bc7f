"""Which attention kernel runs where, and who may look at weights and gates; all of it stands here once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .memory import chunk_length
from .windows import Windows

# Added to the logits of masked keys: underflows in softmax, yet a row whose keys are all masked becomes uniform
# instead of NaN.
MASKED = -1e9

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q kᵀ / √c + bias)."""
    logits = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    return torch.softmax(logits if bias is None else logits + bias, dim=-1)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q kᵀ / √c + bias) v, step by step."""
    return torch.matmul(attention_weights(q, k, bias), v)


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return the same as `plain_attention` by PyTorch's fused kernels, which never hold all weights."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))


# Measured (benchmarks/attention.py). Without gradients the fused kernel is the faster one everywhere, on a CPU by
# 10-50 % if it is given rows whose projections are still in the cache. With gradients a CPU has no fused backward pass
# for the bias, and PyTorch falls back to something slower than the plain steps.
WITH_GRADIENTS: dict[str, Kernel] = {"cuda": fused_attention}
WITHOUT_GRADIENTS: dict[str, Kernel] = {"cpu": fused_attention, "cuda": fused_attention}


def biased_attention(
    q: Float[Tensor, "*batch heads q_len c"],
    k: Float[Tensor, "*batch heads k_len c"],
    v: Float[Tensor, "*batch heads k_len c"],
    bias: Float[Tensor, "*#batch #heads #q_len k_len"] | None,
) -> Float[Tensor, "*batch heads q_len c"]:
    """Return softmax(q kᵀ / √c + bias) v by the kernel that is fastest on the device of ``q``."""
    kernels = WITH_GRADIENTS if torch.is_grad_enabled() else WITHOUT_GRADIENTS
    return kernels.get(q.device.type, plain_attention)(q, k, v, bias)


def mask_keys(
    bias: Float[Tensor, "*batch heads q_len k_len"], mask: Bool[Tensor, "*batch k_len"]
) -> Float[Tensor, "*batch heads q_len k_len"]:
    """Return ``bias`` with masked keys set to `MASKED`."""
    return bias.masked_fill(~mask[..., None, None, :], MASKED)


def attend_rows(
    q: Float[Tensor, "rows q_len heads c"],
    k: Float[Tensor, "rows k_len heads c"],
    v: Float[Tensor, "rows k_len heads c"],
    bias: Float[Tensor, "#rows heads q_len k_len"],
    out: Float[Tensor, "rows q_len heads c"],
) -> None:
    """Write softmax(q kᵀ / √c + bias) v of every row to ``out`` (which may be ``q``); without gradients."""
    attended = biased_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias)
    out.copy_(attended.transpose(1, 2))


@dataclass(frozen=True)
class Shown:
    """What one attention module shows of one run, or of some rows of it, detached.

    Attributes:
        values: weights [..., heads, queries, keys], after the softmax, or gates [..., n, heads, c], after the sigmoid;
            of pooled column attention, which has one query, weights are [..., heads, keys].
        start, total: where ``total`` is given, the first axis holds the rows from ``start`` on of so many; the parts
            come in order, and one with ``start`` 0 begins a new run.
        windows: of sequence-local attention, whose weights are [windows, heads, queries, keys]; None for all other.
    """

    values: Tensor
    start: int = 0
    total: int | None = None
    windows: Windows | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing follows of this run."""
        return self.total is None or self.start + len(self.values) == self.total


Receiver = Callable[[str, Shown], None]
"""Is told a module's name and what it shows."""


@dataclass(frozen=True)
class _Watch:
    names: dict[nn.Module, str]
    weights: Receiver | None
    gates: Receiver | None


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watch(
    modules: Mapping[str, nn.Module], *, weights: Receiver | None = None, gates: Receiver | None = None
) -> Iterator[None]:
    """Let attention modules show their weights, their gates or both while the network runs inside this context.

    What they show is computed beside what the network computes, whose every bit stays as it is, a few rows at a time,
    and is kept by nobody but the receiver. Nothing is computed for other modules, and nothing at all outside of such a
    context. Of two contexts, one inside the other, only the inner one is served.

    Args:
        modules: the attention modules by a name of the caller's choice, say a part of ``dict(model.named_modules())``.
        weights, gates: are called with the name and what it shows, whenever a module runs.
    """
    token = _watch.set(_Watch({module: name for name, module in modules.items()}, weights, gates))
    try:
        yield
    finally:
        _watch.reset(token)


@contextmanager
def watch_attention(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Keep the attention weights of some modules while the network runs inside this context; see `watch`.

    A module that runs several times (recycling, layers with shared weights) leaves the weights of its last run.

    Yields:
        The weights by name, filled while the network runs: [..., heads, queries, keys], detached.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str, shown: Shown) -> None:
        if shown.total is None:
            kept[name] = shown.values
            return
        if shown.start == 0:
            kept[name] = shown.values.new_empty(shown.total, *shown.values.shape[1:])
        kept[name][shown.start : shown.start + len(shown.values)] = shown.values

    with watch(modules, weights=keep):
        yield kept


def is_watched(module: nn.Module) -> bool:
    """Return whether the weights of ``module`` are wanted."""
    watched = _watch.get()
    return watched is not None and watched.weights is not None and module in watched.names


def gates_are_watched(module: nn.Module) -> bool:
    """Return whether the gates of ``module`` are wanted."""
    watched = _watch.get()
    return watched is not None and watched.gates is not None and module in watched.names


def show_weights(
    module: nn.Module, weights: Tensor, start: int = 0, total: int | None = None, windows: Windows | None = None
) -> None:
    """Hand ``weights`` to the surrounding `watch` that wants those of ``module``, if there is one; see `Shown`."""
    watched = _watch.get()
    if watched is not None and watched.weights is not None and module in watched.names:
        watched.weights(watched.names[module], Shown(weights.detach(), start, total, windows))


def show_gates(module: nn.Module, gates: Tensor, start: int = 0, total: int | None = None) -> None:
    """Hand ``gates`` to the surrounding `watch` that wants those of ``module``, if there is one; see `Shown`."""
    watched = _watch.get()
    if watched is not None and watched.gates is not None and module in watched.names:
        watched.gates(watched.names[module], Shown(gates.detach(), start, total))


def show_rows(
    module: nn.Module,
    q: Float[Tensor, "rows heads q_len c"],
    k: Float[Tensor, "rows heads k_len c"],
    bias: Float[Tensor, "#rows #heads #q_len k_len"] | None,
    start: int = 0,
    total: int | None = None,
) -> None:
    """Show the weights of the rows from ``start`` on of ``total`` (None: these are all), few enough at a time."""
    rows, heads, queries, _ = q.shape
    length = chunk_length(rows, heads * queries * k.shape[-2] * q.element_size(), q.device)
    for first in range(0, rows, length):
        some = slice(first, first + length)
        of_some = bias if bias is None or len(bias) == 1 else bias[some]
        show_weights(module, attention_weights(q[some], k[some], of_some), start + first, total or rows)
