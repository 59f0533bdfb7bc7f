import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from anfinsen.autoencoders import Autoencoder, AutoencoderDetector, ConvolutionalAutoencoder
from anfinsen.autoencoders.detector import _offset
from anfinsen.common.errors import ParameterError


@parametrize_with_checks([AutoencoderDetector(Autoencoder(max_epochs=3))])
def test_detector_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([AutoencoderDetector()])
def test_detector_with_its_defaults_is_an_estimator(estimator, check):
    check(estimator)


def plane(rows: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """Rows near a plane in six dimensions."""
    draw = np.random.default_rng(seed)
    axes = np.random.default_rng(0).normal(size=(2, 6))
    return draw.normal(size=(rows, 2)) @ axes + draw.normal(scale=noise, size=(rows, 6))


def linear(**parameters) -> Autoencoder:
    return Autoencoder(2, hidden_layer_sizes=(), activation="identity", solver="lbfgs", random_state=0, **parameters)


def test_rows_off_the_plane_are_outliers_and_the_share_is_kept():
    train = plane(200, seed=1)
    detector = AutoencoderDetector(linear(), contamination=0.05).fit(train)
    assert (detector.predict(train) == -1).sum() == 10
    assert (detector.fit_predict(train) == -1).sum() == 10
    away = plane(50, seed=2) + 3 * np.random.default_rng(3).normal(size=(50, 6))
    assert (detector.predict(away) == -1).all()
    np.testing.assert_array_equal(
        detector.decision_function(away), detector.autoencoder_.score_samples(away) - detector.offset_
    )
    assert not hasattr(detector.autoencoder, "module_")  # what was given is not fitted: a clone is


def test_malignant_tumours_stand_out():
    rows, benign = load_breast_cancer(return_X_y=True)
    train = rows[benign == 1][:250]
    test, normal = rows[250:], benign[250:] == 1
    autoencoder = Autoencoder(4, hidden_layer_sizes=(16,), max_epochs=60, random_state=0)
    detector = AutoencoderDetector(autoencoder).fit(train.astype(np.float32))
    assert roc_auc_score(normal, detector.score_samples(test.astype(np.float32))) > 0.9


def test_offset_is_the_weighted_quantile_and_rows_of_weight_2_count_twice():
    draw = np.random.default_rng(5)
    scores, weights = draw.normal(size=40), draw.integers(1, 4, size=40)
    for share in (0.05, 0.1, 0.3, 0.5):
        offset = _offset(scores, weights.astype(float), share)
        assert weights[scores < offset].sum() <= share * weights.sum() < weights[scores <= offset].sum()
        assert offset == _offset(np.repeat(scores, weights), np.ones(weights.sum()), share)
    assert (scores[:30] < _offset(scores[:30], np.ones(30), 0.1)).sum() == 3  # 0.1 * 30 is a little more than 3
    assert _offset(np.zeros(9), np.ones(9), 0.5) == 0.0


@pytest.mark.parametrize(
    "inner",
    [
        make_pipeline(RobustScaler(), linear(scale=None)),
        ConvolutionalAutoencoder(2, image_shape=(2, 3, 1), filters=(4,), max_epochs=3, random_state=0),
    ],
    ids=["pipeline", "convolutional"],
)
def test_any_estimator_with_scores_can_stand_inside(inner):
    train = plane(60, seed=1)
    detector = clone(AutoencoderDetector(inner, contamination=0.1)).fit(train)
    assert (detector.predict(train) == -1).sum() == 6
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).predict(train), detector.predict(train))


def test_images_data_frames_and_grids_of_parameters():
    train = plane(60, seed=1)
    images = AutoencoderDetector(ConvolutionalAutoencoder(2, filters=(4,), max_epochs=2, random_state=0))
    assert images.fit(train.reshape(60, 3, 2)).predict(train.reshape(60, 3, 2)).shape == (60,)
    frame = pd.DataFrame(train, columns=list("abcdef"))
    fitted = AutoencoderDetector(linear()).fit(frame)
    assert fitted.feature_names_in_.tolist() == list("abcdef")
    assert fitted.n_features_in_ == 6
    assert not hasattr(fitted.fit(train), "feature_names_in_")
    search = GridSearchCV(
        AutoencoderDetector(linear()),
        {"autoencoder__n_components": [1, 2]},
        scoring=lambda estimator, rows, y=None: float(np.median(estimator.score_samples(rows))),
        cv=2,
    )
    assert search.fit(train).best_params_ == {"autoencoder__n_components": 2}


def test_random_state_reaches_the_autoencoder():
    train = plane(40, seed=1)
    inner = Autoencoder(2, max_epochs=2, random_state=7)
    assert AutoencoderDetector(inner, random_state=3).fit(train).autoencoder_.random_state == 3
    assert AutoencoderDetector(inner).fit(train).autoencoder_.random_state == 7
    assert inner.random_state == 7


@pytest.mark.parametrize("contamination", [0.0, 0.51, -0.1, "auto", None])
def test_wrong_shares_are_refused(contamination):
    with pytest.raises(ParameterError, match="contamination"):
        AutoencoderDetector(contamination=contamination).fit(plane(20, seed=1))


def test_the_row_at_the_threshold_is_no_outlier_whatever_it_is_scored_with():
    rows = np.random.default_rng(0).uniform(size=(40, 3))
    detector = AutoencoderDetector(Autoencoder(max_epochs=3), random_state=0).fit(rows)
    together = detector.decision_function(rows)
    assert (together < 0).sum() == 4
    nearest = np.abs(together).argmin()
    assert together[nearest] == pytest.approx(1e-6 * abs(detector.offset_), rel=0.01)
    alone = np.concatenate([detector.predict(row[None]) for row in rows])
    np.testing.assert_array_equal(alone, detector.predict(rows))
