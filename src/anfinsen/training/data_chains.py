"""Training on single protein chains of which only the backbone is known.

The whole path from an index to a cropped example costs milliseconds: the crop is chosen first, and its atoms are
copied from precomputed blocks (`residue_templates`). A test proves that the batches equal those of the general path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from anfinsen.alignments import Msa
from anfinsen.chemistry import ComponentLibrary
from anfinsen.chemistry.tokens import AMINO_ACIDS, RESTYPES
from anfinsen.common.errors import ConfigError
from anfinsen.features import (
    FeatureConfig,
    coupling_channels,
    frame_rotations,
    msa_profile,
    row_features,
)
from anfinsen.features.coupling_scores import coupling_scores
from anfinsen.nn.batch import COUPLING_CHANNELS, Batch, Labels

from .chain_store import ChainRecord, ChainStore, a3m_row_starts, a3m_rows
from .crops import CropConfig, choose_crop
from .evolution_cache import EvolutionCache
from .residue_templates import ResidueTemplates, residue_templates
from .sampling import ClusterSampler

MsaSource = Literal["msa", "profile", "single"]
_N_AND_CA_AND_C = (0, 1, 2)
# CB of an ideal L-amino acid from N, CA and C: coefficients of (CA - N) x (C - CA), CA - N and C - CA, for ideal bond
# lengths and angles (Engh and Huber 1991).
_IDEAL_CB = (-0.58273431, 0.56802827, -0.54067466)
_CB_ROLE = 4


@dataclass(frozen=True)
class ChainDataConfig:
    """What an example of the chain data set shows.

    Attributes:
        crop: size and kinds (a single chain has no interfaces).
        ideal_cbeta: whether CB, which the backbone determines, counts as resolved.
        max_msa_rows: rows shown, the query included.
        single_sequence: probability that only the sequence is shown.
        stored_profile: probability that a chain with an alignment shows its stored profile and no rows.
        full_depth: probability that the profile comes from all rows; otherwise from a log-uniform number of them.
        aligned: probability that a chain with an alignment is drawn (a quarter of the chains have one, but most users
            bring one); None draws from all chains alike.
        couplings: whether examples show the couplings of their alignment's columns.
        conformers: how many different sets of reference conformers are used.
        features: settings shared with inference.
    """

    crop: CropConfig = field(
        default_factory=lambda: CropConfig(128, contiguous=0.5, spatial=0.5, spatial_interface=0.0)
    )
    ideal_cbeta: bool = True
    max_msa_rows: int = 128
    single_sequence: float = 0.1
    stored_profile: float = 0.15
    full_depth: float = 0.5
    aligned: float | None = 0.6
    couplings: bool = False
    conformers: int = 4
    features: FeatureConfig = field(default_factory=FeatureConfig)

    def __post_init__(self) -> None:
        if self.max_msa_rows < 1 or self.conformers < 1:
            raise ConfigError("max_msa_rows and conformers must be at least 1.")
        if min(self.single_sequence, self.stored_profile, self.full_depth) < 0 or self.full_depth > 1:
            raise ConfigError("Probabilities of the chain data set must lie between 0 and 1.")
        if self.aligned is not None and not 0 <= self.aligned <= 1:
            raise ConfigError(f"The probability of chains with alignments is {self.aligned}: expected 0 to 1, or null.")
        if self.single_sequence + self.stored_profile > 1:
            raise ConfigError("single_sequence and stored_profile must sum to at most 1.")


@dataclass(frozen=True)
class _MsaPart:
    """Profile, rows and couplings over the residues of a crop."""

    profile: Float[np.ndarray, "n 32"]
    deletion_mean: Float[np.ndarray, "n"]
    restypes: Int[np.ndarray, "S n"]
    deletions: Float[np.ndarray, "S n"]
    couplings: Float32[np.ndarray, "n n K"]


class ChainDataset:
    """Chains of one split of a folder of Parquet files, with their alignments."""

    def __init__(
        self, data_dir: Path, split: str, config: ChainDataConfig | None = None, cache: Path | None = None
    ) -> None:
        """Open the files; ``cache`` holds prepared couplings, without which they are computed for every example.

        Raises:
            InputError: files are missing or broken.
            MissingExtraError: pyarrow is not installed.
        """
        self.config = config or ChainDataConfig()
        self.store = ChainStore(Path(data_dir), split)
        self.views = None if cache is None else EvolutionCache(self.store, cache / split)
        self._samplers = self._make_samplers()
        self._library = ComponentLibrary()
        self._templates: dict[int, ResidueTemplates] = {}

    def __len__(self) -> int:
        return len(self.store)

    def draw(self, rng: np.random.Generator) -> int:
        """Return the index of a chain: a cluster uniformly, then one of its chains."""
        chosen = int(rng.choice(len(self._samplers), p=[weight for weight, _, _ in self._samplers]))
        _, members, sampler = self._samplers[chosen]
        return int(members[sampler.draw(rng)])

    def example(self, index: int, rng: np.random.Generator) -> tuple[Batch, Labels]:
        """Return a random crop of chain ``index``, with randomly thinned evolutionary information."""
        record = self.store.record(index)
        centers = record.backbone[:, 1].astype(np.float64)
        crop = choose_crop(np.ones(len(centers), dtype=np.int64), centers, record.resolved, self.config.crop, rng)
        part = self._sampled_msa(index, record, crop, rng)
        return self._build(record, crop, part, int(rng.integers(self.config.conformers)))

    def whole(
        self, index: int, source: MsaSource | None = None, max_msa_rows: int | None = None
    ) -> tuple[Batch, Labels]:
        """Return chain ``index`` uncropped, as a user would give it: the alignment's rows in order, nothing thinned.

        ``source`` None takes the alignment where there is one, else the stored profile.
        """
        record = self.store.record(index)
        everything = np.arange(len(record.restype))
        chosen = source or ("msa" if record.has_msa else "profile")
        part = (
            self._alignment(index, record, everything, None, max_msa_rows or self.config.features.max_msa_rows)
            if chosen == "msa"
            else self._without_rows(record, everything, chosen)
        )
        return self._build(record, everything, part, 0)

    def _make_samplers(self) -> list[tuple[float, Int[np.ndarray, "m"], ClusterSampler]]:
        """Probability, chains and sampler of each part of the set: with and without alignments, or all."""
        has_msa, share = self.store.has_msa, self.config.aligned
        if share is None or has_msa.all() or not has_msa.any():
            parts = [(1.0, np.arange(len(self.store)))]
        else:
            parts = [(share, np.flatnonzero(has_msa)), (1.0 - share, np.flatnonzero(~has_msa))]
        return [(weight, members, ClusterSampler(self.store.clusters[members])) for weight, members in parts]

    def _sampled_msa(
        self, index: int, record: ChainRecord, crop: Int[np.ndarray, "n"], rng: np.random.Generator
    ) -> _MsaPart:
        config = self.config
        chance = float(rng.random())
        if chance < config.single_sequence:
            return self._without_rows(record, crop, "single")
        if not record.has_msa or chance < config.single_sequence + config.stored_profile:
            return self._without_rows(record, crop, "profile")
        return self._alignment(index, record, crop, rng, config.max_msa_rows)

    def _alignment(
        self,
        index: int,
        record: ChainRecord,
        crop: Int[np.ndarray, "n"],
        rng: np.random.Generator | None,
        max_rows: int,
    ) -> _MsaPart:
        """Rows of the alignment: all in order without ``rng``, else a random number of them in random order."""
        restypes, deletions, couplings = self._rows(index, record, rng)
        restypes, deletions = restypes[:, crop].astype(np.int64), deletions[:, crop].astype(np.int64)
        profile, deletion_mean = msa_profile(Msa(restypes, deletions, ("",) * len(restypes)))
        return _MsaPart(
            profile,
            deletion_mean,
            restypes[:max_rows],
            deletions[:max_rows].astype(np.float32),
            couplings[np.ix_(crop, crop)],
        )

    def _rows(
        self, index: int, record: ChainRecord, rng: np.random.Generator | None
    ) -> tuple[Int[np.ndarray, "S L"], Int[np.ndarray, "S L"], Float32[np.ndarray, "L L K"]]:
        """Rows, deletions and couplings of the whole chain; see `_alignment`."""
        length = len(record.restype)
        whole = rng is None or rng.random() < self.config.full_depth
        if rng is not None and self.config.couplings and self.views is not None:
            # Couplings are too slow to compute for every example: one of the views that were prepared is shown.
            number = 0 if whole else 1 + int(rng.integers(self.views.config.thinned))
            msa = self.views.rows(index, number)
            order = np.concatenate([[0], 1 + rng.permutation(msa.depth - 1)])
            scores = self.views.view(index, number).scores
            return msa.restypes[order], msa.deletions[order], self._channels(scores, length)
        text = self.store.a3m(index)
        spans = a3m_row_starts(text)
        if rng is not None:
            depth = len(spans) if whole else int(np.exp(rng.uniform(0.0, np.log(len(spans) + 1))))
            others = 1 + rng.permutation(len(spans) - 1)[: max(depth - 1, 0)]
            spans = spans[np.concatenate([[0], others])]
        restypes, deletions = a3m_rows(text, spans, length)
        scores = coupling_scores(Msa(restypes, deletions, ("",) * len(restypes))) if self.config.couplings else None
        return restypes, deletions, self._channels(scores, length)

    def _channels(self, scores: Float32[np.ndarray, "L L"] | None, length: int) -> Float32[np.ndarray, "L L K"]:
        """Coupling channels of a chain: none where they are not asked for, zeros where there are no couplings."""
        if scores is not None:
            return coupling_channels(scores)
        channels = COUPLING_CHANNELS if self.config.couplings else 0
        return np.zeros((length, length, channels), dtype=np.float32)

    def _without_rows(self, record: ChainRecord, crop: Int[np.ndarray, "n"], source: MsaSource) -> _MsaPart:
        """The query as the only row; the profile is the stored one, or the query itself."""
        query = record.restype[crop][None]
        profile = np.zeros((len(crop), len(RESTYPES)), dtype=np.float32)
        if source == "profile":
            profile[:, : len(AMINO_ACIDS)] = record.profile[crop]
        else:
            profile[np.arange(len(crop)), query[0]] = 1.0
        nothing = np.zeros(len(crop), np.float32)
        return _MsaPart(profile, nothing, query, np.zeros(query.shape, np.float32), self._channels(None, len(crop)))

    def _build(
        self, record: ChainRecord, crop: Int[np.ndarray, "n"], part: _MsaPart, conformers: int
    ) -> tuple[Batch, Labels]:
        templates = self._templates_of(conformers)
        n = len(crop)
        restype = record.restype[crop]
        block = templates.blocks(restype, crop == len(record.restype) - 1)
        count = templates.count[block]
        first = np.concatenate([[0], np.cumsum(count)[:-1]])
        token = np.repeat(np.arange(n), count)
        row = np.arange(len(token)) - first[token] + templates.start[block][token]
        rows = torch.from_numpy(row)
        ones = torch.ones(n, dtype=torch.int64)
        position = torch.from_numpy(crop + 1)
        fields: dict[str, Tensor] = {
            "restype": torch.from_numpy(restype),
            "residue_index": position,
            "token_index": position.clone(),
            "asym_id": ones,
            "entity_id": ones.clone(),
            "sym_id": ones.clone(),
            "kind": torch.zeros(n, dtype=torch.int64),
            "is_standard": torch.ones(n, dtype=torch.bool),
            "token_mask": torch.ones(n, dtype=torch.bool),
            "cyclic_period": torch.zeros(n, dtype=torch.int64),
            "profile": torch.from_numpy(part.profile),
            "deletion_mean": torch.from_numpy(part.deletion_mean),
            "token_bonds": torch.zeros(n, n, dtype=torch.bool),
            "pair_couplings": torch.from_numpy(part.couplings),
            "atom_to_token": torch.from_numpy(token),
            "atom_mask": torch.ones(len(token), dtype=torch.bool),
            "ref_space_uid": torch.from_numpy(crop[token]),
            "center_atom": torch.from_numpy(first + templates.center[block]),
            "distogram_atom": torch.from_numpy(first + templates.distogram[block]),
            "frame_atoms": torch.from_numpy(first[:, None] + templates.frame[block]),
            "frame_mask": torch.ones(n, dtype=torch.bool),
            **{name: values[rows] for name, values in templates.atoms.items()},
            **row_features(part.restypes, part.deletions),
            **_no_templates(n),
        }
        coordinates, resolved = self._true_atoms(record.backbone[crop], templates, token, row)
        resolved &= record.resolved[crop][token]
        labels = Labels(torch.from_numpy(coordinates), torch.from_numpy(resolved), torch.zeros(0, 2, dtype=torch.int64))
        return Batch(**fields), labels

    def _true_atoms(
        self,
        backbone: Float[np.ndarray, "n 4 3"],
        templates: ResidueTemplates,
        token: Int[np.ndarray, "A"],
        row: Int[np.ndarray, "A"],
    ) -> tuple[Float[np.ndarray, "A 3"], Bool[np.ndarray, "A"]]:
        """Backbone atoms as stored, CB ideal, the rest where the reference conformer would have it."""
        n, ca, c = (backbone[:, atom] for atom in _N_AND_CA_AND_C)
        rotation = frame_rotations(n, ca, c)
        coordinates = np.einsum("aij,aj->ai", rotation[token], templates.local[row]) + ca[token]
        role = templates.is_backbone[row]
        stored = (role >= 0) & (role < _CB_ROLE)
        coordinates[stored] = backbone[token[stored], role[stored]]
        beta = role == _CB_ROLE
        coordinates[beta] = ideal_cbeta(n, ca, c)[token[beta]]
        resolved = stored | beta if self.config.ideal_cbeta else stored
        return coordinates.astype(np.float32), resolved

    def _templates_of(self, conformers: int) -> ResidueTemplates:
        if conformers not in self._templates:
            self._templates[conformers] = residue_templates(self._library, self.config.features, conformers)
        return self._templates[conformers]


def ideal_cbeta(
    n: Float[np.ndarray, "n 3"], ca: Float[np.ndarray, "n 3"], c: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Return where CB of an ideal L-amino acid lies, in Å, from the three backbone atoms before it."""
    forward, onward = ca - n, c - ca
    beta = _IDEAL_CB[0] * np.cross(forward, onward) + _IDEAL_CB[1] * forward + _IDEAL_CB[2] * onward + ca
    return np.asarray(beta)


def _no_templates(n: int) -> dict[str, Tensor]:
    return {
        "template_restype": torch.zeros(0, n, dtype=torch.int64),
        "template_pseudo_beta": torch.zeros(0, n, 3),
        "template_pseudo_beta_mask": torch.zeros(0, n, dtype=torch.bool),
        "template_backbone": torch.zeros(0, n, 3, 3),
        "template_backbone_mask": torch.zeros(0, n, dtype=torch.bool),
    }
