"""Exponential random numbers, from which both networks draw categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.seeding import Generators


def exponential(shape: Sequence[int], generator: Generators) -> Float[Tensor, "*shape"]:
    """Return positive numbers with density exp(-x), drawn on the device where ``generator`` lives.

    argmin(x_i / p_i) is a category drawn with the probabilities p (the Gumbel-max trick; -log x is a Gumbel variate).

    Raises:
        ValueError: there are several generators, but not one for each entry of the first axis.
    """
    if isinstance(generator, torch.Generator):
        return torch.empty(tuple(shape), device=generator.device).exponential_(generator=generator)
    if not shape or shape[0] != len(generator):
        raise ValueError(f"{len(generator)} generators cannot fill an array of shape {tuple(shape)} entry by entry.")
    return torch.stack([exponential(shape[1:], each) for each in generator])
