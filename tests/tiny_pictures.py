"""The six image networks with next to nothing in them, all weights random, as files that the pipelines load."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from anfinsen.images.clip import Clip, ClipConfig
from anfinsen.images.dalle1 import DiscreteVae, DiscreteVaeConfig, ImageTransformer, ImageTransformerConfig
from anfinsen.images.dalle2 import (
    Decoder,
    DecoderConfig,
    DiffusionConfig,
    Prior,
    PriorConfig,
    UNetConfig,
    Upsampler,
    UpsamplerConfig,
)
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.images.transformer import TransformerConfig
from anfinsen.weights.images import CLIP_HASH, DVAE_HASH, IMAGE_FAMILIES, TOKENIZER
from anfinsen.weights.tensors import read_tensors

SMALL = TransformerConfig(width=16, heads=2, depth=1, expansion=2)
CAPTIONS = ["a small red circle", "a large blue square above a green star", "two yellow hearts"]
DALLE2 = ("clip", "dalle2-prior", "dalle2-decoder", "dalle2-upsampler")
DALLE1 = ("clip", "dalle1-dvae", "dalle1-transformer")


def _networks(vocabulary: int) -> dict[str, nn.Module]:
    unet = UNetConfig(channels=(16, 32), attention=(False, True), blocks=(1, 1), middle=0, c_embedding=16, c_context=16)
    larger = UNetConfig(
        size=64,
        patch=4,
        c_extra=12,
        channels=(16,),
        attention=(False,),
        blocks=(1,),
        middle=0,
        c_embedding=16,
        c_context=0,
    )
    prior = DiffusionConfig(prediction="x0", sigma_data=1.0, noise="cosine")
    return {
        "clip": Clip(ClipConfig(text=SMALL, image=SMALL, stem=16, embedding=8, vocabulary=vocabulary)),
        "dalle2-prior": Prior(PriorConfig(c_clip=8, c_text=16, transformer=SMALL, diffusion=prior)),
        "dalle2-decoder": Decoder(
            DecoderConfig(c_clip=8, c_text=16, embedding_tokens=2, text=SMALL, unet=unet, diffusion=DiffusionConfig())
        ),
        "dalle2-upsampler": Upsampler(UpsamplerConfig(c_clip=8, unet=larger, diffusion=DiffusionConfig())),
        "dalle1-dvae": DiscreteVae(DiscreteVaeConfig(codes=16, code_width=4, channels=(16, 16))),
        "dalle1-transformer": ImageTransformer(ImageTransformerConfig(SMALL, vocabulary=vocabulary, codes=16, grid=8)),
    }


def write_tiny(folder: Path, seed: int = 0) -> dict[str, str]:
    """Write all networks into ``folder`` and return their paths by name."""
    tokenizer = Tokenizer.train(CAPTIONS * 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = _networks(tokenizer.vocabulary_size)
        for network in networks.values():
            _disturb(network)
    paths, hashes = {}, {}
    for name, network in networks.items():
        metadata = {"preset": "tiny"}
        if name in ("clip", "dalle1-transformer"):
            metadata[TOKENIZER] = tokenizer.to_json()
        if name.startswith("dalle2"):
            metadata[CLIP_HASH] = hashes["clip"]
        if name == "dalle1-transformer":
            metadata[DVAE_HASH] = hashes["dalle1-dvae"]
        path = folder / f"{name}.safetensors"
        IMAGE_FAMILIES[name].save(network, path, metadata, bf16=False)
        paths[name], hashes[name] = str(path), read_tensors(path).sha256
    return paths


def only(paths: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Return the paths of some networks."""
    return {name: paths[name] for name in names}


def _disturb(network: nn.Module) -> None:
    """Give layers that start at zero something to say."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.05 * parameter.shape[1] ** -0.5)
