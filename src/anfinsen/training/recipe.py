"""How each preset is trained: stages, optimiser, mixture. Numbers of the published recipe stand in `FULL`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from anfinsen.losses import LossConfig

from .stages import StagedRecipe


@dataclass(frozen=True)
class Stage:
    """One stretch of training with fixed sizes (supplement, table 6).

    Attributes:
        steps: optimiser steps. crop: tokens per example. diffusion_batch: noised copies per trunk pass.
        losses: weights of the loss terms.
        train: "all" weights; only the "trunk" by the distogram (nothing is noised, so an example costs a third, and the
            trunk is what a short run lacks); or only the "confidence" head (trunk and diffusion stay as they are).
        rollout: a mini roll-out and confidence loss at every n-th step; 0: never.
        msa_rows: at most this many MSA rows per example.
        learning_rate: of this stage, constant; None: the recipe's schedule.
    """

    steps: int
    crop: int
    diffusion_batch: int
    losses: LossConfig
    train: Literal["all", "trunk", "confidence"] = "all"
    rollout: int = 1
    msa_rows: int = 1024
    learning_rate: float | None = None


@dataclass(frozen=True)
class Recipe(StagedRecipe[Stage]):
    """Everything about a training run that is not the data folder.

    Attributes:
        stages: run one after the other.
        examples_per_step: gradients are averaged over this many examples.
        learning_rate, betas, warmup, decay, decay_every: Adam and its schedule (supplement 5.4).
        matrix_rate: Muon moves every weight matrix, at this multiple of the learning rate (see `make_optimizers`);
            0: Adam moves all, as published.
        clip: largest gradient norm. ema: decay of the averaged weights.
        recycles: the number of recycles of a step is uniform in 0..recycles.
        rollout_steps: diffusion steps of the mini roll-out (supplement, figure 2c: 20).
        structure_weight: share of examples from the structure folder; the rest are chains.
    """

    stages: tuple[Stage, ...]
    examples_per_step: int
    learning_rate: float = 1.8e-3
    beta1: float = 0.9
    beta2: float = 0.95
    warmup: int = 1000
    decay: float = 0.95
    decay_every: int = 50_000
    final_fraction: float = 1.0
    matrix_rate: float = 0.0
    clip: float = 10.0
    ema: float = 0.999
    recycles: int = 3
    rollout_steps: int = 20
    structure_weight: float = 0.5

    def rate_at(self, step: int) -> float:
        """Return the learning rate of step ``step``.

        Linear warm-up, ×``decay`` every ``decay_every`` steps, and a linear fall to ``final_fraction`` over the run
        (1: none, as published; short runs gain much by falling to a small fraction).
        """
        rate = super().rate_at(step)
        fixed = self.stage_at(step).learning_rate is not None
        return rate if fixed else rate * float(self.decay ** (step // self.decay_every))


# As published (supplement, table 6); `steps` of the later stages are lower bounds read off the paper's figure 2d.
FULL = Recipe(
    stages=(
        Stage(steps=78_000, crop=384, diffusion_batch=48, losses=LossConfig()),
        Stage(steps=12_000, crop=640, diffusion_batch=32, losses=LossConfig(bond=1.0)),
        Stage(steps=4_000, crop=768, diffusion_batch=32, losses=LossConfig(bond=1.0)),
        Stage(steps=4_000, crop=768, diffusion_batch=32, losses=LossConfig(pae=1.0), train="confidence"),
    ),
    examples_per_step=256,
)
SMALL = Recipe(
    stages=(
        Stage(steps=40_000, crop=256, diffusion_batch=32, losses=LossConfig(distogram=0.3)),
        Stage(steps=10_000, crop=384, diffusion_batch=32, losses=LossConfig(distogram=0.3, bond=1.0)),
        Stage(steps=4_000, crop=384, diffusion_batch=32, losses=LossConfig(pae=1.0), train="confidence"),
    ),
    examples_per_step=32,
    learning_rate=1.0e-3,
)
# For two CPU cores and an hour or two. The trunk comes first, alone: its examples are cheap, and what it knows about
# the chain limits everything after it. Equation 6 as printed then weighs all noise levels alike, and so the high ones,
# where a structure is decided, far more than the default does; confidence comes last, alone, because roll-outs would
# double the cost of every step.
_MINI_LOSSES = LossConfig(diffusion=1.0, weighting="supplement", smooth_lddt=4.0, distogram=4.0, shared_single=0.1)
MINI = Recipe(
    stages=(
        Stage(steps=1400, crop=80, diffusion_batch=1, losses=_MINI_LOSSES, train="trunk", rollout=0, msa_rows=128),
        Stage(steps=1100, crop=64, diffusion_batch=12, losses=_MINI_LOSSES, rollout=0, msa_rows=128),
        Stage(steps=60, crop=112, diffusion_batch=12, losses=replace(_MINI_LOSSES, bond=1.0), rollout=0, msa_rows=128),
        Stage(
            steps=200,
            crop=96,
            diffusion_batch=1,
            losses=LossConfig(confidence=1.0, pae=1.0),
            train="confidence",
            msa_rows=128,
            learning_rate=3.0e-3,
        ),
    ),
    examples_per_step=4,
    learning_rate=1.2e-2,
    matrix_rate=1.0,
    beta2=0.98,
    warmup=50,
    final_fraction=0.03,
    clip=1.0,
    ema=0.998,
    recycles=1,
    structure_weight=0.25,
)
RECIPES: dict[str, Recipe] = {"full": FULL, "small": SMALL, "mini": MINI}
