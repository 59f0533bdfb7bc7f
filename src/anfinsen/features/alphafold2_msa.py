"""The alignment as AlphaFold 2 sees it: cluster centres, some of their residues hidden, their clusters, other rows.

AlphaFold 2 supplement, sections 1.2.6, 1.2.7 and table 1; where they differ, as in the released code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from anfinsen.chemistry.tokens import GAP, UNKNOWN_PROTEIN
from anfinsen.common.errors import ConfigError

MSA_TYPES = 23  # 20 amino acids, unknown, gap, masked
MSA_GAP, MSA_MASKED = 21, 22
_AMINO_ACIDS = 20
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class AlphaFold2MsaConfig:
    """What one pass sees of an alignment.

    Attributes:
        clusters: cluster centres at most, the query among them. extra: other rows at most.
        masked: share of the centres' residues that are to be told; of these ``uniform`` become a random amino acid,
            ``profile`` one drawn from their column, ``same`` stay, and the others are shown as masked.
        extra_query: whether the query stands among the extra rows where there are no others. The published networks
            were then given none, and the outer product mean over no rows is a thousand times its bias.
    """

    clusters: int = 512
    extra: int = 1024
    masked: float = 0.15
    uniform: float = 0.1
    profile: float = 0.1
    same: float = 0.1
    extra_query: bool = False

    def __post_init__(self) -> None:
        if self.clusters < 1 or self.extra < 0:
            raise ConfigError(
                f"MSA features need at least 1 cluster and no negative number of extra rows; got {self.clusters} and "
                f"{self.extra}."
            )
        if min(self.masked, self.uniform, self.profile, self.same) < 0 or (
            max(self.masked, self.uniform + self.profile + self.same) > 1
        ):
            raise ConfigError("The shares of masked residues must lie between 0 and 1, and sum to at most 1.")


@dataclass(frozen=True)
class AlphaFold2Msa:
    """Features of one draw, and what the masked-MSA loss asks for.

    Attributes:
        fields: the MSA fields of an `AlphaFold2Batch`, by name.
        true: type of each residue of the cluster centres before masking. asked: which are to be told.
    """

    fields: dict[str, Tensor]
    true: Int[Tensor, "S N"]
    asked: Bool[Tensor, "S N"]


@dataclass(frozen=True)
class _Rows:
    types: Int[np.ndarray, "R N"]
    deletions: Float[np.ndarray, "R N"]


def alphafold2_msa(
    restypes: Integer[np.ndarray, "R N"],
    deletions: Integer[np.ndarray, "R N"],
    config: AlphaFold2MsaConfig,
    rng: np.random.Generator,
) -> AlphaFold2Msa:
    """Return one random draw of the features of an alignment.

    Args:
        restypes: rows over the query's N columns, the query first, in `chemistry.tokens.RESTYPES`.
        deletions: inserted residues before each position.
        config: sizes and shares.
        rng: decides which rows are centres, and what is masked.
    """
    everything = _Rows(alphafold2_types(restypes), deletions.astype(np.float64))
    order = np.concatenate([[0], 1 + rng.permutation(len(restypes) - 1)]).astype(np.int64)
    chosen, others = order[: config.clusters], order[config.clusters :]
    centres = _taken(everything, chosen)
    types, asked = _masked(centres.types, everything.types, config, rng)
    masked = replace(centres, types=types)
    rest = _taken(everything, others)
    profile, deletion_mean = _clusters(masked, rest)
    # All other rows count in the clusters; only so many are seen themselves.
    shown = _taken(rest, np.arange(min(len(others), config.extra)))
    if config.extra_query and len(shown.types) == 0:
        shown = _taken(everything, np.zeros(1, dtype=np.int64))
    fields = _row_fields("", masked) | {"deletion_mean": _squashed(deletion_mean), "cluster_profile": _tensor(profile)}
    return AlphaFold2Msa(
        fields | _row_fields("extra_", shown), torch.from_numpy(centres.types), torch.from_numpy(asked)
    )


def alphafold2_types(restypes: Integer[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Return residue types of `chemistry.tokens.RESTYPES` as AlphaFold 2 counts them: gap 21, all but proteins 20."""
    restypes = restypes.astype(np.int64)
    return np.where(restypes == GAP, MSA_GAP, np.minimum(restypes, UNKNOWN_PROTEIN))


def _masked(
    types: Int[np.ndarray, "S N"],
    everything: Int[np.ndarray, "R N"],
    config: AlphaFold2MsaConfig,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "S N"], Bool[np.ndarray, "S N"]]:
    """Return the types with what is masked replaced, and which are to be told."""
    asked = rng.random(types.shape) < config.masked
    rows, columns = np.nonzero(asked)
    kind = rng.random(len(rows))
    # A residue drawn from the column is that of a random row: the column's profile, gaps and unknown ones included.
    drawn = everything[rng.integers(len(everything), size=len(rows)), columns]
    uniform = rng.integers(_AMINO_ACIDS, size=len(rows))
    limits = np.cumsum([config.uniform, config.profile, config.same])
    told = np.select([kind < limit for limit in limits], [uniform, drawn, types[rows, columns]], MSA_MASKED)
    result = types.copy()
    result[rows, columns] = told
    return result, asked


def _clusters(centres: _Rows, others: _Rows) -> tuple[Float[np.ndarray, "S N 23"], Float[np.ndarray, "S N"]]:
    """Return profile and mean deletions of each centre with the rows nearest to it.

    A row belongs to the centre that it shares most residues with, of the first where there are several; gaps and masked
    residues are not shared.
    """
    count, length = centres.types.shape
    one_hot = np.eye(MSA_TYPES, dtype=np.float32)
    own = one_hot[centres.types]
    profile, deletions = own.reshape(count, length * MSA_TYPES).copy(), centres.deletions.copy()
    size = np.ones(count)
    shareable = own[..., :MSA_GAP].reshape(count, length * MSA_GAP).T
    for start in range(0, len(others.types), _ROWS_AT_ONCE):
        theirs = one_hot[others.types[start : start + _ROWS_AT_ONCE]]
        rows = len(theirs)
        nearest = (theirs[..., :MSA_GAP].reshape(rows, length * MSA_GAP) @ shareable).argmax(axis=1)
        members = (nearest == np.arange(count)[:, None]).astype(np.float32)
        profile += members @ theirs.reshape(rows, length * MSA_TYPES)
        deletions += members @ others.deletions[start : start + rows]
        size += members.sum(axis=1)
    return profile.reshape(own.shape) / size[:, None, None], deletions / size[:, None]


def _row_fields(prefix: str, rows: _Rows) -> dict[str, Tensor]:
    return {
        f"{prefix}msa": torch.from_numpy(rows.types),
        f"{prefix}has_deletion": _tensor(rows.deletions.clip(0, 1)),
        f"{prefix}deletion_value": _squashed(rows.deletions),
        f"{prefix}msa_mask": torch.ones(rows.types.shape, dtype=torch.bool),
    }


def _taken(rows: _Rows, index: Int[np.ndarray, "m"]) -> _Rows:
    return _Rows(rows.types[index], rows.deletions[index])


def _squashed(deletions: Float[np.ndarray, "R N"]) -> Float[Tensor, "R N"]:
    return _tensor(np.arctan(deletions / 3.0) * (2.0 / np.pi))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
