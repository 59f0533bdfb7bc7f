"""The variants of autoencoder by name, made and trained for one data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from anfinsen.common.device import choose_device
from anfinsen.common.errors import AnfinsenError, ConfigError, MemoryLimitError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import MAX_SEED, numpy_generator

from .autoencoder import Autoencoder
from .base import BaseAutoencoder
from .convolutional import ConvolutionalAutoencoder
from .dataset import BYTE_RANGE, DataSet
from .denoising import DenoisingAutoencoder
from .sparse import SparseAutoencoder
from .variational import VariationalAutoencoder

_CLASSES: dict[str, type[BaseAutoencoder]] = {
    "plain": Autoencoder,
    "denoising": DenoisingAutoencoder,
    "sparse": SparseAutoencoder,
    "variational": VariationalAutoencoder,
    "convolutional": ConvolutionalAutoencoder,
    "linear": Autoencoder,
}
VARIANTS = tuple(_CLASSES)
FEWEST_ROWS = 20  # with which some are held out for validation
STREAMED_EPOCHS = 5  # passes over data that are streamed; each has many steps
# Parameters that have an option of their own, which is recorded and checked.
_OPTIONS = {
    "n_components": "--components", "hidden_layer_sizes": "--hidden", "max_epochs": "--epochs",
    "batch_size": "--batch", "learning_rate": "--learning-rate", "random_state": "--seed", "device": "--device",
}  # fmt: skip
# What the linear variant is; L-BFGS reaches its minimum, the principal subspace, to many digits.
_LINEAR = {"activation": "identity", "hidden_layer_sizes": ()}


@dataclass(frozen=True)
class VariantConfig:
    """What is trained; None leaves a number to the estimator.

    Attributes:
        variant: one of ``VARIANTS``. components: width of the latent space. hidden: widths of hidden layers.
        epochs: most passes over the data. batch: rows of a step. learning_rate: of Adam. seed: of everything random.
        contamination: share of training rows that count as outliers. device: where to compute.
        settings: more parameters of the estimator, by name.
    """

    variant: str = "plain"
    components: int | None = None
    hidden: tuple[int, ...] | None = None
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    contamination: float = 0.1
    device: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ConfigError(f"Option --variant is {self.variant!r}: expected one of {', '.join(VARIANTS)}.")
        for name in ("components", "epochs", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"Option --{name} is {value}: expected at least 1.")
        if self.hidden is not None and any(width < 1 for width in self.hidden):
            raise ConfigError(f"Option --hidden is {','.join(map(str, self.hidden))}: expected widths of at least 1.")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"Option --seed is {self.seed}: expected 0 to {MAX_SEED}.")
        if not 0 < self.contamination <= 0.5:
            raise ConfigError(f"Option --contamination is {self.contamination:g}: expected above 0, at most 0.5.")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ConfigError(f"Option --learning-rate is {self.learning_rate:g}: expected a number above 0.")
        choose_device(self.device)


def estimator_class(variant: str) -> type[BaseAutoencoder]:
    """Return the class of a variant.

    Raises:
        ConfigError: there is no such variant.
    """
    if variant not in _CLASSES:
        raise ConfigError(f"Variant {variant!r} is unknown: expected one of {', '.join(VARIANTS)}.")
    return _CLASSES[variant]


def make_estimator(config: VariantConfig, data: DataSet) -> Any:
    """Return the estimator for ``data``, not fitted yet.

    Raises:
        ConfigError: the variant does not fit the data, or a setting is unknown.
    """
    kind = estimator_class(config.variant)
    known = kind().get_params()
    given: dict[str, Any] = {
        # Not more than half of the columns, unless asked for: else there is nothing to leave out.
        "n_components": config.components or max(1, min(known["n_components"], len(data.columns) // 2)),
        "random_state": config.seed,
        "device": config.device,
    }
    if config.variant == "linear":
        given |= _LINEAR if data.streamed else _LINEAR | {"solver": "lbfgs"}
    if config.variant == "convolutional":
        if data.image_shape is None:
            raise ConfigError(
                f"A convolutional autoencoder needs images, and {data.path} holds rows of {len(data.columns)} numbers: "
                "say the images' size with --size, such as --size 8x8, or choose another --variant."
            )
        given["image_shape"] = data.image_shape
    elif _between_0_and_1(data):
        given["scale"] = None  # pixels share a unit; dark ones must not be blown up
    options = {
        "hidden_layer_sizes": config.hidden,
        "max_epochs": config.epochs,
        "batch_size": config.batch,
        "learning_rate": config.learning_rate,
    }
    if config.hidden is not None and "hidden_layer_sizes" not in known:
        raise ConfigError(f"Option --hidden says nothing about the {config.variant} variant: leave it out.")
    given |= {name: value for name, value in options.items() if value is not None}
    for name in config.settings:
        if name not in known:
            others = ", ".join(sorted(known.keys() - _OPTIONS.keys()))
            raise ConfigError(f"Option --set names {name!r}: expected one of {others}.")
        if name in _OPTIONS:
            raise ConfigError(f"Option --set names {name!r}, which is option {_OPTIONS[name]}: use that one.")
    given |= config.settings
    if config.variant == "linear":
        _check_linear(config, given)
    if given.get("likelihood") == "bernoulli" and "likelihood" in config.settings and "scale" not in config.settings:
        given.pop("scale", None)
    if "early_stopping" not in config.settings and given.get("solver") != "lbfgs":
        given["early_stopping"] = len(data) >= FEWEST_ROWS and not data.streamed
    return kind(**given)


def _check_linear(config: VariantConfig, given: Mapping[str, Any]) -> None:
    """Refuse what would not be linear, or would be left unused."""
    if given["activation"] != "identity":
        raise ConfigError("The linear variant has no activation: leave it out of --set, or choose --variant plain.")
    for name, value in {"--batch": config.batch, "--learning-rate": config.learning_rate}.items():
        if value is not None and given.get("solver") == "lbfgs":
            raise ConfigError(
                f"Option {name} is of Adam, and the linear variant uses L-BFGS: leave it out, or add --set solver=adam."
            )


def fit(estimator: Any, data: DataSet, epochs: int | None = None, progress: Progress | None = None) -> Any:
    """Fit ``estimator`` to ``data`` and return it; data that are streamed pass by chunk after chunk.

    Args:
        estimator: of :func:`make_estimator`. data: rows. progress: told of chunks.
        epochs: passes over data that are streamed.

    Raises:
        ConfigError: a parameter is not valid. NonFiniteError: training diverged. MemoryLimitError: too large a network.
    """
    progress = progress or Silent()
    needed = (
        f"The network for rows of {len(data.columns):,} numbers does not fit into memory: choose fewer --components, "
        "smaller layers with --hidden, a smaller --batch, or smaller images with --size."
    )
    try:
        if data.streamed:
            _fit_streamed(estimator, data, epochs or STREAMED_EPOCHS, progress)
        else:
            progress.stage("training", 1)
            estimator.fit(data.all_rows())
    except ValueError as error:
        if isinstance(error, AnfinsenError):
            raise
        raise ConfigError(f"Training is not possible: {str(error).rstrip('.')}.") from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise MemoryLimitError(needed) from error
    return estimator


def _fit_streamed(estimator: Any, data: DataSet, epochs: int, progress: Progress) -> None:
    chunks = list(data.chunks())
    progress.stage("training", epochs * len(chunks))
    for epoch in range(epochs):
        # Chunks pass in another order each time; rows are drawn from within a chunk.
        for place in numpy_generator(estimator.random_state, "chunks", epoch).permutation(len(chunks)):
            start, stop = chunks[int(place)]
            estimator.partial_fit(data.rows(start, stop))
            progress.advance()


def loss_curves(estimator: Any, data: DataSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the losses of training and of validation, one for each pass over the data."""
    training = [float(value) for value in estimator.loss_curve_]
    if data.streamed:
        chunks = len(list(data.chunks()))
        training = [float(np.mean(training[at : at + chunks])) for at in range(0, len(training), chunks)]
    return tuple(training), tuple(float(value) for value in estimator.validation_loss_curve_)


def _between_0_and_1(data: DataSet) -> bool:
    if data.image_shape is None:
        return False
    if data.streamed:
        return data.scale == BYTE_RANGE
    values = data.all_rows()
    return bool(values.min() >= 0 and values.max() <= 1)
