"""Which attention kernel runs where; the choice stands here once, not in every block's ``forward``."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

# Added to the logits of masked keys: underflows in softmax, yet a row whose keys are all masked becomes uniform
# instead of NaN.
MASKED = -1e9

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(q kᵀ / √c + bias) v, step by step."""
    logits = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)) + bias
    return torch.matmul(torch.softmax(logits, dim=-1), v)


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return the same as `plain_attention` by PyTorch's fused kernels, which never hold all weights."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))


# Measured (benchmarks/attention.py). Without gradients the fused kernel is the faster one everywhere, on a CPU by
# 10-50 % if it is given rows whose projections are still in the cache. With gradients a CPU has no fused backward pass
# for the bias, and PyTorch falls back to something slower than the plain steps.
WITH_GRADIENTS: dict[str, Kernel] = {"cuda": fused_attention}
WITHOUT_GRADIENTS: dict[str, Kernel] = {"cpu": fused_attention, "cuda": fused_attention}


def biased_attention(
    q: Float[Tensor, "*batch heads q_len c"],
    k: Float[Tensor, "*batch heads k_len c"],
    v: Float[Tensor, "*batch heads k_len c"],
    bias: Float[Tensor, "*#batch heads q_len k_len"],
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
    q: Float[Tensor, "rows n heads c"],
    k: Float[Tensor, "rows n heads c"],
    v: Float[Tensor, "rows n heads c"],
    bias: Float[Tensor, "heads n n"],
    out: Float[Tensor, "rows n heads c"],
) -> None:
    """Write softmax(q kᵀ / √c + bias) v of every row to ``out`` (which may be ``q``); without gradients."""
    attended = biased_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias[None])
    out.copy_(attended.transpose(1, 2))
