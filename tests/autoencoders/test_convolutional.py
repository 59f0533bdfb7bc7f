import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from anfinsen.autoencoders import ConvolutionalAutoencoder
from anfinsen.autoencoders.convolutional_network import ConvolutionalNetwork, ConvolutionalNetworkConfig
from anfinsen.common.errors import ParameterError
from anfinsen.common.seeding import torch_generator

OBJECTIVES = ["plain", "denoising", "sparse", "variational"]
# Shapes are all that several tests ask for.
QUICK = ConvolutionalAutoencoder(3, filters=(4, 6), max_epochs=2, random_state=0)


@parametrize_with_checks([ConvolutionalAutoencoder(max_epochs=3)])
def test_convolutional_autoencoder_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([ConvolutionalAutoencoder(objective=name) for name in OBJECTIVES])
def test_every_objective_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 10, 1), (7, 4, 2), (8, 8, 3), (2, 3, 1)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_any_size_comes_back_and_single_precision_starts_as_double_does(size, kernel):
    config = ConvolutionalNetworkConfig(*size, 4, 4, (3, 5, 2), kernel, hidden=(6,))
    single = ConvolutionalNetwork(config, torch_generator(1, "weights"))
    x = torch.randn(6, math.prod(size), generator=torch_generator(2), dtype=torch.float64)
    assert single.encode(x.float()).shape == (6, 4)
    assert single.decode(single.encode(x.float())).shape == x.shape
    double = ConvolutionalNetwork(config, torch_generator(1, "weights")).double()
    torch.testing.assert_close(single.encode(x.float()).double(), double.encode(x), atol=1e-4, rtol=1e-4)
    assert single.code_norms().shape == (4,)


def test_convolutions_follow_the_image_and_channels_stand_last():
    """A pattern moved by the encoder's stride moves the first layer's answer by one, in every channel of the image."""
    config = ConvolutionalNetworkConfig(12, 12, 2, 3, 3, (4,))
    network = ConvolutionalNetwork(config, torch_generator(0))
    images = torch.zeros(2, 12, 12, 2)
    images[0, 4:6, 4:6, 1] = 1.0
    images[1, 6:8, 4:6, 1] = 1.0
    first = network.encoder[0](images.permute(0, 3, 1, 2))
    torch.testing.assert_close(first[0, :, 1:5], first[1, :, 2:6])
    assert not torch.allclose(first[0], first[1])
    seen = []
    network.encoder[0].register_forward_hook(lambda module, given, answer: seen.append(given[0]))
    network.encode(images.reshape(2, -1))
    torch.testing.assert_close(seen[0], images.permute(0, 3, 1, 2))


def test_identity_activation_makes_the_network_affine():
    config = ConvolutionalNetworkConfig(5, 6, 2, 4, 4, (3, 4), hidden=(7,), activation="identity")
    network = ConvolutionalNetwork(config, torch_generator(0)).double()
    a, b = torch.randn(2, 9, 60, generator=torch_generator(1), dtype=torch.float64)
    mixed = 0.3 * network.decode(network.encode(a)) + 0.7 * network.decode(network.encode(b))
    torch.testing.assert_close(network.decode(network.encode(0.3 * a + 0.7 * b)), mixed)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_images_come_back_in_the_form_they_came_in(objective, shape):
    images = np.random.default_rng(0).random((20, *shape)).astype(np.float32)
    estimator = clone(QUICK).set_params(objective=objective).fit(images)
    assert estimator.image_shape_ == (*shape, 1)[:3]
    assert estimator.n_features_in_ == math.prod(shape)
    latents = estimator.transform(images)
    assert latents.shape == (20, 3) and latents.dtype == np.float32
    results = [
        estimator.inverse_transform(latents),
        estimator.reconstruct(images),
        estimator.sample(20, random_state=1),
        estimator.interpolate(images[0], images[1], 20),
        estimator.interpolate(images[:1], images[1:2], 20),
    ]
    assert all(result.shape == images.shape and result.dtype == np.float32 for result in results)
    np.testing.assert_array_equal(results[3], results[4])
    assert estimator.score_samples(images).shape == (20,)
    assert hasattr(estimator, "log_likelihood") == (objective == "variational")
    # The same numbers as rows: the same estimator.
    rows = images.reshape(20, -1)
    np.testing.assert_array_equal(estimator.transform(rows), latents)
    flat = clone(QUICK).set_params(objective=objective, image_shape=shape).fit(rows)
    np.testing.assert_array_equal(flat.transform(rows), latents)
    assert flat.reconstruct(images).shape == rows.shape
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.reconstruct(images), results[1])
    np.testing.assert_array_equal(again.score_samples(images), estimator.score_samples(images))


def test_shapes_of_rows_are_inferred_or_as_given():
    draw = np.random.default_rng(0)
    assert clone(QUICK).fit(draw.random((9, 16))).image_shape_ == (4, 4, 1)
    assert clone(QUICK).fit(draw.random((9, 10))).image_shape_ == (1, 10, 1)
    assert clone(QUICK).set_params(image_shape=[2, 4, 2]).fit(draw.random((9, 16))).image_shape_ == (2, 4, 2)


def test_all_pixels_of_a_channel_share_a_scale():
    images = np.random.default_rng(0).random((30, 4, 4, 2)) * [1.0, 100.0] + [0.0, 7.0]
    scaler = clone(QUICK).fit(images)._scaler
    shift, scale = (values.reshape(4, 4, 2) for values in (scaler.shift, scaler.scale))
    np.testing.assert_allclose(shift[2, 3], images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(scale[2, 3], images.std(axis=(0, 1, 2)))
    assert (shift == shift[0, 0]).all() and (scale == scale[0, 0]).all()


def test_pixels_of_a_bernoulli_likelihood_stay_between_darkest_and_brightest():
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3)).astype(np.uint8)
    estimator = clone(QUICK).set_params(likelihood="bernoulli", objective="variational").fit(images)
    for result in (estimator.reconstruct(images), estimator.sample(9), estimator.sample(9, observation_noise=True)):
        assert result.shape[1:] == (6, 6, 3) and result.min() >= 0 and result.max() <= 255
    assert (estimator.log_likelihood(images, samples=4) < 0).all()
    frame = estimator.set_output(transform="pandas").transform(images)
    assert frame.columns.tolist() == [f"convolutionalautoencoder{i}" for i in range(3)]


def test_digits_are_described_better_than_by_as_many_principal_components():
    images = load_digits().images.astype(np.float32)
    rows = images.reshape(len(images), -1)
    train, test = slice(0, 1000), slice(1000, 1400)
    estimator = ConvolutionalAutoencoder(8, max_epochs=25, hidden_layer_sizes=(64,), random_state=0).fit(images[train])
    assert estimator.loss_curve_[-1] < 0.4 * estimator.loss_curve_[0]
    error = np.square(estimator.reconstruct(images[test]) - images[test]).mean()
    pca = PCA(8).fit(rows[train])
    assert error < np.square(pca.inverse_transform(pca.transform(rows[test])) - rows[test]).mean()


def test_partial_fit_and_warm_start_keep_the_shape():
    images = np.random.default_rng(0).random((20, 6, 5, 2))
    estimator = clone(QUICK).partial_fit(images)
    steps = estimator.partial_fit(images).n_epochs_
    assert steps == 2
    with pytest.raises(ValueError, match=r"expecting \(6, 5, 2\)"):
        estimator.partial_fit(images[:, :5])
    with pytest.raises(ValueError, match=r"expecting \(6, 5, 2\)"):
        estimator.transform(images[..., :1])


@pytest.mark.parametrize(
    "values",
    [
        {"objective": "contractive"},
        {"image_shape": (8,)},
        {"image_shape": (4, 4.0)},
        {"image_shape": 16},
        {"image_shape": (4, 5)},
        {"kernel_size": 4},
        {"filters": (0,)},
        {"noise_level": -1.0},
        {"penalty": "l2"},
        {"variance": "known"},
    ],
)
def test_wrong_parameters_are_refused(values):
    with pytest.raises(ParameterError, match=next(iter(values))):
        ConvolutionalAutoencoder(**values).fit(np.zeros((4, 16)))


def test_input_that_is_no_image_is_refused():
    with pytest.raises(ValueError, match="Found array with dim 5"):
        clone(QUICK).fit(np.zeros((3, 2, 2, 2, 2)))
    with pytest.raises(ValueError, match="NaN"):
        clone(QUICK).fit(np.full((3, 4, 4), np.nan))
    with pytest.raises(ValueError, match=r"Images of shape \(4, 4, 1\) were given"):
        clone(QUICK).set_params(image_shape=(4, 4, 3)).fit(np.zeros((3, 4, 4)))
    with pytest.raises(ParameterError, match="objective='variational'"):
        clone(QUICK).fit(np.random.default_rng(0).random((9, 4, 4))).sample(2, observation_noise=True)
