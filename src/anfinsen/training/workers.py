"""Several processes training one model: each takes its share of a step's examples and gradients are summed.

Started by ``torchrun --nproc-per-node N -m anfinsen train …``; without it there is one worker, alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Item = TypeVar("Item")


@dataclass(frozen=True)
class Workers:
    """This process's place among the workers: ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, examples: int) -> range:
        """Return the examples of a step that this worker computes."""
        return range(self.rank, examples, self.count)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the workers (one message).

        A parameter that no worker's examples used keeps no gradient, as with one worker: Adam leaves it alone.
        """
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        used = torch.tensor([float(p.grad is not None) for p in trained], device=trained[0].device)
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
        flat = torch.cat([used, *(part.flatten() for part in parts)])
        dist.all_reduce(flat)
        used, *totals = torch.split(flat, [len(trained), *(p.numel() for p in trained)])
        for parameter, workers, total in zip(trained, used.tolist(), totals, strict=True):
            parameter.grad = total.view_as(parameter).clone() if workers else None

    def add(self, values: dict[str, float]) -> dict[str, float]:
        """Return the sum over the workers of every value; all workers must give the same names."""
        if self.count == 1:
            return values
        total: Tensor = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def follow(self, model: nn.Module) -> None:
        """Give every worker's ``model`` the leader's numbers, in place.

        Gradients are shared, so parameters agree already; what batch norm remembers of each worker's own examples
        does not.
        """
        if self.count == 1:
            return
        for tensor in model.state_dict().values():
            # Messages need numbers in order; convolutions may hold theirs with the channels innermost.
            value = tensor.contiguous()
            dist.broadcast(value, 0)
            tensor.copy_(value)

    def gather(self, mine: list[Item]) -> list[Item]:
        """Return the items of all workers on every worker; each gave those of its own :meth:`share`, in order."""
        if self.count == 1:
            return mine
        parts: list[list[Item]] = [[] for _ in range(self.count)]
        dist.all_gather_object(parts, mine)
        return [parts[i % self.count][i // self.count] for i in range(sum(len(part) for part in parts))]

    def agree(self, flag: bool) -> bool:
        """Return the leader's ``flag`` on every worker."""
        return self.add({"flag": float(flag and self.leads)})["flag"] > 0


def is_first_worker() -> bool:
    """Return whether this process is alone or the first of those that ``torchrun`` started; known before they join."""
    return os.environ.get("RANK", "0") == "0"


def worker_device(device: torch.device) -> torch.device:
    """Return this worker's own GPU where ``torchrun`` started several workers and no GPU was named by number."""
    rank = os.environ.get("LOCAL_RANK")
    return torch.device("cuda", int(rank)) if rank is not None and device == torch.device("cuda") else device


@contextmanager
def joined_workers(device: torch.device) -> Iterator[Workers]:
    """Join the workers that ``torchrun`` started, if it did, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Workers()
        return
    # Numbers for the curves are summed on the CPU, gradients where they are.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size())
        dist.barrier()  # a worker that leaves while another still talks to it may be aborted
    finally:
        dist.destroy_process_group()
