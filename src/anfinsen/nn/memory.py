"""How much a block may use at a time, and buffers that live longer than one block.

Two facts about CPUs shape this file. Work that is cut into pieces which fit the cache runs faster than whole-tensor
operations; and memory that is given back to the system and asked for again costs more time than the arithmetic on it
(page faults were 43 % of a Pairformer block's CPU time at 256 tokens before buffers were reused).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import torch
from torch import Tensor

# Bytes of intermediate results per chunk. On a CPU a chunk should stay in the second-level cache (1-2 MB per core);
# a GPU needs large pieces to fill its processors.
CPU_CHUNK_BYTES = 2 * 2**20
ACCELERATOR_CHUNK_BYTES = 512 * 2**20
# With gradients on, intermediate results larger than this are computed again in the backward pass, not kept.
KEPT_BYTES = 512 * 2**20

_budget: ContextVar[int | None] = ContextVar("chunk_budget", default=None)


class Scratch:
    """Buffers by name. A buffer is valid until the same name is taken again; contents are arbitrary."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype, torch.device, bool], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return an uninitialised contiguous tensor of ``shape`` with the type and device of ``like``."""
        # Tensors made in inference mode must not be written to outside of it.
        key = (name, like.dtype, like.device, torch.is_inference_mode_enabled())
        size = math.prod(shape)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < size:
            # Drop the old one first: both at once would raise the peak.
            self._buffers.pop(key, None)
            del buffer
            buffer = torch.empty(size, dtype=like.dtype, device=like.device)
            self._buffers[key] = buffer
        return buffer[:size].view(shape)


_scratch: ContextVar[Scratch | None] = ContextVar("scratch", default=None)


@contextmanager
def reuse_buffers() -> Iterator[None]:
    """Let all blocks that run inside without gradients share one set of buffers; freed at the end.

    From then on the process also keeps small pieces of freed memory for itself (glibc), until the end of the context.
    """
    if _scratch.get() is not None:
        yield
        return
    token = _scratch.set(Scratch())
    _keep_freed_pages()
    try:
        yield
    finally:
        _scratch.reset(token)
        _return_freed_pages()


# What PyTorch allocates itself cannot be a named buffer. glibc gives such memory back at once, page by page, unless it
# is told to keep some; larger pieces than KEPT_PIECE_BYTES (the most that glibc allows) still go straight back.
KEPT_PIECE_BYTES = 32 * 2**20
KEPT_FREE_BYTES = 512 * 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def _keep_freed_pages() -> None:
    """Let the C library keep freed memory of this process for the next allocation; nothing where it cannot."""
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, KEPT_PIECE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE_BYTES)


def _return_freed_pages() -> None:
    """Give freed memory back to the system; nothing where the C library cannot."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def scratch() -> Scratch:
    """Return the shared buffers of the surrounding :func:`reuse_buffers`, or fresh ones."""
    return _scratch.get() or Scratch()


@contextmanager
def chunk_budget(size: int) -> Iterator[None]:
    """Set the bytes of intermediate results per chunk for everything that runs inside."""
    token = _budget.set(size)
    try:
        yield
    finally:
        _budget.reset(token)


def chunk_length(items: int, bytes_per_item: int, device: torch.device) -> int:
    """Return how many of ``items`` a chunk should hold so that it keeps to the budget (at least one)."""
    default = CPU_CHUNK_BYTES if device.type == "cpu" else ACCELERATOR_CHUNK_BYTES
    return max(1, min(items, (_budget.get() or default) // max(1, bytes_per_item)))


def items(tensor: Tensor, dimensions: int) -> tuple[Tensor, ...]:
    """Return views of the batch's items: everything before the last ``dimensions`` axes is taken apart."""
    split = tensor.dim() - dimensions
    return tensor.reshape(math.prod(tensor.shape[:split]), *tensor.shape[split:]).unbind(0)


def in_place(tensor: Tensor) -> bool:
    """Return whether blocks may write to buffers and in place: without gradients, and not under autocast.

    Autocast chooses the type of every product itself, which a buffer made beforehand cannot follow.
    """
    return not torch.is_grad_enabled() and not torch.is_autocast_enabled(tensor.device.type)
