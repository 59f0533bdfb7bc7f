"""Training AlphaFold 1 on backbone chains: crops of pair features and the bins of what is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from anfinsen.common.errors import InputError
from anfinsen.features.alphafold1 import (
    AlphaFold1Features,
    alphafold1_features,
    coupling_detail,
    evolution_of_profile,
    no_extra,
)
from anfinsen.features.coupling_scores import coupling_blocks
from anfinsen.geometry import pairwise_distances
from anfinsen.losses.alphafold1 import IGNORED, CropTargets, ResidueTargets
from anfinsen.models.alphafold1 import (
    SECONDARY_STRUCTURES,
    AlphaFold1Config,
    Backbone,
    Crops,
    angle_bins,
    cut,
    distance_bins,
    orientations,
    torsions,
)

from .chain_store import ChainRecord, ChainStore
from .evolution_cache import EvolutionCache, EvolutionConfig
from .sampling import ClusterSampler

# Largest accessible surface of each amino acid in the order of `AMINO_ACIDS`, Å² (Tien et al. 2013, theoretical).
_LARGEST_SURFACE = np.array(
    [129, 274, 195, 193, 167, 225, 223, 104, 224, 197, 201, 236, 224, 240, 159, 155, 172, 285, 263, 174],
    dtype=np.float32,
)  # fmt: skip
Merged = TypeVar("Merged")
_NEAR = 16.0  # Å; orientations of residues further apart are not learnt


@dataclass(frozen=True)
class AlphaFold1DataConfig:
    """What an example shows.

    Attributes:
        aligned: probability of a chain with an alignment.
        single, profile: probability that such a chain shows its sequence alone, or only its stored profile.
        whole: of the rest, probability of the whole alignment; a thinned one otherwise.
        single_without: probability that a chain without an alignment shows its sequence alone, not its profile.
        overhang: residues by which crops may reach beyond the chain's ends.
        evolution: which views are prepared.
    """

    aligned: float = 0.75
    single: float = 0.04
    profile: float = 0.08
    whole: float = 0.5
    single_without: float = 0.1
    overhang: int = 12
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)


@dataclass(frozen=True)
class ChainTruth:
    """What is true of one chain of L residues.

    Attributes:
        backbone: R is 1. structure: index into `SECONDARY_STRUCTURES`. surface: relative, 0 to 1.
    """

    backbone: Backbone
    structure: Int[Tensor, "L"]
    surface: Float[Tensor, "L"]


class AlphaFold1Dataset:
    """Chains of one split with features, truth and random crops."""

    def __init__(
        self, data: Path, split: str, cache: Path, network: AlphaFold1Config, config: AlphaFold1DataConfig | None = None
    ) -> None:
        """Raises InputError: files are missing or broken. MissingExtraError: pyarrow is not installed."""
        self.config, self.network = config or AlphaFold1DataConfig(), network
        self.store = ChainStore(data, split)
        self._detail = coupling_detail(network.c_pair_in)
        views = replace(self.config.evolution, classes=self._detail == "classes")
        self.cache = EvolutionCache(self.store, cache / split, views)
        self._structure, self._surface = _annotations(data / "chains" / f"{split}.parquet", self.store)
        self._starts = np.concatenate([[0], np.cumsum(self.store.lengths)])
        self._groups = {
            has: (members, ClusterSampler(self.store.clusters[members]))
            for has in (True, False)
            if len(members := np.flatnonzero(self.store.has_msa == has))
        }

    def __len__(self) -> int:
        return len(self.store)

    def draw(self, rng: np.random.Generator) -> int:
        """Return a chain: with or without an alignment, then a cluster, then one of its chains."""
        aligned = bool(rng.random() < self.config.aligned)
        members, sampler = self._groups.get(aligned) or self._groups[not aligned]
        return int(members[sampler.draw(rng)])

    def features(self, index: int, rng: np.random.Generator | None = None) -> AlphaFold1Features:
        """Return the features of chain ``index``: all that is known of it, or less where ``rng`` decides so."""
        record = self.store.record(index)
        source = "view" if record.has_msa else "profile"
        view = 0
        if rng is not None:
            source, view = self._source(record, rng)
        if source == "single":
            return alphafold1_features(record.restype, extra=self._no_extra(record))
        if source == "profile":
            return self.profile_features(index)
        seen = self.cache.view(index, view)
        extra = seen.classes if self._detail == "classes" else None
        if self._detail == "blocks":
            # Too large to be kept for all chains: a network that reads couplings themselves has them made anew.
            extra = coupling_blocks(self.cache.rows(index, view))
        extra = self._no_extra(record) if extra is None else extra
        return alphafold1_features(record.restype, seen.evolution, seen.scores, extra)

    def profile_features(self, index: int) -> AlphaFold1Features:
        """Return the features of chain ``index`` from its stored profile alone."""
        record = self.store.record(index)
        return alphafold1_features(record.restype, evolution_of_profile(record.profile), extra=self._no_extra(record))

    def truth(self, index: int) -> ChainTruth:
        """Return what is true of chain ``index``."""
        record = self.store.record(index)
        span = slice(int(self._starts[index]), int(self._starts[index + 1]))
        surface = self._surface[span] / _LARGEST_SURFACE[np.minimum(record.restype, len(_LARGEST_SURFACE) - 1)]
        return ChainTruth(
            Backbone.of(torch.from_numpy(record.backbone[None, :, :3])),
            torch.from_numpy(self._structure[span]),
            torch.from_numpy(surface.clip(0.0, 1.0).astype(np.float32)),
        )

    def example(self, rng: np.random.Generator) -> tuple[Crops, CropTargets]:
        """Draw a chain, what is shown of it, and a crop of its pairs."""
        index = self.draw(rng)
        features, truth = self.features(index, rng), self.truth(index)
        corner = (self._corner(len(features.single), rng), self._corner(len(features.single), rng))
        crops = cut(features.single, features.pair, [corner], self.network.crop)
        return crops, crop_targets(truth, crops, corner, self.network)

    def _no_extra(self, record: ChainRecord) -> Float32[np.ndarray, "L L k"] | None:
        return no_extra(len(record.restype), self.network.c_pair_in)

    def _source(self, record: ChainRecord, rng: np.random.Generator) -> tuple[str, int]:
        chance = float(rng.random())
        if not record.has_msa:
            return ("single" if chance < self.config.single_without else "profile"), 0
        if chance < self.config.single:
            return "single", 0
        if chance < self.config.single + self.config.profile:
            return "profile", 0
        thinned = self.config.evolution.thinned
        whole = thinned == 0 or rng.random() < self.config.whole
        return "view", 0 if whole else 1 + int(rng.integers(thinned))

    def _corner(self, length: int, rng: np.random.Generator) -> int:
        last = max(0, length - self.network.crop)
        first = min(0, length - self.network.crop)
        return int(rng.integers(first - self.config.overhang, last + self.config.overhang + 1))


def crop_targets(truth: ChainTruth, crops: Crops, corner: tuple[int, int], network: AlphaFold1Config) -> CropTargets:
    """Return the true bins of one crop that begins at ``corner``."""
    length, side = len(truth.structure), network.crop
    rows, columns = (start + torch.arange(side) for start in corner)
    row, column = (index.clamp(0, length - 1) for index in (rows, columns))
    backbone, mask = truth.backbone, crops.mask[0]
    distance = pairwise_distances(backbone.cb[0, row], backbone.cb[0, column])
    different = mask & (rows[:, None] != columns[None, :])
    near = different & (distance < _NEAR)
    bins = {"distance": torch.where(different, distance_bins(distance, network.distances), IGNORED)}
    if network.dihedrals:
        found = orientations(backbone, row.repeat_interleave(side), column.repeat(side))
        angles = {
            "omega": angle_bins(found.omega, network.dihedrals),
            "theta": angle_bins(found.theta, network.dihedrals),
            "phi": angle_bins(found.phi, network.angles, first=0.0),
        }
        bins |= {name: torch.where(near, index.reshape(side, side), IGNORED) for name, index in angles.items()}
    else:
        unknown = torch.full_like(bins["distance"], IGNORED)
        bins |= {"omega": unknown, "theta": unknown, "phi": unknown}
    sides = [
        _residue_targets(truth, index, known, network)
        for index, known in ((row, crops.row_mask[0]), (column, crops.column_mask[0]))
    ]
    return CropTargets(**{name: value[None] for name, value in bins.items()}, rows=sides[0], columns=sides[1])


def collate(examples: list[tuple[Crops, CropTargets]]) -> tuple[Crops, CropTargets]:
    """Return one batch of several."""
    crops, targets = zip(*examples, strict=True)
    return _merged(list(crops), torch.cat), _merged(list(targets), torch.cat)


def targets_to(targets: CropTargets, device: torch.device | str) -> CropTargets:
    """Return the targets on ``device``."""
    return _merged([targets], lambda parts: parts[0].to(device))


def _merged(parts: list[Merged], join: Callable[[list[Tensor]], Tensor]) -> Merged:
    """One dataclass of the same kind as ``parts``, every tensor joined from theirs, in dataclasses within too."""
    first: Any = parts[0]
    values = {}
    for field_ in fields(first):
        own = [getattr(part, field_.name) for part in parts]
        values[field_.name] = _merged(own, join) if is_dataclass(own[0]) else join(own)
    merged: Merged = type(first)(**values)
    return merged


def _residue_targets(
    truth: ChainTruth, index: Int[Tensor, "n"], known: Tensor, network: AlphaFold1Config
) -> ResidueTargets:
    phi, psi = (angle_bins(angle[0], network.torsions)[index] for angle in torsions(truth.backbone))
    # The ends of a chain lack one of the two.
    inner = known & (index > 0) & (index < len(truth.structure) - 1)
    surface = (truth.surface[index] * network.surfaces).long().clamp(max=network.surfaces - 1)
    return ResidueTargets(
        torsion=torch.where(inner, phi * network.torsions + psi, IGNORED)[None],
        secondary_structure=torch.where(known, truth.structure[index], IGNORED)[None],
        accessibility=torch.where(known, surface, IGNORED)[None],
    )


def _annotations(path: Path, store: ChainStore) -> tuple[Int[np.ndarray, "residues"], Float[np.ndarray, "residues"]]:
    """Secondary structure and accessible surface of all chains, one after the other."""
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=["secondary_structure", "accessibility"])
        letters = "".join(table["secondary_structure"].to_pylist())
        surface = np.asarray(table["accessibility"].combine_chunks().flatten().to_numpy(zero_copy_only=False))
    except (OSError, KeyError) as error:
        raise InputError(f"{path} lacks secondary structure or accessibility: {error}.") from error
    total = int(store.lengths.sum())
    if len(letters) != total or len(surface) != total:
        raise InputError(f"{path}: secondary structure or accessibility do not fit the sequences ({total} residues).")
    table_of = np.full(256, SECONDARY_STRUCTURES.index("C"), dtype=np.int64)
    for index, letter in enumerate(SECONDARY_STRUCTURES):
        table_of[ord(letter)] = index
    return table_of[np.frombuffer(letters.encode("latin-1"), dtype=np.uint8)], surface.astype(np.float32)
