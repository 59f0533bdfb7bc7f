"""One update of weights, whatever is trained: gradients in a fixed order, cut to a norm, refused when not finite."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .errors import NonFiniteError


def backward(loss: Float[Tensor, ""]) -> None:
    """Add the gradients of ``loss`` to those there are, in the same order of additions whenever on a CPU.

    Threads would otherwise race where a gradient adds into gathered rows, and the same seed give other bits.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or loss.device.type == "cpu")
    try:
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
    finally:
        torch.use_deterministic_algorithms(before)


def clip_gradients(parameters: Iterable[nn.Parameter], clip: float) -> float:
    """Scale all gradients down to the norm ``clip`` where they exceed it, and return the norm that they had.

    Raises:
        NonFiniteError: the gradients are not finite; the weights are as they were.
    """
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    if not torch.isfinite(norm):
        raise NonFiniteError("Gradients are not finite: lower the learning rate, or train in float32.")
    return float(norm)


def step(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Step every optimiser with the learning rate ``rate``; a parameter group may hold a factor of it as "scale"."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        optimizer.step()
