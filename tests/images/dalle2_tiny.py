"""Tiny networks of DALL·E 2 whose outputs are not zero, and conditions for them."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from anfinsen.common.seeding import torch_generator
from anfinsen.images.clip import ClipText
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
from anfinsen.images.transformer import TransformerConfig

C_CLIP, C_TEXT, N_TEXT, BATCH = 12, 10, 6, 3
UNET = UNetConfig(
    size=8,
    channels=(16, 32),
    blocks=(1, 1),
    transformer=1,
    normalised=True,
    c_head=16,
    c_group=8,
    c_embedding=16,
    c_context=16,
)
PRIOR = PriorConfig(c_clip=C_CLIP, c_text=C_TEXT, n_text=N_TEXT, transformer=TransformerConfig(16, 2, 2))
DECODER = DecoderConfig(
    c_clip=C_CLIP, c_text=C_TEXT, text=TransformerConfig(16, 2, 1), unet=UNET, diffusion=DiffusionConfig()
)
UPSAMPLER = UpsamplerConfig(
    c_clip=C_CLIP,
    diffusion=DiffusionConfig(),
    unet=replace(UNET, size=16, patch=4, c_extra=12, attention=(False, False), c_context=0, middle=0, transformer=0),
)


def randomise(model):
    """Give every parameter numbers, also those that start at zero."""
    generator = torch_generator(0, "parameters")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def prior(diffusion: DiffusionConfig = PRIOR.diffusion) -> Prior:
    return randomise(Prior(replace(PRIOR, diffusion=diffusion)))


def aligned_decoder() -> Decoder:
    """Return one that guesses tokens of seven numbers."""
    return randomise(Decoder(replace(DECODER, c_aligned=7, aligned_block=1)))


def decoder(diffusion: DiffusionConfig = DECODER.diffusion) -> Decoder:
    return randomise(Decoder(replace(DECODER, diffusion=diffusion)))


def upsampler() -> Upsampler:
    return randomise(Upsampler(UPSAMPLER))


def normal(*shape: int, label: str = "x") -> Tensor:
    return torch.randn(shape, generator=torch_generator(1, label))


def embedding(label: str = "image", batch: int = BATCH) -> Tensor:
    return F.normalize(normal(batch, C_CLIP, label=label), dim=-1)


def text(label: str = "text", batch: int = BATCH) -> ClipText:
    lengths = torch.arange(batch)[:, None] % 3 + 3
    return ClipText(
        embedding(label, batch), normal(batch, N_TEXT, C_TEXT, label=label), torch.arange(N_TEXT)[None] < lengths
    )
