"""The linear autoencoder against principal component analysis; a linear variational one against closed forms."""

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from anfinsen.autoencoders import Autoencoder, VariationalAutoencoder

TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
    "diabetes": load_diabetes,
}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", TABLES)
def test_linear_autoencoder_spans_the_subspace_of_pca(name, tied):
    table = TABLES[name]().data
    linear = Autoencoder(
        2, hidden_layer_sizes=(), activation="identity", tied_weights=tied, solver="lbfgs",
        max_epochs=3000, tol=1e-15, random_state=0,
    ).fit(table)  # fmt: skip
    scaler = StandardScaler().fit(table)
    pca = PCA(2).fit(scaler.transform(table))
    directions = (linear.inverse_transform(np.eye(2)) - linear.inverse_transform(np.zeros((2, 2)))) / scaler.scale_
    assert subspace_angles(directions.T, pca.components_.T).max() < 1e-3
    scaled = scaler.transform(table)
    best = np.square(scaled - pca.inverse_transform(pca.transform(scaled))).mean()
    assert -linear.score(table) == pytest.approx(best, rel=1e-3)
    assert -linear.score(table) >= best * (1 - 1e-9)  # nothing linear is better than PCA


class LinearGaussian:
    """p(z) = N(0, 1), p(x|z) = N(W z + m, s²) with orthogonal columns of W: all densities known."""

    def __init__(self, widen):
        rng = np.random.default_rng(0)
        self.w = np.linalg.qr(rng.normal(size=(5, 2)))[0] * [1.5, 0.7]
        self.m, self.variance = rng.normal(size=5), 0.3
        self.table = rng.normal(size=(40, 2)) @ self.w.T + self.m + np.sqrt(self.variance) * rng.normal(size=(40, 5))
        covariance = self.w @ self.w.T + self.variance * np.eye(5)
        self.log_likelihood = multivariate_normal(self.m, covariance).logpdf(self.table)
        self.network = VariationalAutoencoder(
            2, hidden_layer_sizes=(), activation="identity", scale=None, variance=self.variance, max_epochs=1,
            random_state=0,
        ).fit(self.table)  # fmt: skip
        precision = np.square(self.w).sum(0) / self.variance + 1
        mean = self.w.T / self.variance / precision[:, None]
        state = {
            "encoder.0.weight": np.concatenate([mean, np.zeros((2, 5))]),
            "encoder.0.bias": np.concatenate([-mean @ self.m, np.log(widen / precision)]),
            "decoder.0.weight": self.w,
            "decoder.0.bias": self.m,
        }
        self.network.module_.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})


def test_importance_weighted_estimate_is_the_known_log_likelihood():
    known = LinearGaussian(widen=1.5)
    estimate = known.network.log_likelihood(known.table, samples=8_000)
    assert np.abs(estimate - known.log_likelihood).max() < 0.01
    few = known.network.log_likelihood(known.table, samples=1)
    assert few.mean() < known.log_likelihood.mean() - 0.05  # the bound with one sample is below


def test_a_true_posterior_needs_one_draw_and_makes_the_bound_tight():
    known = LinearGaussian(widen=1.0)
    np.testing.assert_allclose(known.network.log_likelihood(known.table, samples=1), known.log_likelihood, atol=1e-9)
    np.testing.assert_allclose(known.network.score_samples(known.table), known.log_likelihood, atol=1e-9)


@pytest.mark.slow
def test_trained_linear_variational_autoencoder_reaches_probabilistic_pca():
    # Lucas et al. 2019 (arXiv:1911.02469): its global optimum is that of probabilistic PCA.
    rng = np.random.default_rng(1)
    table = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 6)) + 0.4 * rng.normal(size=(600, 6))
    vae = VariationalAutoencoder(
        2, hidden_layer_sizes=(), activation="identity", scale=None, max_epochs=600, tol=0.0, learning_rate=5e-3,
        random_state=0,
    ).fit(table)  # fmt: skip
    assert vae.log_likelihood(table, samples=100).mean() == pytest.approx(PCA(2).fit(table).score(table), abs=0.03)


def test_the_bound_lies_below_by_the_divergence_of_a_wrong_posterior():
    known = LinearGaussian(widen=1.5)
    gap = known.log_likelihood - known.network.score_samples(known.table)
    np.testing.assert_allclose(gap, 2 * 0.5 * (1.5 - 1 - np.log(1.5)), atol=1e-9)
