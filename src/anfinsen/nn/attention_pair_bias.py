"""Attention over tokens or atoms with a bias from the pair representation (AlphaFold 3, Algorithm 24).

Two kinds, one class: in the trunk (``c_s`` None) the input is layer-normalised; in the diffusion module a conditioning
vector s drives an adaptive layer norm and an output gate. The bias depends on the pair representation only, so it is
made once (`AttentionPairBias.pair_bias`) and used for every sample and noise level (`AttentionPairBias.attend`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .adaptive_layer_norm import AdaptiveLayerNorm, Modulation, OutputGate, lecun_
from .attention import (
    MASKED,
    attend_rows,
    attention_weights,
    biased_attention,
    gates_are_watched,
    is_watched,
    show_gates,
    show_rows,
    show_weights,
)
from .linear import linear
from .memory import in_place, scratch
from .windows import Windows

PairNorm = Literal["affine", "scale", "none"]


@dataclass(frozen=True)
class AttentionPairBiasConfig:
    """Sizes and variants of `AttentionPairBias`.

    Attributes:
        c_a: width of the representation attended over. c_z: width of the pair representation. heads: number of heads.
        c_head: width of a head; None: c_a / heads.
        c_s: width of the conditioning vector; None: the trunk's kind, with a LayerNorm on the input.
        pair_norm: LayerNorm of the pair representation: with scale and offset, with scale only, or none (the released
            AlphaFold 3 code normalises once for all blocks of the diffusion transformer).
        key_norm: adaptive norm of keys and values in windowed (atom) attention: "shared" with the queries (paper,
            Boltz); "own", of the raw input (released AlphaFold 3 code, OpenFold 3); "stacked", of the queries' norm's
            output (Protenix).
    """

    c_a: int = 384
    c_z: int = 128
    heads: int = 16
    c_head: int | None = None
    c_s: int | None = None
    pair_norm: PairNorm = "affine"
    key_norm: Literal["shared", "own", "stacked"] = "shared"


class PairBias(nn.Module):
    """One attention logit per head from each pair: LayerNorm, then a linear map without bias."""

    def __init__(self, c_z: int, heads: int, norm: PairNorm) -> None:
        super().__init__()
        self.norm = None if norm == "none" else nn.LayerNorm(c_z, bias=norm == "affine")
        self.linear = nn.Linear(c_z, heads, bias=False)
        lecun_(self.linear.weight)

    def forward(self, pair: Float[Tensor, "*pairs c_z"]) -> Float[Tensor, "heads *pairs"]:
        """Return the bias of each head, contiguous."""
        return stacked_pair_bias(pair, [self])[0]

    def folded(self) -> tuple[Float[Tensor, "heads c_z"], Float[Tensor, " heads"] | None]:
        """Return weight and offset of the linear map that takes the plainly normalised pair to the bias."""
        if self.norm is None:
            return self.linear.weight, None
        offset = None if self.norm.bias is None else self.linear.weight @ self.norm.bias
        return self.linear.weight * self.norm.weight, offset


def stacked_pair_bias(
    pair: Float[Tensor, "*pairs c_z"], biases: Sequence[PairBias]
) -> Float[Tensor, "blocks heads *pairs"]:
    """Return the biases of several blocks: one normalisation and one matrix product for all of them."""
    c_z = pair.shape[-1]
    normal = pair if biases[0].norm is None else F.layer_norm(pair, (c_z,))
    folded = [bias.folded() for bias in biases]
    result = torch.cat([weight for weight, _ in folded]) @ normal.reshape(-1, c_z).transpose(0, 1)
    offsets = [offset for _, offset in folded if offset is not None]
    if offsets:
        result = result + torch.cat(offsets)[:, None]
    return result.view(len(biases), -1, *pair.shape[:-1])


def mask_keys(bias: Float[Tensor, "*heads q k"], key_mask: Bool[Tensor, "*windows k"]) -> Float[Tensor, "*heads q k"]:
    """Return ``bias`` with masked keys set to `MASKED`; the memory of ``bias`` is reused."""
    return bias.masked_fill_(~key_mask[..., None, :], MASKED)


class GatedAttention(nn.Module):
    """Multi-head attention with an additive bias and a sigmoid gate on its output.

    Queries, keys, values and gates are rows of one matrix, ``projection`` [q | k | v | g].
    """

    def __init__(self, c_a: int, heads: int, c_head: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.c_head = c_head or c_a // heads
        self.width = self.heads * self.c_head
        self.projection = nn.Linear(c_a, 4 * self.width, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(self.width))
        self.output = nn.Linear(self.width, c_a, bias=False)
        lecun_(self.projection.weight)
        lecun_(self.output.weight)
        with torch.no_grad():
            self.projection.weight[3 * self.width :] = 0  # gates start at one half

    def forward(
        self,
        x: Float[Tensor, "*samples n c_a"],
        bias: Float[Tensor, "heads n n"],
        gate: Float[Tensor, "*g_samples n c_a"] | None = None,
        plus: Float[Tensor, "*samples n c_a"] | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the output for every row of ``x``, times ``gate``, plus ``plus``.

        ``bias``, shared by all samples, has the mask.
        """
        of_qkv, of_g = torch.split(self.projection.weight, [3 * self.width, self.width])
        q, k, v = linear(x, of_qkv).chunk(3, dim=-1)
        # Not as a bias of the whole map: keys and values have none, and a matrix product copies its bias to every row.
        query_bias = self.query_bias.to(q.dtype)  # under autocast
        q = q + query_bias if torch.is_grad_enabled() else q.add_(query_bias)
        q, k, v = self._split(q), self._split(k), self._split(v)
        if is_watched(self):
            show_rows(self, _heads_first(_rows(q, 3)), _heads_first(_rows(k, 3)), bias[None])
        if torch.is_grad_enabled():
            shared = bias.expand(*x.shape[:-2], *bias.shape)
            attended = biased_attention(_heads_first(q), _heads_first(k), _heads_first(v), shared)
            attended = _heads_first(attended)
        else:
            attended = torch.empty_like(q, memory_format=torch.contiguous_format)
            attend_rows(_rows(q, 3), _rows(k, 3), _rows(v, 3), bias[None], _rows(attended, 3))
        return self._output(attended.flatten(-2), x, of_g, gate, plus)

    def windowed(
        self,
        x_q: Float[Tensor, "*samples n c_a"],
        x_k: Float[Tensor, "*samples n c_a"],
        bias: Float[Tensor, "heads w q k"],
        windows: Windows,
        gate: Float[Tensor, "*g_samples n c_a"] | None = None,
        plus: Float[Tensor, "*samples n c_a"] | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the output of sequence-local attention from ``x_q`` to ``x_k``, times ``gate``, plus ``plus``."""
        of_q, of_kv, of_g = torch.split(self.projection.weight, [self.width, 2 * self.width, self.width])
        q = windows.split_queries(self._split(linear(x_q, of_q, self.query_bias)), -3)
        kv = linear(x_k, of_kv)
        shape = (*kv.shape[:-2], *windows.key_index.shape, kv.shape[-1])
        buffer = scratch().take("window keys", shape, kv) if in_place(kv) else None
        k, v = windows.gather_keys(kv, -2, buffer).chunk(2, dim=-1)
        k, v = self._split(k), self._split(v)
        of_window = bias.transpose(0, 1)
        if is_watched(self):
            for of_q, of_k in zip(_rows(q, 4), _rows(k, 4), strict=True):
                weights = attention_weights(_heads_first(of_q), _heads_first(of_k), of_window)
                show_weights(self, weights, windows=windows)
        if torch.is_grad_enabled():
            shared = of_window.expand(*q.shape[:-3], -1, -1, -1)
            attended = biased_attention(_heads_first(q), _heads_first(k), _heads_first(v), shared)
            attended = _heads_first(attended)
        else:
            attended = torch.empty_like(q, memory_format=torch.contiguous_format)
            # One sample at a time: the bias is not repeated, and what is gathered stays in the processor's cache.
            for sample in zip(_rows(q, 4), _rows(k, 4), _rows(v, 4), _rows(attended, 4), strict=True):
                attend_rows(*sample[:3], of_window, sample[3])
        return self._output(windows.merge_queries(attended.flatten(-2), -3), x_q, of_g, gate, plus)

    def _output(self, attended: Tensor, x: Tensor, of_g: Tensor, gate: Tensor | None, plus: Tensor | None) -> Tensor:
        if gates_are_watched(self):
            show_gates(self, self._split(linear(x, of_g, activation="sigmoid")))
        gated = linear(x, of_g, activation="sigmoid", times=attended)
        return linear(gated, self.output.weight, times=gate, plus=plus)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.c_head)


def _heads_first(x: Tensor) -> Tensor:
    """Exchange the axes of rows and heads."""
    return x.transpose(-2, -3)


def _rows(x: Tensor, axes: int) -> Tensor:
    """Return ``x`` with all axes before the last ``axes`` in one; must be possible without a copy."""
    return x.view(-1, *x.shape[-axes:])


@dataclass(frozen=True)
class AttentionModulation:
    """What a conditioning vector says: modulations of the norms (the keys' own, if they have one), and output gate."""

    norm: Modulation
    key_norm: Modulation | None
    gate: Tensor


class AttentionPairBias(nn.Module):
    """Attention with pair bias (AlphaFold 3, Algorithm 24), without the residual connection."""

    def __init__(self, config: AttentionPairBiasConfig) -> None:
        super().__init__()
        self.config = config
        self.pair = PairBias(config.c_z, config.heads, config.pair_norm)
        self.attention = GatedAttention(config.c_a, config.heads, config.c_head)
        self.gate: OutputGate | None = None
        self.key_norm: AdaptiveLayerNorm | None = None
        if config.c_s is None:
            self.norm: nn.LayerNorm | AdaptiveLayerNorm = nn.LayerNorm(config.c_a)
            nn.init.zeros_(self.attention.output.weight)
        else:
            self.norm = AdaptiveLayerNorm(config.c_a, config.c_s)
            self.gate = OutputGate(config.c_s, config.c_a)
            if config.key_norm != "shared":
                self.key_norm = AdaptiveLayerNorm(config.c_a, config.c_s)

    def forward(
        self,
        a: Float[Tensor, "*samples n c_a"],
        pair: Float[Tensor, "n n c_z"],
        mask: Bool[Tensor, " n"] | None = None,
        s: Float[Tensor, "*s_samples n c_s"] | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the update of ``a``; rows of masked tokens are arbitrary but finite."""
        return self.attend(a, self.pair_bias(pair, mask), s)

    def pair_bias(
        self, pair: Float[Tensor, "n n c_z"], mask: Bool[Tensor, " n"] | None = None
    ) -> Float[Tensor, "heads n n"]:
        """Return the attention bias with the mask in it: all that depends on the pair representation."""
        bias: Tensor = self.pair(pair)
        return bias if mask is None else mask_keys(bias, mask)

    def attend(
        self,
        a: Float[Tensor, "*samples n c_a"],
        bias: Float[Tensor, "heads *windows q k"],
        s: Float[Tensor, "*s_samples n c_s"] | None = None,
        windows: Windows | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the update of ``a`` from a bias made beforehand; with ``windows``, attention is sequence-local."""
        return self.update(a, bias, None if s is None else self.modulation(s), windows)

    def modulation(self, s: Float[Tensor, "*samples n c_s"]) -> AttentionModulation:
        """Return all that depends on the conditioning vector.

        Raises:
            TypeError: the attention is of the trunk's kind.
        """
        if self.gate is None or not isinstance(self.norm, AdaptiveLayerNorm):
            raise TypeError("attention of the trunk's kind (c_s is None) takes no conditioning vector")
        key_norm = None if self.key_norm is None else self.key_norm.modulation(s)
        return AttentionModulation(self.norm.modulation(s), key_norm, self.gate(s))

    def update(
        self,
        a: Float[Tensor, "*samples n c_a"],
        bias: Float[Tensor, "heads *windows q k"],
        modulation: AttentionModulation | None,
        windows: Windows | None = None,
        plus: Float[Tensor, "*samples n c_a"] | None = None,
    ) -> Float[Tensor, "*samples n c_a"]:
        """Return the update of ``a``, plus ``plus``, under a modulation made beforehand (None: the trunk's kind)."""
        attention: GatedAttention = self.attention
        if modulation is None or not isinstance(self.norm, AdaptiveLayerNorm):
            return attention(self.norm(a), bias, plus=plus)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped
        normal = self.norm.modulate(a, modulation.norm)
        if windows is None:
            return attention(normal, bias, modulation.gate, plus)  # type: ignore[no-any-return]  # likewise
        keys = normal
        if self.key_norm is not None and modulation.key_norm is not None:
            keys = self.key_norm.modulate(a if self.config.key_norm == "own" else normal, modulation.key_norm)
        return attention.windowed(normal, keys, bias, windows, modulation.gate, plus)
