"""Room: nn."""

from .adaptive_layer_norm import AdaptiveLayerNorm
from .attention_pair_bias import AttentionPairBias, AttentionPairBiasConfig
from .memory import chunk_budget, reuse_buffers
from .outer_product_mean import OuterProductMean
from .pair_weighted_averaging import PairWeightedAveraging
from .pairformer import PairBlock, PairformerBlock, PairformerConfig
from .transition import Transition
from .triangle_attention import TriangleAttention
from .triangle_multiplication import TriangleMultiplication

__all__ = [
    "AdaptiveLayerNorm",
    "AttentionPairBias",
    "AttentionPairBiasConfig",
    "OuterProductMean",
    "PairBlock",
    "PairWeightedAveraging",
    "PairformerBlock",
    "PairformerConfig",
    "Transition",
    "TriangleAttention",
    "TriangleMultiplication",
    "chunk_budget",
    "reuse_buffers",
]
