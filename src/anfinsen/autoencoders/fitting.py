"""Minimising an objective over the rows of a table: Adam in batches, or L-BFGS over the whole table."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from anfinsen.common.errors import NonFiniteError
from anfinsen.common.optimisation import backward, clip_gradients, step
from anfinsen.common.seeding import derive_seed, torch_generator

from .networks import Network
from .objectives import Objective
from .rows import Rows

CLIP = 100.0
"""Largest gradient norm: far above what training meets, so that only an explosion is cut."""
LEAST_BATCH, MOST_BATCH, STEPS_PER_EPOCH = 32, 256, 20
"""Batches chosen automatically: about this many steps for each epoch, of no fewer and no more rows than these."""
LBFGS_MEMORY = 20
"""Pairs of steps and gradient changes from which L-BFGS makes its curvature."""


@dataclass(frozen=True)
class FitConfig:
    """How to minimise; the estimators' parameters of the same names say more.

    Attributes:
        batch_size: rows of a step, at most. patience: epochs without progress after which training stops.
        best: with validation rows, give the weights of the best epoch back at the end.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    tol: float
    patience: int
    verbose: int


def automatic_batch(n_rows: int) -> int:
    """Return the rows of a step that suit a table of ``n_rows``."""
    return min(MOST_BATCH, max(LEAST_BATCH, n_rows // STEPS_PER_EPOCH))


@dataclass
class History:
    """What a fit leaves behind besides the weights: losses of its epochs, steps done, the optimiser's memory."""

    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    epochs: int = 0
    steps: int = 0
    optimizer: dict[str, Any] | None = None


class _Patience:
    """Counts epochs without a loss lower than the lowest by more than a share ``tol`` of it.

    Losses are averaged over the last ``window`` epochs: those of training are noisy where rows are damaged or codes are
    drawn, and one lucky epoch would end the fit.
    """

    def __init__(self, config: FitConfig, window: int) -> None:
        self._tol, self._patience = config.tol, config.patience
        self._recent: deque[float] = deque(maxlen=window)
        self._lowest, self._waited = math.inf, 0

    def over(self, loss: float) -> bool:
        self._recent.append(loss)
        average = sum(self._recent) / len(self._recent)
        if average < self._lowest - self._tol * (abs(self._lowest) if math.isfinite(self._lowest) else 0.0):
            self._waited = 0
        else:
            self._waited += 1
        self._lowest = min(self._lowest, average)
        return self._waited >= self._patience


def fit_adam(
    network: Network,
    objective: Objective,
    rows: Rows,
    validation: Rows | None,
    config: FitConfig,
    seed: int,
    history: History,
) -> None:
    """Train by Adam with decoupled weight decay (Loshchilov and Hutter 2019) and add to ``history``.

    Every epoch draws from generators of its own, made of ``seed`` and the epoch's number, so that a fit that is
    continued is as reproducible as one that was not. With ``validation`` rows their loss decides when to stop, and the
    weights of the best epoch come back.

    Raises:
        NonFiniteError: a loss or a gradient is not finite.
    """
    with _FlatWeights(network) as flat:
        _fit_adam(network, objective, rows, validation, config, seed, history, flat)


def _fit_adam(
    network: Network,
    objective: Objective,
    rows: Rows,
    validation: Rows | None,
    config: FitConfig,
    seed: int,
    history: History,
    flat: nn.Parameter,
) -> None:
    optimizer = _make_optimizer(flat, config)
    if history.optimizer is not None:
        given = [{name: group[name] for name in ("weight_decay", "fused")} for group in optimizer.param_groups]
        optimizer.load_state_dict(history.optimizer)
        for group, now in zip(optimizer.param_groups, given, strict=True):
            group.update(now)  # parameters and the device may have changed since
    patience = _Patience(config, window=1 if validation is not None else config.patience)
    best, lowest = None, math.inf
    if validation is not None and history.epochs > 0:  # where a warm start began counts as an epoch
        best = copy.deepcopy(network.state_dict())
        lowest = mean_loss(network, objective, validation, config.batch_size, seed)
    for _ in range(config.max_epochs):
        loss = _epoch(network, objective, rows, optimizer, flat, config, seed, history)
        watched = loss
        if validation is not None:
            watched = mean_loss(network, objective, validation, config.batch_size, seed)
            history.validation.append(watched)
            if watched < lowest:
                best, lowest = copy.deepcopy(network.state_dict()), watched
        if config.verbose:
            _report(history, config)
        if history.epochs > objective.settled_epoch and patience.over(watched):
            break
    if best is not None:
        network.load_state_dict(best)
    history.optimizer = optimizer.state_dict()


class _FlatWeights:
    """Inside the block, weights and gradients of a network are parts of one long vector, which one step updates.

    Small networks are trained twice as fast so: their steps are spent on going from one tensor to the next.
    """

    def __init__(self, network: Network) -> None:
        self._parameters = list(network.parameters())

    def __enter__(self) -> nn.Parameter:
        flat = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in self._parameters]))
        flat.grad = torch.zeros_like(flat)
        sizes = [parameter.numel() for parameter in self._parameters]
        parts = zip(self._parameters, torch.split(flat.detach(), sizes), torch.split(flat.grad, sizes), strict=True)
        for parameter, weights, gradient in parts:
            parameter.data, parameter.grad = weights.view_as(parameter), gradient.view_as(parameter)
        return flat

    def __exit__(self, *error: object) -> None:
        for parameter in self._parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None


def _make_optimizer(flat: nn.Parameter, config: FitConfig) -> torch.optim.Optimizer:
    fused = flat.device.type in {"cpu", "cuda"}  # one pass over the weights, where there is such a kernel
    return torch.optim.AdamW([flat], lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused)


def _epoch(
    network: Network,
    objective: Objective,
    rows: Rows,
    optimizer: torch.optim.Optimizer,
    flat: nn.Parameter,
    config: FitConfig,
    seed: int,
    history: History,
) -> float:
    epoch, total = history.epochs, 0.0
    noise = torch_generator(seed, "noise", epoch, device=rows.weights.device)
    network.train()
    for index in _batches(len(rows), config.batch_size, torch_generator(seed, "order", epoch)):
        x, weights = rows.all() if index is None else rows.batch(index)
        optimizer.zero_grad(set_to_none=False)
        loss, _ = objective.loss(network, x, weights, noise, epoch)
        backward(loss)
        clip_gradients((flat,), CLIP)
        step((optimizer,), config.learning_rate)
        total += float(loss.detach()) * len(x) / len(rows)
        history.steps += 1
    network.eval()
    history.epochs += 1
    history.losses.append(_finite(total))
    return total


def _batches(n_rows: int, batch_size: int, generator: torch.Generator) -> list[Tensor | None]:
    """Return the numbers of each batch's rows, in batches as equal as can be; None: all rows in their order."""
    if n_rows <= batch_size:
        return [None]
    return list(torch.randperm(n_rows, generator=generator).tensor_split(-(-n_rows // batch_size)))


@torch.no_grad()
def mean_loss(network: Network, objective: Objective, rows: Rows, batch_size: int, seed: int) -> float:
    """Return the loss over rows, always with the same random numbers and as after the last epoch.

    Raises:
        NonFiniteError: the loss is not finite.
    """
    generator = torch_generator(seed, "validation", device=rows.weights.device)
    network.eval()
    total = 0.0
    for index in torch.arange(len(rows)).tensor_split(-(-len(rows) // batch_size)):
        x, weights = rows.batch(index)
        total += float(objective.loss(network, x, weights, generator, None)[0]) * len(x) / len(rows)
    return _finite(total)


def fit_lbfgs(
    network: Network, objective: Objective, rows: Rows, config: FitConfig, seed: int, history: History
) -> None:
    """Train by L-BFGS (Byrd et al. 1995, SciPy's) over the whole table, and add to ``history``.

    Noise is drawn once and kept, so that the loss is a function of the weights alone; weight decay stands in the loss,
    half of it times the squared weights.

    Raises:
        NonFiniteError: a loss or a gradient is not finite.
    """
    parameters = list(network.parameters())
    x, weights = rows.all()
    evaluate = _whole_table_loss(network, objective, x, weights, derive_seed(seed, "noise"), config.weight_decay)
    latest = [0.0]

    def value_and_gradient(flat: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        _put(parameters, flat)
        latest[0], gradient = evaluate()
        return latest[0], gradient

    def after_step(flat: NDArray[Any]) -> None:
        history.losses.append(latest[0])
        history.epochs += 1
        if config.verbose:
            _report(history, config)

    start = torch.cat([parameter.detach().flatten() for parameter in parameters]).cpu().double().numpy()
    network.train()
    result = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=after_step,
        options={
            "maxiter": config.max_epochs,
            "maxfun": 20 * config.max_epochs,
            "maxcor": LBFGS_MEMORY,
            "ftol": config.tol,
            "gtol": 0.0,
        },
    )
    _put(parameters, result.x)
    network.eval()
    history.steps += int(result.nfev)
    if not history.losses:  # the start was a minimum
        history.losses.append(float(result.fun))
        history.epochs += 1


def _whole_table_loss(
    network: Network, objective: Objective, x: Tensor, weights: Tensor, noise_seed: int, decay: float
) -> Callable[[], tuple[float, NDArray[Any]]]:
    parameters = list(network.parameters())

    def evaluate() -> tuple[float, NDArray[Any]]:
        generator = torch.Generator(device=x.device).manual_seed(noise_seed)
        loss, _ = objective.loss(network, x, weights, generator, None)
        if decay > 0:
            loss = loss + 0.5 * decay * sum(parameter.square().sum() for parameter in parameters)
        network.zero_grad()
        backward(loss)
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters
        ]
        flat = torch.cat([gradient.flatten() for gradient in gradients]).cpu().double().numpy()
        if not np.isfinite(flat).all():
            raise NonFiniteError("Gradients are not finite: scale the table, or take solver='adam'.")
        return _finite(float(loss.detach())), flat

    return evaluate


@torch.no_grad()
def _put(parameters: list[nn.Parameter], flat: NDArray[Any]) -> None:
    vector = torch.from_numpy(np.array(flat))
    parts = torch.split(vector, [parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise NonFiniteError("The loss is not finite: lower the learning rate, or scale the table (scale='standard').")
    return loss


def _report(history: History, config: FitConfig) -> None:
    if history.epochs % config.verbose == 0:
        validation = f", validation loss {history.validation[-1]:.6g}" if history.validation else ""
        print(f"Epoch {history.epochs}: loss {history.losses[-1]:.6g}{validation}")
