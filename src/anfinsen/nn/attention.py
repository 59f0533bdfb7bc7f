"""Which attention kernel runs where, and who may look at the weights; both stand here once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

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


_watched: ContextVar[tuple[dict[nn.Module, str], dict[str, Tensor]] | None] = ContextVar("watched", default=None)


@contextmanager
def watch_attention(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Keep the attention weights of some modules while the network runs inside this context.

    Nothing is computed or kept for other modules, and nothing at all outside of such a context. A module that runs
    several times (recycling, layers with shared weights) leaves the weights of its last run.

    Args:
        modules: the attention modules by a name of the caller's choice, say a part of ``dict(model.named_modules())``.

    Yields:
        The weights by name, filled while the network runs: [..., heads, queries, keys], detached.
    """
    weights: dict[str, Tensor] = {}
    token = _watched.set(({module: name for name, module in modules.items()}, weights))
    try:
        yield weights
    finally:
        _watched.reset(token)


def is_watched(module: nn.Module) -> bool:
    """Return whether the weights of ``module`` are wanted."""
    watched = _watched.get()
    return watched is not None and module in watched[0]


def show_weights(module: nn.Module, weights: Tensor) -> None:
    """Hand ``weights`` to the surrounding :func:`watch_attention` that wants those of ``module``, if there is one."""
    watched = _watched.get()
    if watched is not None and module in watched[0]:
        watched[1][watched[0][module]] = weights.detach()
