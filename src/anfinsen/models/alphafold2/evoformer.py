"""Evoformer: alignment and pair representation inform each other (AlphaFold 2, Algorithm 6; extra rows, 18)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anfinsen.nn import MsaColumnAttention, MsaColumnGlobalAttention, MsaRowAttention, OuterProductMean, Transition
from anfinsen.nn.dropout import SharedDropout
from anfinsen.nn.memory import in_place
from anfinsen.nn.pairformer import ROWWISE, PairBlock, PairformerConfig


@dataclass(frozen=True)
class EvoformerConfig:
    """Sizes and variants of one block.

    Attributes:
        c_m: width of the MSA representation. heads, c_head: of the attention along rows and columns.
        c_outer: hidden width of the outer product mean.
        transition_factor: hidden width of the MSA transition over its input width.
        outer_product_first: whether the outer product mean comes before the MSA's own updates (multimer) or after.
        global_columns: column attention with one query per column (extra MSA stack).
        dropout_msa: rate of the row-wise dropout after the row attention.
        pair: the pair half (its ``c_s`` must be 0).
    """

    c_m: int = 256
    heads: int = 8
    c_head: int = 32
    c_outer: int = 32
    transition_factor: int = 4
    outer_product_first: bool = False
    global_columns: bool = False
    dropout_msa: float = 0.15
    pair: PairformerConfig = field(
        default_factory=lambda: PairformerConfig(c_s=0, ending_bias="ki", biases=True, hidden="relu")
    )


class EvoformerBlock(nn.Module):
    """One block of Algorithm 6, or of Algorithm 18 with ``global_columns``."""

    def __init__(self, config: EvoformerConfig) -> None:
        super().__init__()
        c_m, c_z = config.c_m, config.pair.c_z
        self.outer_product_first = config.outer_product_first
        self.rows = MsaRowAttention(c_m, c_z, config.heads, config.c_head)
        self.columns: MsaColumnAttention | MsaColumnGlobalAttention
        if config.global_columns:
            self.columns = MsaColumnGlobalAttention(c_m, config.heads, config.c_head)
        else:
            self.columns = MsaColumnAttention(c_m, config.heads, config.c_head)
        self.transition = Transition(c_m, config.transition_factor, "relu")
        self.outer_product = OuterProductMean(c_m, c_z, config.c_outer, biases=True)
        self.pair = PairBlock(config.pair)
        self.dropout = SharedDropout(config.dropout_msa, ROWWISE)

    def forward(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        msa_mask: Bool[Tensor, "*batch s n"],
        mask: Bool[Tensor, "*batch n"],
    ) -> tuple[Float[Tensor, "*batch s n c_m"], Float[Tensor, "*batch n n c_z"]]:
        """Return the updated MSA and pair representations (inputs are left as they are).

        Args:
            msa, pair: the representations.
            msa_mask: which entries of the alignment exist. mask: real residues.
        """
        if in_place(pair) and not self.training:
            contiguous = torch.contiguous_format
            return self.update_(
                msa.clone(memory_format=contiguous), pair.clone(memory_format=contiguous), msa_mask, mask
            )
        if self.outer_product_first:
            pair = pair + self.outer_product(msa, msa_mask)
        msa = msa + self.dropout(self.rows(msa, pair, msa_mask))
        msa = msa + self.columns(msa, msa_mask)
        msa = msa + self.transition(msa)
        if not self.outer_product_first:
            pair = pair + self.outer_product(msa, msa_mask)
        return msa, self.pair(pair, mask)

    def update_(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        msa_mask: Bool[Tensor, "*batch s n"],
        mask: Bool[Tensor, "*batch n"],
    ) -> tuple[Float[Tensor, "*batch s n c_m"], Float[Tensor, "*batch n n c_z"]]:
        """Do the same to both contiguous representations in place, without gradients and dropout; return them."""
        if self.outer_product_first:
            self.outer_product.accumulate_(msa, msa_mask, pair)
        self.rows.accumulate_(msa, pair, msa_mask, msa)
        self.columns.accumulate_(msa, msa_mask, msa)
        self.transition.accumulate_(msa, msa)
        if not self.outer_product_first:
            self.outer_product.accumulate_(msa, msa_mask, pair)
        return msa, self.pair.update_(pair, mask)


class EvoformerStack(nn.Module):
    """Blocks after one another, each with its own weights."""

    def __init__(self, config: EvoformerConfig, blocks: int, *, checkpoint_blocks: bool = False) -> None:
        super().__init__()
        self.checkpoint_blocks = checkpoint_blocks
        self.blocks = nn.ModuleList(EvoformerBlock(config) for _ in range(blocks))

    def forward(
        self,
        msa: Float[Tensor, "*batch s n c_m"],
        pair: Float[Tensor, "*batch n n c_z"],
        msa_mask: Bool[Tensor, "*batch s n"],
        mask: Bool[Tensor, "*batch n"],
        *,
        overwrite: bool = False,
    ) -> tuple[Float[Tensor, "*batch s n c_m"], Float[Tensor, "*batch n n c_z"]]:
        """Return the updated MSA and pair representations; see `EvoformerBlock`.

        Inputs are left as they are, unless ``overwrite`` allows that they become the result: a long protein's copies of
        thousands of rows, or of a million pairs, are gigabytes.
        """
        if in_place(pair) and not self.training:
            # At most one copy for all blocks.
            msa, pair = (
                x if overwrite and x.is_contiguous() else x.clone(memory_format=torch.contiguous_format)
                for x in (msa, pair)
            )
            for block in self.blocks:
                block.update_(msa, pair, msa_mask, mask)  # type: ignore[operator]  # ModuleList forgets its items' type
            return msa, pair
        for block in self.blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                msa, pair = checkpoint(block, msa, pair, msa_mask, mask, use_reentrant=False)
            else:
                msa, pair = block(msa, pair, msa_mask, mask)
        return msa, pair
