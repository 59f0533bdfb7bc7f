"""The convolutional autoencoder: images in, with every objective that tables have."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if

from anfinsen.common.errors import ParameterError

from .base import BaseAutoencoder
from .convolutional_network import ConvolutionalNetwork, ConvolutionalNetworkConfig
from .networks import Network
from .objectives import DenoisingObjective, PlainObjective, SparseObjective, VariationalObjective
from .parameters import check_choice, check_noise, check_penalty, check_whole, check_widths
from .variational import VariationalAutoencoder

OBJECTIVES = ("plain", "denoising", "sparse", "variational")
_ROWS, _GREY, _COLOURED = 2, 3, 4  # dimensions of the array of input


def _is_variational(estimator: ConvolutionalAutoencoder) -> bool:
    if hasattr(estimator, "objective_"):
        return isinstance(estimator.objective_, VariationalObjective)
    return bool(estimator.objective == "variational")


class ConvolutionalAutoencoder(VariationalAutoencoder):
    """Convolutional autoencoder (Masci et al., ICANN 2011) as a scikit-learn transformer of images.

    Images come as arrays [n, height, width, channels], or [n, height, width] if grey, or as rows, flattened in that
    order. What is reconstructed, sampled or interpolated has the form that the input of `fit` had. All pixels of a
    channel share one scale. float32 images are fitted several times faster than float64 ones.

    Args:
        objective: "plain", "denoising", "sparse" or "variational"; the parameters from ``noise`` to ``variance`` are
            those of `DenoisingAutoencoder`, `SparseAutoencoder` and `VariationalAutoencoder`, each for its objective.
        image_shape: (height, width) or (height, width, channels) of rows. None: square and grey if the number of
            columns is a square, else one pixel high (a signal along the row).
        filters: channels after each convolution; each halves height and width, and the decoder mirrors them.
        kernel_size: of all convolutions; odd.
        hidden_layer_sizes: widths of fully connected layers between the last convolution and the latent space.

    All other parameters are those of `Autoencoder` (weights cannot be tied).

    Attributes:
        image_shape_: (height, width, channels). Others: see `BaseAutoencoder`.
    """

    objective: str
    noise: str
    noise_level: float
    penalty: str
    strength: float
    sparsity: float
    k: int | None
    image_shape: Any
    kernel_size: int

    image_shape_: tuple[int, int, int]
    _form: int
    _seen_shape: tuple[int, int, int] | None

    _SHAPE: ClassVar[tuple[str, ...]] = (
        "n_components",
        "objective",
        "image_shape",
        "filters",
        "kernel_size",
        "hidden_layer_sizes",
        "activation",
        "likelihood",
        "scale",
        "variance",
    )

    def __init__(
        self,
        n_components: Any = 16,
        *,
        objective: Any = "plain",
        image_shape: Any = None,
        filters: Any = (16, 32),
        kernel_size: Any = 3,
        hidden_layer_sizes: Any = (),
        noise: Any = "gaussian",
        noise_level: Any = 0.3,
        penalty: Any = "l1",
        strength: Any = 1e-2,
        sparsity: Any = 0.05,
        k: Any = None,
        beta: Any = 1.0,
        warm_up_epochs: Any = 0,
        free_bits: Any = 0.0,
        variance: Any = "learned",
        activation: Any = "relu",
        likelihood: Any = "gaussian",
        scale: Any = "auto",
        solver: Any = "adam",
        learning_rate: Any = 2e-3,
        batch_size: Any = "auto",
        max_epochs: Any = 200,
        tol: Any = 1e-4,
        weight_decay: Any = 0.0,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        n_epochs_no_change: Any = 10,
        warm_start: Any = False,
        random_state: Any = None,
        device: Any = "auto",
        verbose: Any = 0,
    ) -> None:
        super().__init__(
            n_components,
            beta=beta,
            warm_up_epochs=warm_up_epochs,
            free_bits=free_bits,
            variance=variance,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            likelihood=likelihood,
            scale=scale,
            solver=solver,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            tol=tol,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_epochs_no_change=n_epochs_no_change,
            warm_start=warm_start,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )
        self.objective = objective
        self.image_shape = image_shape
        self.filters = filters
        self.kernel_size = kernel_size
        self.noise = noise
        self.noise_level = noise_level
        self.penalty = penalty
        self.strength = strength
        self.sparsity = sparsity
        self.k = k

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice(self, "objective", OBJECTIVES)
        check_noise(self)
        check_penalty(self)
        check_whole(self, "kernel_size", 1)
        if self.kernel_size % 2 == 0:
            raise ParameterError(
                f"The 'kernel_size' parameter is {self.kernel_size}: expected an odd number, such as 3."
            )
        check_widths(self, "filters")
        self._given_shape()

    def _objective(self) -> Any:
        if self.objective == "variational":
            return super()._objective()
        kinds: dict[str, type[PlainObjective]] = {
            "plain": PlainObjective,
            "denoising": DenoisingObjective,
            "sparse": SparseObjective,
        }
        return kinds[self.objective].of(self)

    # Images and rows

    def _given_shape(self) -> tuple[int, int, int] | None:
        given = self.image_shape
        if given is None:
            return None
        sizes = tuple(given) if isinstance(given, (tuple, list, np.ndarray)) else ()
        whole = [int(size) for size in sizes if isinstance(size, Integral) and int(size) > 0]
        if len(whole) != len(sizes) or len(whole) not in (2, 3):
            raise ParameterError(
                f"The 'image_shape' parameter is {given!r}: expected (height, width), (height, width, channels) or "
                "None."
            )
        return whole[0], whole[1], whole[2] if len(whole) == 3 else 1

    def _to_rows(self, X: Any, *, reset: bool) -> Any:
        form = _dimensions(X)
        if form not in (_GREY, _COLOURED):
            if reset:
                self._form, self._seen_shape = _ROWS, None
            return X
        images = np.asarray(X)
        height, width, channels = *images.shape[1:3], images.shape[3] if form == _COLOURED else 1
        expected = self._given_shape() if reset else self.image_shape_
        if expected is not None and expected != (height, width, channels):
            raise ValueError(
                f"Images of shape {(height, width, channels)} were given, but {type(self).__name__} is expecting "
                f"{expected} (height, width, channels)."
            )
        if reset:
            self._form, self._seen_shape = form, (height, width, channels)
        return images.reshape(len(images), height * width * channels)

    def _from_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        if self._form == _ROWS:
            return rows
        return rows.reshape(len(rows), *self.image_shape_[: self._form - 1])

    def _scale_groups(self, n_features: int) -> Int[np.ndarray, " features"]:
        height, width, channels = self.image_shape_
        return np.tile(np.arange(channels), height * width)

    def _make_network(self, n_features: int, n_codes: int, generator: torch.Generator) -> Network:
        shape = self._seen_shape or self._given_shape()
        if shape is None:
            side = math.isqrt(n_features)
            shape = (side, side, 1) if side * side == n_features else (1, n_features, 1)
        if math.prod(shape) != n_features:
            raise ParameterError(
                f"The 'image_shape' parameter {self.image_shape!r} stands for {math.prod(shape)} numbers a row, but X "
                f"has {n_features} features."
            )
        self.image_shape_ = shape
        return ConvolutionalNetwork(
            ConvolutionalNetworkConfig(
                *shape,
                n_codes,
                int(self.n_components),
                check_widths(self, "filters"),
                int(self.kernel_size),
                check_widths(self, "hidden_layer_sizes"),
                self.activation,
            ),
            generator,
        )

    # What depends on the objective

    def interpolate(self, a: Any, b: Any, steps: int = 8) -> NDArray[Any]:
        """Return images on the straight line in latent space from one image to another, both ends included.

        Args:
            a, b: an image each, alone or in an array of one. steps: images of the result, at least 2.
        """
        return super().interpolate(self._one(a), self._one(b), steps)

    def _one(self, image: Any) -> Any:
        shape = getattr(self, "image_shape_", (0, 0, 0))
        if np.shape(image) == shape:
            return np.asarray(image)[None]
        if np.shape(image) == shape[:2] and shape[0] > 1 and shape[2] == 1:
            return np.asarray(image)[None]
        return image

    def score_samples(self, X: Any) -> NDArray[Any]:
        """Return how well each image is explained [n_images], in double precision; higher is better.

        That is minus its reconstruction error (see `Autoencoder`), or for the variational objective the lower bound of
        its log-likelihood in nats (see `VariationalAutoencoder`).
        """
        return super().score_samples(X)

    def sample(self, n_samples: int = 1, random_state: Any = None, *, observation_noise: bool = False) -> NDArray[Any]:
        """Return ``n_samples`` new images: from the prior if variational, else from a mixture of Gaussians in the
        latent space.

        Args:
            n_samples: how many, at least 1. random_state: seed; None: the estimator's own.
            observation_noise: draw from the likelihood instead of giving its mean; variational only.
        """
        if _is_variational(self):
            return super().sample(n_samples, random_state, observation_noise=observation_noise)
        if observation_noise:
            raise ParameterError("Observation noise needs objective='variational': leave observation_noise out.")
        return BaseAutoencoder.sample(self, n_samples, random_state)

    @available_if(_is_variational)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def log_likelihood(self, X: Any, samples: int = 128, random_state: Any = None) -> NDArray[Any]:
        """Return an importance-weighted estimate of each image's log-likelihood [n_images] in nats; variational only.

        See `VariationalAutoencoder.log_likelihood`.
        """
        return super().log_likelihood(X, samples, random_state)

    def _score_table(self, table: Any) -> NDArray[Any]:
        if _is_variational(self):
            return super()._score_table(table)
        return BaseAutoencoder._score_table(self, table)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _dimensions(data: Any) -> int:
    """Dimensions of an array, or of nested lists; tables of every other kind have two."""
    if isinstance(data, (list, tuple)):
        try:
            return int(np.ndim(data))
        except ValueError:  # lists of unequal lengths, which scikit-learn's own check refuses
            return _ROWS
    return int(getattr(data, "ndim", _ROWS))
