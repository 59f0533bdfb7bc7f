"""Attention: over tokens, along rows and down columns of an alignment, and between the edges of triangles."""

from __future__ import annotations

from typing import Literal

from anfinsen.nn import GatedAttention, MsaColumnAttention, MsaRowAttention, TriangleAttention

from ..slicing import Slice
from .entry import Entry, Losses, Recorded, Sources, everyone, model_block, small_block, whole

N, ROWS = 3, 2  # tokens and alignment rows of the small entries


def _small_gated(losses: Losses) -> Recorded:
    module = GatedAttention(4, heads=2, c_head=2)
    return small_block(module, (whole("x", N, 4), whole("bias", 2, N, N, low=-1, high=1)), N)


def _model_gated(sources: Sources) -> Recorded:
    block = "trunk_module.blocks.0.attention.attention"
    return model_block(sources.network("alphafold3"), block, Slice(tokens=(0, 1, 2)))


def _small_row(losses: Losses) -> Recorded:
    module = MsaRowAttention(c_m=4, c_z=3, heads=2, c_head=2)
    return small_block(module, (whole("msa", ROWS, N, 4), whole("pair", N, N, 3), everyone(ROWS, N)), N)


def _model_row(sources: Sources) -> Recorded:
    wanted = Slice(tokens=(0, 1, 2), sequences=(0, 1))
    return model_block(sources.network("alphafold2"), "trunk.evoformer.blocks.0.rows", wanted)


def _small_column(losses: Losses) -> Recorded:
    module = MsaColumnAttention(c_m=4, heads=2, c_head=2)
    return small_block(module, (whole("msa", N, ROWS, 4), everyone(N, ROWS)), ROWS)


def _model_column(sources: Sources) -> Recorded:
    wanted = Slice(tokens=(0, 1), sequences=(0, 1, 2))
    return model_block(sources.network("alphafold2"), "trunk.evoformer.blocks.0.columns", wanted)


def _small_triangle(node: Literal["starting", "ending"]) -> Recorded:
    module = TriangleAttention(node, c_z=3, heads=2, c_head=2)
    return small_block(module, (whole("pair", N, N, 3), everyone(N)), N)


def _model_triangle(sources: Sources, node: str) -> Recorded:
    wanted = Slice(tokens=(0, 1, 2))
    return model_block(sources.network("alphafold3"), f"trunk_module.blocks.0.pair.{node}", wanted)


ATTENTION = (
    Entry(
        "gated_attention",
        "Multi-head gated attention",
        "Each token asks (query), offers (key) and gives (value), head by head: the logits are products of queries "
        "and keys over the root of the head's width, plus a bias from the pairs; softmax makes them weights, the "
        "values are averaged, gated by a sigmoid of the token itself, and mixed by the output matrix. W_Q, W_K, W_V "
        "and W_G are the four parts of the weight 'projection'.",
        "Vaswani et al. 2017, section 3.2; Abramson et al. 2024 (AlphaFold 3), Algorithm 24",
        _small_gated,
        _model_gated,
    ),
    Entry(
        "msa_row_attention",
        "Attention along alignment rows, with pair bias",
        "Within each row of the alignment every residue looks at all others; what the pair representation says of "
        "two residues is added to their logits, the same in all rows.",
        "Jumper et al. 2021 (AlphaFold 2), Algorithm 7",
        _small_row,
        _model_row,
    ),
    Entry(
        "msa_column_attention",
        "Attention down alignment columns",
        "Within each column the rows look at each other: what the same residue is in related proteins.",
        "Jumper et al. 2021 (AlphaFold 2), Algorithm 8",
        _small_column,
        _model_column,
    ),
    Entry(
        "triangle_attention_starting",
        "Triangle attention around the starting node",
        "Edge (i, j) looks at the edges (i, k) that start at the same residue; the third edge (j, k) of each "
        "triangle gives the bias of the logits.",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 14; Jumper et al. 2021, Algorithm 13",
        lambda losses: _small_triangle("starting"),
        lambda sources: _model_triangle(sources, "starting"),
    ),
    Entry(
        "triangle_attention_ending",
        "Triangle attention around the ending node",
        "Edge (i, j) looks at the edges (k, j) that end at the same residue, with a bias from edge (i, k).",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 15; Jumper et al. 2021, Algorithm 14",
        lambda losses: _small_triangle("ending"),
        lambda sources: _model_triangle(sources, "ending"),
    ),
)
