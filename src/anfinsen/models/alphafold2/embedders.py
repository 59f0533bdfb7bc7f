"""First MSA and pair representations: target, alignment, relative position, the last pass (AlphaFold 2, 1.5, 1.10)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anfinsen.geometry import pairwise_distances
from anfinsen.nn.batch import AlphaFold2Batch
from anfinsen.nn.dense import dense

MSA_TYPES = 23  # 20 amino acids, unknown, gap, masked
C_MSA_FEATURES = 2 * MSA_TYPES + 3  # type, has deletion, deletions, profile and mean deletions of the cluster (49)
C_EXTRA_FEATURES = MSA_TYPES + 2  # 25
TARGET_TYPES = 21  # 20 amino acids, unknown

# The released code's bins of the last pass's distances; the supplement names 3.375-21.375 Å.
RECYCLED_FIRST, RECYCLED_LAST, RECYCLED_BINS = 3.25, 20.75, 15


def target_features(batch: AlphaFold2Batch, width: int, dtype: torch.dtype) -> Float[Tensor, "n width"]:
    """Return the one-hot residue types, after columns that are always 0 (the monomer has one: "chain break")."""
    types = F.one_hot(batch.aatype, TARGET_TYPES).to(dtype)
    return F.pad(types, (width - TARGET_TYPES, 0))


def msa_features(batch: AlphaFold2Batch, dtype: torch.dtype) -> Float[Tensor, "s n 49"]:
    """Return the features of the clustered rows (supplement, table 1, ``msa_feat``)."""
    features = _row_features(batch.msa, (batch.has_deletion, batch.deletion_value), C_MSA_FEATURES, dtype)
    features[..., C_EXTRA_FEATURES:-1] = batch.cluster_profile
    features[..., -1] = batch.deletion_mean
    return features


def extra_msa_features(batch: AlphaFold2Batch, dtype: torch.dtype) -> Float[Tensor, "e n 25"]:
    """Return the features of the other rows (supplement, table 1, ``extra_msa_feat``)."""
    deletions = (batch.extra_has_deletion, batch.extra_deletion_value)
    return _row_features(batch.extra_msa, deletions, C_EXTRA_FEATURES, dtype)


def _row_features(
    types: Int[Tensor, "s n"], deletions: tuple[Float[Tensor, "s n"], ...], width: int, dtype: torch.dtype
) -> Float[Tensor, "s n width"]:
    """Return one-hot types and the deletions, then zeros; one-hot integers would be four times as large as the rest."""
    features = torch.zeros(*types.shape, width, dtype=dtype, device=types.device)
    features.scatter_(-1, types[..., None], 1.0)
    for column, value in enumerate(deletions, MSA_TYPES):
        features[..., column] = value
    return features


class RelativePosition(nn.Module):
    """Linear embedding of the relative position (AlphaFold 2, Algorithm 4; multimer, section 2.2).

    The monomer tells residue offsets of up to ``residues``. With ``chains`` (multimer) offsets between different chains
    are one class of their own, and the embedding also tells whether two residues' sequences are the same and, up to
    ``chains``, how many copies apart they are. Columns of ``linear``: [residues | same sequence | copies].
    """

    def __init__(self, c_z: int, residues: int = 32, chains: int | None = None) -> None:
        super().__init__()
        self.residues = residues
        self.chains = chains
        width = 2 * residues + 1 if chains is None else (2 * residues + 2) + 1 + (2 * chains + 2)
        self.linear = dense(width, c_z)

    def forward(
        self,
        residue_index: Int[Tensor, "n"],
        asym_id: Int[Tensor, "n"],
        entity_id: Int[Tensor, "n"],
        sym_id: Int[Tensor, "n"],
    ) -> Float[Tensor, "n n c_z"]:
        """Return the embedding of every pair of residues."""
        # A product with one-hot vectors is a choice of rows: the [N, N, 73] one-hots are never made.
        rows = self.linear.weight.transpose(0, 1)
        offset = _clipped(residue_index, self.residues)
        if self.chains is None:
            return F.embedding(offset, rows) + self.linear.bias
        other = 2 * self.residues + 1
        offset = torch.where(asym_id[:, None] == asym_id[None, :], offset, other)
        same = entity_id[:, None] == entity_id[None, :]
        copies = torch.where(same, _clipped(sym_id, self.chains), 2 * self.chains + 1)
        encoding = F.embedding(offset, rows[: other + 1]) + F.embedding(copies, rows[other + 2 :])
        return encoding + same[..., None] * rows[other + 1] + self.linear.bias


def _clipped(index: Int[Tensor, "n"], largest: int) -> Int[Tensor, "n n"]:
    return (index[:, None] - index[None, :] + largest).clamp(0, 2 * largest)


class InputEmbedder(nn.Module):
    """Algorithm 3: target and alignment features, and relative positions."""

    def __init__(self, c_target: int, c_m: int, c_z: int, residues: int = 32, chains: int | None = None) -> None:
        super().__init__()
        self.target = dense(c_target, c_m)
        self.msa = dense(C_MSA_FEATURES, c_m)
        self.left = dense(c_target, c_z)
        self.right = dense(c_target, c_z)
        self.position = RelativePosition(c_z, residues, chains)

    def forward(
        self,
        target: Float[Tensor, "n c_target"],
        msa: Float[Tensor, "s n c_features"],
        position: Float[Tensor, "n n c_z"],
    ) -> tuple[Float[Tensor, "s n c_m"], Float[Tensor, "n n c_z"]]:
        """Return the first MSA and pair representations.

        Args:
            target: residue types. msa: features of the clustered rows.
            position: relative positions as ``self.position`` embeds them.
        """
        pair = self.left(target)[:, None] + self.right(target)[None, :] + position
        return self.msa(msa) + self.target(target), pair


class RecyclingEmbedder(nn.Module):
    """Algorithm 32: what the last pass found, as updates of the first MSA row and the pair representation."""

    def __init__(self, c_m: int, c_z: int) -> None:
        super().__init__()
        self.norm_msa = nn.LayerNorm(c_m)
        self.norm_pair = nn.LayerNorm(c_z)
        self.distance = dense(RECYCLED_BINS, c_z)

    def forward(
        self,
        first_row: Float[Tensor, "n c_m"],
        pair: Float[Tensor, "n n c_z"],
        pseudo_beta: Float[Tensor, "n 3"],
    ) -> tuple[Float[Tensor, "n c_m"], Float[Tensor, "n n c_z"]]:
        """Return the updates; ``pseudo_beta`` (CB, CA of glycine) in Å. In the first pass all three are zeros."""
        distances = pairwise_distances(pseudo_beta)
        edges = torch.linspace(RECYCLED_FIRST, RECYCLED_LAST, RECYCLED_BINS, dtype=distances.dtype).to(distances.device)
        # Class 0, distances below the first edge, adds nothing (released code).
        classes = torch.bucketize(distances, edges)
        of_class = F.pad(self.distance.weight.transpose(0, 1), (0, 0, 1, 0))
        update = F.embedding(classes, of_class) + self.distance.bias + self.norm_pair(pair)
        return self.norm_msa(first_row), update
