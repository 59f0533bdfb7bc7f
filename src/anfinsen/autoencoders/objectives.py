"""What autoencoders are trained for: one interface, which dense and convolutional networks share.

Rows stand in the network's units (scaled). A batch's loss is the mean over its rows of weight times loss, with weights
whose mean over the table is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.common.seeding import gaussian

from .likelihoods import Gaussian, Likelihood, likelihood_named
from .networks import Network

Noise = Literal["gaussian", "masking", "salt_and_pepper"]
Penalty = Literal["l1", "kl", "top_k"]
NOISES: tuple[str, ...] = ("gaussian", "masking", "salt_and_pepper")
PENALTIES: tuple[str, ...] = ("l1", "kl", "top_k")
VARIANCES: tuple[str, ...] = ("learned", "learned_per_feature")
Losses = tuple[Tensor, dict[str, Tensor]]

LOG_VARIANCE_BOUND = 16.0
"""Codes' log-variances are kept within ± this: rows far from all that was learned must not overflow."""
LEAST_LOG_VARIANCE = math.log(1e-4)
"""Floor of learned log-variances (a hundredth of a column's standard deviation): the density is else unbounded where a
column is constant or is reproduced exactly."""
LOG_VARIANCE_RATE = 10.0
"""Learned log-variances move this many times faster than weights, which start near their values; they do not."""


@runtime_checkable
class Objective(Protocol):
    """Makes a latent code of a network's raw code, and a loss of rows."""

    @property
    def codes_per_component(self) -> int:
        """Raw numbers that the network's encoder must give for each component."""

    @property
    def settled_epoch(self) -> int:
        """The epoch from which the loss is the same function, so that its falling says something."""

    def prepare(self, network: Network) -> None:
        """Give a fresh network the parameters of the objective's own, if it has any."""

    def code(self, raw: Float[Tensor, "n codes"]) -> Float[Tensor, "n components"]:
        """Return the latent components; no randomness."""

    def loss(
        self,
        network: Network,
        x: Float[Tensor, "n features"],
        weights: Float[Tensor, " n"],
        generator: torch.Generator,
        epoch: int | None,
    ) -> Losses:
        """Return the batch's loss and its parts by name (0-dimensional); ``epoch`` None: as after the last one."""


@dataclass(frozen=True)
class PlainObjective:
    """Reproduce the rows (Hinton and Salakhutdinov 2006)."""

    codes_per_component: ClassVar[int] = 1
    settled_epoch: ClassVar[int] = 0
    likelihood: Likelihood

    @classmethod
    def of(cls, owner: Any) -> PlainObjective:
        """Return the objective that an estimator's parameters ask for."""
        return cls(likelihood_named(owner.likelihood))

    def prepare(self, network: Network) -> None:
        """Do nothing."""

    def code(self, raw: Float[Tensor, "n codes"]) -> Float[Tensor, "n components"]:
        """Return the codes themselves."""
        return raw

    def damage(self, x: Float[Tensor, "n features"], generator: torch.Generator) -> Float[Tensor, "n features"]:
        """Return what the network is shown of rows: all."""
        return x

    def loss(
        self,
        network: Network,
        x: Float[Tensor, "n features"],
        weights: Float[Tensor, " n"],
        generator: torch.Generator,
        epoch: int | None,
    ) -> Losses:
        """Return the mean error of what is made of the rows that are shown, against the whole ones."""
        output = network.decode(network.encode(self.damage(x, generator)))
        error = (weights * self.likelihood.error(output, x)).mean()
        return error, {"reconstruction": error}


@dataclass(frozen=True)
class DenoisingObjective(PlainObjective):
    """Reproduce rows from their damaged copies (Vincent et al., ICML 2008; JMLR 11, 2010).

    Attributes:
        noise: "gaussian": adds normal numbers of standard deviation ``level``; "masking": puts that share of the
            numbers to 0 (which is a column's mean under standard scaling); "salt_and_pepper": puts that share to the
            column's least or greatest value in the batch, with equal chance.
        level: standard deviation, or share of the numbers.
    """

    noise: str
    level: float

    @classmethod
    def of(cls, owner: Any) -> DenoisingObjective:
        """Return the objective that an estimator's parameters ask for."""
        return cls(likelihood_named(owner.likelihood), owner.noise, float(owner.noise_level))

    def damage(self, x: Float[Tensor, "n features"], generator: torch.Generator) -> Float[Tensor, "n features"]:
        """Return a damaged copy of rows."""
        if self.noise == "gaussian":
            return x + self.level * gaussian(x.shape, generator, x.dtype)
        chance = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        if self.noise == "masking":
            return x.masked_fill(chance < self.level, 0.0)
        extreme = torch.where(chance < 0.5 * self.level, x.amin(0), x.amax(0))
        return torch.where(chance < self.level, extreme, x)


@dataclass(frozen=True)
class SparseObjective(PlainObjective):
    """Reproduce the rows with few components at a time.

    Attributes:
        penalty: "l1": rectified codes, each times the length of its weights into the decoder, are summed (the length
            keeps small codes with large weights from evading it); "kl": sigmoid codes whose mean over the batch is
            drawn to ``sparsity`` by the Kullback-Leibler divergence (Ng, CS294A lecture notes, 2011);
            "top_k": only the ``k`` largest codes of a row are kept (Makhzani and Frey 2013, arXiv:1312.5663).
        strength: factor of the penalty. sparsity: wanted mean of each sigmoid code, between 0 and 1. k: codes kept.
    """

    penalty: str
    strength: float
    sparsity: float
    k: int

    @classmethod
    def of(cls, owner: Any) -> SparseObjective:
        """Return the objective that an estimator's parameters ask for; ``k`` None: a quarter of the components."""
        k = max(1, int(owner.n_components) // 4) if owner.k is None else int(owner.k)
        return cls(likelihood_named(owner.likelihood), owner.penalty, float(owner.strength), float(owner.sparsity), k)

    def code(self, raw: Float[Tensor, "n codes"]) -> Float[Tensor, "n components"]:
        """Return rectified codes (L1), sigmoid codes (KL), or the k largest and zeros (top-k)."""
        if self.penalty == "l1":
            return torch.relu(raw)
        if self.penalty == "kl":
            return torch.sigmoid(raw)
        kept = raw.topk(min(self.k, raw.shape[1]), dim=1).indices
        return raw * torch.zeros_like(raw).scatter(1, kept, 1.0)

    def loss(
        self,
        network: Network,
        x: Float[Tensor, "n features"],
        weights: Float[Tensor, " n"],
        generator: torch.Generator,
        epoch: int | None,
    ) -> Losses:
        """Return the mean reconstruction error plus the penalty."""
        z = self.code(network.encode(x))
        error = (weights * self.likelihood.error(network.decode(z), x)).mean()
        if self.penalty == "top_k":
            return error, {"reconstruction": error}
        penalty = self.strength * self._penalty(z, weights, network)
        return error + penalty, {"reconstruction": error, "penalty": penalty}

    def _penalty(self, z: Tensor, weights: Tensor, network: Network) -> Tensor:
        if self.penalty == "l1":
            norms = network.code_norms()
            return (weights * (z if norms is None else z * norms).sum(1)).mean()
        total = weights.sum().clamp_min(torch.finfo(z.dtype).tiny)
        tiny = torch.finfo(z.dtype).eps
        active = ((weights[:, None] * z).sum(0) / total).clamp(tiny, 1 - tiny)
        wanted = self.sparsity
        return (
            wanted * (math.log(wanted) - active.log()) + (1 - wanted) * (math.log1p(-wanted) - torch.log1p(-active))
        ).sum()


@dataclass(frozen=True)
class VariationalObjective:
    """Bound the rows' log-likelihood from below (Kingma and Welling 2013, arXiv:1312.6114).

    Attributes:
        beta: factor of the KL term (Higgins et al., ICLR 2017); 1 is the true bound.
        warm_up_epochs: epochs over which ``beta`` grows linearly from its first share (Bowman et al. 2016; 0: none).
        free_bits: nats of each component's mean KL that cost nothing (Kingma et al. 2016, arXiv:1606.04934).
        variance: of a Gaussian likelihood: a number (in the network's units), "learned" (one for all columns) or
            "learned_per_feature".
    """

    likelihood: Likelihood
    beta: float = 1.0
    warm_up_epochs: int = 0
    free_bits: float = 0.0
    variance: float | str = "learned"
    codes_per_component: int = 2

    @property
    def settled_epoch(self) -> int:
        """The end of the warm-up."""
        return self.warm_up_epochs

    def prepare(self, network: Network) -> None:
        """Give the network its learned variance, 1 at first, where the likelihood has one."""
        if isinstance(self.variance, str) and isinstance(self.likelihood, Gaussian):
            width = network.n_features if self.variance == "learned_per_feature" else 1
            dtype = next(network.parameters()).dtype
            network.observation_log_variance = nn.Parameter(torch.zeros(width, dtype=dtype))

    def log_variance(self, network: Network) -> Float[Tensor, " #features"]:
        """Return the log-variance of observations around the decoder's output."""
        learned = network.observation_log_variance
        if learned is None:
            fixed = 0.0 if isinstance(self.variance, str) else math.log(self.variance)
            return next(network.parameters()).new_full((1,), fixed)
        return LEAST_LOG_VARIANCE + nn.functional.softplus(
            LOG_VARIANCE_RATE * learned - LEAST_LOG_VARIANCE
        )  # a floor with a slope, so that a variance at the floor can leave it

    def code(self, raw: Float[Tensor, "n codes"]) -> Float[Tensor, "n components"]:
        """Return the means of the codes' posterior distributions."""
        return raw.chunk(2, dim=1)[0]

    def posterior(
        self, raw: Float[Tensor, "n codes"]
    ) -> tuple[Float[Tensor, "n components"], Float[Tensor, "n components"]]:
        """Return means and log-variances of the codes' posterior distributions."""
        mean, log_variance = raw.chunk(2, dim=1)
        return mean, log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)

    def beta_at(self, epoch: int | None) -> float:
        """Return the factor of the KL term in an epoch, counted from 0."""
        if epoch is None or self.warm_up_epochs == 0:
            return self.beta
        return self.beta * min(1.0, (epoch + 1) / self.warm_up_epochs)

    def loss(
        self,
        network: Network,
        x: Float[Tensor, "n features"],
        weights: Float[Tensor, " n"],
        generator: torch.Generator,
        epoch: int | None,
    ) -> Losses:
        """Return minus the bound, by one reparametrised draw for each row (their equation 10); in nats for each row."""
        mean, log_variance = self.posterior(network.encode(x))
        z = mean + torch.exp(0.5 * log_variance) * gaussian(mean.shape, generator, mean.dtype)
        densities = self.likelihood.log_probability(network.decode(z), x, self.log_variance(network))
        reconstruction = -(weights * densities).mean()
        divergences = (weights[:, None] * gaussian_divergence(mean, log_variance)).mean(0)
        if self.free_bits > 0:
            divergences = divergences.clamp_min(self.free_bits)
        divergence = divergences.sum()
        loss = reconstruction + self.beta_at(epoch) * divergence
        return loss, {"reconstruction": reconstruction, "divergence": divergence}


def gaussian_divergence(
    mean: Float[Tensor, "*batch components"], log_variance: Float[Tensor, "*batch components"]
) -> Float[Tensor, "*batch components"]:
    """Return KL(N(mean, variance) ‖ N(0, 1)) of each component, in nats (Kingma and Welling 2013, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
