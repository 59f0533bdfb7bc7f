"""Room: nn."""

from .adaptive_layer_norm import AdaptiveLayerNorm
from .attention import Shown, watch, watch_attention
from .attention_pair_bias import AttentionPairBias, AttentionPairBiasConfig, GatedAttention
from .conditioned_transition import ConditionedTransition, ConditionedTransitionConfig
from .diffusion_transformer import DiffusionTransformer, DiffusionTransformerConfig
from .fourier_embedding import FourierEmbedding
from .memory import chunk_budget, reuse_buffers
from .msa_attention import MsaColumnAttention, MsaColumnGlobalAttention, MsaRowAttention
from .outer_product_mean import OuterProductMean
from .pair_weighted_averaging import PairWeightedAveraging
from .pairformer import PairBlock, PairformerBlock, PairformerConfig
from .row_attention import RowAttention
from .transition import Transition
from .triangle_attention import TriangleAttention
from .triangle_multiplication import TriangleMultiplication
from .windows import Windows, make_windows

__all__ = [
    "AdaptiveLayerNorm",
    "AttentionPairBias",
    "AttentionPairBiasConfig",
    "ConditionedTransition",
    "ConditionedTransitionConfig",
    "DiffusionTransformer",
    "DiffusionTransformerConfig",
    "FourierEmbedding",
    "GatedAttention",
    "MsaColumnAttention",
    "MsaColumnGlobalAttention",
    "MsaRowAttention",
    "OuterProductMean",
    "PairBlock",
    "PairWeightedAveraging",
    "PairformerBlock",
    "PairformerConfig",
    "RowAttention",
    "Shown",
    "Transition",
    "TriangleAttention",
    "TriangleMultiplication",
    "Windows",
    "chunk_budget",
    "make_windows",
    "reuse_buffers",
    "watch",
    "watch_attention",
]
