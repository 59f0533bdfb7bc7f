"""Loading the networks of the image pipelines, and checking that they belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from anfinsen.common.errors import ConfigError
from anfinsen.weights import WeightsInfo
from anfinsen.weights.images import (
    CLIP,
    DALLE1_DVAE,
    DALLE1_TRANSFORMER,
    DALLE2_DECODER,
    DALLE2_PRIOR,
    DALLE2_UPSAMPLER,
    require_clip,
    require_dvae,
    tokenizer_of,
)
from anfinsen.weights.store import Family

BUNDLED_PRESET = "mini"


def load_dalle2(files: Mapping[str, str], device: torch.device) -> dict[str, Any]:
    """Return what `DallE2Pipeline` is built of.

    Args:
        files: file or model name by network; the bundled one where none is given.

    Raises:
        ConfigError: an unknown network. WeightsError: a file cannot be used, or was trained with another CLIP.
    """
    families = (CLIP, DALLE2_PRIOR, DALLE2_DECODER, DALLE2_UPSAMPLER)
    models, weights = _load(families, files, device)
    for name in ("dalle2-prior", "dalle2-decoder", "dalle2-upsampler"):
        require_clip(weights[name], weights["clip"])
    return {
        "clip": models["clip"],
        "tokenizer": tokenizer_of(weights["clip"]),
        "prior": models["dalle2-prior"],
        "decoder": models["dalle2-decoder"],
        "upsampler": models["dalle2-upsampler"],
        "weights": weights,
    }


def load_dalle1(files: Mapping[str, str], device: torch.device) -> dict[str, Any]:
    """Return what `DallE1Pipeline` is built of (see `load_dalle2`); the transformer must know this discrete VAE."""
    models, weights = _load((CLIP, DALLE1_DVAE, DALLE1_TRANSFORMER), files, device)
    require_dvae(weights["dalle1-transformer"], weights["dalle1-dvae"])
    return {
        "clip": models["clip"],
        "tokenizer": tokenizer_of(weights["dalle1-transformer"]),
        "clip_tokenizer": tokenizer_of(weights["clip"]),
        "dvae": models["dalle1-dvae"],
        "transformer": models["dalle1-transformer"],
        "weights": weights,
    }


def _load(
    families: Iterable[Family[Any, Any]], files: Mapping[str, str], device: torch.device
) -> tuple[dict[str, nn.Module], dict[str, WeightsInfo]]:
    families = tuple(families)
    known = [family.name for family in families]
    for name in files:
        if name not in known:
            raise ConfigError(f"Weights are given for {name!r}, which is not part of the model: it has {_list(known)}.")
    models, weights = {}, {}
    for family in families:
        model, info = family.load(files.get(family.name, f"{family.name}-{BUNDLED_PRESET}"), device)
        # Convolutions on CPUs and GPUs alike are quicker where a pixel's channels lie together.
        models[family.name] = model.to(memory_format=torch.channels_last)
        weights[family.name] = info
    return models, weights


def _list(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"
