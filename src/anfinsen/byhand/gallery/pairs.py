"""Updates of the pair representation, the block that they make up, and layer norm under a condition."""

from __future__ import annotations

from typing import Literal

from anfinsen.nn import AdaptiveLayerNorm, OuterProductMean, PairformerBlock, PairformerConfig, TriangleMultiplication

from ..slicing import Slice
from ..slots import Names
from ..trace import capture, trace_module
from .entry import Entry, Losses, Recorded, Sources, everyone, model_block, small_block, whole

N, ROWS = 3, 2  # tokens and alignment rows of the small entries
SMALL_BLOCK = PairformerConfig(
    c_s=4, c_z=3, heads_single=2, heads_pair=1, c_pair_attention=2, c_triangle=2, transition_factor=1, dropout_pair=0.0
)
CHANNELS = tuple(range(4))  # of the results, where all would be too many
BLOCK = "trunk_module.blocks.0"
CONDITIONED = "diffusion.transformer.blocks.0"


def _small_outer(losses: Losses) -> Recorded:
    module = OuterProductMean(c_m=3, c_z=2, c_hidden=2)
    return small_block(module, (whole("msa", ROWS, N, 3), everyone(ROWS, N)), N)


def _model_outer(sources: Sources) -> Recorded:
    return model_block(
        sources.network("alphafold3"),
        "trunk_module.msa.blocks.0.outer_product",
        Slice(tokens=(0, 1), channels=CHANNELS),
    )


def _small_multiplication(direction: Literal["outgoing", "incoming"]) -> Recorded:
    module = TriangleMultiplication(direction, c_z=3, c_hidden=2)
    return small_block(module, (whole("pair", N, N, 3), everyone(N)), N)


def _model_multiplication(sources: Sources, direction: str) -> Recorded:
    return model_block(
        sources.network("alphafold3"), f"trunk_module.blocks.0.pair.{direction}", Slice(tokens=(0, 1, 2))
    )


def _small_pairformer(losses: Losses) -> Recorded:
    module = PairformerBlock(SMALL_BLOCK)
    return small_block(module, (whole("single", 2, 4), whole("pair", 2, 2, 3), everyone(2)), 2)


def _model_pairformer(sources: Sources) -> Recorded:
    """On two residues alone: whatever else there was would come to them by one update or the other."""
    network = sources.network("alphafold3")
    single, pair, mask = capture(network.model, lambda: network.run(BLOCK), BLOCK).args
    block, few = network.model.get_submodule(BLOCK), slice(0, 2)
    names = Names({"token": network.tokens[few]})
    recorded = trace_module(block, (single[few], pair[few, few], mask[few]), names=names)
    return Recorded(recorded, Slice(channels=CHANNELS), f"{network.name}, its first two residues alone")


def _small_adaptive(losses: Losses) -> Recorded:
    return small_block(AdaptiveLayerNorm(4, 3), (whole("a", N, 4), whole("s", N, 3)), N)


def _model_adaptive(sources: Sources) -> Recorded:
    network = sources.network("alphafold3")
    a, s = capture(network.model, lambda: network.run(CONDITIONED), CONDITIONED).args[:2]
    norm = network.model.get_submodule(f"{CONDITIONED}.attention.norm")
    one_sample = a.flatten(0, -3)[0]
    recorded = trace_module(norm, (one_sample, s), names=Names({"token": network.tokens}))
    return Recorded(recorded, Slice(tokens=(0, 1, 2)), network.name)


PAIRS = (
    Entry(
        "outer_product_mean",
        "Outer product mean",
        "From the alignment to the pairs: in every row, all products of two projections of residues i and j; their "
        "mean over the rows, through a linear map, is added to the pair. So columns that change together leave a "
        "trace.",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 9; Jumper et al. 2021, Algorithm 10",
        _small_outer,
        _model_outer,
    ),
    Entry(
        "triangle_multiplication_outgoing",
        "Triangle multiplication, outgoing edges",
        "Pair (i, j) learns from every third residue k: the sum over k of the products of the edges (i, k) and (j, k).",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 12; Jumper et al. 2021, Algorithm 11",
        lambda losses: _small_multiplication("outgoing"),
        lambda sources: _model_multiplication(sources, "outgoing"),
    ),
    Entry(
        "triangle_multiplication_incoming",
        "Triangle multiplication, incoming edges",
        "Pair (i, j) learns from every third residue k: the sum over k of the products of the edges (k, i) and (k, j).",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 13; Jumper et al. 2021, Algorithm 12",
        lambda losses: _small_multiplication("incoming"),
        lambda sources: _model_multiplication(sources, "incoming"),
    ),
    Entry(
        "pairformer_block",
        "The Pairformer block",
        "All updates of a block one after the other, each added to what it read: two triangle multiplications, two "
        "triangle attentions and a transition of the pairs; then attention with pair bias and a transition of the "
        "single representation.",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 17",
        _small_pairformer,
        _model_pairformer,
    ),
    Entry(
        "adaptive_layer_norm",
        "Adaptive layer norm",
        "A vector is brought to mean 0 and variance 1, then scaled by a sigmoid of a second vector and shifted by a "
        "linear map of it: this is how the noise level and the trunk speak to the diffusion module.",
        "Abramson et al. 2024 (AlphaFold 3), Algorithm 26",
        _small_adaptive,
        _model_adaptive,
    ),
)
