"""What a variational objective adds to a fitted estimator: bounds of the log-likelihood, and rows from the prior.

The functions of an estimator serve dense and convolutional ones alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.seeding import gaussian, torch_generator

from .base import BaseAutoencoder
from .likelihoods import Gaussian
from .networks import Network
from .objectives import VariationalObjective, gaussian_divergence
from .rows import CHUNK_NUMBERS, chunks

ROWS_AT_ONCE = 4096
"""Draws times rows that are decoded together, at most; fewer of wide tables."""
LEAST_PAIRS, MOST_PAIRS = 8, 32
"""Pairs of latent draws of opposite sign behind a score: as many as there are components, within these bounds."""


def elbo(
    network: Network,
    objective: VariationalObjective,
    x: Float[Tensor, "n features"],
    noise: Float[Tensor, "draws components"],
) -> Float[Tensor, " n"]:
    """Return the evidence lower bound of rows, its expectation taken over draws that all rows share."""
    mean, log_variance = objective.posterior(network.encode(x))
    reconstruction = torch.zeros_like(mean[:, 0])
    for draw in noise:
        output = network.decode(mean + torch.exp(0.5 * log_variance) * draw)
        reconstruction += objective.likelihood.log_probability(output, x, objective.log_variance(network))
    return reconstruction / len(noise) - gaussian_divergence(mean, log_variance).sum(1)


def importance_weighted(
    network: Network,
    objective: VariationalObjective,
    x: Float[Tensor, "n features"],
    samples: int,
    generator: torch.Generator,
) -> Float[Tensor, " n"]:
    """Return log (1/K) sum p(x, z) / q(z | x) over K draws from q for each row (Burda et al. 2015, equation 8)."""
    mean, log_variance = objective.posterior(network.encode(x))
    total = torch.full_like(mean[:, 0], -math.inf)
    at_once = min(ROWS_AT_ONCE, CHUNK_NUMBERS // x.shape[1])
    together = min(samples, max(1, at_once // len(x)))
    for draws in [together] * (samples // together) + [samples % together] * bool(samples % together):
        noise = gaussian((draws, *mean.shape), generator, mean.dtype)
        z = mean + torch.exp(0.5 * log_variance) * noise
        output = network.decode(z.flatten(0, 1)).view(draws, *x.shape)
        likelihood = objective.likelihood.log_probability(output, x, objective.log_variance(network))
        # the constants of prior and posterior densities cancel
        prior_to_posterior = 0.5 * (noise.square() + log_variance - z.square()).sum(-1)
        total = torch.logaddexp(total, torch.logsumexp(likelihood + prior_to_posterior, 0))
    return total - math.log(samples)


def matched_draws(components: int, generator: torch.Generator) -> Float[Tensor, "draws components"]:
    """Return standard normal draws whose means are 0 and whose variances are 1 exactly.

    Up to 32 components, their covariances are 0 exactly too, so that the mean over them of anything quadratic (the
    bound of a linear decoder with a Gaussian likelihood) has no error.
    """
    pairs = min(max(components, LEAST_PAIRS), MOST_PAIRS)
    half = gaussian((pairs, components), generator, torch.float64)
    if components > pairs:
        half = half / half.square().mean(0).sqrt()
        return torch.cat([half, -half])
    matched = torch.linalg.qr(half).Q * math.sqrt(pairs)
    return torch.cat([matched, -matched])


def bound_of_table(estimator: BaseAutoencoder, table: Any) -> Float[np.ndarray, " n"]:
    """Return the lower bound (beta 1) of each checked row's log-likelihood, by draws that never change, in nats.

    For a Gaussian likelihood it is a density in the table's units.
    """
    objective = variational_objective(estimator)
    noise = matched_draws(estimator._components, torch_generator(estimator._seed, "score"))
    return _by_chunks(estimator, table, lambda x: elbo(estimator.module_, objective, x, noise.to(x.device, x.dtype)))


def log_likelihood_of_table(estimator: BaseAutoencoder, table: Any, samples: int, seed: int) -> Float[np.ndarray, " n"]:
    """Return the importance-weighted estimate of each checked row's log-likelihood; units as in `bound_of_table`."""
    objective = variational_objective(estimator)
    generator = torch_generator(seed, "importance", device=next(estimator.module_.parameters()).device)
    return _by_chunks(
        estimator, table, lambda x: importance_weighted(estimator.module_, objective, x, samples, generator)
    )


@torch.inference_mode()
def prior_sample(
    estimator: BaseAutoencoder, n_samples: int, seed: int, observation_noise: bool
) -> Float[np.ndarray, "n features"]:
    """Return rows in the table's units, decoded from the prior: their mean, or drawn from the likelihood around it."""
    first = next(estimator.module_.parameters())
    z = gaussian((n_samples, estimator._components), torch_generator(seed, "prior"), torch.float64)
    if not observation_noise:
        return estimator._decode(z.numpy()).astype(estimator._latents.dtype, copy=False)
    generator = torch_generator(seed, "observations", device=first.device)
    log_variance = variational_objective(estimator).log_variance(estimator.module_)
    parts = []
    for part in chunks(z, estimator.module_.n_features):
        output = estimator.module_.decode(z[part].to(first.device, first.dtype))
        drawn = estimator._likelihood_trained.draw(output, log_variance, generator)
        parts.append(estimator._scaler.backward(drawn.cpu().double().numpy()))
    return np.concatenate(parts).astype(estimator._latents.dtype, copy=False)


def variational_objective(estimator: BaseAutoencoder) -> VariationalObjective:
    """Return a fitted estimator's objective, which must be variational."""
    if not isinstance(estimator.objective_, VariationalObjective):
        raise TypeError(f"{type(estimator).__name__} was not fitted to a variational objective.")
    return estimator.objective_


@torch.inference_mode()
def _by_chunks(estimator: BaseAutoencoder, table: Any, estimate: Callable[[Tensor], Tensor]) -> Float[np.ndarray, " n"]:
    parts = []
    for part in chunks(table, table.shape[1]):
        x = estimator._tensor(estimator._scaler.forward(table[part]))
        parts.append(estimate(x).cpu().double().numpy())
    jacobian = estimator._scaler.log_jacobian() if isinstance(estimator._likelihood_trained, Gaussian) else 0.0
    result: Float[np.ndarray, " n"] = np.concatenate(parts) + jacobian
    return result
