"""What is trained on how often: clusters, chains and interfaces, and mixtures of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from anfinsen.common.errors import ConfigError
from anfinsen.nn.batch import Batch, Labels


@runtime_checkable
class Dataset(Protocol):
    """A source of training examples."""

    def __len__(self) -> int:
        """Number of entries."""

    def draw(self, rng: np.random.Generator) -> int:
        """Return the index of an entry, drawn by the data set's own weights."""

    def example(self, index: int, rng: np.random.Generator) -> tuple[Batch, Labels]:
        """Return a crop of entry ``index``; all randomness comes from ``rng``."""


class ClusterSampler:
    """Draws a cluster uniformly, then one of its members uniformly."""

    def __init__(self, clusters: Integer[np.ndarray, "n"]) -> None:
        if len(clusters) == 0:
            raise ConfigError("The data set is empty: there is nothing to draw from.")
        _, inverse = np.unique(clusters, return_inverse=True)
        self._members = np.argsort(inverse, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(inverse))])

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self._starts) - 1

    def draw(self, rng: np.random.Generator) -> int:
        """Return the index of one entry."""
        cluster = rng.integers(self.n_clusters)
        return int(self._members[rng.integers(self._starts[cluster], self._starts[cluster + 1])])


@dataclass(frozen=True)
class EntryWeights:
    """Factors of the weight of a chain or an interface (AlphaFold 3 supplement section 2.5.1)."""

    beta_chain: float = 0.5
    beta_interface: float = 1.0
    alpha_protein: float = 3.0
    alpha_nucleic: float = 3.0
    alpha_ligand: float = 1.0


def entry_weights(
    counts: Int[np.ndarray, "n 3"], cluster_sizes: Int[np.ndarray, "n"], is_interface: np.ndarray, factors: EntryWeights
) -> Float[np.ndarray, "n"]:
    """Return w = beta / N_cluster (alpha_prot n_prot + alpha_nuc n_nuc + alpha_ligand n_ligand) per entry.

    ``counts`` holds, per chain (one in all) or interface (two in all), how many chains are protein, nucleic acid and
    ligand. Section 2.5.1, equation 1.
    """
    alpha = np.array([factors.alpha_protein, factors.alpha_nucleic, factors.alpha_ligand])
    beta = np.where(is_interface, factors.beta_interface, factors.beta_chain)
    return np.asarray(beta / cluster_sizes * (counts @ alpha), dtype=np.float64)


class Mixture:
    """Several data sets, each drawn from with its own weight.

    Attributes:
        datasets: as given. probabilities: of each; they sum to 1.
    """

    def __init__(self, datasets: Sequence[Dataset], weights: Sequence[float]) -> None:
        """Raises ConfigError: no data set, as many weights as data sets are not given, or a weight is not positive."""
        if not datasets or len(datasets) != len(weights) or not all(weight > 0 for weight in weights):
            raise ConfigError(
                f"A mixture of {len(datasets)} data sets has the weights {list(weights)}: "
                "expected one positive weight per data set."
            )
        self.datasets = tuple(datasets)
        self.probabilities: Float[np.ndarray, "n"] = np.asarray(weights, dtype=np.float64) / sum(weights)

    def example(self, rng: np.random.Generator) -> tuple[Batch, Labels]:
        """Draw a data set, an entry of it, and a crop of that."""
        dataset = self.datasets[int(rng.choice(len(self.datasets), p=self.probabilities))]
        return dataset.example(dataset.draw(rng), rng)
