"""The plain autoencoder."""

from __future__ import annotations

from typing import Any

from .base import BaseAutoencoder
from .objectives import Objective, PlainObjective
from .parameters import check_flag


class Autoencoder(BaseAutoencoder):
    """Fully connected autoencoder (Hinton and Salakhutdinov, Science 313, 2006) as a scikit-learn transformer.

    With ``activation="identity"`` it is linear, and its subspace is that of principal component analysis (Baldi and
    Hornik 1989); ``solver="lbfgs"`` with a small ``tol`` reaches it to many digits.

    Args:
        n_components: width of the latent space.
        hidden_layer_sizes: widths of the encoder's hidden layers; the decoder mirrors them. ``()``: none.
        activation: after hidden layers: "identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid".
        tied_weights: the decoder uses the encoder's weights, transposed.
        likelihood: "gaussian" (squared error) or "bernoulli" (cross-entropy; output between the columns' extremes).
        scale: how columns are brought to the network's units and back: "standard" (mean 0, variance 1), "minmax"
            (0 to 1), None (as they are; a Bernoulli likelihood then wants columns between 0 and 1), or "auto":
            "minmax" for a Bernoulli likelihood, else "standard". Tables of any units work with all but None.
        solver: "adam" (in batches) or "lbfgs" (whole table at once, in double precision).
        learning_rate: of Adam. batch_size: rows of a step; "auto": about 20 steps an epoch, of 32 to 256 rows.
        max_epochs: passes over the table, or iterations of L-BFGS, at most.
        tol: share of the lowest loss by which an epoch must undercut it to count as progress; for L-BFGS, the share by
            which an iteration must lower the loss to go on.
        weight_decay: decoupled (AdamW); for L-BFGS, half of it times the squared weights is added to the loss.
        early_stopping: hold rows back, stop when their loss makes no progress, and return to the best epoch's weights.
        validation_fraction: share of the rows held back (shift and scale are those of all rows).
        n_epochs_no_change: epochs without progress before stopping.
        warm_start: a further ``fit`` goes on from the last one's weights, scaler and optimiser.
        random_state: seed, ``RandomState`` or None (NumPy's global state). The same seed gives the same bits.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        verbose: print the loss every so many epochs; 0: never.

    Attributes of a fitted one are those of `BaseAutoencoder`. float32 tables are fitted in single, others in double
    precision.
    """

    hidden_layer_sizes: tuple[int, ...]
    tied_weights: bool

    def __init__(
        self,
        n_components: Any = 8,
        *,
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

    def _objective(self) -> Objective:
        return PlainObjective.of(self)
