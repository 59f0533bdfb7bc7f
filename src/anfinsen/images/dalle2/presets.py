"""Two sizes of each network: `mini` is bundled and trained on one processor core, `small` wants a GPU.

The widths of CLIP are those of CLIP's preset of the same name.
"""

from __future__ import annotations

from ..clip import CLIP_PRESETS
from ..transformer import TransformerConfig
from .decoder import DecoderConfig
from .prior import PriorConfig
from .unet import UNetConfig
from .upsampler import UpsamplerConfig

PRIOR_PRESETS: dict[str, PriorConfig] = {
    "mini": PriorConfig(),
    "small": PriorConfig(c_clip=256, c_text=256, transformer=TransformerConfig(width=384, heads=6, depth=8)),
}

DECODER_PRESETS: dict[str, DecoderConfig] = {
    "mini": DecoderConfig(
        text=TransformerConfig(width=128, heads=4, depth=2),
        c_aligned=CLIP_PRESETS["mini"].image.width,
        unet=UNetConfig(
            patch=4, channels=(128,), attention=(True,), blocks=(1,), middle=0, transformer=6, normalised=True
        ),
    ),
    "small": DecoderConfig(
        c_clip=256,
        c_text=256,
        text=TransformerConfig(width=256, heads=4, depth=4),
        c_aligned=CLIP_PRESETS["small"].image.width,
        aligned_block=4,
        unet=UNetConfig(
            channels=(128, 256),
            blocks=(3, 2),
            middle=0,
            transformer=8,
            normalised=True,
            c_head=64,
            c_embedding=512,
            c_context=256,
        ),
    ),
}

UPSAMPLER_PRESETS: dict[str, UpsamplerConfig] = {
    "mini": UpsamplerConfig(),
    "small": UpsamplerConfig(
        c_clip=256,
        unet=UNetConfig(
            size=64,
            patch=4,
            c_extra=12,
            channels=(128, 192),
            attention=(False, False),
            blocks=(2, 2),
            middle=1,
            c_embedding=384,
            c_context=0,
        ),
    ),
}
