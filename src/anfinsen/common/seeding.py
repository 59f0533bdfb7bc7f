"""Random numbers that depend on the seed and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

MAX_SEED = 2**32 - 1


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
