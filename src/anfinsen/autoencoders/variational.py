"""The variational autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from anfinsen.common.errors import ParameterError

from .base import BaseAutoencoder
from .bounds import bound_of_table, log_likelihood_of_table, prior_sample
from .likelihoods import likelihood_named
from .objectives import VARIANCES, VariationalObjective
from .parameters import check_number, check_whole


class VariationalAutoencoder(BaseAutoencoder):
    """Variational autoencoder (Kingma and Welling 2013, arXiv:1312.6114): a generative model of the table's rows.

    Args:
        beta: factor of the KL term (Higgins et al., ICLR 2017); 1: the true bound.
        warm_up_epochs: epochs over which the factor grows linearly from its first share (0: none).
        free_bits: nats of each component's mean KL that cost nothing (Kingma et al. 2016, arXiv:1606.04934).
        variance: of the observations around the decoder's output, for a Gaussian likelihood: "learned" (one for all
            columns), "learned_per_feature", or a number, in the network's (scaled) units. Learned ones stay above 1e-4.

    All other parameters are those of `Autoencoder` (weights cannot be tied); the loss is in nats for each row.
    """

    hidden_layer_sizes: tuple[int, ...]
    beta: float
    warm_up_epochs: int
    free_bits: float
    variance: float | str
    objective_: VariationalObjective

    _SHAPE: ClassVar[tuple[str, ...]] = (*BaseAutoencoder._SHAPE, "variance")

    def __init__(
        self,
        n_components: Any = 8,
        *,
        beta: Any = 1.0,
        warm_up_epochs: Any = 0,
        free_bits: Any = 0.0,
        variance: Any = "learned",
        hidden_layer_sizes: Any = (64,),
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
        self.n_components = n_components
        self.beta = beta
        self.warm_up_epochs = warm_up_epochs
        self.free_bits = free_bits
        self.variance = variance
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
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
        for name in ("beta", "free_bits"):
            check_number(self, name)
        check_whole(self, "warm_up_epochs", 0)
        if not isinstance(self.variance, str):
            check_number(self, "variance", least_allowed=False)
        elif self.variance not in VARIANCES:
            raise ParameterError(
                f"The 'variance' parameter of {type(self).__name__} is {self.variance!r}: expected a number above 0, "
                f"or one of {', '.join(map(repr, VARIANCES))}."
            )

    def _objective(self) -> VariationalObjective:
        variance = self.variance if isinstance(self.variance, str) else float(self.variance)
        return VariationalObjective(
            likelihood_named(self.likelihood),
            float(self.beta),
            int(self.warm_up_epochs),
            float(self.free_bits),
            variance,
        )

    def log_likelihood(self, X: Any, samples: int = 128, random_state: Any = None) -> NDArray[Any]:
        """Return an importance-weighted estimate of each row's log-likelihood [n_rows], in nats, in double precision.

        It is a lower bound in the mean, which rises to the log-likelihood with ``samples`` (Burda et al. 2015,
        arXiv:1509.00519, equation 8). For a Gaussian likelihood it is the density in the table's units.

        Args:
            X: table. samples: latent draws for each row, at least 1. random_state: seed; None: the estimator's own.
        """
        check_is_fitted(self)
        seed = self._sampling_seed(samples, random_state)
        return log_likelihood_of_table(self, self._checked(X, reset=False), int(samples), seed)

    def score_samples(self, X: Any) -> NDArray[Any]:
        """Return the lower bound (with beta 1) of each row's log-likelihood [n_rows], in nats; higher is better.

        It is estimated by 16 to 64 latent draws, the same for all rows and at every call, so that a row's score does
        not depend on the rows beside it. For a Gaussian likelihood it is a density in the table's units.
        """
        return super().score_samples(X)

    def sample(self, n_samples: int = 1, random_state: Any = None, *, observation_noise: bool = False) -> NDArray[Any]:
        """Return ``n_samples`` new rows, in the table's units: decoded from the prior.

        Args:
            n_samples: how many, at least 1. random_state: seed; None: the estimator's own.
            observation_noise: draw from the likelihood (of pixels: zeros and ones) instead of giving its mean.
        """
        check_is_fitted(self)
        seed = self._sampling_seed(n_samples, random_state)
        return self._from_rows(prior_sample(self, int(n_samples), seed, observation_noise))

    def _score_table(self, table: Any) -> NDArray[Any]:
        return bound_of_table(self, table)
