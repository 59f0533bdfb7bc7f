"""The decoder: from CLIP's image embedding to a small picture (Ramesh et al. 2022, section 2.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anfinsen.common.errors import ConfigError
from anfinsen.diffusion import Denoise, Network, as_denoiser

from ..clip import ClipText
from ..transformer import Transformer, TransformerConfig
from .config import LAYOUTS, DiffusionConfig, expand_noise
from .unet import NoiseEmbedding, UNet, UNetConfig


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a `Decoder`.

    Attributes:
        c_clip: width of CLIP's embeddings. c_text: width of its text encodings.
        embedding_tokens: tokens that the image embedding becomes, beside being added to the noise level's embedding.
        text: a transformer, trained with the rest, that reads CLIP's encodings; its width is the U-Net's context's.
            As GLIDE's, which the paper's decoder has (section 2.1), it also gives one vector that is added to the noise
            level's embedding: here its mean. None: the U-Net sees CLIP's encodings themselves.
        c_aligned: width of CLIP's picture tokens, which in training a hidden state is asked for; 0: none is.
        aligned_block: behind which block of the U-Net's transformer that is, from 1.
        unet: the network. diffusion: levels and prediction.

    Raises:
        ConfigError: the text transformer and the U-Net's context differ in width, or there is no such block.
    """

    c_clip: int = 128
    c_text: int = 128
    embedding_tokens: int = 4
    text: TransformerConfig | None = None
    c_aligned: int = 0
    aligned_block: int = 3
    unet: UNetConfig = field(default_factory=UNetConfig)
    diffusion: DiffusionConfig = LAYOUTS

    def __post_init__(self) -> None:
        if self.text is not None and self.text.width != self.unet.c_context:
            raise ConfigError(
                f"The decoder's text transformer is {self.text.width} wide: expected the U-Net's 'c_context', "
                f"{self.unet.c_context}."
            )
        if self.c_aligned and not 1 <= self.aligned_block <= self.unet.transformer:
            raise ConfigError(
                f"The decoder is aligned behind block {self.aligned_block} of the U-Net's transformer: expected 1 to "
                f"{self.unet.transformer}."
            )


class ImageEmbedding(nn.Module):
    """CLIP's image embedding, or the learned one that stands for none, at unit variance."""

    def __init__(self, c_clip: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.randn(c_clip))

    def forward(
        self, embedding: Float[Tensor, "b c_clip"] | None, drop: Bool[Tensor, "b"] | None
    ) -> Float[Tensor, "b_or_1 c_clip"]:
        """Return the vectors; ``drop`` is True where the learned one is to stand."""
        if embedding is None:
            return self.null[None]
        scaled = embedding * math.sqrt(embedding.shape[-1])
        return scaled if drop is None else torch.where(drop[:, None], self.null, scaled)


class Decoder(nn.Module):
    """A U-Net under the image embedding and the caption.

    The image embedding is added to the noise level's and becomes extra tokens of context; a transformer's reading of
    CLIP's encodings of the caption is the rest of the context.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.preconditioning = config.diffusion.preconditioning()
        c_context = config.unet.c_context
        self.noise = NoiseEmbedding(config.unet.c_embedding)
        self.image = ImageEmbedding(config.c_clip)
        self.image_embedding = nn.Linear(config.c_clip, config.unet.c_embedding)
        self.image_tokens = nn.Linear(config.c_clip, config.embedding_tokens * c_context)
        self.null_text = nn.Parameter(torch.randn(config.c_text))
        self.text_tokens = nn.Linear(config.c_text, c_context)
        self.text_transformer = None if config.text is None else Transformer(config.text)
        self.text_embedding = None if config.text is None else nn.Linear(c_context, config.unet.c_embedding)
        self.context_norm = nn.LayerNorm(c_context)
        self.unet = UNet(config.unet)
        self.aligned = _aligned_head(config) if config.c_aligned else None

    def network(
        self,
        image_embedding: Float[Tensor, "b c_clip"] | None,
        text: ClipText | None,
        drop_embedding: Bool[Tensor, "b"] | None = None,
        drop_text: Bool[Tensor, "b"] | None = None,
    ) -> Network:
        """Return F(scaled picture, noise feature) under conditions.

        Args:
            image_embedding: of unit length; None for the learned one that stands for none.
            text: CLIP's encoding of a caption for each item; None likewise.
            drop_embedding, drop_text: items whose condition is to be left out all the same (training for guidance).
        """
        image = self.image(image_embedding, drop_embedding)
        vector = self.image_embedding(image)
        image_tokens = self.image_tokens(image).unflatten(-1, (self.config.embedding_tokens, -1))
        encodings, text_mask = self._text(text, drop_text)
        text_tokens = self.text_tokens(encodings)
        if self.text_transformer is not None and self.text_embedding is not None:
            text_tokens = self.text_transformer(text_tokens, text_mask)
            real = text_mask[..., None].to(text_tokens.dtype)
            vector = vector + self.text_embedding((text_tokens * real).sum(1) / real.sum(1))
        items = max(len(image_tokens), len(text_tokens))
        context = torch.cat([image_tokens.expand(items, -1, -1), text_tokens.expand(items, -1, -1)], dim=1)
        context = self.context_norm(context)
        mask = F.pad(text_mask.expand(items, -1), (self.config.embedding_tokens, 0), value=True)

        def network(x: Float[Tensor, "b 3 size size"], noise: Float[Tensor, "..."]) -> Float[Tensor, "b 3 size size"]:
            batch = len(x)
            embedding = self.noise(expand_noise(noise, batch)) + vector
            result: Tensor = self.unet(x, embedding, context.expand(batch, -1, -1), mask.expand(batch, -1))
            return result

        return network

    def watched(
        self, network: Network, x: Float[Tensor, "b 3 size size"], noise: Float[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b 3 size size"], Float[Tensor, "b n c_aligned"]]:
        """Return F(x, noise), and CLIP's picture tokens as a hidden state guesses them (training only).

        Raises:
            ConfigError: the configuration has no ``c_aligned``.
        """
        if self.aligned is None:
            raise ConfigError("This decoder has no head for CLIP's picture tokens: expected 'c_aligned' above 0.")
        states: list[Tensor] = []
        block = self.unet.transformer[self.config.aligned_block - 1]
        handle = block.register_forward_hook(lambda _module, _given, state: states.append(state))
        try:
            answer = network(x, noise)
        finally:
            handle.remove()
        guessed: Tensor = self.aligned(states[0].flatten(2).transpose(1, 2))
        return answer, guessed.float()

    def denoiser(self, image_embedding: Float[Tensor, "b c_clip"] | None, text: ClipText | None) -> Denoise:
        """Return D(x, sigma) for the core's samplers; None for each condition that guidance leaves out."""
        return as_denoiser(self.preconditioning, self.network(image_embedding, text))

    def _text(self, text: ClipText | None, drop: Bool[Tensor, "b"] | None) -> tuple[Tensor, Tensor]:
        """Return the encodings and which are there; no caption is one learned encoding."""
        if text is None:
            return self.null_text[None, None], torch.ones(1, 1, dtype=torch.bool, device=self.null_text.device)
        if drop is None:
            return text.encodings, text.mask
        first = torch.zeros_like(text.mask)
        first[:, 0] = True
        return (
            torch.where(drop[:, None, None], self.null_text, text.encodings),
            torch.where(drop[:, None], first, text.mask),
        )


def _aligned_head(config: DecoderConfig) -> nn.Sequential:
    hidden = 2 * config.unet.channels[-1]
    return nn.Sequential(nn.Linear(hidden // 2, hidden), nn.SiLU(), nn.Linear(hidden, config.c_aligned))
