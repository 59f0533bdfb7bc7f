"""The transformer of this room: CLIP's two encoders, DALL·E 2's prior and DALL·E 1 are all made of this one block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.nn.attention import MASKED, biased_attention

INITIAL_DEVIATION = 0.02  # Radford et al. 2019 (GPT-2), section 2.3; residual maps a further 1/√(2 depth)
KEYS_AND_VALUES = 2


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a `Transformer`.

    Attributes:
        width: channels of a token. heads: of the attention, which divide ``width``. depth: number of blocks.
        expansion: hidden channels of a block's MLP, as a multiple of ``width``.
    """

    width: int
    heads: int
    depth: int
    expansion: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.heads, self.depth, self.expansion) < 1 or self.width % self.heads:
            raise ValueError(f"{self} is no transformer: all must be at least 1, and heads must divide width")


class KeyValueCache:
    """Keys and values of the tokens that a `Transformer` has seen, so that the next ones need not run them again.

    Args:
        depth: blocks of the transformer. capacity: tokens that fit in.
    """

    def __init__(self, depth: int, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._stored: list[Tensor | None] = [None] * depth

    def extend(
        self,
        block: int,
        keys: Float[Tensor, "batch heads new c"],
        values: Float[Tensor, "batch heads new c"],
    ) -> tuple[Float[Tensor, "batch heads total c"], Float[Tensor, "batch heads total c"]]:
        """Return the keys and values of block number ``block`` so far, with those of new tokens at their end.

        Raises:
            ValueError: the new tokens do not fit in.
        """
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} tokens do not fit into a cache of {self.capacity}")
        stored = self._stored[block]
        if stored is None:
            batch, heads, _, c = keys.shape
            stored = keys.new_empty(KEYS_AND_VALUES, batch, heads, self.capacity, c)
            self._stored[block] = stored
        stored[0, :, :, self.length : end] = keys
        stored[1, :, :, self.length : end] = values
        return stored[0, :, :, :end], stored[1, :, :, :end]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    The kernel is `anfinsen.nn`'s choice: in training on a CPU the plain steps, since the fused kernel's backward pass
    takes five times as long there in bfloat16.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch new c"],
        bias: Float[Tensor, "#batch 1 new total"] | None,
        cache: KeyValueCache | None,
        block: int,
    ) -> Float[Tensor, "batch new c"]:
        """Return what the tokens take from those that ``bias`` lets them see."""
        batch, new, _ = x.shape
        q, k, v = self.project(x).view(batch, new, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.extend(block, k, v)
        attended = biased_attention(q, k, v, None if bias is None else bias.to(q.dtype))
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result


class TransformerBlock(nn.Module):
    """A pre-norm block: x + attention(norm(x)), then x + MLP(norm(x)) (Radford et al. 2019, section 2.3)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.expansion * config.width)
        self.contract = nn.Linear(config.expansion * config.width, config.width)
        for layer in (self.attention.project, self.attention.output, self.expand, self.contract):
            nn.init.normal_(layer.weight, std=INITIAL_DEVIATION)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            for layer in (self.attention.output, self.contract):
                layer.weight *= (2 * config.depth) ** -0.5

    def forward(
        self,
        x: Float[Tensor, "batch new c"],
        bias: Float[Tensor, "#batch 1 new total"] | None = None,
        cache: KeyValueCache | None = None,
        block: int = 0,
    ) -> Float[Tensor, "batch new c"]:
        """Return the tokens after this block, which is number ``block`` of those that share ``cache``."""
        x = x + self.attention(self.attention_norm(x), bias, cache, block)
        x = x + self.contract(F.gelu(self.expand(self.mlp_norm(x))))
        return x


class Transformer(nn.Module):
    """A stack of blocks and a last normalisation; positions and embeddings are its user's."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        x: Float[Tensor, "batch new c"],
        mask: Bool[Tensor, "batch total"] | None = None,
        causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch new c"]:
        """Return the tokens after all blocks.

        Args:
            x: the tokens; with ``cache`` only the new ones, which stand behind those that it holds.
            mask: which tokens (with ``cache``: the old ones, then the new ones) may be seen. Every token sees itself,
                so that no row of the attention is empty.
            causal: whether a token sees no later one; always so with ``cache``.
            cache: keys and values of earlier tokens; those of ``x`` are added. For generation, without gradients.

        Raises:
            ValueError: the new tokens do not fit into ``cache``.
        """
        start, new = 0 if cache is None else cache.length, x.shape[1]
        causal = (causal or cache is not None) and new > 1
        bias = None
        if mask is not None or causal:
            bias = visibility(start, new, mask, causal, x.device)
        for number, block in enumerate(self.blocks):
            x = block(x, bias, cache, number)
        if cache is not None:
            cache.length += new
        normalised: Tensor = self.norm(x)
        return normalised


def visibility(
    start: int, new: int, mask: Bool[Tensor, "batch total"] | None, causal: bool, device: torch.device
) -> Float[Tensor, "batch_or_one 1 {new} {start}+{new}"]:
    """Return 0 where a token among the ``new`` ones behind the first ``start`` sees another, and `MASKED` elsewhere."""
    query = torch.arange(start, start + new, device=device)[:, None]
    key = torch.arange(start + new, device=device)[None, :]
    allowed = (key <= query if causal else torch.ones_like(key <= query))[None, None]
    if mask is not None:
        allowed = (allowed & mask[:, None, None, :]) | (key == query)
    return torch.zeros(allowed.shape, device=device).masked_fill(~allowed, MASKED)
