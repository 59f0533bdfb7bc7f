"""What AlphaFold 2 is trained on: crops of chains, with features of a random draw of their alignment, and the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from anfinsen.alignments import Msa
from anfinsen.chemistry import RESIDUE_TYPES, rigid_groups
from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.common.errors import InputError
from anfinsen.common.progress import Progress, Silent
from anfinsen.features import coupling_channels
from anfinsen.features.alphafold2_msa import AlphaFold2Msa, AlphaFold2MsaConfig, alphafold2_msa
from anfinsen.losses.alphafold2 import StructureTarget
from anfinsen.nn.batch import COUPLING_CHANNELS, AlphaFold2Batch

from .alphafold2_proteins import ProteinStore
from .chain_store import ChainRecord, ChainStore
from .crops import CropConfig, choose_crop
from .data_chains import ideal_cbeta
from .evolution_cache import EvolutionCache, prepare_together
from .sampling import ClusterSampler
from .workers import Workers

_GLYCINE = RESIDUE_TYPES.index("GLY")
_CA, _CB = 1, 4  # places among the 14 atoms
_N, _C, _O = 0, 2, 3


@dataclass(frozen=True)
class AlphaFold2DataConfig:
    """What an example shows.

    Attributes:
        crop: residues. spatial: share of the crops that are residues near one another, and not a stretch (the paper has
            stretches only; contacts that are far apart in the chain are rare in short ones).
        aligned: probability of a chain with an alignment.
        single, profile: probability that such a chain shows its sequence alone, or its stored profile alone.
        single_without: probability that a chain without an alignment shows its sequence alone.
        whole: probability of the whole alignment, and not of a thinned one.
        structures: share of the examples that are chains with side chains, without alignments.
        msa: clusters, extra rows, masking.
    """

    crop: int = 256
    spatial: float = 0.0
    aligned: float = 0.8
    single: float = 0.03
    profile: float = 0.05
    single_without: float = 0.3
    whole: float = 0.6
    structures: float = 0.25
    msa: AlphaFold2MsaConfig = field(default_factory=AlphaFold2MsaConfig)


@dataclass(frozen=True)
class AlphaFold2Example:
    """One crop: what the network sees, and what it is compared with.

    Attributes:
        batch: features. target: the true structure.
        true_msa, asked: of the masked-MSA task (`features.alphafold2_msa`).
        side_chains: whether side chains beyond CB are known.
        predicted: whether a model, and no experiment, made the structure: nothing about confidence is learnt of it.
    """

    batch: AlphaFold2Batch
    target: StructureTarget
    true_msa: Int[Tensor, "S N"]
    asked: Bool[Tensor, "S N"]
    side_chains: bool
    predicted: bool = False

    def to(self, device: torch.device | str) -> AlphaFold2Example:
        """Return the example on ``device``."""
        moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in vars(self.target).items()}
        return AlphaFold2Example(
            self.batch.to(device),
            StructureTarget(**moved),
            self.true_msa.to(device),
            self.asked.to(device),
            self.side_chains,
            self.predicted,
        )


class AlphaFold2Dataset:
    """Chains of one split of a data folder, and the proteins with side chains of its structures.

    Attributes:
        config: may be replaced between examples. store: the chains. proteins: None where there are none.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        cache: Path,
        config: AlphaFold2DataConfig,
        *,
        couplings: bool,
        structures: bool = True,
        workers: Workers | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open ``folder``; couplings and proteins are prepared first, once, the workers of a run sharing the work.

        Raises:
            InputError: files are missing or broken. MissingExtraError: pyarrow is not installed.
        """
        if not (folder / "chains" / f"{split}.parquet").is_file():
            raise InputError(f"The data folder {folder} holds no chains/{split}.parquet: AlphaFold 2 is trained on it.")
        workers, progress = workers or Workers(), progress or Silent()
        self.config, self._couplings = config, couplings
        self.store = ChainStore(folder, split)
        self.cache = EvolutionCache(self.store, cache / split)
        if couplings:
            prepare_together(self.cache, workers, progress)
        self.proteins: ProteinStore | None = None
        if structures and (folder / "structures").is_dir():
            kept = cache / "proteins.safetensors"
            if workers.leads:
                self.proteins = ProteinStore(folder / "structures", kept, progress)
            workers.add({"prepared": 1.0})
            self.proteins = self.proteins or ProteinStore(folder / "structures", kept)
        self._groups = {
            has: (members, ClusterSampler(self.store.clusters[members]))
            for has in (True, False)
            if len(members := np.flatnonzero(self.store.has_msa == has))
        }

    def example(self, rng: np.random.Generator) -> AlphaFold2Example:
        """Draw a chain, a crop of it, and what is shown of its alignment."""
        if self.proteins is not None and len(self.proteins) and rng.random() < self.config.structures:
            return self._protein(int(rng.integers(len(self.proteins))), rng)
        aligned = bool(rng.random() < self.config.aligned)
        members, sampler = self._groups.get(aligned) or self._groups[not aligned]
        index = int(members[sampler.draw(rng)])
        record = self.store.record(index)
        crop = self._crop(record.backbone[:, _CA], record.resolved, rng)
        return self._chain(index, record, crop, self._source(record, rng), rng)

    def whole(self, index: int, rng: np.random.Generator) -> AlphaFold2Example:
        """Return chain ``index`` uncropped with its whole alignment, or its profile where it has none."""
        record = self.store.record(index)
        return self._chain(index, record, np.arange(len(record.restype)), "msa" if record.has_msa else "profile", rng)

    def _crop(
        self, centers: Float[np.ndarray, "L 3"], resolved: Bool[np.ndarray, "L"], rng: np.random.Generator
    ) -> Int[np.ndarray, "n"]:
        spatial = self.config.spatial
        kinds = CropConfig(self.config.crop, contiguous=1 - spatial, spatial=spatial, spatial_interface=0.0)
        return choose_crop(np.ones(len(centers), dtype=np.int64), centers.astype(np.float64), resolved, kinds, rng)

    def _source(self, record: ChainRecord, rng: np.random.Generator) -> str:
        chance, config = float(rng.random()), self.config
        if not record.has_msa:
            return "single" if chance < config.single_without else "profile"
        if chance < config.single:
            return "single"
        if chance < config.single + config.profile:
            return "profile"
        return "msa" if rng.random() < config.whole else "thinned"

    def _chain(
        self, index: int, record: ChainRecord, crop: Int[np.ndarray, "n"], source: str, rng: np.random.Generator
    ) -> AlphaFold2Example:
        couplings = self._no_couplings(len(crop))
        rows, deletions = record.restype[None, crop], np.zeros((1, len(crop)), dtype=np.int64)
        if source in ("msa", "thinned"):
            msa, couplings = self._alignment(index, crop, source, rng)
            rows, deletions = msa.restypes[:, crop], msa.deletions[:, crop]
        drawn = alphafold2_msa(rows, deletions, self.config.msa, rng)
        if source == "profile":
            drawn = with_profile(drawn, record.profile[crop])
        batch = single_chain_batch(record.restype[crop], crop, drawn, couplings)
        atoms, mask = backbone_atoms(record.backbone[crop].astype(np.float64), record.restype[crop])
        mask &= record.resolved[crop, None]
        return AlphaFold2Example(batch, _target(batch, atoms, mask), drawn.true, drawn.asked, side_chains=False)

    def _alignment(
        self, index: int, crop: Int[np.ndarray, "n"], source: str, rng: np.random.Generator
    ) -> tuple[Msa, Float32[np.ndarray, "n n K"]]:
        """One view of the alignment, and its couplings over the crop."""
        thinned = self.cache.config.thinned
        view = 0 if source == "msa" or not thinned else 1 + int(rng.integers(thinned))
        msa = self.cache.rows(index, view)
        if not self._couplings:
            return msa, self._no_couplings(len(crop))
        scores = self.cache.view(index, view).scores
        if scores is None:
            return msa, self._no_couplings(len(crop))
        return msa, coupling_channels(scores)[np.ix_(crop, crop)]

    def _no_couplings(self, length: int) -> Float32[np.ndarray, "n n K"]:
        return np.zeros((length, length, COUPLING_CHANNELS if self._couplings else 0), dtype=np.float32)

    def _protein(self, index: int, rng: np.random.Generator) -> AlphaFold2Example:
        """A crop of a protein with side chains, by its sequence alone: its relatives are not known."""
        assert self.proteins is not None
        whole = self.proteins.chains[index]
        crop = self._crop(whole.atoms[:, _CA], whole.mask[:, _CA], rng)
        types = whole.residue_type[crop]
        # `RESIDUE_TYPES` are the first 21 of `RESTYPES`.
        rows = types[None].astype(np.int64)
        drawn = alphafold2_msa(rows, np.zeros(rows.shape, dtype=np.int64), self.config.msa, rng)
        batch = single_chain_batch(rows[0], whole.number[crop], drawn, self._no_couplings(len(crop)))
        target = _target(batch, whole.atoms[crop], whole.mask[crop])
        return AlphaFold2Example(batch, target, drawn.true, drawn.asked, side_chains=True)


def with_profile(drawn: AlphaFold2Msa, profile: Float[np.ndarray, "n 20"]) -> AlphaFold2Msa:
    """Return the features of a sequence alone with ``profile`` (in the order of `AMINO_ACIDS`) as that of its cluster.

    So a chain of which only a profile is stored shows what a cluster of its relatives would.
    """
    cluster = drawn.fields["cluster_profile"].clone()
    cluster[0] = 0.0
    cluster[0, :, : len(AMINO_ACIDS)] = torch.from_numpy(profile.astype(np.float32))
    return replace(drawn, fields=drawn.fields | {"cluster_profile": cluster})


def single_chain_batch(
    restype: Int[np.ndarray, "n"],
    residue_index: Int[np.ndarray, "n"],
    drawn: AlphaFold2Msa,
    couplings: Float32[np.ndarray, "n n K"],
) -> AlphaFold2Batch:
    """Return the batch of (part of) one chain without templates; ``restype`` counts as `chemistry.tokens.RESTYPES`."""
    n = len(restype)
    ones = torch.ones(n, dtype=torch.int64)
    nothing = torch.zeros(0, n, 7, 2)
    return AlphaFold2Batch(
        aatype=torch.from_numpy(np.minimum(restype, len(AMINO_ACIDS))),
        residue_index=torch.from_numpy(residue_index.astype(np.int64)),
        asym_id=ones,
        entity_id=ones.clone(),
        sym_id=ones.clone(),
        mask=torch.ones(n, dtype=torch.bool),
        **drawn.fields,
        pair_couplings=torch.from_numpy(np.ascontiguousarray(couplings)),
        template_aatype=torch.zeros(0, n, dtype=torch.int64),
        template_mask=torch.zeros(0, dtype=torch.bool),
        template_pseudo_beta=torch.zeros(0, n, 3),
        template_pseudo_beta_mask=torch.zeros(0, n, dtype=torch.bool),
        template_backbone=torch.zeros(0, n, 3, 3),
        template_backbone_mask=torch.zeros(0, n, dtype=torch.bool),
        template_torsions=nothing,
        template_alternative_torsions=nothing.clone(),
        template_torsion_mask=torch.zeros(0, n, 7, dtype=torch.bool),
    )


def backbone_atoms(
    backbone: Float[np.ndarray, "n 4 3"], restype: Int[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n 14 3"], Bool[np.ndarray, "n 14"]]:
    """Return N, CA, C, O as stored and CB, which they determine, in the 14 places, and which are known. Å."""
    atoms, mask = np.zeros((len(backbone), 14, 3)), np.zeros((len(backbone), 14), dtype=bool)
    atoms[:, [_N, _CA, _C, _O]] = backbone
    atoms[:, _CB] = ideal_cbeta(backbone[:, _N], backbone[:, _CA], backbone[:, _C])
    mask[:, : _CB + 1] = True
    mask &= rigid_groups().atom_mask[np.minimum(restype, len(AMINO_ACIDS))]
    atoms[~mask] = 0.0
    return atoms, mask


def pseudo_beta(target: StructureTarget) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, "n"]]:
    """Return CB (CA of glycine) of the true structure, and which are known."""
    glycine = target.residue_type == _GLYCINE
    atoms = torch.where(glycine[:, None], target.atoms[:, _CA], target.atoms[:, _CB])
    return atoms, torch.where(glycine, target.atom_mask[:, _CA], target.atom_mask[:, _CB])


def _target(
    batch: AlphaFold2Batch, atoms: Float[np.ndarray, "n 14 3"], mask: Bool[np.ndarray, "n 14"]
) -> StructureTarget:
    return StructureTarget(
        residue_type=batch.aatype,
        atoms=torch.from_numpy(atoms.astype(np.float32)),
        atom_mask=torch.from_numpy(mask),
        residue_index=batch.residue_index,
        residue_mask=batch.mask,
    )
