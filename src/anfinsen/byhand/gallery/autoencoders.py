"""The five autoencoders with their losses and gradients, and the linear one as principal component analysis."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.autoencoders import (
    Autoencoder,
    BaseAutoencoder,
    ConvolutionalAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from anfinsen.autoencoders.convolutional_network import ConvolutionalNetwork, ConvolutionalNetworkConfig
from anfinsen.autoencoders.likelihoods import Gaussian
from anfinsen.autoencoders.networks import DenseNetwork, DenseNetworkConfig, Network
from anfinsen.autoencoders.objectives import (
    DenoisingObjective,
    Objective,
    PlainObjective,
    SparseObjective,
    VariationalObjective,
)
from anfinsen.common.seeding import torch_generator

from ..slots import Names
from ..trace import Function, step, trace_function
from .entry import Entry, Losses, Recorded, Sources, descent, whole, whole_numbers

FEATURES, HIDDEN, COMPONENTS, ROWS = 4, 3, 2, 2  # of the small entries
SIDE = 4  # of the small pictures, pixels
EPOCHS = 20  # that the model's entries are trained for, on scikit-learn's handwritten digits (8 x 8 pixels)
MODEL_ROWS, MODEL_HIDDEN, MODEL_COMPONENTS = 2, 16, 4
RATE = 0.1


class _Loss(nn.Module):
    """An objective's loss as a module, so that its network's weights can be given from outside."""

    def __init__(self, network: Network, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, x: Float[Tensor, "n features"]) -> dict[str, Tensor]:
        """Return the loss and its parts, after all epochs; its draws are always the same."""
        rows = torch.ones(len(x), dtype=x.dtype)
        loss, parts = self.objective.loss(self.network, x, rows, torch_generator(0, "gallery", "loss"), None)
        return {"loss": loss, **parts}


def _learning(network: Network, objective: Objective) -> Function:
    module = _Loss(network, objective)

    def function(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        # Parameters that share their numbers with the weights given: networks want parameters.
        given = {name: nn.Parameter(weight) for name, weight in weights.items()}
        filled = copy.deepcopy(module)
        for name, parameter in given.items():
            owner, _, leaf = name.rpartition(".")
            setattr(filled.network.get_submodule(owner), leaf, parameter)
        results: dict[str, Tensor] = filled(inputs["x"])
        return {**results, **descent(results["loss"], given, inputs["rate"])}

    return function


def _record(network: Network, objective: Objective, x: Tensor, about: str) -> Recorded:
    weights = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    words = {1: "c", 2: "c d", 4: "c d h w"}
    axes = {"x": "b c", **{name: words[weight.dim()] for name, weight in weights.items()}}
    inputs = {"x": x, "rate": torch.tensor(RATE)}
    recorded = trace_function(_learning(network, objective), inputs, weights, axes=axes)
    return Recorded(recorded, about=about)


def _small(objective: Objective, activation: str, losses: Losses) -> Recorded:
    shape = DenseNetworkConfig(FEATURES, COMPONENTS * objective.codes_per_component, COMPONENTS, (HIDDEN,), activation)
    network = DenseNetwork(shape, torch_generator(0)).double()
    whole_numbers(network, type(objective).__name__)
    objective.prepare(network)
    return _record(network, objective, whole("rows", ROWS, FEATURES, low=-1, high=2), "small whole numbers")


def _small_convolutional(losses: Losses) -> Recorded:
    network = ConvolutionalNetwork(
        ConvolutionalNetworkConfig(SIDE, SIDE, 1, COMPONENTS, COMPONENTS, (1,)), torch_generator(0)
    ).double()
    whole_numbers(network, "convolutional")
    picture = whole("picture", 1, SIDE * SIDE, low=0, high=1)
    return _record(network, PlainObjective(Gaussian()), picture, "small whole numbers")


def digits() -> Float[np.ndarray, "n 64"]:
    """Return scikit-learn's handwritten digits, pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data, dtype=np.float64) / 16


def _model(make: Callable[..., BaseAutoencoder], sources: Sources) -> Recorded:
    data = digits()
    estimator = make(MODEL_COMPONENTS, scale=None, max_epochs=EPOCHS, random_state=0, device="cpu").fit(data)
    x = torch.from_numpy(data[:MODEL_ROWS])
    about = f"{type(estimator).__name__} of handwritten digits, after {EPOCHS} epochs"
    return _record(estimator.module_, estimator.objective_, x, about)


def _entry(
    name: str,
    title: str,
    shows: str,
    reference: str,
    small: Callable[[Losses], Recorded],
    make: Callable[..., BaseAutoencoder],
) -> Entry:
    after = " Then the gradients of all weights, and one step of gradient descent."
    return Entry(name, title, shows + after, reference, small, partial(_model, make))


# Linear ≡ principal components


def _linear(inputs: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    x, encoder, decoder, axes = inputs["x"], weights["encoder"], weights["decoder"], weights["axes"]
    with step("centre"):
        centred = x - x.mean(0)
    with step("covariance"):
        covariance = centred.T @ centred / x.shape[0]
    with step("principal axes: covariance times axis, less variance times axis (0)"):
        moved = covariance @ axes
        variances = (axes * moved).sum(0)
        residual = moved - axes * variances
    with step("reconstruction of the autoencoder"):
        reconstruction = centred @ encoder.T @ decoder.T
    with step("reconstruction from principal components"):
        principal = centred @ axes @ axes.T
    with step("the largest difference of the two (0)"):
        difference = (reconstruction - principal).abs().max()
    with step("loss: mean squared error"):
        loss = (reconstruction - centred).square().mean()
    by_encoder, by_decoder = torch.autograd.grad(loss, [encoder, decoder])
    with step("variance that is lost, by feature: the loss again"):
        lost = (covariance.diagonal().sum() - variances.sum()) / x.shape[1]
    return {
        "variances": variances,
        "residual": residual,
        "difference": difference,
        "loss": loss,
        "lost variance": lost,
        "gradient of encoder": by_encoder,
        "gradient of decoder": by_decoder,
    }


def _record_linear(x: Tensor, weights: dict[str, Tensor], features: tuple[str, ...], about: str) -> Recorded:
    axes = {"x": "b c", "encoder": "d c", "decoder": "c d", "axes": "c e"}
    recorded = trace_function(_linear, {"x": x}, weights, axes=axes, names=Names({"channel": features}))
    return Recorded(recorded, about=about)


def _small_linear(losses: Losses) -> Recorded:
    # Scattered more along (4, 3) / 5 than across it.
    x = torch.tensor([[8.0, 6], [-8, -6], [6, -8], [-6, 8], [12, 9], [-12, -9]])
    axis = torch.tensor([[0.8], [0.6]])
    # Any scale of the code: the encoder halves it, the decoder doubles it.
    return _record_linear(
        x, {"encoder": axis.T / 2, "decoder": 2 * axis, "axes": axis}, ("x", "y"), "small whole numbers"
    )


def _model_linear(sources: Sources) -> Recorded:
    from sklearn.datasets import load_iris

    table = load_iris()
    data = np.asarray(table.data, dtype=np.float64)
    model = Autoencoder(
        2, hidden_layer_sizes=(), activation="identity", solver="lbfgs", scale="standard", tol=1e-15,
        max_epochs=5000, random_state=0, device="cpu",
    ).fit(data)  # fmt: skip
    standard = (data - data.mean(0)) / data.std(0)
    _, vectors = np.linalg.eigh(standard.T @ standard)
    network = model.module_
    encoder, decoder = (dict(network.named_parameters())[f"{part}.0.weight"] for part in ("encoder", "decoder"))
    weights = {
        "encoder": encoder.detach(),
        "decoder": decoder.detach(),
        "axes": torch.from_numpy(vectors[:, ::-1][:, :2].copy()),
    }
    features = tuple(str(name).removesuffix(" (cm)") for name in table.feature_names)
    rows = torch.from_numpy(standard)
    return _record_linear(rows, weights, features, "a linear autoencoder of Fisher's irises")


AUTOENCODERS = (
    _entry(
        "autoencoder",
        "An autoencoder",
        "Rows are squeezed through a few numbers and made again; the loss is the mean squared error.",
        "Hinton and Salakhutdinov 2006",
        partial(_small, PlainObjective(Gaussian()), "tanh"),
        partial(Autoencoder, hidden_layer_sizes=(MODEL_HIDDEN,)),
    ),
    _entry(
        "denoising_autoencoder",
        "A denoising autoencoder",
        "Some of a row's numbers are put to 0 before the network sees it, and the whole row is asked for.",
        "Vincent et al. 2008",
        partial(_small, DenoisingObjective(Gaussian(), "masking", 0.3), "tanh"),
        partial(DenoisingAutoencoder, hidden_layer_sizes=(MODEL_HIDDEN,), noise="masking"),
    ),
    _entry(
        "sparse_autoencoder",
        "A sparse autoencoder",
        "Codes are rectified, and each costs what it weighs in the decoder, so that few are used at a time.",
        "Ng 2011; Bricken et al. 2023",
        partial(_small, SparseObjective(Gaussian(), "l1", 0.1, 0.1, 1), "tanh"),
        partial(SparseAutoencoder, hidden_layer_sizes=(MODEL_HIDDEN,), penalty="l1"),
    ),
    _entry(
        "variational_autoencoder",
        "A variational autoencoder",
        "The encoder gives a mean and a variance of each code; one draw goes through the decoder. The loss is a "
        "bound on the likelihood: how badly the row is told, and how far the codes' distribution is from a standard "
        "normal one.",
        "Kingma and Welling 2013",
        partial(_small, VariationalObjective(Gaussian()), "tanh"),
        partial(VariationalAutoencoder, hidden_layer_sizes=(MODEL_HIDDEN,)),
    ),
    _entry(
        "convolutional_autoencoder",
        "A convolutional autoencoder",
        "A small filter goes over the picture with a stride of 2, a linear map makes the code, and the way back "
        "mirrors both with a transposed convolution.",
        "Masci et al. 2011",
        _small_convolutional,
        partial(ConvolutionalAutoencoder, filters=(2,)),
    ),
    Entry(
        "linear_autoencoder_pca",
        "A linear autoencoder is principal component analysis",
        "A trained linear autoencoder and the principal axes of the same rows: both make the same reconstruction, "
        "the gradient of the loss is 0 there, and the loss is the variance that is left out.",
        "Baldi and Hornik 1989",
        _small_linear,
        _model_linear,
    ),
)
