"""A distribution in the plane of which everything is known at every noise level, and how far samples are from it.

With x = x0 + sigma * noise and x0 from a mixture of Gaussians, x is a mixture of wider Gaussians: density, score
(gradient of the logarithm of the density) and the best denoiser D(x, sigma) = E[x0 | x] stand in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.diffusion import EdmPreconditioning, LogNormalNoise, as_denoiser, training_target

DIRECTIONS = 64  # of the sliced Wasserstein distance
CELLS, HALF_WIDTH = 48, 3.0  # of the histogram: CELLS² squares from -HALF_WIDTH to HALF_WIDTH


@dataclass(frozen=True)
class Mixture:
    """A mixture of k Gaussians in the plane.

    Attributes:
        weights: [k], sum 1. means: [k, 2]. variances: [k, 2], along the columns of ``axes`` [k, 2, 2]. All float64.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    axes: Tensor

    @property
    def sigma_data(self) -> float:
        """Root mean square of a coordinate's distance from the mean."""
        mean = self.weights @ self.means
        spread = (self.means - mean).square().sum(1) + self.variances.sum(1)
        return math.sqrt(float(self.weights @ spread) / 2)

    def log_density(self, x: Float[Tensor, "n 2"], sigma: Tensor | float) -> Float[Tensor, "n"]:
        """Return ln p(x; sigma)."""
        log_parts, _, _ = self._parts(x, sigma)
        return torch.logsumexp(log_parts, dim=1)

    def denoiser(self, x: Float[Tensor, "n 2"], sigma: Tensor | float) -> Float[Tensor, "n 2"]:
        """Return E[x0 | x]: of each Gaussian the mean, and of the offset from it the share that is data."""
        log_parts, along, total = self._parts(x, sigma)
        offsets = torch.einsum("kij,nkj->nki", self.axes, along * self.variances / total)
        return torch.einsum("nk,nki->ni", log_parts.softmax(1), self.means + offsets)

    def score(self, x: Float[Tensor, "n 2"], sigma: Tensor | float) -> Float[Tensor, "n 2"]:
        """Return the gradient of ln p(x; sigma), summed over the Gaussians (not by way of the denoiser)."""
        log_parts, along, total = self._parts(x, sigma)
        pulls = -torch.einsum("kij,nkj->nki", self.axes, along / total)
        return torch.einsum("nk,nki->ni", log_parts.softmax(1), pulls)

    def _parts(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """Return logarithms of weighted densities [n, k], offsets along the axes [n, k, 2], variances [k, 2]."""
        total = self.variances + torch.as_tensor(sigma, dtype=torch.float64) ** 2
        along = torch.einsum("kij,nki->nkj", self.axes, x.double()[:, None] - self.means)
        exponents = -(along.square() / total).sum(-1) / 2
        return exponents + (self.weights / (2 * math.pi)).log() - total.log().sum(-1) / 2, along, total

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "count 2"]:
        """Return points of the distribution without noise."""
        part = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        along = torch.randn((count, 2), generator=generator, dtype=torch.float64) * self.variances[part].sqrt()
        return self.means[part] + torch.einsum("nij,nj->ni", self.axes[part], along)


def spiral(parts: int = 7) -> Mixture:
    """Return a spiral of drawn-out Gaussians, each rarer than the one within; its sigma_data is about 1."""
    index = torch.arange(parts, dtype=torch.float64)
    angle, radius = 1.05 * index, 0.35 + 0.27 * index
    outward = torch.stack([angle.cos(), angle.sin()], dim=1)
    axes = torch.stack([outward, torch.stack([-outward[:, 1], outward[:, 0]], dim=1)], dim=2)
    variances = torch.stack([0.09 + 0 * index, 0.12 + 0.05 * index], dim=1).square()
    weights = 0.9**index
    means = radius[:, None] * outward
    weights = weights / weights.sum()
    return Mixture(weights, means - weights @ means, variances, axes)


def sliced_wasserstein(first: Float[Tensor, "n 2"], second: Float[Tensor, "n 2"]) -> float:
    """Return the root mean square, over evenly turned lines, of the Wasserstein-2 distances of the projections."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * math.pi / DIRECTIONS
    lines = torch.stack([angles.cos(), angles.sin()])
    apart = (first.double() @ lines).sort(dim=0).values - (second.double() @ lines).sort(dim=0).values
    return float(apart.square().mean().sqrt())


def cell_probabilities(mixture: Mixture, finer: int = 4) -> Float[np.ndarray, "cells cells"]:
    """Return the probability of each square of the histogram, by ``finer``² points in each."""
    count = CELLS * finer
    places = ((torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1) * HALF_WIDTH
    grid = torch.cartesian_prod(places, places)
    density = mixture.log_density(grid, 0.0).exp() * (2 * HALF_WIDTH / count) ** 2
    return density.view(CELLS, finer, CELLS, finer).sum((1, 3)).numpy()


def histogram_divergence(points: Float[Tensor, "n 2"], expected: Float[np.ndarray, "cells cells"]) -> float:
    """Return the Kullback-Leibler divergence, in nats, of the points' histogram from the exact one.

    Points outside and the exact probability there share one more square. Of n exact points about
    (occupied squares - 1) / 2n is expected, not 0.
    """
    edges = np.linspace(-HALF_WIDTH, HALF_WIDTH, CELLS + 1)
    x = points.double().numpy()
    inside = np.histogram2d(x[:, 0], x[:, 1], bins=(edges, edges))[0].ravel() / len(x)
    found = np.append(inside, max(0.0, 1 - inside.sum()))
    # No square is impossible for a Gaussian, but in double precision some are 0.
    exact = np.append(expected.ravel(), max(0.0, 1 - expected.sum())).clip(min=1e-12)
    filled = found > 0
    return float((found[filled] * np.log(found[filled] / exact[filled])).sum())


class SmallNetwork(nn.Module):
    """F(scaled x, noise feature): a perceptron that sees the noise feature as sines and cosines."""

    def __init__(self, width: int = 128, waves: int = 8) -> None:
        super().__init__()
        self.frequencies = nn.Buffer(2.0 ** torch.linspace(-2, 3, waves))
        self.layers = nn.Sequential(
            nn.Linear(2 + 2 * waves, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )

    def forward(self, x: Float[Tensor, "n 2"], noise: Float[Tensor, "*n"]) -> Float[Tensor, "n 2"]:
        phase = noise.expand(len(x))[:, None] * self.frequencies
        return self.layers(torch.cat([x, phase.sin(), phase.cos()], dim=1))


def preconditioning(mixture: Mixture) -> EdmPreconditioning:
    """Return the product's preconditioning for data as wide as this mixture."""
    return EdmPreconditioning(sigma_data=mixture.sigma_data)


def train(mixture: Mixture, steps: int, generator: torch.Generator, batch: int = 1024) -> tuple[SmallNetwork, int]:
    """Train a network on points of the mixture, as the product's models are; return it and how many points it saw."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        network = SmallNetwork()
    outer, noise = preconditioning(mixture), LogNormalNoise(mean=-1.2, std=1.5, scale=mixture.sigma_data)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        clean, sigma = mixture.draw(batch, generator).float(), noise.sample(batch, generator)
        noisy = clean + sigma[:, None] * torch.randn((batch, 2), generator=generator)
        # Weighted by 1 / c_out²: the plain squared error of what the network answers.
        target = training_target(outer, clean, noisy, sigma)
        found = network(outer.c_in(sigma)[:, None] * noisy, outer.c_noise(sigma))
        loss = (found - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False).eval(), steps * batch


def trained_denoiser(network: SmallNetwork, mixture: Mixture):
    """Return the network as D(x, sigma), for double-precision x."""
    inner = as_denoiser(preconditioning(mixture), network)
    return lambda x, sigma: inner(x.float(), torch.as_tensor(sigma).float()).double()
