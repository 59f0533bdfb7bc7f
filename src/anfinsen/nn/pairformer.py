"""Pairformer block: triangle updates, transitions and single attention (AlphaFold 3, Algorithm 17)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention_pair_bias import AttentionPairBias, AttentionPairBiasConfig
from .dropout import SharedDropout
from .memory import in_place
from .transition import HiddenLayer, Transition
from .triangle_attention import EndingBias, TriangleAttention
from .triangle_multiplication import TriangleMultiplication

ROWWISE, COLUMNWISE = -3, -2


@dataclass(frozen=True)
class PairformerConfig:
    """Sizes of one block (supplement 3.6).

    Attributes:
        c_s: width of the single representation; 0: a block without one (MSA module, template embedder).
        c_z: width of the pair representation. c_triangle: hidden width of the triangle multiplications.
        heads_single, heads_pair: attention heads; c_pair_attention: width of one head of the triangle attention.
        transition_factor: hidden width of the transitions over their input width.
        dropout_pair: rate of the row- and column-wise dropout on pair updates.
        ending_bias: index order of the ending-node bias, see `TriangleAttention`.
        biases: whether the triangle updates' linear maps carry biases (AlphaFold 2). hidden: the transitions' hidden
            layer, see `Transition`. attention_first: whether the triangle attention comes before the triangle
            multiplication (template stack of AlphaFold 2's monomer).
    """

    c_s: int = 384
    c_z: int = 128
    heads_single: int = 16
    heads_pair: int = 4
    c_pair_attention: int = 32
    c_triangle: int = 128
    transition_factor: int = 4
    dropout_pair: float = 0.25
    ending_bias: EndingBias = "ik"
    biases: bool = False
    hidden: HiddenLayer = "swiglu"
    attention_first: bool = False


class PairBlock(nn.Module):
    """The pair half of Algorithm 17 (lines 2-6).

    Shared by Pairformer, MSA module and template embedder, and by AlphaFold 2's Evoformer (its Algorithm 6, lines 6-10)
    and template stack (its Algorithm 16).
    """

    def __init__(self, config: PairformerConfig) -> None:
        super().__init__()
        c_z, heads, c_head = config.c_z, config.heads_pair, config.c_pair_attention
        self.attention_first = config.attention_first
        self.outgoing = TriangleMultiplication("outgoing", c_z, config.c_triangle, biases=config.biases)
        self.incoming = TriangleMultiplication("incoming", c_z, config.c_triangle, biases=config.biases)
        self.starting = TriangleAttention("starting", c_z, heads, c_head, biases=config.biases)
        self.ending = TriangleAttention("ending", c_z, heads, c_head, config.ending_bias, biases=config.biases)
        self.transition = Transition(c_z, config.transition_factor, config.hidden)
        self.dropout_row = SharedDropout(config.dropout_pair, ROWWISE)
        self.dropout_column = SharedDropout(config.dropout_pair, COLUMNWISE)

    def forward(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Return the updated pair representation."""
        if in_place(pair) and not self.training:
            return self.update_(pair.clone(memory_format=torch.contiguous_format), mask)
        if self.attention_first:
            pair = self._multiply(self._attend(pair, mask), mask)
        else:
            pair = self._attend(self._multiply(pair, mask), mask)
        pair = pair + self.transition(pair)
        return pair

    def _multiply(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        pair = pair + self.dropout_row(self.outgoing(pair, mask))
        pair = pair + self.dropout_row(self.incoming(pair, mask))
        return pair

    def _attend(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        pair = pair + self.dropout_row(self.starting(pair, mask))
        pair = pair + self.dropout_column(self.ending(pair, mask))
        return pair

    def update_(
        self, pair: Float[Tensor, "*batch n n c_z"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_z"]:
        """Do the same to the contiguous ``pair`` in place, without gradients and dropout, and return it."""
        multiplications, attentions = (self.outgoing, self.incoming), (self.starting, self.ending)
        updates = (*attentions, *multiplications) if self.attention_first else (*multiplications, *attentions)
        for update in updates:
            update.accumulate_(pair, mask, pair)
        self.transition.accumulate_(pair, pair)
        return pair


class PairformerBlock(nn.Module):
    """Algorithm 17, one block."""

    def __init__(self, config: PairformerConfig) -> None:
        super().__init__()
        self.config = config
        self.pair = PairBlock(config)
        if config.c_s:
            self.attention = AttentionPairBias(
                AttentionPairBiasConfig(c_a=config.c_s, c_z=config.c_z, heads=config.heads_single)
            )
            self.transition = Transition(config.c_s, config.transition_factor)

    def forward(
        self,
        single: Float[Tensor, "*batch n c_s"] | None,
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch n"],
    ) -> tuple[Float[Tensor, "*batch n c_s"] | None, Float[Tensor, "*batch n n c_z"]]:
        """Return the updated single and pair representations (inputs are left as they are).

        Args:
            single: None exactly when the block has no single representation (``c_s`` 0).
            pair: pair representation.
            mask: real tokens; what stands in padding is arbitrary but finite and changes nothing else.
        """
        pair = self.pair(pair, mask)
        if self.config.c_s and single is not None:
            single = single + self._attend(single, pair, mask)
            single = single + self.transition(single)
        return single, pair

    def _attend(
        self,
        single: Float[Tensor, "*batch n c_s"],
        pair: Float[Tensor, "*batch n n c_z"],
        mask: Bool[Tensor, "*batch n"],
    ) -> Float[Tensor, "*batch n c_s"]:
        if single.dim() == 2:
            return self.attention(single, pair, mask)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped
        return torch.stack([self._attend(*item) for item in zip(single, pair, mask, strict=True)])
