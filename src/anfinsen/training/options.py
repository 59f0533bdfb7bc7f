"""What the user chooses about a training run."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import MAX_SEED

# Limits that stop slips of the pen; larger numbers also overflow in PyTorch.
_MOST_STEPS, _MOST_THREADS, _LARGEST_CROP = 10**9, 4096, 1024
_LIMITS = {
    "seed": MAX_SEED,
    "threads": _MOST_THREADS,
    "steps": _MOST_STEPS,
    "crop": _LARGEST_CROP,
    "save_every": _MOST_STEPS,
    "validate_every": _MOST_STEPS,
}


@runtime_checkable
class _Rated(Protocol):
    """A recipe: a dataclass with a learning rate."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def learning_rate(self) -> float:
        """The highest rate of the schedule."""


RecipeT = TypeVar("RecipeT", bound=_Rated)


@dataclass(frozen=True)
class TrainOptions:
    """Options of ``anfinsen train``; some are for AlphaFold 3 alone.

    Attributes:
        data: folder with ``chains/*.parquet`` (and ``msas/``), or with structure files, or both (``structures/``).
        out: folder for checkpoints, weights and curves; a run found there is continued.
        preset: size of the network and its recipe.
        seed: decides everything random.
        device: "auto", "cpu", "cuda", …; threads: CPU threads (0: leave as they are).
        bf16: compute in bfloat16 where it is safe.
        steps: total optimiser steps (0: the recipe's). minutes: stop, resumable, after so long (0: no limit).
        learning_rate: the highest of the schedule (0: the recipe's); stages with a rate of their own keep it.
        start: name of a bundled model, or weights file, to fine-tune; its sizes then replace the preset's (empty: train
            from scratch).
        fresh_confidence: with ``start``, whether the confidence head begins with random weights all the same.
        crop: side of the crops of pairs that AlphaFold 1 sees (0: the preset's, or those of the weights begun from).
        couplings: whether the network reads the couplings of each alignment's columns.
        distilled: folders made by ``anfinsen distill``, mixed in. distilled_weights: share of the examples that come
            from each (none: the published shares, see `training.distilled`).
        save_every, validate_every: in steps (0: only at the end).
    """

    data: Path
    out: Path
    preset: str = "mini"
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    bf16: bool = True
    steps: int = 0
    minutes: float = 0.0
    learning_rate: float = 0.0
    start: str = ""
    fresh_confidence: bool = False
    crop: int = 0
    couplings: bool = False
    distilled: tuple[Path, ...] = ()
    distilled_weights: tuple[float, ...] = ()
    save_every: int = 100
    validate_every: int = 500

    def __post_init__(self) -> None:
        for name, most in _LIMITS.items():
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"Training option {name!r} is {getattr(self, name)}: expected 0 to {most}.")
        if not self.minutes >= 0:  # nor may it be NaN
            raise ConfigError(f"Training option 'minutes' is {self.minutes}: expected 0 or more.")
        if not 0 <= self.learning_rate < math.inf:
            raise ConfigError(f"Training option 'learning_rate' is {self.learning_rate}: expected 0 or more.")
        if self.distilled_weights and len(self.distilled_weights) != len(self.distilled):
            raise ConfigError(
                f"{len(self.distilled_weights)} weights are given for {len(self.distilled)} folders of distilled "
                "chains: give one for each, or none."
            )
        # NaN is neither above 0 nor below 1.
        if not (all(weight > 0 for weight in self.distilled_weights) and sum(self.distilled_weights) < 1):
            raise ConfigError(
                f"The weights of distilled chains are {', '.join(map(str, self.distilled_weights))}: expected shares "
                "of the examples above 0 that leave something for the other data."
            )

    def rated(self, recipe: RecipeT) -> RecipeT:
        """Return ``recipe`` with the learning rate of these options, if they have one."""
        return replace(recipe, learning_rate=self.learning_rate) if self.learning_rate else recipe
