"""OpenFold (AlphaFold 2): tensors of the trunk. Prefixes end in a dot, or are empty."""

from __future__ import annotations

from .rules import Rule, Rules, layer_norm, rename, rows


def linear(source: str, target: str) -> Rules:
    """Rules of a linear map with bias, called ``source`` there and ``target`` here."""
    return layer_norm(source, target)  # the two tensors have the same names


def transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `Transition` with a rectifier."""
    return [
        *layer_norm(source + "layer_norm", target + "norm"),
        *linear(source + "linear_1", target + "expand"),
        *linear(source + "linear_2", target + "contract"),
    ]


def triangle_multiplication(source: str = "", target: str = "", *, fused: bool = False) -> Rules:
    """Rules of a `TriangleMultiplication`; ``fused`` checkpoints keep a and b in one matrix."""
    parts = ("linear_ab_p", "linear_ab_g") if fused else ("linear_a_p", "linear_b_p", "linear_a_g", "linear_b_g")
    return [
        *layer_norm(source + "layer_norm_in", target + "norm_in"),
        *layer_norm(source + "layer_norm_out", target + "norm_out"),
        *(
            Rule(f"{target}projection.{kind}", tuple(f"{source}{part}.{kind}" for part in parts), rows)
            for kind in ("weight", "bias")
        ),
        *linear(source + "linear_g", target + "gate"),
        *linear(source + "linear_z", target + "output"),
    ]


def row_attention(source: str = "", target: str = "") -> Rules:
    """Rules of what all `RowAttention` share, but the norm; ``source`` is the prefix of the attention itself."""
    parts = tuple(f"{source}linear_{part}.weight" for part in "qkvg")
    return [
        Rule(target + "projection.weight", parts, rows),
        *rename({"gate_bias": "linear_g.bias"}, source, target),
        *linear(source + "linear_o", target + "output"),
    ]


def triangle_attention(source: str = "", target: str = "") -> Rules:
    """Rules of a `TriangleAttention`."""
    return [
        *layer_norm(source + "layer_norm", target + "norm"),
        *rename({"bias.weight": "linear.weight"}, source, target),
        *row_attention(source + "mha.", target),
    ]


def msa_row_attention(source: str = "", target: str = "") -> Rules:
    """Rules of an `MsaRowAttention`."""
    return [
        *layer_norm(source + "layer_norm_m", target + "norm"),
        *layer_norm(source + "layer_norm_z", target + "norm_pair"),
        *rename({"bias.weight": "linear_z.weight"}, source, target),
        *row_attention(source + "mha.", target),
    ]


def msa_column_attention(source: str = "", target: str = "") -> Rules:
    """Rules of an `MsaColumnAttention`."""
    return [
        *layer_norm(source + "_msa_att.layer_norm_m", target + "norm"),
        *row_attention(source + "_msa_att.mha.", target),
    ]


def msa_column_global_attention(source: str = "", target: str = "") -> Rules:
    """Rules of an `MsaColumnGlobalAttention`."""
    attention = source + "global_attention."
    return [
        *layer_norm(source + "layer_norm_m", target + "norm"),
        *rename({"query.weight": "linear_q.weight"}, attention, target),
        Rule(target + "key_value.weight", (attention + "linear_k.weight", attention + "linear_v.weight"), rows),
        *linear(attention + "linear_g", target + "gate"),
        *linear(attention + "linear_o", target + "output"),
    ]


def outer_product_mean(source: str = "", target: str = "") -> Rules:
    """Rules of an `OuterProductMean`."""
    return [
        *layer_norm(source + "layer_norm", target + "norm"),
        *(
            Rule(f"{target}projection.{kind}", (f"{source}linear_1.{kind}", f"{source}linear_2.{kind}"), rows)
            for kind in ("weight", "bias")
        ),
        *linear(source + "linear_out", target + "output"),
    ]


def pair_block(source: str = "", target: str = "", *, fused: bool = False) -> Rules:
    """Rules of a `PairBlock`."""
    return [
        *triangle_multiplication(source + "tri_mul_out.", target + "outgoing.", fused=fused),
        *triangle_multiplication(source + "tri_mul_in.", target + "incoming.", fused=fused),
        *triangle_attention(source + "tri_att_start.", target + "starting."),
        *triangle_attention(source + "tri_att_end.", target + "ending."),
        *transition(source + "pair_transition.", target + "transition."),
    ]


def evoformer_block(source: str = "", target: str = "", *, extra: bool = False, fused: bool = False) -> Rules:
    """Rules of an `EvoformerBlock`; ``extra``: of the extra MSA stack."""
    columns = msa_column_global_attention if extra else msa_column_attention
    return [
        *msa_row_attention(source + "msa_att_row.", target + "rows."),
        *columns(source + "msa_att_col.", target + "columns."),
        *transition(source + "msa_transition.", target + "transition."),
        *outer_product_mean(source + "outer_product_mean.", target + "outer_product."),
        *pair_block(source + "pair_stack.", target + "pair.", fused=fused),
    ]


def evoformer_stack(
    blocks: int, source: str = "", target: str = "", *, extra: bool = False, fused: bool = False
) -> Rules:
    """Rules of an `EvoformerStack`."""
    return [
        rule
        for index in range(blocks)
        for rule in evoformer_block(f"{source}blocks.{index}.", f"{target}blocks.{index}.", extra=extra, fused=fused)
    ]


def template_pair_stack(blocks: int, source: str = "", target: str = "", *, fused: bool = False) -> Rules:
    """Rules of a `TemplatePairStack`."""
    rules = layer_norm(source + "layer_norm", target + "norm")
    for index in range(blocks):
        rules += pair_block(f"{source}blocks.{index}.", f"{target}blocks.{index}.", fused=fused)
    return rules


def template_pointwise_attention(source: str = "", target: str = "") -> Rules:
    """Rules of a `TemplatePointwiseAttention`."""
    return [
        *rename({"query.weight": "mha.linear_q.weight"}, source, target),
        Rule(target + "key_value.weight", (source + "mha.linear_k.weight", source + "mha.linear_v.weight"), rows),
        *linear(source + "mha.linear_o", target + "output"),
    ]


def input_embedder(source: str = "", target: str = "") -> Rules:
    """Rules of an `InputEmbedder`."""
    return [
        *linear(source + "linear_tf_m", target + "target"),
        *linear(source + "linear_msa_m", target + "msa"),
        *linear(source + "linear_tf_z_i", target + "left"),
        *linear(source + "linear_tf_z_j", target + "right"),
        *linear(source + "linear_relpos", target + "position.linear"),
    ]


def recycling_embedder(source: str = "", target: str = "") -> Rules:
    """Rules of a `RecyclingEmbedder`."""
    return [
        *layer_norm(source + "layer_norm_m", target + "norm_msa"),
        *layer_norm(source + "layer_norm_z", target + "norm_pair"),
        *linear(source + "linear", target + "distance"),
    ]
