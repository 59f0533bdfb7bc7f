"""Fréchet and kernel distances against closed forms, scipy's matrix root and a loop over pairs."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from anfinsen.common.seeding import numpy_generator
from anfinsen.metrics import frechet_distance, gaussian_frechet_distance, kernel_distance, polynomial_mmd


def _covariance(rng, size, rank):
    factor = rng.normal(size=(size, rank))
    return factor @ factor.T / rank


def test_gaussians_that_share_axes_have_a_closed_form():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    first, second = rng.uniform(0, 3, size=(2, 5))
    means = rng.normal(size=(2, 5))
    expected = np.square(means[0] - means[1]).sum() + np.square(first - second).sum()
    covariances = [(axes * spread**2) @ axes.T for spread in (first, second)]
    assert gaussian_frechet_distance(means[0], covariances[0], means[1], covariances[1]) == pytest.approx(expected)


def test_other_gaussians_as_by_scipy():
    rng = np.random.default_rng(1)
    first, second, mean = _covariance(rng, 6, 9), _covariance(rng, 6, 9), rng.normal(size=6)
    expected = mean @ mean + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert gaussian_frechet_distance(mean, first, np.zeros(6), second) == pytest.approx(expected, rel=1e-9)


def test_covariances_without_full_rank():
    # Two lines at a right angle have nothing in common; a line and itself everything.
    first, second = np.diag([4.0, 0, 0]), np.diag([0, 9.0, 0])
    zero = np.zeros(3)
    assert gaussian_frechet_distance(zero, first, zero, second) == pytest.approx(13)
    assert gaussian_frechet_distance(zero, first, zero, first) == pytest.approx(0, abs=1e-12)


def test_features_have_the_distance_of_their_gaussians():
    rng = np.random.default_rng(2)
    first = rng.normal(size=(40_000, 3)) * [1.0, 2.0, 0.5]
    second = rng.normal(size=(40_000, 3)) + np.array([1.0, 0.0, -1.0])
    expected = 2 + 0 + 1 + 0.25
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.03)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-9)


def test_a_set_lies_at_itself_whatever_the_order_and_turning_changes_nothing():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(30, 8)), rng.normal(size=(50, 8)) + 0.4
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert frechet_distance(first, first[::-1]) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(first @ turn, second @ turn) == pytest.approx(frechet_distance(first, second), rel=1e-9)
    assert polynomial_mmd(first @ turn, second @ turn) == pytest.approx(polynomial_mmd(first, second), rel=1e-9)


def test_features_of_one_number():
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[5.0], [5.0]])) == pytest.approx(16 + 2)


def test_kernel_distance_is_that_of_a_loop_over_pairs():
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(7, 4)), rng.normal(size=(5, 4)) + 1

    def kernel(x, y):
        return (float(np.dot(x, y)) / 4 + 1) ** 3

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])
        for rows in (first, second)
    ]
    across = np.mean([kernel(x, y) for x in first for y in second])
    assert polynomial_mmd(first, second) == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_kernel_distance_of_two_gaussians_in_closed_form_and_without_bias():
    # (xy + 1)³ compares the first three moments, with weights 3, 3 and 1.
    def moments(mean, std):
        return np.array([mean, mean**2 + std**2, mean**3 + 3 * mean * std**2])

    expected = float(np.array([3, 3, 1]) @ np.square(moments(0.0, 1.0) - moments(0.5, 0.8)))
    rng = np.random.default_rng(5)
    # Small sets: a biased estimate would be off by far more than the tolerance.
    found = [polynomial_mmd(rng.normal(size=(12, 1)), 0.5 + 0.8 * rng.normal(size=(12, 1))) for _ in range(6000)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - expected) < 4 * error
    same = [polynomial_mmd(*rng.normal(size=(2, 12, 1))) for _ in range(6000)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(len(same))
    assert min(same) < 0


def test_subsets_are_drawn_by_the_generator_and_all_rows_are_the_whole():
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)) + 1
    one, same, other = (
        kernel_distance(first, second, numpy_generator(seed), subsets=5, subset_size=10) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert one.std > 0
    whole = kernel_distance(first, second, numpy_generator(0), subsets=3, subset_size=20)
    assert whole.mean == pytest.approx(polynomial_mmd(first, second))
    assert whole.std == pytest.approx(0, abs=1e-9)


def test_what_has_no_distance_is_refused():
    rows = np.zeros((4, 2))
    with pytest.raises(ValueError, match="1 row"):
        frechet_distance(rows[:1], rows)
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(rows, rows + np.nan)
    with pytest.raises(ValueError, match="smaller set has 4"):
        kernel_distance(rows, rows, numpy_generator(0), subset_size=5)
    with pytest.raises(ValueError, match="smaller set has 4"):
        kernel_distance(rows, rows, numpy_generator(0), subset_size=1)
