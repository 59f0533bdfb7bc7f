"""Transformer under conditioning, over tokens or (windowed) over atoms (AlphaFold 3, Algorithms 7 and 23)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention_pair_bias import (
    AttentionModulation,
    AttentionPairBias,
    AttentionPairBiasConfig,
    PairBias,
    mask_keys,
    stacked_pair_bias,
)
from .conditioned_transition import ConditionedTransition, ConditionedTransitionConfig, TransitionModulation
from .memory import in_place
from .windows import Windows


@dataclass(frozen=True)
class DiffusionTransformerConfig:
    """Sizes and variants of `DiffusionTransformer`; the defaults are the token transformer of AlphaFold 3.

    Attributes:
        blocks, heads: numbers. c_a: width attended over. c_s: width of the conditioning. c_z: width of the pairs.
        pair_norm: LayerNorm of the pairs: one ("shared", scale only: released AlphaFold 3 code, OpenFold 3), or one per
            block with scale only ("block_scale": Protenix) or with scale and offset ("block_affine": Boltz).
        key_norm: see `AttentionPairBiasConfig`. factor, projections: see `ConditionedTransitionConfig`.
        checkpoint_blocks: recompute each block in the backward pass instead of keeping its intermediates.
    """

    blocks: int = 24
    heads: int = 16
    c_a: int = 768
    c_s: int = 384
    c_z: int = 128
    pair_norm: Literal["shared", "block_scale", "block_affine"] = "shared"
    key_norm: Literal["shared", "own", "stacked"] = "shared"
    factor: int = 2
    projections: Literal[2, 3] = 2
    checkpoint_blocks: bool = False


@dataclass(frozen=True)
class BlockModulation:
    """All that a block takes from its conditioning vector."""

    attention: AttentionModulation
    transition: TransitionModulation


class DiffusionTransformerBlock(nn.Module):
    """Attention with pair bias, then a conditioned transition, each added to its input.

    Algorithm 23 adds the transition of the block's input; all published codes add that of the updated a, as here.
    """

    def __init__(self, config: DiffusionTransformerConfig) -> None:
        super().__init__()
        norms: dict[str, Literal["none", "scale", "affine"]]
        norms = {"shared": "none", "block_scale": "scale", "block_affine": "affine"}
        self.attention = AttentionPairBias(
            AttentionPairBiasConfig(
                c_a=config.c_a,
                c_z=config.c_z,
                heads=config.heads,
                c_s=config.c_s,
                pair_norm=norms[config.pair_norm],
                key_norm=config.key_norm,
            )
        )
        self.transition = ConditionedTransition(
            ConditionedTransitionConfig(
                c_a=config.c_a, c_s=config.c_s, factor=config.factor, projections=config.projections
            )
        )

    def modulation(self, s: Float[Tensor, "*samples n c_s"]) -> BlockModulation:
        """Return all that depends on ``s``."""
        return BlockModulation(self.attention.modulation(s), self.transition.modulation(s))

    def forward(
        self,
        a: Float[Tensor, "*samples n c_a"],
        s: Float[Tensor, "*s_samples n c_s"] | BlockModulation,
        bias: Float[Tensor, "heads *windows q k"],
        windows: Windows | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return ``a`` after the block; ``s`` is the conditioning vector or what `modulation` made of it."""
        modulation = s if isinstance(s, BlockModulation) else self.modulation(s)
        # Samples under one conditioning. Atoms: on a CPU, one sample at a time stays in the processor's cache. Tokens:
        # together, since their weights are far larger than what they are multiplied with.
        shared = a.ndim > modulation.attention.gate.ndim
        if windows is None or not shared or a.device.type != "cpu" or not in_place(a):
            return self._update(a, modulation, bias, windows)
        result = torch.empty_like(a)
        for before, after in zip(a, result, strict=True):
            after.copy_(self._update(before, modulation, bias, windows))
        return result

    def _update(self, a: Tensor, modulation: BlockModulation, bias: Tensor, windows: Windows | None) -> Tensor:
        a = self.attention.update(a, bias, modulation.attention, windows, plus=a)
        return self.transition.update(a, modulation.transition, plus=a)


class DiffusionTransformer(nn.Module):
    """A stack of blocks (AlphaFold 3, Algorithm 23); with windows, the atom transformer (Algorithm 7)."""

    def __init__(self, config: DiffusionTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.pair_norm = nn.LayerNorm(config.c_z, bias=False) if config.pair_norm == "shared" else None
        self.blocks = nn.ModuleList(DiffusionTransformerBlock(config) for _ in range(config.blocks))

    @property
    def _sources(self) -> list[PairBias]:
        return [cast(DiffusionTransformerBlock, block).attention.pair for block in self.blocks]

    def pair_biases(
        self, pair: Float[Tensor, "*windows q k c_z"], key_mask: Bool[Tensor, "*windows k"]
    ) -> Float[Tensor, "blocks heads *windows q k"]:
        """Return the attention biases of all blocks, with the mask in them."""
        return mask_keys(stacked_pair_bias(self._normal(pair), self._sources), key_mask)

    def modulations(self, s: Float[Tensor, "*samples n c_s"]) -> tuple[BlockModulation, ...]:
        """Return all that the blocks take from ``s``, for conditioning that stays the same over many calls."""
        return tuple(cast(DiffusionTransformerBlock, block).modulation(s) for block in self.blocks)

    def each_pair_bias(
        self, pair: Float[Tensor, "*windows q k c_z"], key_mask: Bool[Tensor, "*windows k"]
    ) -> Iterator[Tensor]:
        """Yield the blocks' attention biases one at a time: slower than `pair_biases`, for when they do not fit."""
        normal = self._normal(pair)
        for source in self._sources:
            yield mask_keys(source(normal), key_mask)

    def forward(
        self,
        a: Float[Tensor, "*samples n c_a"],
        s: Float[Tensor, "*s_samples n c_s"] | Sequence[BlockModulation],
        biases: Iterable[Tensor],
        windows: Windows | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return ``a`` after all blocks.

        ``s`` is the conditioning vector or what `modulations` made of it; ``biases`` are those of `pair_biases`,
        [heads, *windows, q, k] each.
        """
        conditions = [s] * len(self.blocks) if isinstance(s, Tensor) else s
        for block, bias, condition in zip(self.blocks, biases, conditions, strict=True):
            if self.config.checkpoint_blocks and torch.is_grad_enabled():
                a = checkpoint(block, a, condition, bias, windows, use_reentrant=False)
            else:
                a = block(a, condition, bias, windows)
        return a

    def _normal(self, pair: Tensor) -> Tensor:
        if self.pair_norm is None:
            return pair
        normal: Tensor = self.pair_norm(pair)
        return normal
