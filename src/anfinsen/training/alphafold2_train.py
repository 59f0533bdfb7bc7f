"""Training AlphaFold 2: crops in, weights out; resumable at any checkpoint with the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from anfinsen.common.device import choose_device
from anfinsen.common.errors import ConfigError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import numpy_generator
from anfinsen.losses.alphafold2 import ca_lddt
from anfinsen.metrics import tm_score
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config, alphafold2_config
from anfinsen.weights.alphafold2 import load_alphafold2, save_alphafold2

from .alphafold2_data import AlphaFold2Dataset, AlphaFold2Example
from .alphafold2_mixture import AlphaFold2Mixture, published_share
from .alphafold2_recipe import RECIPES, AlphaFold2Recipe, AlphaFold2Stage
from .alphafold2_step import AlphaFold2StepSettings, alphafold2_example_loss
from .ema import ExponentialMovingAverage
from .optimizer import make_optimizers
from .options import TrainOptions
from .run import CHECKPOINT, WEIGHTS, LoopParts, TrainingRun, run_steps
from .stages import scaled
from .workers import Workers, joined_workers, worker_device

Draw = Callable[[int], AlphaFold2Example]
_CA = 1  # place among the 14 atoms
# Prefixes of the weights that a stage trains alone.
_PARTS = {
    "trunk": ("trunk.", "heads.distogram.", "heads.masked_msa."),
    "structure": ("structure.",),
    "confidence": ("heads.plddt.", "heads.pae.", "heads.resolved."),
}


class AlphaFold2Trainer(TrainingRun):
    """A run of AlphaFold 2; knows no files but those it is told to write."""

    model: AlphaFold2

    def __init__(
        self,
        config: AlphaFold2Config,
        recipe: AlphaFold2Recipe,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        bf16: bool = False,
        workers: Workers | None = None,
    ) -> None:
        workers = workers or Workers()
        if workers.count > recipe.examples:
            raise ConfigError(
                f"{workers.count} workers were started, and a step has {recipe.examples} examples: start no more "
                "workers than that."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AlphaFold2(config).to(device)
        optimizers = make_optimizers(model.parameters(), (recipe.beta1, recipe.beta2), recipe.matrix_rate)
        ema = ExponentialMovingAverage(model, recipe.ema)
        super().__init__(
            model, optimizers, ema, workers, {"config": config, "recipe": recipe, "seed": seed, "bf16": bf16}
        )
        self.recipe, self.seed, self.bf16 = recipe, seed, bf16
        self.device = torch.device(device)

    @property
    def stage(self) -> AlphaFold2Stage:
        """The stage of the next step."""
        return self.recipe.stage_at(self.steps_done)

    def step(self, draw: Draw) -> dict[str, float]:
        """Make one optimiser step and return the mean loss terms; ``draw(i)`` gives the i-th example of the step.

        Raises:
            NonFiniteError: loss or gradients are not finite; the weights are as they were.
        """
        stage, step, count = self.stage, self.steps_done, self.recipe.examples
        self._enter(stage)
        self.model.train(stage.train != "confidence")
        self.model.zero_grad(set_to_none=True)
        recycles = int(numpy_generator(self.seed, "recycles", step).integers(stage.recycles + 1))
        sums: dict[str, float] = {}
        clipped: list[Tensor | None] = [None for _ in self.model.parameters()]
        for index in self.workers.share(count):
            example = draw(index).to(self.device)
            chance = float(numpy_generator(self.seed, "clamped", step, index).random())
            settings = AlphaFold2StepSettings(
                stage, recycles, chance < stage.losses.fape.clamped_probability, self.bf16
            )
            with torch.random.fork_rng(devices=[]):
                # Dropout draws from the global generator.
                torch.manual_seed(int(numpy_generator(self.seed, "dropout", step, index).integers(2**31)))
                loss = alphafold2_example_loss(self.model, example, settings)
            self.backward(loss.total / count)
            if self.recipe.clip_example:
                clipped = self._clip_example(clipped, count)
            for name, value in loss.terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) / count
        if self.recipe.clip_example:
            for parameter, gradient in zip(self.model.parameters(), clipped, strict=True):
                parameter.grad = gradient
        return self.update(self._everywhere(sums, stage), self.recipe.clip, self.recipe.rate_at(step))

    def _clip_example(self, clipped: list[Tensor | None], count: int) -> list[Tensor | None]:
        """Return the gradients so far with those of one example, clipped alone; the model's own are then none."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_example / count)
        own = [parameter.grad for parameter in self.model.parameters()]
        self.model.zero_grad(set_to_none=True)
        return [
            new if old is None else old if new is None else old + new for old, new in zip(clipped, own, strict=True)
        ]

    @staticmethod
    def _everywhere(sums: dict[str, float], stage: AlphaFold2Stage) -> dict[str, float]:
        """The terms by name, those that only some examples have among them: workers add the same names."""
        names = {name for name, value in vars(stage.losses).items() if isinstance(value, int | float) and value}
        if stage.train == "trunk":
            names &= {"distogram", "masked_msa"}
        if stage.train == "structure":
            names &= {"backbone_fape", "local_fape", "side_chain_fape", "chi", "angle_norm", "violation"}
        if stage.train == "confidence":
            names &= {"plddt", "pae", "resolved"}
        return {name: sums.get(name, 0.0) for name in sorted(names | {"total"})}

    def _enter(self, stage: AlphaFold2Stage) -> None:
        if stage.train == "confidence" and self.recipe.begins_stage(self.steps_done):
            # The averaged weights are those that will be used: confidence is learnt about their structures, with an
            # average of its own.
            self.model.load_state_dict({**self.model.state_dict(), **self.ema.shadow})
            self.ema.updates = 0
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(stage.train == "all" or name.startswith(_PARTS[stage.train]))

    def validate(self, examples: list[AlphaFold2Example]) -> dict[str, float]:
        """Return mean lDDT-CA and TM-score of whole chains, folded with the averaged weights.

        There is one recycle, if the stage knows any.
        """
        recycles = min(1, self.stage.recycles)
        scores: dict[str, list[float]] = {"lddt": [], "tm": []}
        with self.ema.applied(self.model), torch.no_grad():
            self.model.eval()
            for example in examples:
                here = example.to(self.device)
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                    found = self.model(here.batch, recycles=recycles).atoms[:, _CA].float()
                true, known = here.target.atoms[:, _CA], here.target.atom_mask[:, _CA]
                scores["lddt"].append(float(ca_lddt(found, true, known)[known].mean()))
                both = (found[known].cpu().double().numpy(), true[known].cpu().double().numpy())
                scores["tm"].append(tm_score(*both))
        return {name: sum(values) / len(values) for name, values in scores.items()}

    def save(self, out: Path, metadata: dict[str, str]) -> None:
        """Write checkpoint and averaged weights into ``out``."""
        self.save_checkpoint(out)
        with self.ema.applied(self.model):
            save_alphafold2(self.model, out / WEIGHTS, {**metadata, "steps": str(self.steps_done)}, bf16=True)


def train_alphafold2(
    options: TrainOptions, progress: Progress | None = None, recipe: AlphaFold2Recipe | None = None
) -> Path:
    """Train AlphaFold 2 and return the weights file; a run found in ``options.out`` goes on where it stopped.

    Args:
        options: as for AlphaFold 3; ``couplings`` is the preset's.
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
    config = alphafold2_config(options.preset)
    if recipe is None and options.preset not in RECIPES:
        raise ConfigError(f"Preset {options.preset!r} has no training recipe: expected one of {', '.join(RECIPES)}.")
    recipe = recipe or RECIPES[options.preset]
    if options.steps:
        recipe = scaled(recipe, options.steps)
    recipe = options.rated(recipe)
    begin = load_alphafold2(options.start, device) if options.start else None
    if begin is not None:
        config = begin[0].config
        if config.multimer:
            raise ConfigError(
                f"Weights {options.start} are those of a multimer, and training shows single chains, which would spoil "
                "them: begin from weights of a monomer."
            )
    with joined_workers(device) as workers:
        trainer = AlphaFold2Trainer(config, recipe, options.seed, device=device, bf16=options.bf16, workers=workers)
        if begin is not None:
            trainer.begin_from(begin[0].state_dict(), begin[1].sha256)
        _run(trainer, options, progress)
    return options.out / WEIGHTS


def _run(trainer: AlphaFold2Trainer, options: TrainOptions, progress: Progress) -> None:
    trainer.learn_from(options)
    if trainer.resume(options.out):
        progress.note(f"Going on from step {trainer.steps_done} of {options.out / CHECKPOINT}.")
    # Weights begun from may be of another size than the preset, whose recipe they then learn by.
    preset = options.preset if trainer.model.config == alphafold2_config(options.preset) else ""
    metadata = {"preset": preset, "seed": str(options.seed)}
    metadata |= {"start": trainer.start} if trainer.start else {}
    metadata |= {"distilled": trainer.distilled} if trainer.distilled else {}
    data = _open_data(trainer, options, progress)
    scored = _validation(trainer, options, progress)

    def step() -> dict[str, float]:
        data.show(trainer.stage)
        return trainer.step(_drawer(data, options.seed, trainer.steps_done))

    parts = LoopParts(
        step=step,
        save=lambda: trainer.save(options.out, metadata),
        validate=(lambda: trainer.validate(scored)) if scored else None,
    )
    run_steps(trainer, trainer.recipe.steps, options, parts, progress)


def _open_data(trainer: AlphaFold2Trainer, options: TrainOptions, progress: Progress) -> AlphaFold2Mixture:
    """The data folder, and the folders of distilled chains with their shares; each has a cache of its own."""
    couplings, cache = trainer.model.config.pair_couplings, options.out / "cache"
    shares = options.distilled_weights or tuple(published_share(folder) for folder in options.distilled)
    sets = [
        AlphaFold2Dataset(
            folder,
            "train",
            cache if number == 0 else cache / f"distilled-{number}",
            trainer.stage.data,
            couplings=couplings,
            structures=number == 0,
            workers=trainer.workers,
            progress=progress,
        )
        for number, folder in enumerate((options.data, *options.distilled))
    ]
    return AlphaFold2Mixture(sets[0], sets[1:], shares)


def _validation(trainer: AlphaFold2Trainer, options: TrainOptions, progress: Progress) -> list[AlphaFold2Example]:
    """Fixed validation chains, whole; none where the folder has none."""
    if not (options.data / "chains" / "validation.parquet").is_file() or not trainer.recipe.validation:
        return []
    data = AlphaFold2Dataset(
        options.data,
        "validation",
        options.out / "cache",
        trainer.recipe.stages[-1].data,
        couplings=trainer.model.config.pair_couplings,
        structures=False,
        workers=trainer.workers,
        progress=progress,
    )
    short = [int(i) for i in (data.store.lengths <= trainer.recipe.longest).nonzero()[0]]
    chosen = numpy_generator(options.seed, "validation").permutation(short)[: trainer.recipe.validation]
    return [data.whole(int(index), numpy_generator(options.seed, "validated", int(index))) for index in chosen]


def _drawer(data: AlphaFold2Mixture, seed: int, step: int) -> Draw:
    return lambda index: data.example(numpy_generator(seed, "example", step, index))
