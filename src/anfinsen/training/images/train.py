"""Training the image networks: captioned pictures in, weights out; resumable with the same numbers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from anfinsen.common.device import choose_device
from anfinsen.common.errors import ConfigError, NonFiniteError, WeightsError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import torch_generator
from anfinsen.weights.images import IMAGE_FAMILIES
from anfinsen.weights.tensors import read_tensors

from ..ema import ExponentialMovingAverage
from ..run import CHECKPOINT, WEIGHTS, LoopParts, TrainingRun, run_steps
from ..workers import Workers
from .build import Ingredients, gather
from .data import Batches, chunks
from .muon import FilterMuon
from .objectives import Objective, mean_scores
from .options import ImageTrainOptions
from .recipe import RECIPES, ImageRecipe

CPU_SECONDS, PICTURES_SEEN = "cpu_seconds", "pictures_seen"  # in the metadata, with those of a start's training


class ImageTrainer(TrainingRun):
    """A run of one image network."""

    def __init__(
        self,
        model: nn.Module,
        recipe: ImageRecipe,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        sources: dict[str, object] | None = None,
    ) -> None:
        """Make optimisers and average.

        Args:
            model: on ``device``, with its first weights.
            recipe: how it is trained.
            seed: decides everything random.
            device: where it is trained.
            bf16: whether it computes in bfloat16 where that is safe.
            sources: what else must be the same for a run to go on: the data and the networks it stands on.
        """
        super().__init__(
            model,
            image_optimizers(model, recipe),
            ExponentialMovingAverage(model, recipe.ema),
            Workers(),
            {"config": model.config, "recipe": recipe, "seed": seed, "bf16": bf16, **(sources or {})},
        )
        self.recipe, self.seed, self.bf16 = recipe, seed, bf16
        self.device = torch.device(device)

    def step(self, objective: Objective, batches: Batches) -> dict[str, float]:
        """Make one optimiser step and return the loss terms.

        Raises:
            NonFiniteError: loss or gradients are not finite; the weights are as they were.
        """
        step = self.steps_done
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = objective.loss(batches.at(step), step / self.recipe.steps, torch_generator(self.seed, "step", step))
        if not torch.isfinite(loss.total):
            raise NonFiniteError(
                "The training loss is not finite: go on from the last checkpoint with --no-bf16, or with noise levels "
                "(--noise-mean, --noise-std) nearer to the preset's."
            )
        self.backward(loss.total)
        terms = {"loss": float(loss.total.detach()), **{name: float(value) for name, value in loss.terms.items()}}
        return self.update(terms, self.recipe.clip, self.recipe.rate_at(step))

    def validate(self, objective: Objective, count: int) -> dict[str, float]:
        """Return scores of the first ``count`` pictures of the validation split, by the averaged weights."""
        found = []
        with self.ema.applied(self.model), torch.no_grad():
            self.model.eval()
            for number, rows in enumerate(chunks(count, max(self.recipe.batch, 256))):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                    scores = objective.scores(rows, torch_generator(self.seed, "validation", number))
                found.append((len(rows), scores))
        return mean_scores(found)


def image_optimizers(model: nn.Module, recipe: ImageRecipe) -> tuple[torch.optim.Optimizer, ...]:
    """Return AdamW, and Muon for linear maps and filters where the recipe wants it (see `make_optimizers`).

    Embeddings and positions are no maps, though they are matrices: AdamW moves them.
    """
    maps: set[int] = set()
    if recipe.matrix_rate:
        maps = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    chosen = [p for p in model.parameters() if id(p) in maps]
    matrices, filters = ([p for p in chosen if p.ndim == ndim] for ndim in (2, 4))
    rest = [p for p in model.parameters() if id(p) not in maps]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "scale": 1.0, "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "scale": 1.0, "weight_decay": 0.0},
    ]
    betas = (recipe.beta1, recipe.beta2)
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([group for group in groups if group["params"]], lr=1.0, betas=betas, fused=True)
    ]
    if matrices:
        mapped = [{"params": matrices, "scale": recipe.matrix_rate}]
        decay = recipe.weight_decay
        found.append(torch.optim.Muon(mapped, lr=1.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    if filters:
        found.append(FilterMuon(filters, recipe.matrix_rate, recipe.weight_decay))
    return tuple(found)


def train_images(
    options: ImageTrainOptions, progress: Progress | None = None, recipe: ImageRecipe | None = None
) -> Path:
    """Train an image network and return the weights file; a run found in the output folder goes on where it stopped.

    Args:
        options: which network, on what.
        progress: is told of each stage.
        recipe: the preset's if not given.

    Raises:
        ConfigError: unknown preset or device, or several workers. InputError: the data cannot be used.
        WeightsError: the checkpoint belongs to another run, or the network cannot stand on the given one.
        NonFiniteError: training diverged.
    """
    started = time.process_time()
    progress, run = progress or Silent(), options.run
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("Image networks are trained in one process: start `anfinsen train` without torchrun.")
    device = choose_device(run.device)
    if run.threads:
        torch.set_num_threads(run.threads)
    presets = IMAGE_FAMILIES[options.network].presets
    if run.preset not in presets:
        raise ConfigError(f"Unknown preset {run.preset!r}: expected one of {', '.join(presets)}.")
    recipe = recipe or RECIPES[options.network][run.preset]
    recipe = recipe.scaled(run.steps) if run.steps else recipe
    recipe = run.rated(recipe)
    parts = gather(options, device, progress)
    trainer = ImageTrainer(parts.model, recipe, run.seed, device=device, bf16=run.bf16, sources=dict(parts.sources))
    _run(trainer, options, parts, started, progress)
    return run.out / WEIGHTS


def _run(
    trainer: ImageTrainer, options: ImageTrainOptions, parts: Ingredients, started: float, progress: Progress
) -> None:
    run, recipe, out = options.run, trainer.recipe, options.run.out
    earlier = parts.start.metadata if parts.start else {}
    before, pictures = _number(earlier, CPU_SECONDS), round(_number(earlier, PICTURES_SEEN))
    if trainer.resume(out):
        progress.note(f"Going on from step {trainer.steps_done} of {out / CHECKPOINT}.")
        before = _spent(out / WEIGHTS)
    data = parts.train
    batches = Batches(data.scenes, len(data), recipe.emoji_repeats, recipe.batch, run.seed)
    scored = min(recipe.validation, len(parts.validation))

    def save() -> None:
        trainer.save_checkpoint(out)
        spent = before + time.process_time() - started
        about = {
            **{name: str(value) for name, value in parts.sources.items()},
            **parts.metadata,
            "preset": run.preset,
            "seed": str(run.seed),
            "steps": str(trainer.steps_done),
            PICTURES_SEEN: str(pictures + trainer.steps_done * recipe.batch),
            CPU_SECONDS: f"{spent:.0f}",
        }
        with trainer.ema.applied(trainer.model):
            IMAGE_FAMILIES[options.network].save(trainer.model, out / WEIGHTS, about, bf16=True)

    run_steps(
        trainer,
        recipe.steps,
        run,
        LoopParts(
            step=lambda: trainer.step(parts.objective, batches),
            save=save,
            validate=(lambda: trainer.validate(parts.scoring, scored)) if scored else None,
            shown=lambda terms: {"loss": terms["loss"]},
        ),
        progress,
    )


def _spent(weights: Path) -> float:
    """Seconds that the run took so far; 0 where its weights do not say."""
    try:
        return _number(read_tensors(weights).metadata, CPU_SECONDS)
    except WeightsError:
        return 0.0


def _number(metadata: Mapping[str, str], name: str) -> float:
    try:
        number = float(metadata.get(name, "0"))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
