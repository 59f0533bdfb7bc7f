"""Weights files of the image networks: CLIP, DALL·E 2's three and DALL·E 1's two.

Networks that stand on another one remember the hash of its file: a prior or decoder knows the embeddings of one CLIP
only, and a transformer the codes of one discrete VAE.
"""

from __future__ import annotations

from typing import Any

from anfinsen.common.errors import WeightsError
from anfinsen.images.clip import CLIP_PRESETS, Clip, ClipConfig
from anfinsen.images.dalle1 import (
    DVAE_PRESETS,
    TRANSFORMER_PRESETS,
    DiscreteVae,
    DiscreteVaeConfig,
    ImageTransformer,
    ImageTransformerConfig,
)
from anfinsen.images.dalle2 import (
    DECODER_PRESETS,
    PRIOR_PRESETS,
    UPSAMPLER_PRESETS,
    Decoder,
    DecoderConfig,
    Prior,
    PriorConfig,
    Upsampler,
    UpsamplerConfig,
)
from anfinsen.images.tokenizer import Tokenizer

from .store import BUNDLED_FILES, Family, WeightsInfo

TOKENIZER, CLIP_HASH, DVAE_HASH = "tokenizer", "clip", "dvae"  # in the metadata

CLIP: Family[Clip, ClipConfig] = Family("clip", "CLIP", Clip, ClipConfig, CLIP_PRESETS, BUNDLED_FILES["clip"])
DALLE2_PRIOR: Family[Prior, PriorConfig] = Family(
    "dalle2-prior", "DALL·E 2 prior", Prior, PriorConfig, PRIOR_PRESETS, BUNDLED_FILES["dalle2-prior"]
)
DALLE2_DECODER: Family[Decoder, DecoderConfig] = Family(
    "dalle2-decoder", "DALL·E 2 decoder", Decoder, DecoderConfig, DECODER_PRESETS, BUNDLED_FILES["dalle2-decoder"]
)
DALLE2_UPSAMPLER: Family[Upsampler, UpsamplerConfig] = Family(
    "dalle2-upsampler",
    "DALL·E 2 upsampler",
    Upsampler,
    UpsamplerConfig,
    UPSAMPLER_PRESETS,
    BUNDLED_FILES["dalle2-upsampler"],
)
DALLE1_DVAE: Family[DiscreteVae, DiscreteVaeConfig] = Family(
    "dalle1-dvae", "DALL·E 1 discrete VAE", DiscreteVae, DiscreteVaeConfig, DVAE_PRESETS, BUNDLED_FILES["dalle1-dvae"]
)
DALLE1_TRANSFORMER: Family[ImageTransformer, ImageTransformerConfig] = Family(
    "dalle1-transformer",
    "DALL·E 1 transformer",
    ImageTransformer,
    ImageTransformerConfig,
    TRANSFORMER_PRESETS,
    BUNDLED_FILES["dalle1-transformer"],
)
IMAGE_FAMILIES: dict[str, Family[Any, Any]] = {
    family.name: family
    for family in (CLIP, DALLE2_PRIOR, DALLE2_DECODER, DALLE2_UPSAMPLER, DALLE1_DVAE, DALLE1_TRANSFORMER)
}


def tokenizer_of(info: WeightsInfo) -> Tokenizer:
    """Return the tokenizer that the weights of a network which reads captions hold.

    Raises:
        WeightsError: they hold none.
    """
    text = info.metadata.get(TOKENIZER)
    if text is None:
        raise WeightsError(
            f"The weights {info.path or info.name} hold no tokenizer: give weights of CLIP or of DALL·E 1's "
            "transformer that `anfinsen train` has written."
        )
    return Tokenizer.from_json(text)


def require_clip(info: WeightsInfo, clip: WeightsInfo) -> None:
    """Check that a network was trained with this very CLIP.

    Raises:
        WeightsError: it was trained with another.
    """
    _require(info, clip, CLIP_HASH, "CLIP")


def require_dvae(info: WeightsInfo, dvae: WeightsInfo) -> None:
    """Check that a transformer was trained with this very discrete VAE.

    Raises:
        WeightsError: it was trained with another.
    """
    _require(info, dvae, DVAE_HASH, "discrete VAE")


def _require(info: WeightsInfo, other: WeightsInfo, key: str, title: str) -> None:
    trained = info.metadata.get(key, "")
    if trained != other.sha256:
        raise WeightsError(
            f"{info.path or info.name} was trained with the {title} of SHA-256 {trained[:12] or 'unknown'}, and "
            f"{other.path or other.name} is {other.sha256[:12] or 'untrained'}: give the {title} that it was trained "
            "with, or train it again."
        )
