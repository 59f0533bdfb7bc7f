"""Random numbers that depend on the seed and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MAX_SEED = 2**32 - 1

Generators = torch.Generator | Sequence[torch.Generator]
"""One generator for a whole batch, or one for each entry of its first axis (so that an entry's numbers are the same
whatever stands beside it)."""


def derive_seed(seed: int, *labels: str | int) -> int:
    """Return a 63-bit seed for one use of ``seed``.

    Different labels give independent streams, so that drawing more numbers in one stage
    (say MSA sampling) does not change another (say the diffusion noise).
    """
    text = "/".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *labels: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one use of ``seed`` (see :func:`derive_seed`)."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *labels))


def numpy_generator(seed: int, *labels: str | int) -> np.random.Generator:
    """Return a numpy generator for one use of ``seed`` (see :func:`derive_seed`)."""
    return np.random.default_rng(derive_seed(seed, *labels))


def gaussian(shape: Sequence[int], generator: Generators, dtype: torch.dtype | None = None) -> Tensor:
    """Return standard normal numbers, drawn on the device where ``generator`` lives.

    Raises:
        ValueError: there are several generators, but not one for each entry of the first axis.
    """
    if isinstance(generator, torch.Generator):
        return torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=dtype)
    if not shape or shape[0] != len(generator):
        raise ValueError(f"{len(generator)} generators cannot fill an array of shape {tuple(shape)} entry by entry.")
    return torch.stack([gaussian(shape[1:], each, dtype) for each in generator])
