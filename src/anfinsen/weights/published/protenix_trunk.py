"""Protenix (2.0): tensors of the trunk. Prefixes end in a dot, or are empty.

Its triangle updates and outer product mean carry OpenFold's names, so those rules are OpenFold 3's.
"""

from __future__ import annotations

from . import openfold3_trunk as openfold3
from .openfold3_trunk import outer_product_mean, triangle_multiplication
from .rules import Rule, Rules, layer_norm, rename, rows

__all__ = [
    "attention_pair_bias",
    "msa_block",
    "msa_module",
    "outer_product_mean",
    "pair_block",
    "pair_weighted_averaging",
    "pairformer_block",
    "transition",
    "triangle_attention",
    "triangle_multiplication",
]


def transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `Transition`."""
    return [
        *layer_norm(source + "layernorm1", target + "norm"),
        Rule(target + "expand.weight", (source + "linear_no_bias_a.weight", source + "linear_no_bias_b.weight"), rows),
        *rename({"contract.weight": "linear_no_bias.weight"}, source, target),
    ]


def triangle_attention(source: str = "", target: str = "") -> Rules:
    """Rules of a `TriangleAttention`."""
    return openfold3.triangle_attention(source, target, bias="linear")


def pair_weighted_averaging(source: str = "", target: str = "") -> Rules:
    """Rules of a `PairWeightedAveraging`."""
    parts = (source + "linear_no_bias_mv.weight", source + "linear_no_bias_mg.weight")
    names = {"weights.weight": "linear_no_bias_z.weight", "output.weight": "linear_no_bias_out.weight"}
    return [
        *layer_norm(source + "layernorm_m", target + "norm_msa"),
        *layer_norm(source + "layernorm_z", target + "norm_pair"),
        Rule(target + "projection.weight", parts, rows),
        *rename(names, source, target),
    ]


def attention_pair_bias(source: str = "", target: str = "") -> Rules:
    """Rules of an `AttentionPairBias` of the trunk's kind."""
    parts = tuple(f"{source}attention.linear_{part}.weight" for part in "qkvg")
    names = {
        "attention.query_bias": "attention.linear_q.bias",
        "attention.output.weight": "attention.linear_o.weight",
        "pair.linear.weight": "linear_nobias_z.weight",
    }
    return [
        *layer_norm(source + "layernorm_a", target + "norm"),
        *layer_norm(source + "layernorm_z", target + "pair.norm"),
        Rule(target + "attention.projection.weight", parts, rows),
        *rename(names, source, target),
    ]


def pair_block(source: str = "", target: str = "") -> Rules:
    """Rules of a `PairBlock`."""
    return [
        *triangle_multiplication(source + "tri_mul_out.", target + "outgoing."),
        *triangle_multiplication(source + "tri_mul_in.", target + "incoming."),
        *triangle_attention(source + "tri_att_start.", target + "starting."),
        *triangle_attention(source + "tri_att_end.", target + "ending."),
        *transition(source + "pair_transition.", target + "transition."),
    ]


def pairformer_block(source: str = "", target: str = "", *, single: bool = True) -> Rules:
    """Rules of a `PairformerBlock`, with a single representation or without."""
    rules = pair_block(source, target + "pair.")
    if single:
        rules += attention_pair_bias(source + "attention_pair_bias.", target + "attention.")
        rules += transition(source + "single_transition.", target + "transition.")
    return rules


def msa_block(source: str = "", target: str = "", *, update_msa: bool = True) -> Rules:
    """Rules of an `MsaBlock`."""
    rules = [
        *outer_product_mean(source + "outer_product_mean_msa.", target + "outer_product."),
        *pair_block(source + "pair_stack.", target + "pair."),
    ]
    if update_msa:
        rules += pair_weighted_averaging(source + "msa_stack.msa_pair_weighted_averaging.", target + "averaging.")
        rules += transition(source + "msa_stack.transition_m.", target + "transition.")
    return rules


def msa_module(blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of an `MsaModule`; the last block does not update the MSA."""
    names = {"features.weight": "linear_no_bias_m.weight", "inputs.weight": "linear_no_bias_s.weight"}
    rules = rename(names, source, target)
    for index in range(blocks):
        block, ours = f"{source}blocks.{index}.", f"{target}blocks.{index}."
        rules += msa_block(block, ours, update_msa=index < blocks - 1)
    return rules
