"""What training runs of every model share: the update of the weights, the loop, checkpoints, curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.common.config import to_mapping
from anfinsen.common.device import bfloat16_gain
from anfinsen.common.errors import MissingExtraError, OutputError
from anfinsen.common.optimisation import backward, clip_gradients, step
from anfinsen.common.progress import Progress

from .checkpoint import load_checkpoint, save_checkpoint
from .ema import ExponentialMovingAverage
from .options import TrainOptions
from .workers import Workers

WORTH_SAYING = 0.8  # bfloat16's speed, relative to float32's, below which a run says that it is the slower one
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
        self.start = ""  # SHA-256 of the weights that training began from; empty: random weights
        self.distilled = ""  # folders of predicted chains that are learnt from, with their shares; empty: none

    @property
    def settings(self) -> dict[str, object]:
        """What must be the same for a checkpoint to be continued."""
        sources = {"start": self.start, "distilled": self.distilled}
        return {**self._settings, **{name: source for name, source in sources.items() if source}}

    def begin_from(self, weights: Mapping[str, Tensor], sha256: str) -> None:
        """Begin from ``weights``, which are all of the network's, and not from random ones; the file has this hash."""
        self.model.load_state_dict(weights)
        self.ema = ExponentialMovingAverage(self.model, self.ema.decay)
        self.start = sha256

    def learn_from(self, options: TrainOptions) -> None:
        """Keep the folders of predicted chains in the settings: a run that goes on must mix in the same."""
        shares = options.distilled_weights or ("published",) * len(options.distilled)
        named = (f"{folder.name} ({share})" for folder, share in zip(options.distilled, shares, strict=True))
        self.distilled = ", ".join(named)

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Add the gradients of ``loss`` to those of the step (see :func:`anfinsen.common.optimisation.backward`)."""
        backward(loss)

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
        norm = clip_gradients(self.model.parameters(), clip)
        self.whole = False
        step(self.optimizers, rate)
        self.ema.update(self.model)
        self.steps_done += 1
        self.whole = True
        return {**sums, "gradient_norm": norm, "learning_rate": rate}

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


@dataclass(frozen=True)
class LoopParts:
    """What a model's trainer gives to `run_steps`.

    Attributes:
        step: makes one optimiser step and returns the loss terms. save: writes checkpoint and weights.
        validate: returns scores of the validation examples; None where there are none.
        shown: the terms that stand beside the scores in a note.
    """

    step: Callable[[], dict[str, float]]
    save: Callable[[], None]
    validate: Callable[[], dict[str, float]] | None
    shown: Callable[[dict[str, float]], dict[str, float]] = dict


def run_steps(run: TrainingRun, steps: int, options: TrainOptions, parts: LoopParts, progress: Progress) -> bool:
    """Train until ``steps`` steps are done or the options' minutes are over; return whether the latter came first.

    Raises:
        KeyboardInterrupt: passed on; what is whole is saved first.
    """
    leads, started = run.workers.leads, time.monotonic()
    if leads and options.bf16:
        _advise(run.model, progress)
    progress.stage("training", steps)
    progress.advance(run.steps_done)
    stopped = False
    with closing(open_curves(options.out / CURVES if leads else None)) as curves:
        try:
            while run.steps_done < steps and not stopped:
                terms = parts.step()
                progress.advance()
                _report(run, steps, options, terms, parts, curves, progress)
                late = options.minutes > 0 and time.monotonic() - started > 60 * options.minutes
                stopped = run.workers.agree(late) and run.steps_done < steps
                if leads and (stopped or due(options.save_every, run.steps_done, steps)):
                    parts.save()
        except KeyboardInterrupt:
            if leads and run.whole and run.steps_done:
                parts.save()
            raise
    if stopped:
        progress.note(f"Stopped after {run.steps_done} of {steps} steps; the same command goes on.")
    return stopped


def _advise(model: nn.Module, progress: Progress) -> None:
    """Say so where bfloat16, which is meant to make training faster, makes it slower."""
    if next(model.parameters()).device.type == "cpu" and (gain := bfloat16_gain()) < WORTH_SAYING:
        progress.note(
            f"On this processor matrix products in bfloat16 take {1 / gain:.1f} times as long as in float32: training "
            "will be faster with --no-bf16."
        )


def _report(
    run: TrainingRun,
    steps: int,
    options: TrainOptions,
    terms: dict[str, float],
    parts: LoopParts,
    curves: Curves,
    progress: Progress,
) -> None:
    done = run.steps_done
    for name, value in terms.items():
        curves.add_scalar(f"train/{name}", value, done)
    if run.workers.leads and parts.validate is not None and due(options.validate_every, done, steps):
        scores = parts.validate()
        for name, value in scores.items():
            curves.add_scalar(f"validation/{name}", value, done)
        shown = parts.shown(terms) | scores
        progress.note(f"Step {done}: " + ", ".join(f"{name} {value:.3f}" for name, value in shown.items()))


class _NoCurves:
    """Curves of a worker that does not lead."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Drop the number."""

    def close(self) -> None:
        """Do nothing."""


def open_curves(folder: Path | None) -> Curves:
    """Return a TensorBoard writer into ``folder``; without a folder, what drops every number.

    Raises:
        MissingExtraError: TensorBoard is not installed. OutputError: the folder cannot be written.
    """
    if folder is None:
        return _NoCurves()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("Training curves need TensorBoard: pip install 'anfinsen[train]'.") from error
    try:
        return SummaryWriter(str(folder))
    except OSError as error:
        raise OutputError(f"Cannot write {folder}: {error.strerror}. Choose another folder with --out.") from error
