"""What every autoencoder does as a scikit-learn estimator: tables in, fitting, latents, rows back, scores, new rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from anfinsen.common.device import choose_device
from anfinsen.common.errors import ConfigError, NonFiniteError, ParameterError
from anfinsen.common.seeding import torch_generator

from .fitting import FitConfig, History, automatic_batch, fit_adam, fit_lbfgs
from .latents import KEPT, KEPT_FROM_BATCH, LatentMixture, chosen_rows, replaced
from .likelihoods import Likelihood, likelihood_named
from .networks import DenseNetwork, DenseNetworkConfig, Network
from .objectives import Objective
from .parameters import check_common, check_widths
from .portable import on_cpu
from .rows import Rows, check_probabilities, checked_weights, chunks, held_back, learn_scale, weighted_rows
from .scaling import ColumnScaler

# API stable
Fitted = TypeVar("Fitted", bound="BaseAutoencoder")
DTYPES = (np.float64, np.float32)


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of the autoencoders; `Autoencoder` explains the parameters that all share.

    A subclass gives `_objective`; perhaps a network (`_make_network`), columns that share a scale (`_scale_groups`),
    and a form of input and output other than rows (`_to_rows`, `_from_rows`).

    Attributes:
        module_: the network (`Network`). objective_: what it was trained for (`Objective`).
        n_features_in_, feature_names_in_: of the table, as scikit-learn has them.
        loss_curve_: the mean training loss of every epoch. validation_loss_curve_: of the validation rows, if any.
        n_epochs_, n_iter_: epochs and optimiser steps (for L-BFGS: iterations and evaluations) so far.
    """

    n_components: int
    activation: str
    likelihood: str
    scale: str | None
    solver: str
    learning_rate: float
    batch_size: int | str
    max_epochs: int
    tol: float
    weight_decay: float
    early_stopping: bool
    validation_fraction: float
    n_epochs_no_change: int
    warm_start: bool
    random_state: Any
    device: str
    verbose: int

    module_: Network
    objective_: Objective
    n_features_in_: int
    _seed: int
    _scaler: ColumnScaler
    _history: History
    _latents: Any
    _mixture: LatentMixture | None
    _likelihood_trained: Likelihood
    _components: int
    _shape: dict[str, Any]

    _SHAPE: ClassVar[tuple[str, ...]] = (
        "n_components",
        "hidden_layer_sizes",
        "activation",
        "tied_weights",
        "likelihood",
        "scale",
    )
    """Parameters that a warm start cannot change."""

    # What subclasses give

    def _objective(self) -> Objective:
        """Return the objective, made of the parameters; raise `ParameterError` where they make none."""
        raise RuntimeError(f"{type(self).__name__} has no objective.")

    def _make_network(self, n_features: int, n_codes: int, generator: torch.Generator) -> Network:
        """Return a fresh network on the CPU in single precision, its weights drawn from ``generator`` only."""
        tied = getattr(self, "tied_weights", False)
        if tied and n_codes != self.n_components:
            raise ParameterError(f"Weights of {type(self).__name__} cannot be tied: set tied_weights=False.")
        hidden = check_widths(self, "hidden_layer_sizes")
        return DenseNetwork(
            DenseNetworkConfig(n_features, n_codes, self._components, hidden, self.activation, bool(tied)), generator
        )

    def _scale_groups(self, n_features: int) -> Int[np.ndarray, " features"] | None:
        """Return the number of the group of columns that share shift and scale; None: each column has its own."""
        return None

    def _to_rows(self, X: Any, *, reset: bool) -> Any:
        """Return input of another form (images) as rows; ``reset``: it is being fitted to, and its form is learned."""
        return X

    def _from_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows in the form that input had when fitted to."""
        return rows

    def _check_parameters(self) -> None:
        """Raise `ParameterError` where a parameter is not valid; subclasses check theirs besides."""
        check_common(self)

    # Fitting

    def fit(self: Fitted, X: Any, y: Any = None, sample_weight: Any = None) -> Fitted:
        """Fit to a table, from the beginning unless ``warm_start``.

        Args:
            X: table [n_rows, n_features]: array, data frame or sparse matrix. y: ignored.
            sample_weight: [n_rows]; a row of weight k counts as k rows (where the different rows fit into one batch,
                to the last bit).

        Raises:
            ValueError: the table is not one of finite numbers (scikit-learn's messages).
            ParameterError: a parameter is not valid. NonFiniteError: training diverged.
        """
        self._check_parameters()
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        table = self._checked(X, reset=not goes_on)
        table, weights = self._weighted(table, sample_weight)
        if goes_on:
            self._go_on()
        else:
            self._begin(table)
            learn_scale(self._scaler, table, weights)
        self._train(table, weights, self.max_epochs)
        kept = table[chosen_rows(weights, KEPT, self._seed)]
        self._latents, self._mixture = self._encode(kept).astype(table.dtype, copy=False), None
        return self

    def partial_fit(self: Fitted, X: Any, y: Any = None, sample_weight: Any = None) -> Fitted:
        """Go on by one epoch over a part of a table; the scaler learns from all parts so far. See `fit`.

        Raises:
            ParameterError: the solver is L-BFGS, or validation rows are to decide when to stop.
        """
        self._check_parameters()
        if self.solver != "adam" or self.early_stopping:
            raise ParameterError("partial_fit needs solver='adam' and early_stopping=False.")
        first = not self.__sklearn_is_fitted__()
        table = self._checked(X, reset=first)
        table, weights = self._weighted(table, sample_weight)
        if first:
            self._begin(table)
        else:
            self._go_on()
        learn_scale(self._scaler, table, weights)
        self._train(table, weights, 1)
        kept = table[chosen_rows(weights, KEPT_FROM_BATCH, self._seed)]
        latents = self._encode(kept).astype(table.dtype, copy=False)
        self._latents = latents if first else replaced(self._latents, latents, self._seed, self._history.epochs)
        self._mixture = None
        return self

    def _begin(self, table: Any) -> None:
        n_features = table.shape[1]
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.objective_ = self._objective()
        self._likelihood_trained = likelihood_named(self.likelihood)
        self._shape = self._shape_parameters()
        self._components = int(self.n_components)
        n_codes = self._components * self.objective_.codes_per_component
        network = self._make_network(n_features, n_codes, torch_generator(self._seed, "weights"))
        double = table.dtype == np.float64 or self.solver == "lbfgs"
        self.module_ = network.to(torch.float64 if double else torch.float32)
        self.objective_.prepare(self.module_)
        self.module_.eval()
        auto = "minmax" if self.likelihood == "bernoulli" else "standard"
        kind = auto if self.scale == "auto" else self.scale or "none"
        self._scaler = ColumnScaler(kind, self._scale_groups(n_features))
        self._history = History()
        self._set_curves()

    def _go_on(self) -> None:
        if self._shape != self._shape_parameters():
            raise ParameterError(f"A fit that goes on cannot change {', '.join(self._SHAPE)}: set warm_start=False.")
        self.objective_ = self._objective()

    def _shape_parameters(self) -> dict[str, Any]:
        return {name: repr(getattr(self, name, None)) for name in self._SHAPE}

    def _weighted(self, table: Any, sample_weight: Any) -> tuple[Any, NDArray[Any]]:
        if self.likelihood == "bernoulli" and self.scale is None:
            check_probabilities(table)
        return weighted_rows(table, sample_weight, self._batch_size)

    def _train(self, table: Any, weights: NDArray[Any], epochs: int) -> None:
        dtype = next(self.module_.parameters()).dtype
        device = self._device(dtype)
        self.module_.to(device)
        validation = None
        if self.early_stopping:
            held = held_back(table.shape[0], self.validation_fraction, self._seed)
            validation = Rows(table[held], weights[held], self._scaler, dtype, device)
            table, weights = table[~held], weights[~held]
        rows = Rows(table, weights, self._scaler, dtype, device)
        config = FitConfig(
            float(self.learning_rate),
            float(self.weight_decay),
            self._batch_size(table.shape[0]),
            epochs,
            float(self.tol),
            int(self.n_epochs_no_change),
            int(self.verbose),
        )
        try:
            if self.solver == "lbfgs":
                fit_lbfgs(self.module_, self.objective_, rows, config, self._seed, self._history)
            else:
                fit_adam(self.module_, self.objective_, rows, validation, config, self._seed, self._history)
        except NonFiniteError:
            self.__dict__.pop("_latents", None)  # what diverged is not fitted, even if it was before
            raise
        self._set_curves()

    def _set_curves(self) -> None:
        self.loss_curve_ = self._history.losses
        self.validation_loss_curve_ = self._history.validation
        self.n_epochs_, self.n_iter_ = self._history.epochs, self._history.steps

    def _batch_size(self, n_rows: int) -> int:
        return automatic_batch(n_rows) if self.batch_size == "auto" else int(self.batch_size)

    def _device(self, dtype: torch.dtype) -> torch.device:
        device = choose_device(self.device)
        if device.type == "mps" and dtype == torch.float64:
            return torch.device("cpu")  # Apple's GPUs compute in single precision only
        return device

    # Using what was fitted

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the latent components [n_rows, n_components] of a table's rows, in the table's precision.

        Raises:
            NotFittedError, ValueError: scikit-learn's, before `fit` and for a table that does not fit.
        """
        check_is_fitted(self)
        table = self._checked(X, reset=False)
        return self._encode(table).astype(table.dtype, copy=False)

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Return the rows, in the table's units, that latent components [n_rows, n_components] stand for."""
        check_is_fitted(self)
        latents = check_array(X, dtype=DTYPES, input_name="X")
        if latents.shape[1] != self._components:
            raise ValueError(
                f"X has {latents.shape[1]} features, but {type(self).__name__}.inverse_transform is expecting "
                f"{self._components} features (latent components) as input."
            )
        return self._from_rows(self._decode(latents))

    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Return what the network makes of a table's rows, in the table's units."""
        check_is_fitted(self)
        table = self._checked(X, reset=False)
        return self._from_rows(self._decode(self._encode(table)).astype(table.dtype, copy=False))

    def score_samples(self, X: Any) -> NDArray[Any]:
        """Return minus the reconstruction error of each row [n_rows], in double precision; higher is better.

        The error is the mean over the (scaled) columns of the squared difference, or of the cross-entropy in nats for a
        Bernoulli likelihood.
        """
        check_is_fitted(self)
        return self._score_table(self._checked(X, reset=False))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the (weighted) mean of `score_samples`, by which `GridSearchCV` compares; ``y`` is ignored.

        Scores of different ``scale``, ``likelihood`` or objective have different units: compare those by a scorer of
        your own, such as the squared error of `reconstruct`.
        """
        scores = self.score_samples(X)
        return float(np.average(scores, weights=checked_weights(sample_weight, len(scores))))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[Any]:
        """Return ``n_samples`` new rows, in the table's units.

        They are decoded from a mixture of at most 10 Gaussians with full covariances, fitted to (at most 4,096) latent
        rows of the training table.

        Args:
            n_samples: how many, at least 1.
            random_state: seed; None: the estimator's own.
        """
        check_is_fitted(self)
        seed = self._sampling_seed(n_samples, random_state)
        if self._mixture is None:
            self._mixture = LatentMixture(self._latents, self._seed)
        latents = self._mixture.sample(int(n_samples), seed)
        return self._from_rows(self._decode(latents.astype(self._latents.dtype)))

    def interpolate(self, a: Any, b: Any, steps: int = 8) -> NDArray[Any]:
        """Return rows on the straight line in latent space from one row to another, both ends included.

        Args:
            a, b: one row each [n_features] (or [1, n_features]). steps: rows of the result, at least 2.
        """
        check_is_fitted(self)
        if steps < 2:
            raise ValueError(f"steps == {steps}, must be at least 2.")
        ends = []
        for end in (a, b):
            rows = end if np.ndim(end) != 1 else np.asarray(end)[None]
            table = self._checked(rows, reset=False)
            if table.shape[0] != 1:
                raise ValueError(f"Interpolation goes from one row to one row: found {table.shape[0]} rows.")
            ends.append(self._encode(table)[0])
        share = np.linspace(0.0, 1.0, steps, dtype=ends[0].dtype)[:, None]
        return self._from_rows(self._decode((1 - share) * ends[0] + share * ends[1]))

    # Between tables and the network

    def _checked(self, X: Any, *, reset: bool) -> Any:
        if reset:
            self.__dict__.pop("_latents", None)  # the form of another table is about to be learned
        rows = self._to_rows(X, reset=reset)
        return validate_data(self, rows, accept_sparse="csr", dtype=DTYPES, reset=reset)

    def _tensor(self, rows: NDArray[Any]) -> Tensor:
        first = next(self.module_.parameters())
        bound = torch.finfo(first.dtype).max ** 0.4  # whose square is finite: rows of any size have a score
        return torch.tensor(np.clip(rows, -bound, bound, order="C"), device=first.device, dtype=first.dtype)

    @torch.inference_mode()
    def _encode(self, table: Any) -> NDArray[Any]:
        parts = []
        for part in chunks(table, table.shape[1]):
            x = self._tensor(self._scaler.forward(table[part]))
            parts.append(self.objective_.code(self.module_.encode(x)).cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def _decode(self, latents: NDArray[Any]) -> NDArray[Any]:
        parts = []
        for part in chunks(latents, self.module_.n_features):
            mean = self._likelihood_trained.mean(self.module_.decode(self._tensor(latents[part])))
            parts.append(self._scaler.backward(mean.cpu().double().numpy()))
        return np.concatenate(parts).astype(latents.dtype, copy=False)

    @torch.inference_mode()
    def _score_table(self, table: Any) -> NDArray[Any]:
        parts = []
        for part in chunks(table, table.shape[1]):
            x = self._tensor(self._scaler.forward(table[part]))
            output = self.module_.decode(self.objective_.code(self.module_.encode(x)))
            parts.append(-self._likelihood_trained.error(output, x).cpu().double().numpy())
        return np.concatenate(parts)

    def _sampling_seed(self, n_samples: int, random_state: Any) -> int:
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. The sampling requires at least one sample.")
        chosen = self.random_state if random_state is None else random_state
        return int(check_random_state(chosen).randint(2**31 - 1))

    # What scikit-learn and pickle ask for

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_latents")  # what a fit leaves last: one that failed leaves none

    @property
    def _n_features_out(self) -> int:
        return self._components

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return {name: on_cpu(value) for name, value in super().__getstate__().items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "module_"):
            # Fitted on a device that this machine lacks, it is used on the CPU.
            with suppress(ConfigError):
                self.module_.to(self._device(next(self.module_.parameters()).dtype))
