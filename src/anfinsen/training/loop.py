"""The training loop: examples in, weights out; resumable at any checkpoint with the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.device import choose_device
from anfinsen.common.errors import ConfigError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import numpy_generator, torch_generator
from anfinsen.models.alphafold3 import AlphaFold3, AlphaFold3Config, alphafold3_config
from anfinsen.nn.batch import Batch, Labels
from anfinsen.weights import load_model, save_model

from .curves import class_lddt
from .data_folder import TrainingData, validation_examples
from .ema import ExponentialMovingAverage
from .optimizer import make_optimizers
from .options import TrainOptions
from .recipe import RECIPES, Recipe, Stage
from .run import CHECKPOINT, WEIGHTS, LoopParts, TrainingRun, run_steps
from .stages import scaled
from .step import StepSettings, example_loss, rollout
from .workers import Workers, joined_workers, worker_device

_HEAD = "confidence_head."
# Prefixes of the weights that a stage trains alone, and of those that published networks do not have.
_PARTS = {"trunk": ("trunk_module.", "distogram."), "confidence": (_HEAD,)}
_OPTIONAL = ("trunk_module.couplings.", _HEAD + "before.", _HEAD + "after.")


class Trainer(TrainingRun):
    """A run of AlphaFold 3; knows no files but those it is told to write."""

    model: AlphaFold3

    def __init__(
        self,
        config: AlphaFold3Config,
        recipe: Recipe,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        workers: Workers | None = None,
    ) -> None:
        workers = workers or Workers()
        if workers.count > recipe.examples_per_step:
            raise ConfigError(
                f"{workers.count} workers were started, and a step has {recipe.examples_per_step} examples: "
                "start no more workers than that."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AlphaFold3(config).to(device)
        optimizers = make_optimizers(model.parameters(), (recipe.beta1, recipe.beta2), recipe.matrix_rate)
        ema = ExponentialMovingAverage(model, recipe.ema)
        super().__init__(
            model, optimizers, ema, workers, {"config": config, "recipe": recipe, "seed": seed, "bf16": bf16}
        )
        self.recipe, self.seed, self.bf16 = recipe, seed, bf16
        self.device = torch.device(device)

    def fine_tune(self, model: AlphaFold3, sha256: str, *, fresh_confidence: bool = False) -> None:
        """Begin from the weights of ``model``, a network of the same sizes, and not from random ones.

        What only this network reads (couplings; row means in the confidence head) it begins by making nothing of. With
        ``fresh_confidence`` the confidence head keeps its random weights.
        """
        weights = model.state_dict()
        for name, value in self.model.state_dict().items():
            if fresh_confidence and name.startswith(_HEAD):
                weights[name] = value
            elif name.startswith(_OPTIONAL) and name not in weights:
                # A linear map of 0 after a norm that is as new.
                weights[name] = torch.zeros_like(value) if value.ndim > 1 else value
        self.begin_from(weights, sha256)

    @property
    def stage(self) -> Stage:
        """The stage of the next step."""
        return self.recipe.stage_at(self.steps_done)

    def step(self, draw: Callable[[int], tuple[Batch, Labels]]) -> dict[str, float]:
        """Make one optimiser step and return the mean loss terms; ``draw(i)`` gives the i-th example of the step.

        Raises:
            NonFiniteError: loss or gradients are not finite; the weights are as they were.
        """
        stage, step = self.stage, self.steps_done
        self._enter(stage)
        self.model.train(stage.train != "confidence")
        self.model.zero_grad(set_to_none=True)
        recycles = int(numpy_generator(self.seed, "recycles", step).integers(self.recipe.recycles + 1))
        settings = StepSettings(
            stage=stage,
            recycles=recycles,
            rollout=stage.rollout > 0 and step % stage.rollout == 0,
            rollout_steps=self.recipe.rollout_steps,
            bf16=self.bf16,
        )
        count = self.recipe.examples_per_step
        sums: dict[str, float] = {}
        for index in self.workers.share(count):
            batch, labels = draw(index)
            generator = torch_generator(self.seed, "step", step, index, device=self.device)
            loss = example_loss(self.model, batch.to(self.device), labels.to(self.device), settings, generator)
            self.backward(loss.total / count)
            for name, value in loss.terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) / count
        return self.update(sums, self.recipe.clip, self.recipe.rate_at(step))

    def _enter(self, stage: Stage) -> None:
        if stage.train == "confidence" and self.recipe.begins_stage(self.steps_done):
            # The averaged weights are those that will be used: confidence is learnt about their structures. The head's
            # own average starts afresh, or it would still be half untrained at the end.
            self.model.load_state_dict({**self.model.state_dict(), **self.ema.shadow})
            self.ema.updates = 0
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(stage.train == "all" or name.startswith(_PARTS[stage.train]))

    def validate(self, examples: list[tuple[Batch, Labels]]) -> dict[str, float]:
        """Return the mean lDDT of each interaction class over structures sampled with the averaged weights."""
        settings = StepSettings(
            self.stage, recycles=1, rollout=True, rollout_steps=self.recipe.rollout_steps, bf16=self.bf16
        )
        scores: dict[str, list[Float[Tensor, "samples"]]] = {}
        with self.ema.applied(self.model), torch.no_grad():
            self.model.eval()
            for index, (batch, labels) in enumerate(examples):
                generator = torch_generator(self.seed, "validate", index, device=self.device)
                here, true = batch.to(self.device), labels.to(self.device)
                trunk = self.model.trunk(here, recycles=settings.recycles, generator=generator)
                coordinates = rollout(self.model, here, trunk, settings, generator)
                for name, value in class_lddt(coordinates, here, true).items():
                    scores.setdefault(name, []).append(value)
        return {f"lddt/{name}": float(torch.cat(values).mean()) for name, values in scores.items()}

    def save(self, out: Path, metadata: dict[str, str]) -> None:
        """Write checkpoint and averaged weights into ``out``."""
        self.save_checkpoint(out)
        with self.ema.applied(self.model):
            save_model(self.model, out / WEIGHTS, {**metadata, "steps": str(self.steps_done)}, bf16=True)


def train(options: TrainOptions, progress: Progress | None = None) -> Path:
    """Train AlphaFold 3 and return the weights file; a run found in ``options.out`` goes on where it stopped.

    Raises:
        ConfigError: unknown preset or device. InputError: the data cannot be used.
        WeightsError: the checkpoint belongs to another run, or ``options.start`` cannot be read.
        NonFiniteError: training diverged.
    """
    progress = progress or Silent()
    device = worker_device(choose_device(options.device))
    if options.threads:
        torch.set_num_threads(options.threads)
    config, recipe = (
        replace(alphafold3_config(options.preset), pair_couplings=options.couplings),
        RECIPES[options.preset],
    )
    if options.steps:
        recipe = scaled(recipe, options.steps)
    recipe = options.rated(recipe)
    begin = load_model(options.start, device) if options.start else None
    if begin is not None:
        config = replace(
            begin[0].config,
            pair_couplings=begin[0].config.pair_couplings or options.couplings,
            confidence_row_means=begin[0].config.confidence_row_means or config.confidence_row_means,
        )
    with joined_workers(device) as workers:
        trainer = Trainer(config, recipe, options.seed, device=device, bf16=options.bf16, workers=workers)
        if begin is not None:
            trainer.fine_tune(begin[0], begin[1].sha256, fresh_confidence=options.fresh_confidence)
        _run(trainer, options, progress)
    return options.out / WEIGHTS


def _run(trainer: Trainer, options: TrainOptions, progress: Progress) -> None:
    recipe = trainer.recipe
    trainer.learn_from(options)
    if trainer.resume(options.out):
        progress.note(f"Going on from step {trainer.steps_done} of {options.out / CHECKPOINT}.")
    metadata = {"preset": _preset(trainer, options), "seed": str(options.seed), "model": "alphafold3"}
    metadata |= {"start": trainer.start} if trainer.start else {}
    metadata |= {"distilled": trainer.distilled} if trainer.distilled else {}
    couplings = trainer.model.config.pair_couplings
    validation = validation_examples(options.data, options.seed, couplings=couplings)
    data = TrainingData(
        options.data,
        options.out / "cache",
        recipe.structure_weight,
        progress,
        couplings_for=trainer.workers if couplings else None,
        distilled=tuple(zip_longest(options.distilled, options.distilled_weights)),
    )

    def step() -> dict[str, float]:
        data.show(trainer.stage)
        return trainer.step(_drawer(data, options.seed, trainer.steps_done))

    parts = LoopParts(
        step=step,
        save=lambda: trainer.save(options.out, metadata),
        validate=(lambda: trainer.validate(validation)) if validation else None,
    )
    run_steps(trainer, recipe.steps, options, parts, progress)


def _preset(trainer: Trainer, options: TrainOptions) -> str:
    """Return the preset of this size; "" where weights of another size were begun from, with the preset's recipe."""
    config = trainer.model.config
    preset = replace(
        alphafold3_config(options.preset),
        pair_couplings=config.pair_couplings,
        confidence_row_means=config.confidence_row_means,
    )
    return options.preset if config == preset else ""


def _drawer(data: TrainingData, seed: int, step: int) -> Callable[[int], tuple[Batch, Labels]]:
    return lambda index: data.example(numpy_generator(seed, "example", step, index))
