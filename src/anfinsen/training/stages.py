"""What recipes with stages share: which stage a step is in, and the learning rate of a step."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Stage(Protocol):
    """One stretch of training: optimiser steps, and a constant learning rate of its own (None: the recipe's)."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""

    @property
    def learning_rate(self) -> float | None:
        """Rate of all steps of the stage."""


AnyStage = TypeVar("AnyStage", bound=Stage)
AnyRecipe = TypeVar("AnyRecipe", bound="StagedRecipe[Any]")


class StagedRecipe(Generic[AnyStage]):
    """Base of recipes, which are frozen dataclasses with these fields.

    Attributes:
        stages: run one after the other.
        learning_rate, warmup, final_fraction: the rate rises linearly over ``warmup`` steps, and falls linearly to
            ``final_fraction`` of it over the stages without a rate of their own.
    """

    stages: tuple[AnyStage, ...]
    learning_rate: float
    warmup: int
    final_fraction: float

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> AnyStage:
        """Return the stage that step number ``step`` (from 0) belongs to; the last one for later steps."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def begins_stage(self, step: int) -> bool:
        """Return whether step number ``step`` is the first of a stage."""
        return step in set(accumulate((stage.steps for stage in self.stages[:-1]), initial=0))

    def rate_at(self, step: int) -> float:
        """Return the learning rate of step ``step``."""
        fixed = self.stage_at(step).learning_rate
        if fixed is not None:
            return fixed
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        scheduled = sum(stage.steps for stage in self.stages if stage.learning_rate is None)
        fall = 1.0 - (1.0 - self.final_fraction) * min(1.0, step / max(1, scheduled))
        return self.learning_rate * warm * fall


def scaled(recipe: AnyRecipe, steps: int) -> AnyRecipe:
    """Return ``recipe`` with its stages' steps scaled to ``steps`` in all."""
    total, left, stages = recipe.steps, steps, []
    for index, stage in enumerate(recipe.stages):
        last = index == len(recipe.stages) - 1
        share = left if last else min(left, round(steps * stage.steps / total))
        left -= share
        stages.append(replace(stage, steps=share))
    changed: Any = replace(recipe, stages=tuple(stages), warmup=min(recipe.warmup, max(1, steps // 10)))  # type: ignore[type-var]  # a dataclass, as its base says
    return changed  # type: ignore[no-any-return]  # of the type that was given
