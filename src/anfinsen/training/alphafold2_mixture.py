"""Known chains and chains that a model predicted (`anfinsen distill`), in the shares of a run of AlphaFold 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anfinsen.common.distilled import DistilledFolder, Kind
from anfinsen.common.errors import InputError

from .alphafold2_data import AlphaFold2Dataset, AlphaFold2Example
from .alphafold2_recipe import AlphaFold2Stage
from .distilled import share_left

# AlphaFold 2 drew three quarters of its examples from its own predictions (supplement, section 1.3); the other kind is
# AlphaFold 3's.
PUBLISHED_WEIGHT: dict[Kind, float] = {"self": 0.75, "cross": 0.02}


class AlphaFold2Mixture:
    """Data sets, each drawn from with its own share; confidence is learnt about known structures only.

    Attributes:
        known: the data folder. distilled: predicted chains. shares: of the examples that come from each of these.
    """

    def __init__(
        self, known: AlphaFold2Dataset, distilled: Sequence[AlphaFold2Dataset] = (), shares: Sequence[float] = ()
    ) -> None:
        """Raises ConfigError: the shares leave nothing for the known chains. InputError: a folder has no chain."""
        share_left(shares)
        for data in (known, *distilled):
            if not len(data.store):
                raise InputError(
                    f"{data.store.data_dir} holds no chain to train on: expected rows in its chains/train.parquet; "
                    "leave the folder out, or make it again."
                )
        self.known, self.distilled, self.shares = known, tuple(distilled), tuple(shares)
        self._stage: AlphaFold2Stage | None = None

    def show(self, stage: AlphaFold2Stage) -> None:
        """Draw examples as ``stage`` wants them from now on."""
        self._stage = stage
        self.known.config = stage.data
        for data in self.distilled:
            # Their side chains are the model's guesses, and no row of the examples.
            data.config = replace(stage.data, structures=0.0)

    def example(self, rng: np.random.Generator) -> AlphaFold2Example:
        """Draw one example."""
        if not self.distilled or (self._stage is not None and self._stage.train == "confidence"):
            return self.known.example(rng)
        chance = float(rng.random())
        for data, limit in zip(self.distilled, np.cumsum(self.shares), strict=True):
            if chance < limit:
                return replace(data.example(rng), predicted=True)
        return self.known.example(rng)


def published_share(folder: Path) -> float:
    """Return the share of the examples that chains of such a folder have in the paper.

    Raises:
        InputError: the folder was not made by ``anfinsen distill``.
    """
    return PUBLISHED_WEIGHT[DistilledFolder(folder).kind()]
