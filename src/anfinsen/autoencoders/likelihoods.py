"""How a row of the table is thought to scatter around what the decoder says of it."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LIKELIHOODS = ("gaussian", "bernoulli")


@runtime_checkable
class Likelihood(Protocol):
    """A distribution of rows, given the decoder's output (its natural parameters)."""

    def mean(self, output: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """Return the expected rows."""

    def error(
        self, output: Float[Tensor, "*#batch features"], x: Float[Tensor, "*#batch features"]
    ) -> Float[Tensor, "*batch"]:
        """Return the reconstruction error of each row, averaged over columns."""

    def log_probability(
        self,
        output: Float[Tensor, "*#batch features"],
        x: Float[Tensor, "*#batch features"],
        log_variance: Float[Tensor, " #features"],
    ) -> Float[Tensor, "*batch"]:
        """Return the natural logarithm of the rows' probability (density), summed over columns."""

    def draw(
        self,
        output: Float[Tensor, "n features"],
        log_variance: Float[Tensor, " #features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "n features"]:
        """Draw rows."""


class Gaussian:
    """Normal scatter around the output; its error is the squared distance."""

    def mean(self, output: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """Return the output itself."""
        return output

    def error(
        self, output: Float[Tensor, "*#batch features"], x: Float[Tensor, "*#batch features"]
    ) -> Float[Tensor, "*batch"]:
        """Return the mean squared difference of each row."""
        return (output - x).square().mean(-1)

    def log_probability(
        self,
        output: Float[Tensor, "*#batch features"],
        x: Float[Tensor, "*#batch features"],
        log_variance: Float[Tensor, " #features"],
    ) -> Float[Tensor, "*batch"]:
        """Return the log-density of each row."""
        terms = (output - x).square() * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)
        return -0.5 * terms.sum(-1)

    def draw(
        self,
        output: Float[Tensor, "n features"],
        log_variance: Float[Tensor, " #features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "n features"]:
        """Draw rows around the output."""
        noise = torch.randn(output.shape, generator=generator, device=output.device, dtype=output.dtype)
        return output + torch.exp(0.5 * log_variance) * noise


class Bernoulli:
    """Columns between 0 and 1 whose logit the output is; its error is the cross-entropy (in nats).

    Columns need not be 0 or 1: a number between them counts as a mixture of both. What lies outside counts as the
    nearer of them, so that new rows beyond the range of the training rows keep a finite error.
    """

    def mean(self, output: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        """Return the probabilities."""
        return torch.sigmoid(output)

    def error(
        self, output: Float[Tensor, "*#batch features"], x: Float[Tensor, "*#batch features"]
    ) -> Float[Tensor, "*batch"]:
        """Return the mean cross-entropy of each row."""
        return self._cross_entropy(output, x).mean(-1)

    def log_probability(
        self,
        output: Float[Tensor, "*#batch features"],
        x: Float[Tensor, "*#batch features"],
        log_variance: Float[Tensor, " #features"],
    ) -> Float[Tensor, "*batch"]:
        """Return the log-probability of each row; a Bernoulli variable has no free variance."""
        return -self._cross_entropy(output, x).sum(-1)

    def draw(
        self,
        output: Float[Tensor, "n features"],
        log_variance: Float[Tensor, " #features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "n features"]:
        """Draw zeros and ones."""
        return torch.bernoulli(torch.sigmoid(output), generator=generator)

    @staticmethod
    def _cross_entropy(output: Tensor, x: Tensor) -> Tensor:
        # log(1 + exp(output)) - output x, which no large logit makes infinite
        return F.softplus(output) - output * x.clamp(0.0, 1.0)


def likelihood_named(name: str) -> Likelihood:
    """Return the likelihood called ``name`` (one of ``LIKELIHOODS``)."""
    return Gaussian() if name == "gaussian" else Bernoulli()
