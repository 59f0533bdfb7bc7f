"""Outlier detection by what an autoencoder cannot reproduce."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from .autoencoder import Autoencoder
from .parameters import check_number
from .rows import checked_weights

ROUNDING = 1e-9
"""Share of the rows' weight that is rounding error: 10 % of 30 rows are 3 rows."""
SLACK = 1e-6
"""Of the offset, by which it lies below a row's score: alone or in another batch the same row scores a little else."""


class AutoencoderDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Calls outliers the rows that an autoencoder scores worst (Hawkins et al., DaWaK 2002), with scikit-learn's
    interface of outlier detectors.

    Args:
        autoencoder: any estimator of this package, or another (a pipeline too) with ``fit`` and ``score_samples``; a
            clone is fitted. None: `Autoencoder` with its defaults.
        contamination: share of the training rows that count as outliers; above 0, at most 0.5.
        random_state: seed for the autoencoder (all steps of a pipeline); None: it keeps its own.

    Attributes:
        autoencoder_: fitted. offset_: scores below it are outliers.
        n_features_in_, feature_names_in_: of the table, as scikit-learn has them.
    """

    autoencoder_: Any
    offset_: float
    n_features_in_: int

    def __init__(self, autoencoder: Any = None, *, contamination: Any = 0.1, random_state: Any = None) -> None:
        self.autoencoder = autoencoder
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AutoencoderDetector:
        """Fit the autoencoder, and set the offset so that a share ``contamination`` of the rows' weight lies below.

        Args:
            X: what the autoencoder takes: a table [n_rows, n_features], or images. y: ignored.
            sample_weight: [n_rows]; a row of weight k counts as k rows.

        Raises:
            ValueError: the table is not one of finite numbers (scikit-learn's messages).
            ParameterError: a parameter is not valid. NonFiniteError: training diverged.
        """
        check_number(self, "contamination", 0.0, 0.5, least_allowed=False)
        inner = clone(self._inner())
        if self.random_state is not None:
            seeds = [name for name in inner.get_params() if name.split("__")[-1] == "random_state"]
            inner.set_params(**dict.fromkeys(seeds, self.random_state))
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.autoencoder_ = inner.fit(X, **given)
        self.n_features_in_ = inner.n_features_in_
        if hasattr(inner, "feature_names_in_"):
            self.feature_names_in_ = inner.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        scores = np.asarray(inner.score_samples(X), dtype=np.float64)
        offset = _offset(scores, checked_weights(sample_weight, len(scores)), float(self.contamination))
        self.offset_ = offset - SLACK * abs(offset)
        return self

    def score_samples(self, X: Any) -> NDArray[Any]:
        """Return the autoencoder's score of each row [n_rows], in double precision; lower is more abnormal.

        That is minus the reconstruction error, or what the autoencoder's own ``score_samples`` says it is.
        """
        check_is_fitted(self)
        return np.asarray(self.autoencoder_.score_samples(X), dtype=np.float64)

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return `score_samples` minus ``offset_`` [n_rows]: below 0 is an outlier."""
        scores: NDArray[Any] = self.score_samples(X) - self.offset_
        return scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return -1 for outliers and 1 for the other rows [n_rows]."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _inner(self) -> Any:
        return Autoencoder() if self.autoencoder is None else self.autoencoder

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self._inner()).input_tags
        return tags


def _offset(scores: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], share: float) -> float:
    """Return the score below which lies as much of the weight as can be without exceeding ``share`` of it.

    It is a score of a row, not a mean of two, so that a row of weight 2 counts as the same row twice would.
    """
    order = np.argsort(scores, kind="stable")
    up_to = np.cumsum(weights[order])
    return float(scores[order][np.searchsorted(up_to, (share + ROUNDING) * up_to[-1], side="right")])
