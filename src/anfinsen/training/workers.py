"""Several processes training one model: each takes its share of a step's examples and gradients are summed.

Started by ``torchrun --nproc-per-node N -m anfinsen train …``; without it there is one worker, alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


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
        """Replace every gradient by its sum over the workers (one message)."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
        flat = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(flat)
        for parameter, total in zip(trained, torch.split(flat, [p.numel() for p in trained]), strict=True):
            parameter.grad = total.view_as(parameter).clone()

    def add(self, values: dict[str, float]) -> dict[str, float]:
        """Return the sum over the workers of every value; all workers must give the same names."""
        if self.count == 1:
            return values
        total: Tensor = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def agree(self, flag: bool) -> bool:
        """Return the leader's ``flag`` on every worker."""
        return self.add({"flag": float(flag and self.leads)})["flag"] > 0


@contextmanager
def joined_workers(device: torch.device) -> Iterator[Workers]:
    """Join the workers that ``torchrun`` started, if it did, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
