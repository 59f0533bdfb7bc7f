"""The diffusion module's conditioning: trunk, relative positions, noise level (AlphaFold 3, Algorithm 21)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.nn import Transition
from anfinsen.nn.adaptive_layer_norm import lecun_
from anfinsen.nn.batch import Batch
from anfinsen.nn.fourier_embedding import FourierEmbedding
from anfinsen.nn.memory import chunk_length

from .relative_position import (
    RelativePositionConfig,
    RelativePositionEncoding,
    RelativePositions,
    one_hot_positions,
    relative_positions,
)


@dataclass(frozen=True)
class DiffusionConditioningConfig:
    """Sizes and variants of `DiffusionConditioning`; the defaults are the released AlphaFold 3 code.

    Attributes:
        c_s_inputs, c_s, c_z: widths of the trunk's output. c_cond: width of the single conditioning (c_s; Boltz 2 c_s).
        c_noise: number of Fourier features. factor: widening of the transitions.
        relative_position: sizes. relative_position_input: "one_hot": the raw 139 classes beside the pair (released
            AlphaFold 3 code, OpenFold 3); "embedded" to c_z first (paper, Protenix, Boltz).
        offset: whether LayerNorms and the map of the single have an offset (Boltz).
    """

    c_s_inputs: int = 449
    c_s: int = 384
    c_z: int = 128
    c_cond: int = 384
    c_noise: int = 256
    factor: int = 2
    relative_position: RelativePositionConfig = field(default_factory=RelativePositionConfig)
    relative_position_input: Literal["one_hot", "embedded"] = "one_hot"
    offset: bool = False


class PairConditioning(nn.Module):
    """Pair part of Algorithm 21 (lines 1-5): the trunk's pair representation and relative positions."""

    def __init__(self, config: DiffusionConditioningConfig) -> None:
        super().__init__()
        self.config = config
        embedded = config.relative_position_input == "embedded"
        self.relative_position = RelativePositionEncoding(config.relative_position) if embedded else None
        width = config.c_z + (config.c_z if embedded else config.relative_position.width)
        self.norm = nn.LayerNorm(width, bias=config.offset)
        self.linear = nn.Linear(width, config.c_z, bias=False)
        lecun_(self.linear.weight)
        self.transitions = nn.ModuleList(Transition(config.c_z, config.factor) for _ in range(2))

    def of_batch(self, batch: Batch, pair: Float[Tensor, "n n c_z"]) -> Float[Tensor, "n n c_z"]:
        """Return the pair conditioning from the trunk's ``pair``; without gradients, a few rows at a time."""
        positions = relative_positions(batch, self.config.relative_position)
        if torch.is_grad_enabled():
            return self(pair, self.features(positions, pair.dtype))  # type: ignore[no-any-return]  # untyped __call__
        tokens, width = pair.shape[0], self.linear.weight.shape[1]
        length = chunk_length(tokens, tokens * width * pair.element_size(), pair.device)
        result = torch.empty_like(pair)
        for start in range(0, tokens, length):
            rows = slice(start, start + length)
            result[rows] = self(pair[rows], self.features(positions.rows(rows), pair.dtype))
        return result

    def features(self, positions: RelativePositions, dtype: torch.dtype) -> Float[Tensor, "rows n width"]:
        """Return the relative positions as they stand beside the pair representation."""
        if self.relative_position is not None:
            return self.relative_position.embed(positions)
        return one_hot_positions(positions, self.config.relative_position, dtype)

    def forward(
        self, pair: Float[Tensor, "rows n c_z"], positions: Float[Tensor, "rows n width"]
    ) -> Float[Tensor, "rows n c_z"]:
        """Return the pair conditioning of some rows from the trunk's pairs and `features`."""
        pair = self.linear(self.norm(torch.cat([pair, positions], dim=-1)))
        for transition in self.transitions:
            pair = pair + transition(pair)
        return pair


class SingleConditioning(nn.Module):
    """Single part of Algorithm 21 (lines 6-12): the trunk's single representation, the inputs and the noise level."""

    def __init__(self, config: DiffusionConditioningConfig) -> None:
        super().__init__()
        width = config.c_s + config.c_s_inputs
        self.norm = nn.LayerNorm(width, bias=config.offset)
        self.linear = nn.Linear(width, config.c_cond, bias=config.offset)
        self.fourier = FourierEmbedding(config.c_noise)
        self.norm_noise = nn.LayerNorm(config.c_noise, bias=config.offset)
        self.from_noise = nn.Linear(config.c_noise, config.c_cond, bias=False)
        self.transitions = nn.ModuleList(Transition(config.c_cond, config.factor) for _ in range(2))
        lecun_(self.linear.weight)
        lecun_(self.from_noise.weight)
        if config.offset:
            nn.init.zeros_(self.linear.bias)

    def base(
        self, single: Float[Tensor, "n c_s"], s_inputs: Float[Tensor, "n c_s_inputs"]
    ) -> Float[Tensor, "n c_cond"]:
        """Return the part that does not depend on the noise level."""
        base: Tensor = self.linear(self.norm(torch.cat([single, s_inputs], dim=-1)))
        return base

    def forward(
        self, base: Float[Tensor, "n c_cond"], noise: Float[Tensor, "*samples"]
    ) -> Float[Tensor, "*samples n c_cond"]:
        """Return the single conditioning at each noise level, given as c_noise(sigma) = ln(sigma / sigma_data) / 4."""
        single: Tensor = base + self.from_noise(self.norm_noise(self.fourier(noise)))[..., None, :]
        for transition in self.transitions:
            single = single + transition(single)
        return single


class DiffusionConditioning(nn.Module):
    """Single and pair conditioning (AlphaFold 3, Algorithm 21)."""

    def __init__(self, config: DiffusionConditioningConfig) -> None:
        super().__init__()
        self.single = SingleConditioning(config)
        self.pair = PairConditioning(config)
