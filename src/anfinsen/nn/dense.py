"""Linear maps with the starting values that AlphaFold 2 gives them (supplement, section 1.11.4; released code)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from .adaptive_layer_norm import lecun_

Start = Literal["lecun", "relu", "zeros", "gate"]


def dense(c_in: int, c_out: int, start: Start = "lecun", *, bias: bool = True) -> nn.Linear:
    """Return a linear map whose bias, if it has one, starts at zero.

    Args:
        c_in, c_out: widths.
        start: "lecun": N(0, 1/c_in), cut off; "relu": twice that variance, before a rectifier; "zeros": at the end of a
            residual branch, which then starts as the identity; "gate": zeros with bias 1, so that gates start open.
        bias: whether there is a bias.
    """
    linear = nn.Linear(c_in, c_out, bias=bias)
    if start in {"lecun", "relu"}:
        lecun_(linear.weight, gain=2.0 if start == "relu" else 1.0)
    else:
        nn.init.zeros_(linear.weight)
    if bias:
        nn.init.constant_(linear.bias, 1.0 if start == "gate" else 0.0)
    return linear
