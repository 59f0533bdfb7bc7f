"""L-BFGS for many independent starts at once: every start has its own history, step length and convergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
"""[r, D] -> [r]: the energies of any number of points, each independent of the others."""

_SUFFICIENT_DECREASE = 1e-4  # Nocedal and Wright 2006, equation 3.4
_LEAST_CURVATURE = 1e-10


@dataclass(frozen=True)
class LbfgsConfig:
    """Numbers of the optimiser.

    Attributes:
        history: pairs of steps and gradient changes that are kept.
        max_move: no coordinate moves further in one step.
        backtracks: how often a step is shortened before the direction is given up.
        shrink: factor of each shortening.
        tolerance: a start whose relative decrease stays below this for ``patience`` steps has converged.
        patience: see there.
    """

    history: int = 12
    max_move: float = 1.0
    backtracks: int = 6
    shrink: float = 0.4
    tolerance: float = 1e-6
    patience: int = 5


@dataclass(frozen=True)
class Minimum:
    """Where R starts arrived.

    Attributes:
        x: points. energy: their energies.
        trace: energy before the first and after every step.
    """

    x: Float[Tensor, "R D"]
    energy: Float[Tensor, "R"]
    trace: Float[Tensor, "steps R"]


class _History:
    """The last steps ``s`` and gradient changes ``y`` of every start; a pair with ``rho`` 0 does not count."""

    def __init__(self, size: int, like: Float[Tensor, "R D"]) -> None:
        self.s = like.new_zeros(size, *like.shape)
        self.y = torch.zeros_like(self.s)
        self.rho = like.new_zeros(size, len(like))
        self.gamma = like.new_zeros(len(like))
        self.next = 0

    def direction(self, gradient: Float[Tensor, "R D"], starts: Int[Tensor, "r"]) -> Float[Tensor, "r D"]:
        """Return -H g by the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4)."""
        size = len(self.rho)
        order = [(self.next - 1 - k) % size for k in range(size)]
        q = gradient[starts].clone()
        alphas: dict[int, Tensor] = {}
        for k in order:
            alphas[k] = self.rho[k, starts] * (self.s[k, starts] * q).sum(-1)
            q -= alphas[k][:, None] * self.y[k, starts]
        gamma = self.gamma[starts]
        # Without history the first step is a tenth of the longest coordinate's unit.
        first = 0.1 / gradient[starts].abs().amax(-1).clamp(min=1e-12)
        q *= torch.where(gamma > 0, gamma, first)[:, None]
        for k in reversed(order):
            beta = self.rho[k, starts] * (self.y[k, starts] * q).sum(-1)
            q += (alphas[k] - beta)[:, None] * self.s[k, starts]
        return -q

    def store(self, s: Float[Tensor, "R D"], y: Float[Tensor, "R D"]) -> None:
        """Keep a pair where the curvature along it is positive."""
        curvature = (s * y).sum(-1)
        length = (y * y).sum(-1)
        usable = curvature > _LEAST_CURVATURE * length.clamp(min=1e-30)
        at = self.next
        self.s[at], self.y[at] = s, y
        self.rho[at] = torch.where(usable, 1 / curvature.where(usable, torch.ones_like(curvature)), 0.0)
        self.gamma = torch.where(usable, curvature / length.clamp(min=1e-30), self.gamma)
        self.next = (at + 1) % len(self.rho)

    def forget(self, starts: Int[Tensor, "r"]) -> None:
        """Begin anew with steepest descent."""
        self.rho[:, starts] = 0
        self.gamma[starts] = 0


def minimise(
    energy: Energy,
    start: Float[Tensor, "R D"],
    steps: int,
    config: LbfgsConfig | None = None,
    on_step: Callable[[Tensor], None] | None = None,
) -> Minimum:
    """Run up to ``steps`` steps of L-BFGS from every row of ``start``.

    A start that has converged is no longer evaluated. An energy that is not finite counts as infinitely high. Results
    of one start do not depend on the others.

    Args:
        energy: differentiable.
        start: R points.
        steps: for every start.
        config: numbers of the optimiser.
        on_step: is given all points after every step.
    """
    config = config or LbfgsConfig()
    x = start.detach().clone()
    value, gradient = _evaluate(energy, x)
    history = _History(config.history, x)
    active = torch.isfinite(value)
    idle = torch.zeros_like(value)
    trace = [value.clone()]
    for _ in range(steps):
        starts = active.nonzero()[:, 0]
        if len(starts) == 0:
            break
        new_x, new_value, new_gradient, accepted = _line_search(
            energy, x, value, gradient, history.direction(gradient, starts), starts, config
        )
        gained = (value - new_value) / value.abs().clamp(min=1.0)
        history.store(new_x - x, new_gradient - gradient)
        x, value, gradient = new_x, new_value, new_gradient
        failed = active & ~accepted
        # A start that fails from steepest descent is at the bottom; others try that first.
        active = active & ~(failed & (history.gamma == 0))
        history.forget(failed.nonzero()[:, 0])
        idle = torch.where(accepted & (gained < config.tolerance), idle + 1, torch.zeros_like(idle))
        active = active & (idle < config.patience)
        trace.append(value.clone())
        if on_step is not None:
            on_step(x)
    return Minimum(x, value, torch.stack(trace))


def _line_search(
    energy: Energy,
    x: Float[Tensor, "R D"],
    value: Float[Tensor, "R"],
    gradient: Float[Tensor, "R D"],
    direction: Float[Tensor, "r D"],
    starts: Int[Tensor, "r"],
    config: LbfgsConfig,
) -> tuple[Float[Tensor, "R D"], Float[Tensor, "R"], Float[Tensor, "R D"], Bool[Tensor, "R"]]:
    """Backtrack from the full step until the energy falls enough; only starts still searching are evaluated."""
    slope = (direction * gradient[starts]).sum(-1)
    uphill = slope >= 0
    direction = torch.where(uphill[:, None], -gradient[starts], direction)
    slope = torch.where(uphill, -gradient[starts].square().sum(-1), slope)
    length = (config.max_move / direction.abs().amax(-1).clamp(min=1e-12)).clamp(max=1.0)
    new_x, new_value, new_gradient = x.clone(), value.clone(), gradient.clone()
    accepted = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    waiting = torch.arange(len(starts), device=x.device)
    for _ in range(config.backtracks):
        at = starts[waiting]
        trial = x[at] + length[waiting, None] * direction[waiting]
        trial_value, trial_gradient = _evaluate(energy, trial)
        enough = value[at] + _SUFFICIENT_DECREASE * length[waiting] * slope[waiting]
        good = torch.isfinite(trial_value) & (trial_value <= enough) & torch.isfinite(trial_gradient).all(-1)
        done = at[good]
        new_x[done], new_value[done], new_gradient[done] = trial[good], trial_value[good], trial_gradient[good]
        accepted[done] = True
        waiting = waiting[~good]
        if len(waiting) == 0:
            break
        length[waiting] *= config.shrink
    return new_x, new_value, new_gradient, accepted


def _evaluate(energy: Energy, x: Float[Tensor, "r D"]) -> tuple[Float[Tensor, "r"], Float[Tensor, "r D"]]:
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = energy(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient
