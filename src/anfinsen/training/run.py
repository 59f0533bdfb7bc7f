"""What training runs of every model share: the update of the weights, checkpoints, curves."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.common.config import to_mapping
from anfinsen.common.errors import MissingExtraError, NonFiniteError

from .checkpoint import load_checkpoint, save_checkpoint
from .ema import ExponentialMovingAverage
from .workers import Workers

CHECKPOINT, WEIGHTS, CURVES = "checkpoint.safetensors", "weights.safetensors", "curves"


@runtime_checkable
class Curves(Protocol):
    """Where numbers over steps go (TensorBoard's writer, or a list in tests)."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Record one number."""

    def close(self) -> None:
        """Write everything out."""


class TrainingRun:
    """Optimiser, average and progress of one run; a model's trainer adds how an example becomes a loss.

    Attributes:
        model: what is trained. optimizers: of its weights. ema: their average. workers: the processes of the run.
        steps_done: optimiser steps so far.
        whole: false while an update is under way, when weights, optimisers and average belong to no step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: tuple[torch.optim.Optimizer, ...],
        ema: ExponentialMovingAverage,
        workers: Workers,
        settings: dict[str, object],
    ) -> None:
        """``settings``, which must be the same for a checkpoint to be continued, may hold configurations."""
        self.model, self.optimizers, self.ema, self.workers = model, optimizers, ema, workers
        self._settings = {
            name: value if isinstance(value, str | int) else to_mapping(value) for name, value in settings.items()
        }
        self.steps_done = 0
        self.whole = True

    @property
    def settings(self) -> dict[str, object]:
        """What must be the same for a checkpoint to be continued."""
        return dict(self._settings)

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Add the gradients of ``loss`` to those of the step, in the same order of additions whenever on a CPU.

        Threads would otherwise race where a gradient adds into gathered rows, and the same seed give other bits.
        """
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(before or loss.device.type == "cpu")
        try:
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        finally:
            torch.use_deterministic_algorithms(before)

    def update(self, sums: dict[str, float], clip: float, rate: float) -> dict[str, float]:
        """Step along the workers' summed gradients, and return the summed terms with gradient norm and rate.

        Args:
            sums: this worker's share of the loss terms.
            clip: largest gradient norm.
            rate: learning rate; a parameter group may hold a factor of it as "scale".

        Raises:
            NonFiniteError: the gradients are not finite; the weights are as they were.
        """
        self.workers.add_gradients(self.model.parameters())
        sums = self.workers.add(sums)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        if not torch.isfinite(norm):
            raise NonFiniteError("Gradients are not finite: lower the learning rate, or train in float32.")
        self.whole = False
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("scale", 1.0)
            optimizer.step()
        self.ema.update(self.model)
        self.steps_done += 1
        self.whole = True
        return {**sums, "gradient_norm": float(norm), "learning_rate": rate}

    def save_checkpoint(self, out: Path) -> None:
        """Write what is needed to go on into ``out``."""
        save_checkpoint(out / CHECKPOINT, self.model, self.optimizers, self.ema, self.steps_done, self.settings)

    def resume(self, out: Path) -> bool:
        """Continue the run found in ``out``, if there is one."""
        path = out / CHECKPOINT
        if path.exists():
            self.steps_done = load_checkpoint(path, self.model, self.optimizers, self.ema, self.settings)
        return self.steps_done > 0


def due(every: int, done: int, last: int) -> bool:
    """Return whether something done at every n-th step (0: never) and after the last one is due."""
    return done == last or (every > 0 and done % every == 0)


class _NoCurves:
    """Curves of a worker that does not lead."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Drop the number."""

    def close(self) -> None:
        """Do nothing."""


def open_curves(folder: Path | None) -> Curves:
    """Return a TensorBoard writer into ``folder``; without a folder, what drops every number.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if folder is None:
        return _NoCurves()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("Training curves need TensorBoard: pip install 'anfinsen[train]'.") from error
    return SummaryWriter(str(folder))
