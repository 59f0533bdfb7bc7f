"""Training AlphaFold 1: crops in, weights out; resumable at any checkpoint with the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from anfinsen.common.device import choose_device
from anfinsen.common.errors import ConfigError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import numpy_generator
from anfinsen.losses.alphafold1 import AlphaFold1LossConfig, CropTargets, alphafold1_loss
from anfinsen.models.alphafold1 import AlphaFold1, AlphaFold1Config, Crops, alphafold1_config
from anfinsen.weights.alphafold1 import load_alphafold1, save_alphafold1

from .alphafold1_data import AlphaFold1DataConfig, AlphaFold1Dataset, collate, targets_to
from .alphafold1_finish import calibrate, evaluate_maps, reference_counts, validation_chains
from .ema import ExponentialMovingAverage
from .evolution_cache import prepare_together
from .options import TrainOptions
from .run import CHECKPOINT, WEIGHTS, LoopParts, TrainingRun, run_steps
from .workers import Workers, joined_workers, worker_device

_SMALLEST_CROP = 8
Draw = Callable[[int], tuple[Crops, CropTargets]]


@dataclass(frozen=True)
class AlphaFold1Recipe:
    """Everything about a training run that is not the data folder.

    Attributes:
        steps: of the optimiser. crops: per step. micro_batch: crops computed at once; batch norm sees these together.
        learning_rate: of Adam, after ``warmup`` steps, falling along a cosine to ``final_fraction`` of it.
        clip: largest gradient norm. ema: decay of the averaged weights. weight_decay: of Adam's decoupled kind.
        loss, data: weights of the terms; what examples show.
        validation, longest: chains whose maps are scored along the way, and their greatest length.
        calibration: chains that are folded in the end to calibrate confidence; 0: none.
    """

    steps: int
    crops: int = 16
    micro_batch: int = 8
    learning_rate: float = 2e-3
    warmup: int = 200
    final_fraction: float = 0.02
    clip: float = 1.0
    ema: float = 0.998
    weight_decay: float = 1e-4
    loss: AlphaFold1LossConfig = field(default_factory=AlphaFold1LossConfig)
    data: AlphaFold1DataConfig = field(default_factory=AlphaFold1DataConfig)
    validation: int = 12
    longest: int = 240
    calibration: int = 45

    def rate_at(self, step: int) -> float:
        """Return the learning rate of step ``step``."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.steps))))
        return self.learning_rate * warm * (self.final_fraction + (1 - self.final_fraction) * cosine)


RECIPES: dict[str, AlphaFold1Recipe] = {
    # Senior et al. 2020: 600,000 steps of stochastic gradient descent, 4 machines.
    "full": AlphaFold1Recipe(steps=600_000, crops=32, learning_rate=5e-4, ema=0.999),
    # Batch norm bears a high rate; distogram loss after 60 steps: 2.88 at 2e-3, 2.63 at 6e-3, 2.59 at 1.2e-2.
    "mini": AlphaFold1Recipe(steps=3_000, learning_rate=8e-3, warmup=100),
}


class AlphaFold1Trainer(TrainingRun):
    """A run of AlphaFold 1."""

    model: AlphaFold1

    def __init__(
        self,
        config: AlphaFold1Config,
        recipe: AlphaFold1Recipe,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        workers: Workers | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AlphaFold1(config).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        adam = torch.optim.AdamW(
            model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
        )
        super().__init__(
            model,
            (adam,),
            ExponentialMovingAverage(model, recipe.ema),
            workers or Workers(),
            {"config": config, "recipe": recipe, "seed": seed, "bf16": bf16},
        )
        self.recipe, self.seed, self.bf16 = recipe, seed, bf16
        self.device = torch.device(device)

    def step(self, draw: Draw) -> dict[str, float]:
        """Make one optimiser step and return the mean loss terms; ``draw(i)`` gives the i-th crop of the step.

        Raises:
            NonFiniteError: loss or gradients are not finite; the weights are as they were.
        """
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        mine, size, count = list(self.workers.share(self.recipe.crops)), self.recipe.micro_batch, self.recipe.crops
        for start in range(0, len(mine), size):
            group = mine[start : start + size]
            crops, targets = collate([draw(i) for i in group])
            autocast = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
            with autocast:
                logits = self.model(crops.to(self.device))
            loss, terms = alphafold1_loss(logits, targets_to(targets, self.device), self.recipe.loss)
            self.backward(loss * (len(group) / count))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(group) / count
        return self.update(sums, self.recipe.clip, self.recipe.rate_at(self.steps_done))

    def save(self, out: Path, metadata: dict[str, str]) -> None:
        """Write checkpoint and averaged weights into ``out``."""
        self.save_checkpoint(out)
        with self.ema.applied(self.model):
            save_alphafold1(self.model, out / WEIGHTS, {**metadata, "steps": str(self.steps_done)}, bf16=True)


def train_alphafold1(
    options: TrainOptions, progress: Progress | None = None, recipe: AlphaFold1Recipe | None = None
) -> Path:
    """Train AlphaFold 1 and return the weights file; a run found in ``options.out`` goes on where it stopped.

    Profiles and couplings of all families are computed first, once, into ``options.out / "cache"``.

    Args:
        options: as for AlphaFold 3.
        progress: is told of each stage.
        recipe: the preset's if not given.

    Raises:
        ConfigError: unknown preset or device. InputError: the data cannot be used.
        WeightsError: the checkpoint belongs to another run. NonFiniteError: training diverged.
    """
    progress = progress or Silent()
    device = worker_device(choose_device(options.device))
    if options.threads:
        torch.set_num_threads(options.threads)
    config = alphafold1_config(options.preset)
    recipe = recipe or RECIPES[options.preset]
    if options.steps:
        recipe = replace(recipe, steps=options.steps, warmup=min(recipe.warmup, max(1, options.steps // 10)))
    recipe = options.rated(recipe)
    begin = load_alphafold1(options.start, device) if options.start else None
    if begin is not None and not extends(config, begin[0].config):
        config = begin[0].config
    side = options.crop or (config if begin is None else begin[0].config).crop
    config, recipe = replace(config, crop=side), cropped(recipe, alphafold1_config(options.preset).crop, side)
    with joined_workers(device) as workers:
        trainer = AlphaFold1Trainer(config, recipe, options.seed, device=device, bf16=options.bf16, workers=workers)
        if begin is not None:
            trainer.begin_from(grown(begin[0].state_dict(), trainer.model), begin[1].sha256)
        _run(trainer, options, progress)
    return options.out / WEIGHTS


def cropped(recipe: AlphaFold1Recipe, usual: int, side: int) -> AlphaFold1Recipe:
    """Return a recipe meant for crops of side ``usual`` for those of ``side``: as many fewer as they are longer.

    No weight depends on the side. Larger crops show more of a chain at once, and take more time in all.

    Raises:
        ConfigError: the side is too small.
    """
    if side == usual:
        return recipe
    if side < _SMALLEST_CROP:
        raise ConfigError(f"Training option 'crop' is {side}: expected {_SMALLEST_CROP} or more, or 0.")
    crops, together = (max(1, count * usual // side) for count in (recipe.crops, recipe.micro_batch))
    return replace(recipe, crops=crops, micro_batch=together)


def extends(config: AlphaFold1Config, begin: AlphaFold1Config) -> bool:
    """Return whether a network of ``config`` is one of ``begin`` that reads more of each pair, or has more blocks.

    Networks that differ by their crops alone are the same one.
    """
    # Blocks only at the end: they are named by their places, and those of later towers would have others.
    *towers, last = begin.towers
    groups, channels = config.towers[-1].groups, config.c_pair_in
    begin = replace(begin, crop=config.crop)
    same_else = config == replace(begin, c_pair_in=channels, towers=(*towers, replace(last, groups=groups)))
    return config != begin and same_else and groups >= last.groups and channels >= begin.c_pair_in


def grown(weights: dict[str, Tensor], model: AlphaFold1) -> dict[str, Tensor]:
    """Return ``weights`` as those of ``model``, which extends their network and then says the same.

    What their network did not read of each pair has no weight, and blocks that it did not have stay as ``model`` has
    them: new ones change nothing.
    """
    name = "embedding.pair.weight"
    missing = model.config.c_pair_in - weights[name].shape[1]
    return {**model.state_dict(), **weights, name: torch.nn.functional.pad(weights[name], (0, missing))}


def _run(trainer: AlphaFold1Trainer, options: TrainOptions, progress: Progress) -> None:
    recipe, workers = trainer.recipe, trainer.workers
    if trainer.resume(options.out):
        progress.note(f"Going on from step {trainer.steps_done} of {options.out / CHECKPOINT}.")
    # Weights begun from may be of another size than the preset, whose recipe they then learn by.
    preset = options.preset if trainer.model.config == alphafold1_config(options.preset) else ""
    metadata = {"preset": preset, "seed": str(options.seed)}
    metadata |= {"start": trainer.start} if trainer.start else {}
    network, cache = trainer.model.config, options.out / "cache"
    data, validation = (
        AlphaFold1Dataset(options.data, split, cache, network, recipe.data) for split in ("train", "validation")
    )
    for part in (data, validation):
        prepare_together(part.cache, workers, progress)
    scored = validation_chains(validation, recipe.validation, recipe.longest, options.seed)
    if trainer.steps_done == 0:
        trainer.model.reference.fit(reference_counts(data.store, network.distances, seed=options.seed))
        # The average begins with the model's buffers, the reference state among them.
        trainer.ema.shadow["reference.probability"].copy_(trainer.model.reference.probability)

    def validate() -> dict[str, float]:
        with trainer.ema.applied(trainer.model):
            return evaluate_maps(trainer.model, validation, scored)

    parts = LoopParts(
        step=lambda: trainer.step(_drawer(data, options.seed, trainer.steps_done)),
        save=lambda: trainer.save(options.out, metadata),
        validate=validate if scored else None,
        shown=lambda terms: {"loss": terms["total"], "distogram": terms["distogram"]},
    )
    stopped = run_steps(trainer, recipe.steps, options, parts, progress)
    if not stopped and recipe.calibration:
        _calibrate(trainer, options, validation, metadata, progress)


def _calibrate(
    trainer: AlphaFold1Trainer,
    options: TrainOptions,
    validation: AlphaFold1Dataset,
    metadata: dict[str, str],
    progress: Progress,
) -> None:
    recipe = trainer.recipe
    chains = validation_chains(validation, recipe.calibration, recipe.longest, options.seed + 1)
    if not chains:
        progress.note(
            f"No validation chain has an alignment and at most {recipe.longest} residues: the confidence is not "
            "calibrated, and says nothing."
        )
        return
    with trainer.ema.applied(trainer.model):
        # On the CPU: folding is many small steps.
        model = trainer.model.cpu()
        trainer.workers.follow(model)
        scores = calibrate(model, validation, chains, options.seed, progress=progress, workers=trainer.workers)
        progress.note("Validation: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        facts = {f"validation_{name}": f"{value:.4f}" for name, value in scores.items()}
        about = {**metadata, **facts, "steps": str(trainer.steps_done)}
        if trainer.workers.leads:
            save_alphafold1(model, options.out / WEIGHTS, about, bf16=True)
        trainer.model.to(trainer.device)


def _drawer(data: AlphaFold1Dataset, seed: int, step: int) -> Draw:
    return lambda index: data.example(numpy_generator(seed, "example", step, index))
