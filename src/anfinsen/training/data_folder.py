"""From a data folder to the mixture of data sets of one stage, and to fixed validation examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anfinsen.common.errors import InputError
from anfinsen.common.progress import Progress
from anfinsen.common.seeding import numpy_generator
from anfinsen.nn.batch import Batch, Labels

from .crops import CropConfig
from .data_chains import ChainDataConfig, ChainDataset
from .data_structures import StructureDataConfig, StructureDataset
from .recipe import Recipe, Stage
from .sampling import Mixture

VALIDATION_CHAINS, VALIDATION_CROP = 12, 128


def open_data(folder: Path, cache: Path, stage: Stage, recipe: Recipe, progress: Progress) -> Mixture:
    """Return the training data of ``stage``.

    ``folder`` may hold ``chains/train.parquet``, a folder ``structures/`` (or be a folder of structure files itself).

    Raises:
        InputError: it holds neither, or a file cannot be used.
    """
    if not folder.is_dir():
        raise InputError(
            f"The data folder {folder} does not exist: give a folder with chains/*.parquet or structure files."
        )
    chains = (folder / "chains" / "train.parquet").is_file()
    structures = folder / "structures" if (folder / "structures").is_dir() else folder
    sets: list[ChainDataset | StructureDataset] = []
    weights: list[float] = []
    if chains:
        crop = CropConfig(stage.crop, contiguous=0.5, spatial=0.5, spatial_interface=0.0)
        sets.append(ChainDataset(folder, "train", ChainDataConfig(crop=crop, max_msa_rows=stage.msa_rows)))
        weights.append(1.0 - recipe.structure_weight)
    if structures != folder or not chains:
        config = StructureDataConfig(crop=CropConfig(stage.crop), max_msa_rows=stage.msa_rows)
        sets.append(StructureDataset(structures, cache, config, progress=progress))
        weights.append(recipe.structure_weight if chains else 1.0)
    return Mixture(sets, weights)


def validation_examples(folder: Path, seed: int) -> list[tuple[Batch, Labels]]:
    """Return fixed crops of validation chains, the same for every run with this seed; none where there are no chains."""
    if not (folder / "chains" / "validation.parquet").is_file():
        return []
    crop = CropConfig(VALIDATION_CROP, contiguous=0.5, spatial=0.5, spatial_interface=0.0)
    data = ChainDataset(folder, "validation", ChainDataConfig(crop=crop, single_sequence=0.0))
    chosen = numpy_generator(seed, "validation").permutation(len(data))[:VALIDATION_CHAINS]
    return [data.example(int(index), np.random.default_rng(int(index))) for index in chosen]
