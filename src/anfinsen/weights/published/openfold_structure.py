"""OpenFold (AlphaFold 2): tensors of the structure module. Prefixes end in a dot, or are empty.

The layouts of scalars and points are those of DeepMind's arrays, transposed; `alphafold2_official` uses them too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .openfold_trunk import linear
from .rules import Rule, Rules, layer_norm, rename, rows


def scalars(heads: int, query: Tensor, key_value: Tensor) -> Tensor:
    """Return [q | k | v] from q and, head by head, [k | v] (monomer)."""
    halves = key_value.reshape(heads, 2, -1, *key_value.shape[1:])
    return torch.cat([query, halves[:, 0].flatten(0, 1), halves[:, 1].flatten(0, 1)])


def points(heads: int, query_points: int, query: Tensor, key_value: Tensor) -> Tensor:
    """Return [q | k | v], each heads x points x 3, from axes first and [k | v] in each head (monomer)."""
    q, kv = (part.reshape(3, heads, -1, *part.shape[1:]).movedim(0, 2) for part in (query, key_value))
    groups = (q, kv[:, :query_points], kv[:, query_points:])
    return torch.cat([group.flatten(0, 2) for group in groups])


def points_by_head(heads: int, *parts: Tensor) -> Tensor:
    """Return [q | k | v], each heads x points x 3, from three tensors with axes first in each head (multimer)."""
    return torch.cat([part.reshape(heads, 3, -1, *part.shape[1:]).transpose(1, 2).flatten(0, 2) for part in parts])


def invariant_point_attention(
    heads: int, query_points: int, source: str = "", target: str = "", *, multimer: bool = False
) -> Rules:
    """Rules of an `InvariantPointAttention`."""
    rules = [
        *linear(source + "linear_b", target + "bias"),
        *rename({"point_weights": "head_weights"}, source, target),
        *linear(source + "linear_out", target + "output"),
    ]
    if multimer:
        parts = tuple(f"{source}linear_{part}.weight" for part in "qkv")
        rules.append(Rule(target + "scalars.weight", parts, rows))
    for kind in ("weight", "bias"):
        if multimer:
            names = tuple(f"{source}linear_{part}_points.linear.{kind}" for part in "qkv")
            rules.append(Rule(f"{target}points.{kind}", names, lambda *parts: points_by_head(heads, *parts)))
            continue
        rules += [
            Rule(
                f"{target}scalars.{kind}",
                (f"{source}linear_q.{kind}", f"{source}linear_kv.{kind}"),
                lambda query, key_value: scalars(heads, query, key_value),
            ),
            Rule(
                f"{target}points.{kind}",
                (f"{source}linear_q_points.linear.{kind}", f"{source}linear_kv_points.linear.{kind}"),
                lambda query, key_value: points(heads, query_points, query, key_value),
            ),
        ]
    return rules


def torsion_network(blocks: int, source: str = "", target: str = "") -> Rules:
    """Rules of a `TorsionNetwork`."""
    rules = [
        *linear(source + "linear_in", target + "current"),
        *linear(source + "linear_initial", target + "initial"),
        *linear(source + "linear_out", target + "output"),
    ]
    for index in range(blocks):
        layer, block = f"{source}layers.{index}.", f"{target}blocks.{index}."
        # 1 and 3: the linear maps between the rectifiers.
        rules += [*linear(layer + "linear_1", block + "1"), *linear(layer + "linear_2", block + "3")]
    return rules


def structure_module(
    heads: int,
    query_points: int,
    torsion_blocks: int,
    source: str = "",
    target: str = "",
    *,
    multimer: bool = False,
) -> Rules:
    """Rules of a `StructureModule`."""
    layer = source + "transition.layers.0."
    return [
        *layer_norm(source + "layer_norm_s", target + "norm_single"),
        *layer_norm(source + "layer_norm_z", target + "norm_pair"),
        *layer_norm(source + "layer_norm_ipa", target + "norm_attention"),
        *layer_norm(source + "transition.layer_norm", target + "norm_transition"),
        *linear(source + "linear_in", target + "input"),
        *invariant_point_attention(heads, query_points, source + "ipa.", target + "attention.", multimer=multimer),
        *linear(layer + "linear_1", target + "transition.first"),
        *linear(layer + "linear_2", target + "transition.second"),
        *linear(layer + "linear_3", target + "transition.third"),
        *linear(source + "bb_update.linear", target + "backbone_update"),
        *torsion_network(torsion_blocks, source + "angle_resnet.", target + "torsions."),
    ]
