"""What a scikit-learn user may do that nobody thought of: odd arrays, changed parameters, fits that fail midway."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anfinsen.autoencoders import (
    Autoencoder,
    AutoencoderDetector,
    ConvolutionalAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from anfinsen.autoencoders.rows import CHUNK_ROWS, chunks, held_back, learn_scale
from anfinsen.autoencoders.scaling import ColumnScaler
from anfinsen.common.errors import NonFiniteError

IRIS = load_iris().data
FEW = {"max_epochs": 3, "random_state": 0}


def strided(table):
    wide = np.zeros((2 * len(table), 2 * table.shape[1]), table.dtype)
    wide[::2, ::2] = table
    return wide[::2, ::2]


def read_only(table):
    copy = table.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = [
    np.asfortranarray,
    strided,
    read_only,
    lambda table: np.ascontiguousarray(table[::-1, ::-1])[::-1, ::-1],
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["fortran", "strided", "read-only", "backwards"])
@pytest.mark.parametrize("scale", ["standard", None])
def test_how_an_array_lies_in_memory_changes_no_bit(layout, scale):
    model = Autoencoder(2, scale=scale, **FEW).fit(IRIS)
    latents = model.transform(IRIS)
    np.testing.assert_array_equal(model.transform(layout(IRIS)), latents)
    np.testing.assert_array_equal(model.inverse_transform(layout(latents)), model.inverse_transform(latents))
    again = Autoencoder(2, scale=scale, **FEW).fit(layout(IRIS))
    np.testing.assert_allclose(again.transform(IRIS), latents, rtol=1e-7, atol=1e-9)


def norm(model):
    return sum(float(parameter.detach().square().sum()) for parameter in model.module_.parameters())


def test_weight_decay_that_was_changed_holds_in_a_warm_start():
    decayed, free = (
        Autoencoder(2, warm_start=True, tol=0.0, **FEW)
        .fit(IRIS)
        .set_params(weight_decay=decay, max_epochs=20)
        .fit(IRIS)
        for decay in (10.0, 0.0)
    )
    assert norm(decayed) < 0.5 * norm(free)


def test_a_warm_start_with_validation_rows_makes_nothing_worse():
    model = Autoencoder(2, early_stopping=True, warm_start=True, max_epochs=40, random_state=0).fit(IRIS)
    held = held_back(len(IRIS), 0.1, model._seed)
    before = model.score(IRIS[held])
    model.set_params(learning_rate=1.0, max_epochs=3).fit(IRIS)
    assert min(model.validation_loss_curve_[-3:]) > -before  # every further epoch was worse
    assert model.score(IRIS[held]) == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_a_bernoulli_likelihood_without_scaler_refuses_what_are_no_probabilities(make):
    model = Autoencoder(2, likelihood="bernoulli", scale=None, **FEW)
    for table in (IRIS, -IRIS / 10):
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.fit(make(table))
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.partial_fit(make(table))
    model.fit(make(IRIS / IRIS.max() * (1 + 1e-7)))  # rounding


def test_a_fit_that_diverges_leaves_nothing_fitted():
    for go_on in ("fit", "partial_fit"):
        model = Autoencoder(2, warm_start=True, **FEW).fit(IRIS).set_params(learning_rate=1e300)
        with pytest.raises(NonFiniteError):
            getattr(model, go_on)(IRIS)
        with pytest.raises(NotFittedError):
            model.transform(IRIS)
        assert np.isfinite(getattr(model.set_params(learning_rate=1e-3), go_on)(IRIS).transform(IRIS)).all()


def test_a_table_that_is_refused_does_not_leave_half_of_another_fit():
    model = Autoencoder(2, **FEW).fit(IRIS)
    with pytest.raises(ValueError, match="Negative"):
        model.fit(IRIS[:, :3], sample_weight=np.full(150, -1.0))
    with pytest.raises(NotFittedError):
        model.transform(IRIS)
    images = ConvolutionalAutoencoder(2, filters=(2,), **FEW).fit(np.random.default_rng(0).random((9, 4, 4)))
    with pytest.raises(ValueError, match="NaN"):
        images.fit(np.full((9, 16), np.nan))
    with pytest.raises(NotFittedError):
        images.sample(1)
    # A part that is refused, on the other hand, costs nothing of what was learned.
    model = Autoencoder(2, **FEW).partial_fit(IRIS)
    before = model.transform(IRIS)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((3, 4), np.nan))
    np.testing.assert_array_equal(model.transform(IRIS), before)


def test_parameters_that_numpy_made():
    model = Autoencoder(
        np.int64(3), hidden_layer_sizes=np.array([5, 4]), early_stopping=np.True_, batch_size=np.int64(20),
        learning_rate=np.float32(1e-3), **FEW,
    )  # fmt: skip
    assert model.fit(IRIS).transform(IRIS).shape == (150, 3)
    tied = Autoencoder(np.int64(2), tied_weights=np.True_, **FEW).fit(IRIS)
    assert tied.transform(IRIS).shape == (150, 2)
    sparse_codes = SparseAutoencoder(np.int64(8), penalty="top_k", **FEW).fit_transform(IRIS)
    assert ((sparse_codes != 0).sum(1) == 2).all()


def test_a_detectors_seed_reaches_into_pipelines():
    inner = make_pipeline(StandardScaler(), Autoencoder(2, **FEW))
    one, other, same = (AutoencoderDetector(inner, random_state=seed).fit(IRIS) for seed in (1, 2, 1))
    np.testing.assert_array_equal(one.score_samples(IRIS), same.score_samples(IRIS))
    assert not np.array_equal(one.score_samples(IRIS), other.score_samples(IRIS))


def test_long_narrow_tables_pass_in_pieces(monkeypatch):
    """A hidden layer is wider than such a table: millions of its rows at a time would fill the memory."""
    parts = chunks(np.empty((3 * CHUNK_ROWS + 1, 2)), 2)
    assert max(part.stop - part.start for part in parts) == CHUNK_ROWS
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    whole = {kind: ColumnScaler(kind) for kind in ("standard", "minmax")}
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(IRIS))
    for scaler in whole.values():
        scaler.learn(IRIS, weights)
    monkeypatch.setattr("anfinsen.autoencoders.rows.CHUNK_ROWS", 40)
    for kind, scaler in whole.items():
        learned = ColumnScaler(kind)
        learn_scale(learned, IRIS, weights)
        np.testing.assert_allclose(learned.shift, scaler.shift, rtol=1e-12)
        np.testing.assert_allclose(learned.scale, scaler.scale, rtol=1e-12)


@pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])
def test_rows_at_the_end_of_single_precision_are_outliers(kind):
    """Infinities in the network would make their scores NaN, which is not below any offset."""
    detector = AutoencoderDetector(kind(2, **FEW)).fit(IRIS.astype(np.float32))
    far = IRIS[:3].astype(np.float32)
    far[:, 0] = 1e30, 3e38, -3e38
    assert (detector.predict(far) == -1).all()
    for method in ("score_samples", "transform", "reconstruct"):
        assert np.isfinite(getattr(detector.autoencoder_, method)(far)).all()
