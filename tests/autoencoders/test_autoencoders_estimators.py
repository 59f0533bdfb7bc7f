"""What the estimators do as users meet them: precision, scales, weights, parts, copies, samples, errors."""

import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anfinsen.autoencoders import (
    Autoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from anfinsen.autoencoders.rows import Rows, held_back
from anfinsen.autoencoders.scaling import ColumnScaler
from anfinsen.common.errors import NonFiniteError, ParameterError

IRIS = load_iris().data
FEW = {"max_epochs": 5, "random_state": 0}
ALL = [
    Autoencoder(2, **FEW),
    Autoencoder(2, likelihood="bernoulli", tied_weights=True, **FEW),
    DenoisingAutoencoder(2, noise="salt_and_pepper", **FEW),
    SparseAutoencoder(6, penalty="top_k", k=2, **FEW),
    SparseAutoencoder(6, penalty="kl", **FEW),
    VariationalAutoencoder(2, **FEW),
]
each = pytest.mark.parametrize("estimator", ALL, ids=lambda e: type(e).__name__)


def fitted(estimator, table=IRIS):
    return clone(estimator).fit(table)


@each
def test_precision_is_kept_and_the_same_seed_gives_the_same_bits(estimator):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    for dtype in (np.float32, np.float64):
        first, second = fitted(estimator, IRIS.astype(dtype)), fitted(estimator, IRIS.astype(dtype))
        results = [
            (model.transform(IRIS.astype(dtype)), model.reconstruct(IRIS.astype(dtype)), model.sample(4))
            for model in (first, second)
        ]
        for one, other in zip(*results, strict=True):
            assert one.dtype == dtype
            assert np.isfinite(one).all()
            np.testing.assert_array_equal(one, other)
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])
    assert not np.array_equal(clone(estimator).set_params(random_state=1).fit(IRIS).transform(IRIS), results[0][0])


@each
def test_tables_of_any_units_are_fitted_alike(estimator):
    plain = fitted(estimator).reconstruct(IRIS)
    for factor in (2.0**-20, 2.0**20):  # powers of two, so that not one bit may differ
        np.testing.assert_array_equal(fitted(estimator, IRIS * factor).reconstruct(IRIS * factor), plain * factor)
    far = IRIS * 1e6 + 1e6
    np.testing.assert_allclose((fitted(estimator, far).reconstruct(far) - 1e6) / 1e6, plain, atol=1e-5)


@each
def test_copies_compute_the_same(estimator):
    model = fitted(estimator)
    stream = io.BytesIO()
    joblib.dump(model, stream)
    stream.seek(0)
    copies = [pickle.loads(pickle.dumps(model)), joblib.load(stream)]
    for copy in copies:
        np.testing.assert_array_equal(copy.transform(IRIS), model.transform(IRIS))
    model.partial_fit(IRIS)  # with the optimiser's memory, which copies must have too
    for copy in copies:
        np.testing.assert_array_equal(copy.partial_fit(IRIS).transform(IRIS), model.transform(IRIS))
    with pytest.raises(NotFittedError):
        clone(model).transform(IRIS)


@each
def test_a_warm_start_goes_on_as_if_there_had_been_no_stop(estimator):
    whole = clone(estimator).set_params(max_epochs=6, tol=0.0).fit(IRIS)
    parts = clone(estimator).set_params(max_epochs=3, tol=0.0, warm_start=True).fit(IRIS).fit(IRIS)
    np.testing.assert_array_equal(parts.transform(IRIS), whole.transform(IRIS))
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.n_epochs_ == 6


@each
def test_weights_count_as_copies(estimator):
    weights = np.random.default_rng(0).integers(0, 4, 30)
    table = IRIS[::5]
    weighted = clone(estimator).fit(table, sample_weight=weights)
    repeated = clone(estimator).fit(np.repeat(table, weights, axis=0)[::-1])
    np.testing.assert_array_equal(weighted.transform(table), repeated.transform(table))


@each
def test_sparse_tables_are_fitted_as_dense_ones(estimator):
    digits = load_digits().data[:300]
    for table in (digits[:30], digits):  # in one batch, and in several
        dense, thin = fitted(estimator, table), fitted(estimator, sparse.csr_array(table))
        np.testing.assert_allclose(thin.transform(sparse.csr_array(table)), dense.transform(table), atol=1e-8)
        np.testing.assert_allclose(thin.score_samples(sparse.csr_array(table)), dense.score_samples(table), rtol=1e-8)


@each
def test_inputs_that_cannot_be_used_are_refused_by_scikit_learn(estimator):
    model = fitted(estimator)
    for bad, message in ((np.nan, "NaN"), (np.inf, "infinity")):
        table = IRIS.copy()
        table[3, 1] = bad
        for method in (model.transform, model.reconstruct, model.score_samples, clone(model).fit):
            with pytest.raises(ValueError, match=message):
                method(table)
    for method in (model.transform, model.reconstruct, model.score_samples):
        with pytest.raises(ValueError, match="expecting 4 features"):
            method(IRIS[:, :3])
    with pytest.raises(ValueError, match="latent components"):
        model.inverse_transform(np.zeros((2, 9)))
    for method in ("transform", "inverse_transform", "reconstruct", "score_samples", "score", "sample"):
        with pytest.raises(NotFittedError):
            getattr(clone(model), method)(*([] if method == "sample" else [IRIS]))


@each
def test_rows_from_latent_space(estimator):
    model = fitted(estimator)
    path = model.interpolate(IRIS[0], IRIS[-1], steps=5)
    assert path.shape == (5, 4)
    np.testing.assert_allclose(path[[0, -1]], model.reconstruct(IRIS[[0, -1]]), rtol=1e-9)
    assert model.sample(7, random_state=3).shape == (7, 4)
    np.testing.assert_array_equal(model.sample(7, random_state=3), model.sample(7, random_state=3))
    assert not np.array_equal(model.sample(7, random_state=3), model.sample(7, random_state=4))
    np.testing.assert_allclose(model.inverse_transform(model.transform(IRIS)), model.reconstruct(IRIS), rtol=1e-9)


def test_scores_do_not_depend_on_neighbours_and_are_errors_in_known_units():
    for model in (fitted(ALL[0]), fitted(ALL[-1])):
        scores = model.score_samples(IRIS)
        np.testing.assert_allclose(model.score_samples(IRIS[::-7]), scores[::-7], rtol=1e-10)
        assert model.score(IRIS) == pytest.approx(scores.mean())
        assert model.score(IRIS, sample_weight=[1] + [0] * 149) == pytest.approx(scores[0])
    model = fitted(ALL[0])
    scaler = StandardScaler().fit(IRIS)
    error = scaler.transform(IRIS) - scaler.transform(model.reconstruct(IRIS))
    np.testing.assert_allclose(model.score_samples(IRIS), -np.square(error).mean(1))


def test_data_frames_come_out_and_names_are_kept():
    frame = load_iris(as_frame=True).data
    model = fitted(ALL[0], frame).set_output(transform="pandas")
    latents = model.transform(frame)
    assert isinstance(latents, pd.DataFrame)
    assert list(latents.columns) == list(model.get_feature_names_out()) == ["autoencoder0", "autoencoder1"]
    assert list(model.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[frame.columns[::-1]])


def test_a_grid_search_over_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), Autoencoder(random_state=0, learning_rate=0.01, max_epochs=30))
    search = GridSearchCV(pipeline, {"autoencoder__n_components": [1, 3]}, cv=2).fit(IRIS)
    assert search.best_params_ == {"autoencoder__n_components": 3}


def test_parts_of_a_table_teach_as_the_whole(tmp_path):
    digits = load_digits().data.astype(np.float32)
    np.save(tmp_path / "digits.npy", digits)
    mapped = np.load(tmp_path / "digits.npy", mmap_mode="r")
    model = Autoencoder(8, random_state=0)
    for _ in range(8):
        for start in range(0, len(mapped), 300):
            model.partial_fit(mapped[start : start + 300])
    whole = Autoencoder(8, random_state=0, max_epochs=8, batch_size=32).fit(digits)
    assert model.n_epochs_ == len(model.loss_curve_) == 48
    assert model.score(digits) == pytest.approx(whole.score(digits), rel=0.15)
    assert model.score(digits) > -0.6
    assert np.abs(model.sample(500).mean(0) - digits.mean(0)).max() < 2.5  # of 16
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.partial_fit(digits[:, :9])


def test_early_stopping_returns_to_the_best_epoch():
    model = Autoencoder(
        4, hidden_layer_sizes=(200,), learning_rate=0.03, early_stopping=True, n_epochs_no_change=5,
        validation_fraction=0.3, max_epochs=400, random_state=0,
    ).fit(IRIS)  # fmt: skip
    curve = model.validation_loss_curve_
    assert len(curve) == len(model.loss_curve_) == model.n_epochs_ < 400
    assert int(np.argmin(curve)) < len(curve) - 1
    held = held_back(len(IRIS), 0.3, model._seed)
    assert -model.score(IRIS[held]) == pytest.approx(min(curve))


def test_mixture_samples_resemble_the_table():
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.normal(-5, 1, (300, 3)), rng.normal(5, 1, (300, 3))])
    model = Autoencoder(
        3, hidden_layer_sizes=(), activation="identity", solver="lbfgs", tol=1e-12, random_state=0
    ).fit(table)  # fmt: skip
    drawn = model.sample(4000)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(table.T), rtol=0.15)
    assert (np.sign(drawn).std(1) == 0).mean() > 0.98  # between the two clouds lies nothing


def test_variational_density_integrates_to_one_in_the_tables_units():
    table = np.random.default_rng(0).gamma(3.0, 200.0, (300, 1))
    model = VariationalAutoencoder(1, hidden_layer_sizes=(8,), max_epochs=20, random_state=0).fit(table)
    grid = np.linspace(-3000, 5000, 1500)[:, None]
    density = np.exp(model.log_likelihood(grid, samples=200))
    assert density.sum() * (grid[1, 0] - grid[0, 0]) == pytest.approx(1.0, abs=0.02)


def test_observation_noise_is_that_of_the_likelihood():
    pixels = (load_digits().data[:200] > 8).astype(np.float32)
    model = VariationalAutoencoder(2, likelihood="bernoulli", **FEW).fit(pixels)
    means, drawn = model.sample(50), model.sample(50, observation_noise=True)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert ((means > 0) & (means <= 1)).all()
    assert drawn.dtype == means.dtype == np.float32


def test_a_stronger_penalty_makes_fewer_components_speak():
    digits = load_digits().data[:400].astype(np.float32)
    shares = [
        (SparseAutoencoder(16, strength=strength, max_epochs=25, random_state=0).fit_transform(digits) > 0).mean()
        for strength in (0.0, 0.1)
    ]
    assert shares[1] < 0.6 * shares[0]
    top = SparseAutoencoder(16, penalty="top_k", k=3, max_epochs=2, random_state=0).fit_transform(digits)
    assert ((top != 0).sum(1) == 3).all()


def test_a_larger_beta_costs_information():
    wide, narrow = (
        VariationalAutoencoder(2, beta=beta, max_epochs=30, learning_rate=0.01, random_state=0).fit(IRIS)
        for beta in (1.0, 50.0)
    )
    assert narrow.transform(IRIS).var() < 0.1 * wide.transform(IRIS).var()
    assert wide.score(IRIS) > narrow.score(IRIS)


def test_columns_of_a_group_share_their_scale():
    table, weights = np.random.default_rng(0).normal(3, [1, 5, 2, 9], (50, 4)), np.ones(50)
    groups = np.array([0, 1, 0, 1])
    for kind, scaler in (("standard", (np.mean, np.std)), ("minmax", (np.min, np.ptp))):
        learned = ColumnScaler(kind, groups)
        learned.learn(table[:20], weights[:20])
        learned.learn(table[20:], weights[20:])
        for group in (0, 1):
            pooled = table[:, groups == group]
            np.testing.assert_allclose(learned.shift[groups == group], scaler[0](pooled))
            np.testing.assert_allclose(learned.scale[groups == group], scaler[1](pooled))
        np.testing.assert_allclose(learned.backward(learned.forward(table)), table)


def test_tables_too_large_to_hold_scaled_are_scaled_batch_by_batch(monkeypatch):
    held = fitted(ALL[0]).transform(IRIS)
    monkeypatch.setattr("anfinsen.autoencoders.rows.PRELOADED_BYTES", 0)
    np.testing.assert_array_equal(fitted(ALL[0]).transform(IRIS), held)
    rows = Rows(IRIS, np.arange(1.0, 151.0), ColumnScaler("none"), torch.float64, torch.device("cpu"))
    x, weights = rows.batch(torch.tensor([5, 2]))
    np.testing.assert_array_equal(x, IRIS[[5, 2]])
    np.testing.assert_allclose(weights, np.array([6.0, 3.0]) / 75.5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter of Autoencoder is 0: expected a whole number of at least 1"),
        ({"hidden_layer_sizes": (64, -1)}, "'hidden_layer_sizes'"),
        ({"activation": "maxout"}, "'activation' parameter of Autoencoder is 'maxout': expected one of"),
        ({"likelihood": "poisson"}, "'likelihood'"),
        ({"learning_rate": 0.0}, "a number above 0"),
        ({"batch_size": "all"}, "'batch_size'"),
        ({"tol": float("nan")}, "'tol'"),
        ({"likelihood": "bernoulli", "scale": "standard"}, "scale='minmax'"),
        ({"solver": "lbfgs", "early_stopping": True}, "solver='adam'"),
    ],
)
def test_parameters_that_cannot_be_are_said_in_one_sentence(parameters, message):
    with pytest.raises(ParameterError, match=message) as caught:
        Autoencoder(**parameters).fit(IRIS)
    assert isinstance(caught.value, ValueError)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ParameterError, match="partial_fit"):
        Autoencoder(solver="lbfgs").partial_fit(IRIS)
    with pytest.raises(ParameterError, match="warm_start"):
        fitted(Autoencoder(2, warm_start=True, max_epochs=1)).set_params(n_components=3).fit(IRIS)
    with pytest.raises(ParameterError, match="'variance'"):
        VariationalAutoencoder(variance="unknown").fit(IRIS)
    with pytest.raises(ParameterError, match="'noise_level'"):
        DenoisingAutoencoder(noise="masking", noise_level=1.5).fit(IRIS)
    with pytest.raises(ValueError, match="at least 2 rows"):
        Autoencoder(early_stopping=True).fit(IRIS[:1])
    with pytest.raises(ValueError, match="one row"):
        fitted(ALL[0]).interpolate(IRIS[:2], IRIS[:2])
    failed = fitted(Autoencoder(2, max_epochs=2, random_state=0)).set_params(scale=None, learning_rate=1e30)
    with pytest.raises(NonFiniteError, match="not finite"):
        failed.fit(IRIS * 1e30)
    with pytest.raises(NotFittedError):
        failed.transform(IRIS)
