"""A small folder of captioned pictures, and tiny presets of all image networks."""

import json
from dataclasses import replace

import numpy as np

from anfinsen.common.seeding import numpy_generator
from anfinsen.images.captions import caption
from anfinsen.images.clip import CLIP_PRESETS, ClipConfig
from anfinsen.images.dalle1 import DVAE_PRESETS, TRANSFORMER_PRESETS, DiscreteVaeConfig, ImageTransformerConfig
from anfinsen.images.dalle2 import (
    DECODER_PRESETS,
    PRIOR_PRESETS,
    UPSAMPLER_PRESETS,
    DecoderConfig,
    PriorConfig,
    UNetConfig,
    UpsamplerConfig,
)
from anfinsen.images.datasets import Captioned, write_split
from anfinsen.images.rendering import render
from anfinsen.images.scenes import sample_scene, sibling
from anfinsen.images.transformer import TransformerConfig
from anfinsen.training.images.options import ImageTrainOptions
from anfinsen.training.images.recipe import RECIPES, ImageRecipe
from anfinsen.training.options import TrainOptions

BLOCKS = TransformerConfig(width=16, heads=2, depth=1)
UNET = UNetConfig(channels=(16, 16), blocks=(1, 1), transformer=1, c_head=16, c_group=8, c_embedding=16, c_context=16)
TINY = {
    "clip": (CLIP_PRESETS, ClipConfig(text=BLOCKS, image=BLOCKS, stem=16, embedding=12)),
    "dalle2-prior": (PRIOR_PRESETS, PriorConfig(c_clip=12, c_text=16, transformer=BLOCKS)),
    "dalle2-decoder": (
        DECODER_PRESETS,
        DecoderConfig(c_clip=12, c_text=16, text=BLOCKS, c_aligned=16, aligned_block=1, unet=UNET),
    ),
    "dalle2-upsampler": (
        UPSAMPLER_PRESETS,
        UpsamplerConfig(
            c_clip=12,
            unet=replace(UNET, size=64, patch=4, c_extra=12, attention=(False, False), c_context=0, middle=0),
        ),
    ),
    "dalle1-dvae": (DVAE_PRESETS, DiscreteVaeConfig(codes=16, channels=(16, 16))),
    "dalle1-transformer": (TRANSFORMER_PRESETS, ImageTransformerConfig(BLOCKS, codes=16)),
}
RECIPE = ImageRecipe(steps=4, batch=6, learning_rate=1e-2, warmup=1, matrix_rate=1.0, validation=5, ema=0.9)


def add_tiny_presets(monkeypatch):
    """Add a preset and a recipe "tiny" of every network."""
    for network, (presets, config) in TINY.items():
        monkeypatch.setitem(presets, "tiny", config)
        monkeypatch.setitem(RECIPES[network], "tiny", RECIPE)


def make_folder(folder, scenes=10, emoji=3):
    """Write a data folder of real scenes in pairs, and of noise for emoji."""
    rng = numpy_generator(0, "folder")
    for split in ("train", "validation"):
        found = []
        for _ in range(scenes // 2):
            first = sample_scene(rng)
            found += [first, sibling(first, rng)[0]]
        pictures = [render(scene, rng) for scene in found]
        pictures += [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(emoji)]
        rows = [Captioned(caption(scene), "scenes", scene) for scene in found]
        rows += [Captioned(f"an emoji of thing {number}", "emoji") for number in range(emoji)]
        write_split(folder, split, np.stack(pictures), rows)
    (folder / "about.json").write_text(json.dumps({"seed": 0}))
    return folder


def options(network, folder, out, **changes):
    """Options of a tiny run; names of `ImageTrainOptions` and of `TrainOptions` may be given."""
    own = {name: changes.pop(name) for name in ("clip", "dvae", "cache", "noise", "drop") if name in changes}
    run = {"data": folder, "out": out, "preset": "tiny", "device": "cpu", "bf16": False, "threads": 1} | changes
    return ImageTrainOptions(network, TrainOptions(**run), **own)
