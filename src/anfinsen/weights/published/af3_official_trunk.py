"""The released AlphaFold 3 code (JAX, Haiku): tensors of the trunk.

Keys are ``<module>//<parameter>``; matrices are [in, out] unless a rule says otherwise. Prefixes are module paths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .rules import Rule, Rules, rows, transposed


def layer_norm(source: str, target: str) -> Rules:
    """Rules of a LayerNorm."""
    return [Rule(f"{target}.weight", (f"{source}//scale",)), Rule(f"{target}.bias", (f"{source}//offset",))]


def linear(source: str, target: str) -> Rules:
    """Rules of a linear map without bias."""
    return [Rule(f"{target}.weight", (f"{source}//weights",), transposed)]


def transition(source: str, target: str = "") -> Rules:
    """Rules of a `Transition`: the first half of transition1's output is swished, as in ours."""
    return [
        *layer_norm(f"{source}/input_layer_norm", target + "norm"),
        *linear(f"{source}/transition1", target + "expand"),
        *linear(f"{source}/transition2", target + "contract"),
    ]


def triangle_multiplication(source: str, target: str = "", *, incoming: bool = False) -> Rules:
    """Rules of a `TriangleMultiplication`.

    Output channels of the projection and its gate interleave (a0, b0, a1, b1, ...). The incoming product is written
    with a_kj and b_ki, so the two factors change places.
    """

    def combine(projection: Tensor, gate: Tensor) -> Tensor:
        order = (1, 0) if incoming else (0, 1)
        return torch.cat([weights.T[part::2] for weights in (projection, gate) for part in order])

    sources = (f"{source}/projection//weights", f"{source}/gate//weights")
    return [
        *layer_norm(f"{source}/left_norm_input", target + "norm_in"),
        *layer_norm(f"{source}/center_norm", target + "norm_out"),
        Rule(target + "projection.weight", sources, combine),
        *linear(f"{source}/gating_linear", target + "gate"),
        *linear(f"{source}/output_projection", target + "output"),
    ]


def triangle_attention(source: str, target: str = "") -> Rules:
    """Rules of a `TriangleAttention`: queries and keys are [head, width, in], values [in, head, width]."""

    def combine(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        return rows(q.flatten(0, 1), k.flatten(0, 1), v.flatten(1).T, gate)

    names = ("q_projection", "k_projection", "v_projection", "gating_query")
    return [
        *layer_norm(f"{source}/act_norm", target + "norm"),
        Rule(target + "projection.weight", tuple(f"{source}/{name}//weights" for name in names), combine),
        *linear(f"{source}/pair_bias_projection", target + "bias"),
        *linear(f"{source}/output_projection", target + "output"),
    ]


def outer_product_mean(source: str, target: str = "") -> Rules:
    """Rules of an `OuterProductMean`: the output weights are [left, right, out]."""

    def columns(left: Tensor, right: Tensor) -> Tensor:
        return rows(left.T, right.T)

    def flat(weights: Tensor) -> Tensor:
        return weights.flatten(0, 1).T

    sources = (f"{source}/left_projection//weights", f"{source}/right_projection//weights")
    return [
        *layer_norm(f"{source}/layer_norm_input", target + "norm"),
        Rule(target + "projection.weight", sources, columns),
        Rule(target + "output.weight", (f"{source}//output_w",), flat),
        Rule(target + "output.bias", (f"{source}//output_b",)),
    ]


def pair_weighted_averaging(source: str, target: str = "") -> Rules:
    """Rules of a `PairWeightedAveraging` ("MSAAttention" in that code): values are [in, head, width]."""

    def combine(value: Tensor, gate: Tensor) -> Tensor:
        return rows(value.flatten(1).T, gate.T)

    sources = (f"{source}/v_projection//weights", f"{source}/gating_query//weights")
    return [
        *layer_norm(f"{source}/act_norm", target + "norm_msa"),
        *layer_norm(f"{source}/pair_norm", target + "norm_pair"),
        *linear(f"{source}/pair_logits", target + "weights"),
        Rule(target + "projection.weight", sources, combine),
        *linear(f"{source}/output_projection", target + "output"),
    ]


def pair_block(source: str, target: str = "") -> Rules:
    """Rules of a `PairBlock`."""
    multiplication = f"{source}/triangle_multiplication"
    return [
        *triangle_multiplication(f"{multiplication}_outgoing", target + "outgoing."),
        *triangle_multiplication(f"{multiplication}_incoming", target + "incoming.", incoming=True),
        *triangle_attention(f"{source}/pair_attention1", target + "starting."),
        *triangle_attention(f"{source}/pair_attention2", target + "ending."),
        *transition(f"{source}/pair_transition", target + "transition."),
    ]


def pairformer_block(source: str, target: str = "") -> Rules:
    """Rules of a `PairformerBlock` with a single representation."""

    def combine(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        return rows(q.flatten(1).T, k.flatten(1).T, v.flatten(1).T, gate.T)

    single = f"{source}/single_attention_"
    names = ("q_projection", "k_projection", "v_projection", "gating_query")
    return [
        *pair_block(source, target + "pair."),
        *layer_norm(f"{source}/single_pair_logits_norm", target + "attention.pair.norm"),
        *linear(f"{source}/single_pair_logits_projection", target + "attention.pair.linear"),
        *layer_norm(f"{single}layer_norm", target + "attention.norm"),
        Rule(
            target + "attention.attention.projection.weight",
            tuple(f"{single}{name}//weights" for name in names),
            combine,
        ),
        Rule(target + "attention.attention.query_bias", (f"{single}q_projection//bias",), torch.flatten),
        *linear(f"{single}transition2", target + "attention.attention.output"),
        *transition(f"{source}/single_transition", target + "transition."),
    ]
