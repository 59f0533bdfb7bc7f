"""Boltz-1 and Boltz-2: tensors of the trunk. Prefixes end in a dot, or are empty.

The input projection of a triangle multiplication holds a in its first half and b in the second, as ours does.
"""

from __future__ import annotations

from . import protenix_trunk as protenix
from .rules import Rule, Rules, layer_norm, rename, rows


def transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `Transition`."""
    return [
        *layer_norm(source + "norm", target + "norm"),
        Rule(target + "expand.weight", (source + "fc1.weight", source + "fc2.weight"), rows),
        *rename({"contract.weight": "fc3.weight"}, source, target),
    ]


def triangle_multiplication(source: str = "", target: str = "") -> Rules:
    """Rules of a `TriangleMultiplication`."""
    return [
        *layer_norm(source + "norm_in", target + "norm_in"),
        *layer_norm(source + "norm_out", target + "norm_out"),
        Rule(target + "projection.weight", (source + "p_in.weight", source + "g_in.weight"), rows),
        *rename({"gate.weight": "g_out.weight", "output.weight": "p_out.weight"}, source, target),
    ]


def triangle_attention(source: str = "", target: str = "") -> Rules:
    """Rules of a `TriangleAttention` (the names are OpenFold's, as in Protenix)."""
    return protenix.triangle_attention(source, target)


def outer_product_mean(source: str = "", target: str = "") -> Rules:
    """Rules of an `OuterProductMean`."""
    return [
        *layer_norm(source + "norm", target + "norm"),
        Rule(target + "projection.weight", (source + "proj_a.weight", source + "proj_b.weight"), rows),
        *rename({"output.weight": "proj_o.weight", "output.bias": "proj_o.bias"}, source, target),
    ]


def pair_weighted_averaging(source: str = "", target: str = "") -> Rules:
    """Rules of a `PairWeightedAveraging`."""
    return [
        *layer_norm(source + "norm_m", target + "norm_msa"),
        *layer_norm(source + "norm_z", target + "norm_pair"),
        Rule(target + "projection.weight", (source + "proj_m.weight", source + "proj_g.weight"), rows),
        *rename({"weights.weight": "proj_z.weight", "output.weight": "proj_o.weight"}, source, target),
    ]


def attention_pair_bias(source: str = "", target: str = "", *, norm: str | None = "norm_s") -> Rules:
    """Rules of an `AttentionPairBias` of the trunk's kind.

    ``norm`` is the LayerNorm's name inside the attention (Boltz-1); None where it stands outside (Boltz-2).
    """
    parts = tuple(f"{source}proj_{part}.weight" for part in "qkvg")
    names = {
        "attention.query_bias": "proj_q.bias",
        "attention.output.weight": "proj_o.weight",
        "pair.linear.weight": "proj_z.1.weight",
    }
    return [
        *(layer_norm(source + norm, target + "norm") if norm else []),
        *layer_norm(source + "proj_z.0", target + "pair.norm"),
        Rule(target + "attention.projection.weight", parts, rows),
        *rename(names, source, target),
    ]


def pair_block(source: str = "", target: str = "", *, pair_transition: str = "transition_z") -> Rules:
    """Rules of a `PairBlock`; Boltz-1's MSA layers call the transition ``z_transition``."""
    return [
        *triangle_multiplication(source + "tri_mul_out.", target + "outgoing."),
        *triangle_multiplication(source + "tri_mul_in.", target + "incoming."),
        *triangle_attention(source + "tri_att_start.", target + "starting."),
        *triangle_attention(source + "tri_att_end.", target + "ending."),
        *transition(f"{source}{pair_transition}.", target + "transition."),
    ]


def pairformer_block(source: str = "", target: str = "", *, version: int = 2, single: bool = True) -> Rules:
    """Rules of a `PairformerBlock` of Boltz-1 or Boltz-2 (``version``), with a single representation or without."""
    rules = pair_block(source, target + "pair.")
    if single:
        norm = "norm_s" if version == 1 else None
        rules += attention_pair_bias(source + "attention.", target + "attention.", norm=norm)
        rules += transition(source + "transition_s.", target + "transition.")
        if version != 1:
            rules += layer_norm(source + "pre_norm_s", target + "attention.norm")
    return rules


def msa_block(source: str = "", target: str = "", *, version: int = 2) -> Rules:
    """Rules of an `MsaBlock` of Boltz-1 or Boltz-2."""
    if version == 1:
        pair = pair_block(source, target + "pair.", pair_transition="z_transition")
    else:
        pair = pair_block(source + "pairformer_layer.", target + "pair.")
    return [
        *pair,
        *outer_product_mean(source + "outer_product_mean.", target + "outer_product."),
        *pair_weighted_averaging(source + "pair_weighted_averaging.", target + "averaging."),
        *transition(source + "msa_transition.", target + "transition."),
    ]


def msa_module(blocks: int, source: str = "", target: str = "", *, version: int = 2) -> Rules:
    """Rules of an `MsaModule`; every block updates the MSA."""
    rules = rename({"features.weight": "msa_proj.weight", "inputs.weight": "s_proj.weight"}, source, target)
    for index in range(blocks):
        rules += msa_block(f"{source}layers.{index}.", f"{target}blocks.{index}.", version=version)
    return rules
