"""L-BFGS for pairs of (fields, couplings), in place.

PyTorch's own L-BFGS begins with a step of 1 / |gradient|_1, which for millions of couplings is nothing, knows no
preconditioner, and keeps about twice as many copies of the couplings; the couplings of 300 residues are 144 MB.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...common.errors import NonFiniteError
from .potts import inner

Objective = Callable[
    [Float[Tensor, "L q"], Float[Tensor, "D D"], Float[Tensor, "D D"]], tuple[float, Float[Tensor, "L q"]]
]
"""As `PseudoLikelihood`: value and gradient by the fields; that by the couplings goes into the last argument."""

_SUFFICIENT = 1e-4  # Armijo's constant
_HALVINGS = 20


@dataclass(frozen=True)
class Parameters:
    """A point, a direction or a gradient: fields and couplings."""

    fields: Float[Tensor, "L q"]
    couplings: Float[Tensor, "D D"]

    def dot(self, other: Parameters) -> float:
        """Inner product."""
        return inner(self.fields, other.fields) + inner(self.couplings, other.couplings)

    def add(self, other: Parameters, factor: float) -> None:
        """Add ``factor`` times ``other`` in place."""
        self.fields.add_(other.fields, alpha=factor)
        self.couplings.add_(other.couplings, alpha=factor)

    def scale(self, factor: float) -> None:
        """Multiply in place."""
        self.fields.mul_(factor)
        self.couplings.mul_(factor)

    def clone(self) -> Parameters:
        """Return a copy."""
        return Parameters(self.fields.clone(), self.couplings.clone())


@dataclass(frozen=True)
class Curvature:
    """Rough second derivatives: of each field, and one for all couplings; their inverse preconditions."""

    fields: Float[Tensor, "L q"]
    couplings: float

    def divide(self, direction: Parameters, factor: float) -> None:
        """Multiply ``direction`` with ``factor`` and divide it by the curvature, in place."""
        direction.fields.mul_(factor / self.fields)
        direction.couplings.mul_(factor / self.couplings)

    def inverse_norm(self, vector: Parameters) -> float:
        """Inner product of ``vector`` with itself over the curvature."""
        return inner(vector.fields, vector.fields / self.fields) + (
            inner(vector.couplings, vector.couplings) / self.couplings
        )


@dataclass(frozen=True)
class Minimum:
    """How a minimisation ended: the objective after each step, and whether it had stopped falling."""

    trace: tuple[float, ...]
    converged: bool


def minimise(
    objective: Objective,
    point: Parameters,
    curvature: Curvature,
    *,
    iterations: int,
    tolerance: float,
    history: int,
    on_step: Callable[[float], None],
) -> Minimum:
    """Move ``point`` to the minimum (Nocedal and Wright 2006, algorithm 7.5, backtracking to Armijo's condition).

    Args:
        objective: convex. point: changed in place. curvature: of the preconditioner.
        iterations: most steps. tolerance: stop when a step lowers the objective by less than this share.
        history: pairs of steps and changes of gradient that are remembered.
        on_step: told the objective after each step.

    Raises:
        NonFiniteError: the objective or its gradient is NaN or infinite.
    """
    gradient = Parameters(point.fields, torch.empty_like(point.couplings))
    value, by_field = objective(point.fields, point.couplings, gradient.couplings)
    gradient = Parameters(by_field, gradient.couplings)
    spare = torch.empty_like(point.couplings)
    pairs: deque[tuple[Parameters, Parameters, float]] = deque()
    trace = [value]
    for _ in range(iterations):
        direction = _direction(gradient, pairs, curvature)
        slope = gradient.dot(direction)
        if not math.isfinite(value + slope):
            raise NonFiniteError("The fit of the couplings produced NaN or infinity: raise the penalties.")
        if slope >= 0:
            return Minimum(tuple(trace), converged=True)  # as flat as these numbers can tell
        step, moved = 1.0, 0.0
        for _ in range(_HALVINGS):
            point.add(direction, step - moved)
            moved = step
            new_value, by_field = objective(point.fields, point.couplings, spare)
            if new_value <= value + _SUFFICIENT * step * slope:
                break
            step /= 2
        else:
            point.add(direction, -moved)
            return Minimum(tuple(trace), converged=True)
        new_gradient = Parameters(by_field, spare)
        direction.scale(step)
        gradient.scale(-1.0)
        gradient.add(new_gradient, 1.0)
        # Convex, so the product is positive but for rounding.
        if (product := direction.dot(gradient)) > 0:
            pairs.append((direction, gradient, product))
        spare = pairs.popleft()[0].couplings if len(pairs) > history else torch.empty_like(spare)
        gradient, fall, value = new_gradient, value - new_value, new_value
        trace.append(value)
        on_step(value)
        if fall < tolerance * abs(value):
            return Minimum(tuple(trace), converged=True)
    return Minimum(tuple(trace), converged=False)


def _direction(
    gradient: Parameters, pairs: deque[tuple[Parameters, Parameters, float]], curvature: Curvature
) -> Parameters:
    """The two-loop recursion; with no history the preconditioned gradient. Downhill."""
    direction = gradient.clone()
    shares = []
    for step, change, product in reversed(pairs):
        share = step.dot(direction) / product
        direction.add(change, -share)
        shares.append(share)
    scale = pairs[-1][2] / curvature.inverse_norm(pairs[-1][1]) if pairs else 1.0
    curvature.divide(direction, scale)
    for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
        direction.add(step, share - change.dot(direction) / product)
    direction.scale(-1.0)
    return direction
