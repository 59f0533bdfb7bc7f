"""DeepMind's AlphaFold 2 arrays (JAX, Haiku): tensors of the trunk's blocks.

Keys are ``<module>//<parameter>``; matrices are [in, out], attention's [in, heads, width]. Prefixes are module paths.
Arrays of a stack have the block as first axis; `alphafold2_official.unstacked` takes them apart beforehand.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .rules import Rule, Rules, transposed


def layer_norm(source: str, target: str) -> Rules:
    """Rules of a LayerNorm."""
    return [Rule(f"{target}.weight", (f"{source}//scale",)), Rule(f"{target}.bias", (f"{source}//offset",))]


def linear(source: str, target: str) -> Rules:
    """Rules of a linear map with bias."""
    return [Rule(f"{target}.weight", (f"{source}//weights",), transposed), Rule(f"{target}.bias", (f"{source}//bias",))]


def into_heads(*weights: Tensor) -> Tensor:
    """Return matrices [in, heads, width], or [in, width], as rows of one [out, in]."""
    return torch.cat([weight.flatten(1).T for weight in weights])


def out_of_heads(weight: Tensor) -> Tensor:
    """Return a matrix [heads, width, out] as [out, in]."""
    return weight.flatten(0, 1).T


def gated_attention(source: str, target: str) -> Rules:
    """Rules of what all `RowAttention` share."""
    attention = f"{source}/attention//"
    names = ("query_w", "key_w", "value_w", "gating_w")
    return [
        *layer_norm(f"{source}/query_norm", target + "norm"),
        Rule(target + "projection.weight", tuple(attention + name for name in names), into_heads),
        Rule(target + "gate_bias", (attention + "gating_b",), torch.flatten),
        Rule(target + "output.weight", (attention + "output_w",), out_of_heads),
        Rule(target + "output.bias", (attention + "output_b",)),
    ]


def triangle_attention(source: str, target: str = "") -> Rules:
    """Rules of a `TriangleAttention`."""
    return [
        *gated_attention(source, target),
        Rule(target + "bias.weight", (f"{source}//feat_2d_weights",), transposed),
    ]


def msa_row_attention(source: str, target: str = "") -> Rules:
    """Rules of an `MsaRowAttention`."""
    return [*triangle_attention(source, target), *layer_norm(f"{source}/feat_2d_norm", target + "norm_pair")]


def msa_column_global_attention(source: str, target: str = "") -> Rules:
    """Rules of an `MsaColumnGlobalAttention`."""
    attention = f"{source}/attention//"
    return [
        *layer_norm(f"{source}/query_norm", target + "norm"),
        Rule(target + "query.weight", (attention + "query_w",), into_heads),
        Rule(target + "key_value.weight", (attention + "key_w", attention + "value_w"), into_heads),
        Rule(target + "gate.weight", (attention + "gating_w",), into_heads),
        Rule(target + "gate.bias", (attention + "gating_b",), torch.flatten),
        Rule(target + "output.weight", (attention + "output_w",), out_of_heads),
        Rule(target + "output.bias", (attention + "output_b",)),
    ]


def transition(source: str, target: str = "") -> Rules:
    """Rules of a `Transition` with a rectifier."""
    return [
        *layer_norm(f"{source}/input_layer_norm", target + "norm"),
        *linear(f"{source}/transition1", target + "expand"),
        *linear(f"{source}/transition2", target + "contract"),
    ]


def outer_product_mean(source: str, target: str = "") -> Rules:
    """Rules of an `OuterProductMean`: the output weights are [left, right, out]."""
    sides = tuple(f"{source}/{side}_projection//" for side in ("left", "right"))
    return [
        *layer_norm(f"{source}/layer_norm_input", target + "norm"),
        Rule(target + "projection.weight", tuple(side + "weights" for side in sides), into_heads),
        Rule(target + "projection.bias", tuple(side + "bias" for side in sides), lambda *biases: torch.cat(biases)),
        Rule(target + "output.weight", (f"{source}//output_w",), out_of_heads),
        Rule(target + "output.bias", (f"{source}//output_b",)),
    ]


def triangle_multiplication(source: str, target: str = "", *, incoming: bool, fused: bool) -> Rules:
    """Rules of a `TriangleMultiplication`.

    The incoming product is written with left_kj and right_ki, so there the two factors change places. ``fused``
    (multimer 3): left and right are halves of one matrix.
    """
    parts: tuple[str, ...]
    if fused:
        norm_in, norm_out, parts = "left_norm_input", "center_norm", ("projection", "gate")
    else:
        norm_in, norm_out = "layer_norm_input", "center_layer_norm"
        sides = ("right", "left") if incoming else ("left", "right")
        parts = tuple(f"{side}_{kind}" for kind in ("projection", "gate") for side in sides)

    def factors(*tensors: Tensor) -> Tensor:
        """Outputs along the last axis."""
        if fused and incoming:
            tensors = tuple(torch.roll(tensor, tensor.shape[-1] // 2, -1) for tensor in tensors)
        return torch.cat(tensors, dim=-1).T if tensors[0].dim() == 2 else torch.cat(tensors)

    return [
        *layer_norm(f"{source}/{norm_in}", target + "norm_in"),
        *layer_norm(f"{source}/{norm_out}", target + "norm_out"),
        Rule(target + "projection.weight", tuple(f"{source}/{part}//weights" for part in parts), factors),
        Rule(target + "projection.bias", tuple(f"{source}/{part}//bias" for part in parts), factors),
        *linear(f"{source}/gating_linear", target + "gate"),
        *linear(f"{source}/output_projection", target + "output"),
    ]


def pair_block(source: str, target: str = "", *, fused: bool) -> Rules:
    """Rules of a `PairBlock`."""
    multiplication = f"{source}/triangle_multiplication_"
    return [
        *triangle_multiplication(multiplication + "outgoing", target + "outgoing.", incoming=False, fused=fused),
        *triangle_multiplication(multiplication + "incoming", target + "incoming.", incoming=True, fused=fused),
        *triangle_attention(f"{source}/triangle_attention_starting_node", target + "starting."),
        *triangle_attention(f"{source}/triangle_attention_ending_node", target + "ending."),
        *transition(f"{source}/pair_transition", target + "transition."),
    ]


def evoformer_block(source: str, target: str = "", *, extra: bool, fused: bool) -> Rules:
    """Rules of an `EvoformerBlock`; ``extra``: of the extra MSA stack."""
    if extra:
        columns = msa_column_global_attention(f"{source}/msa_column_global_attention", target + "columns.")
    else:
        columns = gated_attention(f"{source}/msa_column_attention", target + "columns.")
    return [
        *msa_row_attention(f"{source}/msa_row_attention_with_pair_bias", target + "rows."),
        *columns,
        *transition(f"{source}/msa_transition", target + "transition."),
        *outer_product_mean(f"{source}/outer_product_mean", target + "outer_product."),
        *pair_block(source, target + "pair.", fused=fused),
    ]
