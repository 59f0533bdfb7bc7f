"""OpenFold 3 (0.5): tensors of the trunk. Prefixes end in a dot, or are empty."""

from __future__ import annotations

from .rules import Rule, Rules, layer_norm, rename, rows


def transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `Transition`."""
    return [
        *layer_norm(source + "layer_norm", target + "norm"),
        Rule(target + "expand.weight", (source + "swiglu.linear_a.weight", source + "swiglu.linear_b.weight"), rows),
        *rename({"contract.weight": "linear_out.weight"}, source, target),
    ]


def triangle_multiplication(source: str = "", target: str = "", *, fused: bool = False) -> Rules:
    """Rules of a `TriangleMultiplication`; ``fused`` checkpoints keep a and b in one matrix."""
    parts = ("linear_ab_p", "linear_ab_g") if fused else ("linear_a_p", "linear_b_p", "linear_a_g", "linear_b_g")
    return [
        *layer_norm(source + "layer_norm_in", target + "norm_in"),
        *layer_norm(source + "layer_norm_out", target + "norm_out"),
        Rule(target + "projection.weight", tuple(f"{source}{part}.weight" for part in parts), rows),
        *rename({"gate.weight": "linear_g.weight", "output.weight": "linear_z.weight"}, source, target),
    ]


def triangle_attention(source: str = "", target: str = "", *, bias: str = "linear_z") -> Rules:
    """Rules of a `TriangleAttention`; ``bias`` is the name of the bias's linear map."""
    parts = tuple(f"{source}mha.linear_{part}.weight" for part in "qkvg")
    return [
        *layer_norm(source + "layer_norm", target + "norm"),
        Rule(target + "projection.weight", parts, rows),
        *rename({"bias.weight": f"{bias}.weight", "output.weight": "mha.linear_o.weight"}, source, target),
    ]


def outer_product_mean(source: str = "", target: str = "") -> Rules:
    """Rules of an `OuterProductMean`."""
    return [
        *layer_norm(source + "layer_norm", target + "norm"),
        Rule(target + "projection.weight", (source + "linear_1.weight", source + "linear_2.weight"), rows),
        *rename({"output.weight": "linear_out.weight", "output.bias": "linear_out.bias"}, source, target),
    ]


def pair_weighted_averaging(source: str = "", target: str = "") -> Rules:
    """Rules of a `PairWeightedAveraging`."""
    return [
        *layer_norm(source + "layer_norm_m", target + "norm_msa"),
        *layer_norm(source + "layer_norm_z", target + "norm_pair"),
        Rule(target + "projection.weight", (source + "linear_v.weight", source + "linear_g.weight"), rows),
        *rename({"weights.weight": "linear_z.weight", "output.weight": "linear_o.weight"}, source, target),
    ]


def attention_pair_bias(source: str = "", target: str = "") -> Rules:
    """Rules of an `AttentionPairBias` of the trunk's kind."""
    parts = tuple(f"{source}mha.linear_{part}.weight" for part in "qkvg")
    names = {
        "attention.query_bias": "mha.linear_q.bias",
        "attention.output.weight": "mha.linear_o.weight",
        "pair.linear.weight": "linear_z.weight",
    }
    return [
        *layer_norm(source + "layer_norm_a", target + "norm"),
        *layer_norm(source + "layer_norm_z", target + "pair.norm"),
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


def pairformer_block(source: str = "", target: str = "") -> Rules:
    """Rules of a `PairformerBlock` with a single representation."""
    return [
        *pair_block(source + "pair_stack.", target + "pair."),
        *attention_pair_bias(source + "attn_pair_bias.", target + "attention."),
        *transition(source + "single_transition.", target + "transition."),
    ]


def msa_block(source: str = "", target: str = "", *, update_msa: bool = True) -> Rules:
    """Rules of an `MsaBlock`."""
    rules = [
        *outer_product_mean(source + "outer_product_mean.", target + "outer_product."),
        *pair_block(source + "pair_stack.", target + "pair."),
    ]
    if update_msa:
        rules += pair_weighted_averaging(source + "msa_att_row.", target + "averaging.")
        rules += transition(source + "msa_transition.", target + "transition.")
    return rules


def msa_blocks(blocks: int, source: str = "blocks.", target: str = "blocks.") -> Rules:
    """Rules of the blocks of an `MsaModule`; the last does not update the MSA."""
    return [
        rule
        for index in range(blocks)
        for rule in msa_block(f"{source}{index}.", f"{target}{index}.", update_msa=index < blocks - 1)
    ]
