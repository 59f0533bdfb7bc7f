"""Objectives: noise, sparsity, divergences; each against numbers of its own definition."""

import math

import numpy as np
import pytest
import torch

from anfinsen.autoencoders.likelihoods import Bernoulli, Gaussian
from anfinsen.autoencoders.networks import DenseNetwork, DenseNetworkConfig
from anfinsen.autoencoders.objectives import (
    DenoisingObjective,
    PlainObjective,
    SparseObjective,
    VariationalObjective,
    gaussian_divergence,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(codes=4, components=4, features=6, tied=False):
    config = DenseNetworkConfig(features, codes, components, (5,), "tanh", tied)
    return DenseNetwork(config, generator()).double()


def rows(n=8, features=6):
    return torch.randn(n, features, generator=generator(1), dtype=torch.float64)


OBJECTIVES = [
    PlainObjective(Gaussian()),
    DenoisingObjective(Gaussian(), "masking", 0.3),
    SparseObjective(Gaussian(), "l1", 0.1, 0.05, 2),
    SparseObjective(Gaussian(), "top_k", 0.1, 0.05, 2),
    VariationalObjective(Gaussian(), variance=0.5),
    VariationalObjective(Bernoulli()),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_loss_is_the_weighted_mean_of_the_rows_losses(objective):
    net, x = network(4 * objective.codes_per_component), rows().sigmoid()
    objective.prepare(net)
    seed = generator(3).get_state()

    def loss(weights):
        again = generator()
        again.set_state(seed)
        return objective.loss(net, x, weights, again, None)[0]

    singles = [loss(8.0 * torch.eye(8, dtype=x.dtype)[row]) for row in range(8)]
    weights = torch.tensor([0.0, 1, 2, 3, 0, 1, 0, 1], dtype=x.dtype)
    expected = sum(weight * single for weight, single in zip(weights, singles, strict=True)) / 8
    torch.testing.assert_close(loss(weights), expected)


def test_noise_has_the_statistics_it_is_named_for():
    x = torch.randn(4000, 5, generator=generator(), dtype=torch.float64) + 3
    added = DenoisingObjective(Gaussian(), "gaussian", 0.3).damage(x, generator(1)) - x
    assert float(added.std()) == pytest.approx(0.3, rel=0.02)
    assert abs(float(added.mean())) < 0.01
    masked = DenoisingObjective(Gaussian(), "masking", 0.25).damage(x, generator(1))
    assert float((masked == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(masked[masked != 0], x[masked != 0])
    salted = DenoisingObjective(Gaussian(), "salt_and_pepper", 0.2).damage(x, generator(1))
    low, high = (salted == x.amin(0)).double().mean(), (salted == x.amax(0)).double().mean()
    assert float(low) == pytest.approx(0.1, abs=0.01)
    assert float(high) == pytest.approx(0.1, abs=0.01)
    assert float((salted == x).double().mean()) == pytest.approx(0.8, abs=0.01)


def test_top_k_keeps_the_k_largest_codes_as_they_are():
    raw = torch.randn(50, 9, generator=generator())
    code = SparseObjective(Gaussian(), "top_k", 0.0, 0.05, 3).code(raw)
    assert ((code != 0).sum(1) == 3).all()
    torch.testing.assert_close(code.sort(1).values[code.sort(1).values != 0].view(50, 3), _kept(raw, 3))


def _kept(raw, k):
    return raw.topk(k, dim=1).values.sort(1).values


def test_kl_penalty_is_the_divergence_of_bernoulli_variables():
    objective = SparseObjective(Gaussian(), "kl", 2.0, 0.1, 1)
    net, x = network(), rows()
    parts = objective.loss(net, x, torch.ones(8, dtype=x.dtype), generator(), 0)[1]
    means = torch.sigmoid(net.encode(x)).mean(0)
    wanted = torch.distributions.Bernoulli(torch.full_like(means, 0.1))
    expected = torch.distributions.kl_divergence(wanted, torch.distributions.Bernoulli(means)).sum()
    torch.testing.assert_close(parts["penalty"], 2.0 * expected)


@pytest.mark.parametrize("tied", [False, True])
def test_l1_penalty_cannot_be_evaded_by_small_codes(tied):
    """Halving the codes and doubling the decoder's weights, where they are free, changes nothing."""
    objective, net, x = SparseObjective(Gaussian(), "l1", 1.0, 0.05, 1), network(tied=tied), rows()
    before = objective.loss(net, x, torch.ones(8, dtype=x.dtype), generator(), 0)[1]["penalty"].detach()
    assert float(before) > 0
    with torch.no_grad():
        net.encoder[2].weight *= 0.5
        if not tied:
            net.decoder[0].weight *= 2
    after = objective.loss(net, x, torch.ones(8, dtype=x.dtype), generator(), 0)[1]["penalty"].detach()
    torch.testing.assert_close(after, 0.25 * before if tied else before)


def test_divergence_matches_monte_carlo_and_torch():
    mean, log_variance = torch.tensor([0.0, 1.3, -0.4]).double(), torch.tensor([0.0, -1.0, 0.7]).double()
    closed = gaussian_divergence(mean, log_variance)
    q, p = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(closed, torch.distributions.kl_divergence(q, p))
    z = mean + (0.5 * log_variance).exp() * torch.randn(200_000, 3, generator=generator()).double()
    estimate, error = _mean_and_error(q.log_prob(z) - p.log_prob(z))
    assert (torch.abs(estimate - closed) < 4 * error + 1e-12).all()


def _mean_and_error(values):
    return values.mean(0), values.std(0) / math.sqrt(len(values))


def test_variational_loss_is_minus_the_bound_in_the_mean():
    """Against Monte Carlo of log p(x, z) - log q(z | x), with torch's own densities."""
    objective, x = VariationalObjective(Gaussian(), variance=0.5), rows(3)
    net = network(8)
    ones = torch.ones(3, dtype=x.dtype)
    draws = [objective.loss(net, x, ones, generator(seed), None)[0].detach() for seed in range(2000)]
    loss, loss_error = _mean_and_error(torch.stack(draws))
    mean, log_variance = net.encode(x).detach().chunk(2, 1)
    q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    z = mean + q.stddev * torch.randn(20_000, 3, 4, generator=generator(9)).double()
    output = net.decode(z.view(-1, 4)).view(20_000, 3, 6).detach()
    joint = torch.distributions.Normal(output, math.sqrt(0.5)).log_prob(x).sum(-1)
    bound = joint + (torch.distributions.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
    expected, error = _mean_and_error(bound.mean(1))
    assert abs(float(loss + expected)) < 4 * float(error + loss_error)


def test_beta_warm_up_and_free_bits():
    objective = VariationalObjective(Gaussian(), beta=4.0, warm_up_epochs=8, variance=1.0)
    assert [objective.beta_at(epoch) for epoch in (0, 3, 7, 100, None)] == [0.5, 2.0, 4.0, 4.0, 4.0]
    net, x, ones = network(8), rows(), torch.ones(8, dtype=torch.float64)
    loss, parts = objective.loss(net, x, ones, generator(), 0)
    torch.testing.assert_close(loss, parts["reconstruction"] + 0.5 * parts["divergence"])
    free = VariationalObjective(Gaussian(), free_bits=50.0, variance=1.0)
    parts = free.loss(net, x, ones, generator(), None)[1]
    assert float(parts["divergence"].detach()) == pytest.approx(4 * 50.0)
    parts["divergence"].backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in net.encoder.parameters())


def test_learned_variance_has_a_floor_and_starts_at_one():
    objective, net = VariationalObjective(Gaussian(), variance="learned_per_feature"), network(8)
    objective.prepare(net)
    np.testing.assert_allclose(objective.log_variance(net).detach().exp(), np.ones(6), atol=2e-4)
    with torch.no_grad():
        net.observation_log_variance.fill_(-100.0)
    np.testing.assert_allclose(objective.log_variance(net).detach().exp(), np.full(6, 1e-4), rtol=1e-6)


def test_bernoulli_agrees_with_torch_and_clips_what_lies_outside():
    output, x = 3 * rows(), rows().sigmoid()
    cross = -(x * torch.sigmoid(output).log() + (1 - x) * torch.sigmoid(-output).log())
    torch.testing.assert_close(Bernoulli().error(output, x), cross.mean(-1))
    torch.testing.assert_close(Bernoulli().error(output, x + 100), Bernoulli().error(output, torch.ones_like(x)))
