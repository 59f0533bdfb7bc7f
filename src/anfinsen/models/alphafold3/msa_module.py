"""MSA module: the alignment enters the pair representation (AlphaFold 3, Algorithm 8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.nn.dropout import SharedDropout
from anfinsen.nn.memory import in_place
from anfinsen.nn.outer_product_mean import Normalisation, OuterProductMean
from anfinsen.nn.pair_weighted_averaging import PairWeightedAveraging
from anfinsen.nn.pairformer import ROWWISE, PairBlock, PairformerConfig
from anfinsen.nn.transition import Transition


@dataclass(frozen=True)
class MsaModuleConfig:
    """Sizes and variants of the MSA module (supplement 3.3).

    Attributes:
        blocks: number of blocks. c_m: width of the MSA representation. c_s_inputs: width of the input embedding.
        c_features: 32 residue types, has_deletion and deletion_value (Boltz: 33 types and a paired flag, 36).
        c_outer: hidden width of the outer product mean; outer_product: where it divides (see `OuterProductMean`).
        heads, c_head: pair-weighted averaging (released code 8 x 8, Boltz 8 x 32).
        order: "outer_product_first" (paper, released code, OpenFold 3, Protenix) or "msa_first" (Boltz).
        last_block_msa: whether the last block updates the MSA; it does nothing for the pair representation unless the
            MSA comes first, so all but Boltz leave it out.
        use_msa_mask: False ignores the MSA mask in the outer product mean and the token mask in the averaging
            (Protenix).
        dropout_msa: rate of the row-wise dropout. pair: the pair blocks (its ``c_s`` must be 0).
    """

    blocks: int = 4
    c_m: int = 64
    c_s_inputs: int = 449
    c_features: int = 34
    c_outer: int = 32
    heads: int = 8
    c_head: int = 8
    transition_factor: int = 4
    dropout_msa: float = 0.15
    order: Literal["outer_product_first", "msa_first"] = "outer_product_first"
    outer_product: Normalisation = "after"
    last_block_msa: bool = False
    use_msa_mask: bool = True
    pair: PairformerConfig = field(default_factory=lambda: PairformerConfig(c_s=0))


class MsaBlock(nn.Module):
    """One block of Algorithm 8 (lines 5-11); ``update_msa`` False leaves the MSA as it is."""

    def __init__(self, config: MsaModuleConfig, update_msa: bool = True) -> None:
        super().__init__()
        c_z = config.pair.c_z
        self.msa_first = config.order == "msa_first"
        self.use_msa_mask = config.use_msa_mask
        self.update_msa = update_msa
        self.outer_product = OuterProductMean(config.c_m, c_z, config.c_outer, config.outer_product)
        if update_msa:
            self.averaging = PairWeightedAveraging(config.c_m, c_z, config.heads, config.c_head)
            self.transition = Transition(config.c_m, config.transition_factor)
        self.dropout = SharedDropout(config.dropout_msa, ROWWISE)
        self.pair = PairBlock(config.pair)

    def forward(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        msa_mask: Bool[Tensor, "*batch s n"],
        mask: Bool[Tensor, "*batch n"],
    ) -> tuple[Float[Tensor, "*batch s n c_m"], Float[Tensor, "*batch n n c_z"]]:
        """Return the updated MSA and pair representations."""
        if not self.use_msa_mask:
            msa_mask = torch.ones_like(msa_mask)
        columns = mask if self.use_msa_mask else torch.ones_like(mask)
        if in_place(pair) and not self.training:
            return self._updated(msa, pair, msa_mask, columns, mask)
        if self.msa_first:
            msa = self._update_msa(msa, pair, columns)
        pair = pair + self.outer_product(msa, msa_mask)
        if not self.msa_first:
            msa = self._update_msa(msa, pair, columns)
        return msa, self.pair(pair, mask)

    def _update_msa(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        columns: Bool[Tensor, "*batch n"],
    ) -> Float[Tensor, "*batch s n c_m"]:
        if self.update_msa:
            msa = msa + self.dropout(self.averaging(msa, pair, columns))
            msa = msa + self.transition(msa)
        return msa

    def _updated(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        msa_mask: Bool[Tensor, "*batch s n"],
        columns: Bool[Tensor, "*batch n"],
        mask: Bool[Tensor, "*batch n"],
    ) -> tuple[Float[Tensor, "*batch s n c_m"], Float[Tensor, "*batch n n c_z"]]:
        """Return the same as ``forward``: one copy of either representation, updated in place."""
        msa = msa.clone(memory_format=torch.contiguous_format) if self.update_msa else msa
        pair = pair.clone(memory_format=torch.contiguous_format)
        if not self.msa_first:
            self.outer_product.accumulate_(msa, msa_mask, pair)
        if self.update_msa:
            self.averaging.accumulate_(msa, pair, columns, msa)
            self.transition.accumulate_(msa, msa)
        if self.msa_first:
            self.outer_product.accumulate_(msa, msa_mask, pair)
        return msa, self.pair.update_(pair, mask)


class MsaModule(nn.Module):
    """Algorithm 8: embeds the alignment rows and runs the blocks."""

    def __init__(self, config: MsaModuleConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Linear(config.c_features, config.c_m, bias=False)
        self.inputs = nn.Linear(config.c_s_inputs, config.c_m, bias=False)
        last = config.blocks - 1
        self.blocks = nn.ModuleList(
            MsaBlock(config, update_msa=config.last_block_msa or index < last) for index in range(config.blocks)
        )

    def forward(
        self,
        pair: Float[Tensor, "*batch n n c_z"],
        s_inputs: Float[Tensor, "*batch n c_s_inputs"],
        msa_features: Float[Tensor, "*batch s n c_features"],
        msa_mask: Bool[Tensor, "*batch s n"],
        mask: Bool[Tensor, "*batch n"],
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Return the updated pair representation.

        Args:
            pair: pair representation.
            s_inputs: input embedding of the tokens.
            msa_features: one-hot residue types, has_deletion and deletion_value of the sampled rows.
            msa_mask: which residues of the rows exist.
            mask: real tokens.
        """
        msa = self.features(msa_features) + self.inputs(s_inputs)[..., None, :, :]
        for block in self.blocks:
            msa, pair = block(msa, pair, msa_mask, mask)
        return pair
