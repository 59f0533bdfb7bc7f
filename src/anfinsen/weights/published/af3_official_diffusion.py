"""The released AlphaFold 3 code (JAX, Haiku): tensors of the diffusion transformer.

Keys are ``<module>//<parameter>``, matrices [in, out]; the name of a block is a prefix glued to its parts' names. The
blocks of a `DiffusionTransformer` are stacked [super block, block in it, ...] and ours are taken out one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .rules import Rule, Rules, rows, transposed

_STACK = "/__layer_stack_with_per_layer/__layer_stack_with_per_layer/"
_PAIR_BIAS = "/__layer_stack_with_per_layer/pair_logits_projection//weights"


def adaptive_layer_norm(source: str = "", target: str = "") -> Rules:
    """Rules of an `AdaptiveLayerNorm`."""

    def scale_shift(scale: Tensor, shift: Tensor) -> Tensor:
        return rows(scale.T, shift.T)

    parts = (f"{source}single_cond_scale//weights", f"{source}single_cond_bias//weights")
    return [
        Rule(target + "norm_s.weight", (f"{source}single_cond_layer_norm//scale",)),
        Rule(target + "scale_shift.weight", parts, scale_shift),
        Rule(target + "scale_bias", (f"{source}single_cond_scale//bias",)),
    ]


def output_gate(source: str = "", target: str = "") -> Rules:
    """Rules of an output gate."""
    return [
        Rule(target + "gate.weight", (f"{source}adaptive_zero_cond//weights",), transposed),
        Rule(target + "gate.bias", (f"{source}adaptive_zero_cond//bias",)),
    ]


def attention_pair_bias(source: str = "", target: str = "") -> Rules:
    """Rules of a conditioned `AttentionPairBias` without its pair bias; q, k and v are [in, head, width]."""

    def projection(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        return rows(q.flatten(1).T, k.flatten(1).T, v.flatten(1).T, gate.T)

    names = ("q_projection", "k_projection", "v_projection", "gating_query")
    return [
        *adaptive_layer_norm(source, target + "norm."),
        Rule(target + "attention.projection.weight", tuple(f"{source}{name}//weights" for name in names), projection),
        Rule(target + "attention.query_bias", (f"{source}q_projection//bias",), torch.flatten),
        Rule(target + "attention.output.weight", (f"{source}transition2//weights",), transposed),
        *output_gate(source, target),
    ]


def conditioned_transition(source: str = "", target: str = "") -> Rules:
    """Rules of a `ConditionedTransition`: the first half of transition1's output is swished, as in ours."""
    source = source + "ffw_"
    return [
        *adaptive_layer_norm(source, target + "norm."),
        Rule(target + "expand.weight", (f"{source}transition1//weights",), transposed),
        Rule(target + "contract.weight", (f"{source}transition2//weights",), transposed),
        *output_gate(source, target),
    ]


def diffusion_transformer(blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of a `DiffusionTransformer` from tensors that went through `unstack_blocks`."""
    rules = [Rule(target + "pair_norm.weight", (f"{source}/pair_input_layer_norm//scale",))]
    for index in range(blocks):
        block, ours = f"{source}/{index}/", f"{target}blocks.{index}."
        rules += attention_pair_bias(block, ours + "attention.")
        rules += conditioned_transition(block, ours + "transition.")
        rules.append(
            Rule(ours + "attention.pair.linear.weight", (f"{block}pair_logits_projection//weights",), transposed)
        )
    return rules


def unstack_blocks(source: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return ``source`` with the stacked tensors of the transformer ``name`` split into ``name/<index>/<part>``.

    The pair biases are stacked otherwise than the rest: [super block, channel, block in it, head].
    """
    result: dict[str, Tensor] = {}
    stack = f"{name}{_STACK}{name.rsplit('/', 1)[-1]}"
    for key, tensor in source.items():
        if key == f"{name}{_PAIR_BIAS}":
            part, layers = "pair_logits_projection//weights", tensor.transpose(1, 2).flatten(0, 1)
        elif key.startswith(stack):
            part, layers = key.removeprefix(stack), tensor.flatten(0, 1)
        else:
            result[key] = tensor
            continue
        for index, layer in enumerate(layers):
            result[f"{name}/{index}/{part}"] = layer
    return result
