"""What a trained AlphaFold 1 still needs: its reference state, and confidence calibrated on folded chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import numpy_generator, torch_generator
from anfinsen.geometry import pairwise_distances
from anfinsen.metrics import contact_precision, tm_score
from anfinsen.models.alphafold1 import (
    LENGTH_LIMITS,
    SEPARATION_CLASSES,
    AlphaFold1,
    Backbone,
    PairMaps,
    TilingConfig,
    distance_bins,
    lddt_between,
    length_class,
    predict_maps,
    separation_class,
)
from anfinsen.models.alphafold1.pipeline import RealisationConfig, realise

from .alphafold1_data import AlphaFold1Dataset
from .chain_store import ChainStore
from .workers import Workers

_CONTACT = 8.0  # Å between CB atoms (CASP)
_GLYCINE = 7  # in the order of `AMINO_ACIDS`


def quick_tiling(crop: int) -> TilingConfig:
    """Return a tiling for curves: a quarter of the tiles that a prediction takes, or less."""
    return TilingConfig(stride=max(1, 3 * crop // 4), ensemble=1)


def reference_counts(
    store: ChainStore, distances: int, chains: int = 2000, seed: int = 0
) -> Float[Tensor, "lengths separations distances"]:
    """Count distances between CB atoms of up to ``chains`` chains by class of length and separation."""
    counts = torch.zeros(len(LENGTH_LIMITS) + 1, SEPARATION_CLASSES, distances)
    flat = counts.view(len(counts), -1)
    for index in numpy_generator(seed, "reference").permutation(len(store))[:chains]:
        backbone = Backbone.of(torch.from_numpy(store.record(int(index)).backbone[None, :, :3]))
        length = backbone.cb.shape[1]
        first, second = torch.triu_indices(length, length, 1)
        distance = distance_bins(pairwise_distances(backbone.cb[0])[first, second], distances)
        cell = separation_class(second - first) * distances + distance
        flat[length_class(length)] += torch.bincount(cell, minlength=flat.shape[1])
    return counts


@dataclass(frozen=True)
class MapScores:
    """Long-range contact precision of a distogram at L/5, L/2 and L, and its cross-entropy per pair."""

    fifth: float
    half: float
    whole: float
    cross_entropy: float


def map_scores(maps: PairMaps, cb: Float[Tensor, "L 3"]) -> MapScores:
    """Return how good a distogram is.

    Raises:
        ValueError: the chain has no long-range pair.
    """
    distance = pairwise_distances(cb)
    contact = (distance < _CONTACT).numpy()
    probability = maps.probability_within(_CONTACT).numpy().astype(np.float64)
    precision = [contact_precision(probability, contact, divisor=divisor) for divisor in (5.0, 2.0, 1.0)]
    chosen = maps.distogram.gather(-1, distance_bins(distance, maps.distogram.shape[-1])[..., None])
    others = ~torch.eye(len(cb), dtype=torch.bool)
    return MapScores(precision[0], precision[1], precision[2], float(-(chosen[..., 0][others] + 1e-9).log().mean()))


def evaluate_maps(
    model: AlphaFold1, dataset: AlphaFold1Dataset, indices: list[int], tiling: TilingConfig | None = None
) -> dict[str, float]:
    """Return mean scores of the distograms of whole chains (``tiling``: `quick_tiling` where not given)."""
    model.eval()
    tiling = tiling or quick_tiling(model.config.crop)
    scores = []
    for index in indices:
        features = dataset.features(index)
        maps = predict_maps(model, features.single, features.pair, tiling)
        scores.append(map_scores(maps, dataset.truth(index).backbone.cb[0]))
    names = ("fifth", "half", "whole", "cross_entropy")
    return {name: float(np.mean([getattr(score, name) for score in scores])) for name in names}


def calibrate(
    model: AlphaFold1,
    dataset: AlphaFold1Dataset,
    indices: list[int],
    seed: int,
    config: RealisationConfig | None = None,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> dict[str, float]:
    """Fold chains, fit the model's confidence to what came out, and return mean TM-score and lDDT.

    Every chain is folded with all that is known of it and, every third, with its profile alone, so that confidence has
    seen bad predictions too. Each worker folds its share.
    """
    config, progress = config or RealisationConfig(tiling=TilingConfig(ensemble=2)), progress or Silent()
    workers = workers or Workers()
    model.eval()
    mine = workers.share(len(indices))
    progress.stage("confidence", len(mine))
    folded = []
    for number in mine:
        folded.append(_folded(model, dataset, indices[number], seed, config, profile_only=number % 3 == 2))
        progress.advance()
    signals, lddts, tms = zip(*workers.gather(folded), strict=True)
    model.calibration.fit(list(signals), list(lddts), torch.tensor(tms, dtype=torch.float32))
    return {"tm_score": float(np.mean(tms)), "lddt": float(torch.cat(lddts).mean())}


def _folded(
    model: AlphaFold1,
    dataset: AlphaFold1Dataset,
    index: int,
    seed: int,
    config: RealisationConfig,
    *,
    profile_only: bool,
) -> tuple[Float[Tensor, "L signals"], Float[Tensor, "L"], float]:
    """Signals, true lDDT of the residues and true TM-score of one folded chain."""
    record, truth = dataset.store.record(index), dataset.truth(index)
    features = dataset.profile_features(index) if profile_only else dataset.features(index)
    glycine = torch.from_numpy(record.restype == _GLYCINE)
    generator = torch_generator(seed, "calibrate", index)
    found = realise(model, features.single, features.pair, glycine, generator, config)
    ca, true = found.fold.backbone.ca[0], truth.backbone.ca[0]
    return found.signals, lddt_between(true, ca), tm_score(ca.double().numpy(), true.double().numpy())


def validation_chains(dataset: AlphaFold1Dataset, count: int, longest: int, seed: int) -> list[int]:
    """Return up to ``count`` chains with alignments, not longer than ``longest``."""
    fitting = np.flatnonzero(dataset.store.has_msa & (dataset.store.lengths <= longest))
    chosen = numpy_generator(seed, "validation-chains").permutation(fitting)[:count]
    return [int(index) for index in np.sort(chosen)]
