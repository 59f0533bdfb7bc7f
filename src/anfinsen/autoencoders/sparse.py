"""The sparse autoencoder."""

from __future__ import annotations

from typing import Any

from .base import BaseAutoencoder
from .objectives import Objective, SparseObjective
from .parameters import check_flag, check_penalty


class SparseAutoencoder(BaseAutoencoder):
    """Autoencoder that describes each row by few of its components.

    Args:
        penalty: "l1": components are rectified, and the sum of each times the length of its weights into the decoder is
            penalised; "kl": components are sigmoids, whose means are drawn to ``sparsity`` (Ng, CS294A lecture notes,
            2011); "top_k": only the ``k`` largest components of a row are kept (Makhzani and Frey 2013).
        strength: factor of the penalty ("l1", "kl"); the reconstruction error beside it is a mean over columns.
        sparsity: wanted mean of every component ("kl"), between 0 and 1.
        k: components kept ("top_k"); None: a quarter of them. More than there are: all.

    All other parameters are those of `Autoencoder`.
    """

    hidden_layer_sizes: tuple[int, ...]
    tied_weights: bool
    penalty: str
    strength: float
    sparsity: float
    k: int | None

    def __init__(
        self,
        n_components: Any = 32,
        *,
        penalty: Any = "l1",
        strength: Any = 1e-2,
        sparsity: Any = 0.05,
        k: Any = None,
        hidden_layer_sizes: Any = (64,),
        activation: Any = "relu",
        tied_weights: Any = False,
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
        self.n_components = n_components
        self.penalty = penalty
        self.strength = strength
        self.sparsity = sparsity
        self.k = k
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.tied_weights = tied_weights
        self.likelihood = likelihood
        self.scale = scale
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.tol = tol
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_epochs_no_change = n_epochs_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_flag(self, "tied_weights")
        check_penalty(self)

    def _objective(self) -> Objective:
        return SparseObjective.of(self)
