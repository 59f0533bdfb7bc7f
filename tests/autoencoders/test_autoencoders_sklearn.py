"""scikit-learn's own checks of every estimator, with its default parameters and no check left out."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from anfinsen.autoencoders import (
    Autoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)


@parametrize_with_checks([Autoencoder()])
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([DenoisingAutoencoder(), SparseAutoencoder(), VariationalAutoencoder()])
def test_scikit_learn_check_of_variants(estimator, check):
    check(estimator)
