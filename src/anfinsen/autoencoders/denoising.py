"""The denoising autoencoder."""

from __future__ import annotations

from typing import Any

from .base import BaseAutoencoder
from .objectives import DenoisingObjective, Objective
from .parameters import check_flag, check_noise


class DenoisingAutoencoder(BaseAutoencoder):
    """Autoencoder that learns to mend damaged rows (Vincent et al., ICML 2008; JMLR 11, 2010).

    Rows are damaged anew in every epoch, in the network's (scaled) units; `transform` and `reconstruct` damage nothing.

    Args:
        noise: "gaussian" (adds normal numbers), "masking" (puts numbers to 0, a column's mean under standard
            scaling) or "salt_and_pepper" (puts numbers to the column's least or greatest value in the batch).
        noise_level: standard deviation of Gaussian noise; share of the numbers, at most 1, for the others.

    All other parameters are those of `Autoencoder`.
    """

    hidden_layer_sizes: tuple[int, ...]
    tied_weights: bool
    noise: str
    noise_level: float

    def __init__(
        self,
        n_components: Any = 8,
        *,
        noise: Any = "gaussian",
        noise_level: Any = 0.3,
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
        self.noise = noise
        self.noise_level = noise_level
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
        check_noise(self)

    def _objective(self) -> Objective:
        return DenoisingObjective.of(self)
