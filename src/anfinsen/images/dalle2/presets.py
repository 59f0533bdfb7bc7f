"""Two sizes of each network: `mini` is bundled and trained on one processor core, `small` wants a GPU.

The widths of CLIP are those of CLIP's preset of the same name.
"""

from __future__ import annotations

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
    "mini": DecoderConfig(),
    "small": DecoderConfig(
        c_clip=256,
        c_text=256,
        unet=UNetConfig(channels=(128, 256), blocks=3, middle=2, c_head=64, c_embedding=512, c_context=256),
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
            blocks=2,
            middle=1,
            c_embedding=384,
            c_context=0,
        ),
    ),
}
