"""Relative position of two tokens: in the chain, in the residue, and between copies (AlphaFold 3, Algorithm 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anfinsen.nn.adaptive_layer_norm import lecun_
from anfinsen.nn.batch import Batch


@dataclass(frozen=True)
class RelativePositionConfig:
    """Sizes and variants of `RelativePositionEncoding`.

    Attributes:
        c_z: width of the pair representation. residues, tokens, chains: largest offsets told apart.
        chain_offsets: for which pairs the copy number's offset is told: "same_entity" (released AlphaFold 3 code,
            OpenFold 3, Protenix, Boltz-2) or "other_chain" (paper, Boltz-1).
    """

    c_z: int = 128
    residues: int = 32
    tokens: int = 32
    chains: int = 2
    chain_offsets: Literal["same_entity", "other_chain"] = "same_entity"

    @property
    def bins(self) -> tuple[int, int, int]:
        """Return the number of classes of residue, token and chain offsets; the last class is "not comparable"."""
        return 2 * self.residues + 2, 2 * self.tokens + 2, 2 * self.chains + 2

    @property
    def width(self) -> int:
        """Return the width of the concatenated one-hot classes and the same-entity flag (139)."""
        return sum(self.bins) + 1


@dataclass(frozen=True)
class RelativePositions:
    """Classes of the offsets between every two tokens, and whether they belong to the same entity."""

    residue: Int[Tensor, "rows n"]
    token: Int[Tensor, "rows n"]
    chain: Int[Tensor, "rows n"]
    same_entity: Bool[Tensor, "rows n"]

    def rows(self, rows: slice) -> RelativePositions:
        """Return the classes of some first tokens with all second ones."""
        return RelativePositions(self.residue[rows], self.token[rows], self.chain[rows], self.same_entity[rows])


def relative_positions(batch: Batch, config: RelativePositionConfig) -> RelativePositions:
    """Return the offset classes of Algorithm 3; in a cyclic chain the residue offset is the shorter way round."""
    same_chain = _same(batch.asym_id)
    same_entity = _same(batch.entity_id)
    same_residue = same_chain & _same(batch.residue_index)
    residue = _cyclic(_difference(batch.residue_index), batch.cyclic_period)
    told = same_entity if config.chain_offsets == "same_entity" else ~same_chain
    return RelativePositions(
        residue=_classes(residue, config.residues, same_chain),
        token=_classes(_difference(batch.token_index), config.tokens, same_residue),
        chain=_classes(_difference(batch.sym_id), config.chains, told),
        same_entity=same_entity,
    )


def one_hot_positions(
    positions: RelativePositions, config: RelativePositionConfig, dtype: torch.dtype
) -> Float[Tensor, "rows n width"]:
    """Return the concatenated one-hot classes [residue 66 | token 66 | same entity 1 | chain 6]."""
    residues, tokens, chains = config.bins
    return torch.cat(
        [
            F.one_hot(positions.residue, residues).to(dtype),
            F.one_hot(positions.token, tokens).to(dtype),
            positions.same_entity[..., None].to(dtype),
            F.one_hot(positions.chain, chains).to(dtype),
        ],
        dim=-1,
    )


class RelativePositionEncoding(nn.Module):
    """Linear embedding of the relative positions (AlphaFold 3, Algorithm 3)."""

    def __init__(self, config: RelativePositionConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, config.c_z, bias=False)
        lecun_(self.linear.weight)

    def forward(self, batch: Batch) -> Float[Tensor, "n n c_z"]:
        """Return the embedding of every pair of tokens."""
        return self.embed(relative_positions(batch, self.config))

    def embed(self, positions: RelativePositions) -> Float[Tensor, "rows n c_z"]:
        """Return the embedding of ``positions``."""
        # A product with one-hot vectors is a choice of rows: the [N, N, 139] one-hots are never made.
        residues, tokens, chains = self.config.bins
        rows = torch.split(self.linear.weight.transpose(0, 1), [residues, tokens, 1, chains])
        encoding = F.embedding(positions.residue, rows[0]) + F.embedding(positions.token, rows[1])
        encoding = encoding + F.embedding(positions.chain, rows[3])
        encoding = encoding + positions.same_entity[..., None] * rows[2]
        return encoding


def _same(index: Int[Tensor, " n"]) -> Bool[Tensor, "n n"]:
    return index[:, None] == index[None, :]


def _difference(index: Int[Tensor, " n"]) -> Int[Tensor, "n n"]:
    return index[:, None] - index[None, :]


def _cyclic(offset: Int[Tensor, "n n"], period: Int[Tensor, " n"]) -> Int[Tensor, "n n"]:
    """Return offsets the shorter way round where the period is not 0.

    Half way round is always forwards, so that no place in the ring differs from another (Boltz's rounding makes it
    forwards or backwards by where the numbering starts).
    """
    ring = period.clamp(min=1)[:, None]
    backwards = (ring - 1) // 2
    return torch.where(period[:, None] > 0, (offset + backwards) % ring - backwards, offset)


def _classes(offset: Int[Tensor, "n n"], largest: int, comparable: Bool[Tensor, "n n"]) -> Int[Tensor, "n n"]:
    return torch.where(comparable, (offset + largest).clamp(0, 2 * largest), 2 * largest + 1)
