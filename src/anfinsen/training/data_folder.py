"""From a data folder to training examples of any size, and to fixed validation examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anfinsen.common.errors import InputError
from anfinsen.common.progress import Progress
from anfinsen.common.seeding import numpy_generator
from anfinsen.nn.batch import Batch, Labels

from .crops import CropConfig
from .data_chains import ChainDataConfig, ChainDataset
from .data_structures import StructureDataset
from .distilled import DISTILLED_CROP, DistilledDataset, share_left
from .evolution_cache import prepare_together
from .recipe import Stage
from .sampling import Dataset, Mixture
from .workers import Workers

VALIDATION_CHAINS, VALIDATION_CROP = 12, 128


class TrainingData:
    """The training examples below a folder: chains, structures, or both.

    ``folder`` may hold ``chains/train.parquet``, a folder ``structures/`` (or be a folder of structure files itself).
    Files are read once; :meth:`show` decides the size of the examples.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        structure_weight: float,
        progress: Progress,
        couplings_for: Workers | None = None,
        distilled: Sequence[tuple[Path, float | None]] = (),
    ) -> None:
        """Open the sets; for ``couplings_for`` workers of one run, who share the work, couplings are prepared first.

        ``distilled`` are folders of predicted chains with the share of examples that comes from each, None for the
        published one; the other sets share the rest.

        Raises:
            InputError: the folder holds neither chains nor structures, or a file cannot be used.
        """
        if not folder.is_dir():
            raise InputError(
                f"The data folder {folder} does not exist: give a folder with chains/*.parquet or structure files."
            )
        self._chains: ChainDataset | None = None
        self._structures: StructureDataset | None = None
        structures = folder / "structures" if (folder / "structures").is_dir() else folder
        if (folder / "chains" / "train.parquet").is_file():
            config = ChainDataConfig(couplings=couplings_for is not None)
            self._chains = ChainDataset(folder, "train", config, cache / "couplings" if config.couplings else None)
            if self._chains.views is not None and couplings_for is not None:
                prepare_together(self._chains.views, couplings_for, progress)
        if structures != folder or self._chains is None:
            self._structures = StructureDataset(structures, cache, progress=progress)
        found = [(self._chains, 1.0 - structure_weight), (self._structures, structure_weight)]
        sets = [(data, weight) for data, weight in found if data is not None]
        weights = [weight if len(sets) > 1 else 1.0 for _, weight in sets]
        self._known = self._mixture = Mixture([data for data, _ in sets], weights)
        self._distilled = [DistilledDataset(path, cache, progress=progress) for path, _ in distilled]
        self._all = self._known
        if self._distilled:
            shares = [
                data.published_weight if share is None else share
                for data, (_, share) in zip(self._distilled, distilled, strict=True)
            ]
            self._all = mixed(self._known, self._distilled, shares)

    def show(self, stage: Stage) -> None:
        """Draw examples of the size that ``stage`` wants from now on."""
        if self._chains is not None:
            # A single chain has no interface to crop around.
            crop = CropConfig(stage.crop, contiguous=0.5, spatial=0.5, spatial_interface=0.0)
            self._chains.config = replace(self._chains.config, crop=crop, max_msa_rows=stage.msa_rows)
        if self._structures is not None:
            config = replace(self._structures.config, crop=CropConfig(stage.crop), max_msa_rows=stage.msa_rows)
            self._structures.config = config
        for distilled in self._distilled:
            crop = replace(DISTILLED_CROP, size=stage.crop)
            distilled.config = replace(distilled.config, crop=crop, max_msa_rows=stage.msa_rows)
        # Confidence is about known structures only (supplement section 4.3).
        self._mixture = self._known if stage.train == "confidence" else self._all

    def example(self, rng: np.random.Generator) -> tuple[Batch, Labels]:
        """Draw one example."""
        return self._mixture.example(rng)


def mixed(known: Mixture, distilled: Sequence[Dataset], shares: Sequence[float]) -> Mixture:
    """Return the sets of ``known`` and ``distilled`` in one mixture, in which each of the latter has its share.

    Raises:
        ConfigError: the shares leave nothing for the others.
    """
    left = share_left(shares)
    weights = [left * float(weight) for weight in known.probabilities]
    return Mixture([*known.datasets, *distilled], [*weights, *shares])


def validation_examples(folder: Path, seed: int, *, couplings: bool = False) -> list[tuple[Batch, Labels]]:
    """Return fixed crops of validation chains, the same for every run with this seed; none without such chains."""
    if not (folder / "chains" / "validation.parquet").is_file():
        return []
    crop = CropConfig(VALIDATION_CROP, contiguous=0.5, spatial=0.5, spatial_interface=0.0)
    data = ChainDataset(folder, "validation", ChainDataConfig(crop=crop, single_sequence=0.0, couplings=couplings))
    chosen = numpy_generator(seed, "validation").permutation(len(data))[:VALIDATION_CHAINS]
    return [data.example(int(index), np.random.default_rng(int(index))) for index in chosen]
