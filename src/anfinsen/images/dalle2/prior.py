"""The prior: from a caption to an image embedding as CLIP might give its picture (Ramesh et al. 2022, section 2.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anfinsen.diffusion import Denoise, Network, as_denoiser

from ..clip import ClipText
from ..transformer import Transformer, TransformerConfig
from .config import DiffusionConfig, expand_noise
from .unet import NoiseEmbedding

AFTER_TEXT = 4  # text embedding, noise level, noised image embedding, query
START = 0.02  # standard deviation of learned vectors before training


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a `Prior`.

    Attributes:
        c_clip: width of CLIP's embeddings. c_text: width of its text encodings. n_text: their number.
        transformer: the causal transformer.
        diffusion: levels and prediction. The paper's prior predicts the data on the cosine schedule; embeddings are
            scaled to unit variance.
    """

    c_clip: int = 128
    c_text: int = 128
    n_text: int = 24
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(width=160, heads=5, depth=4))
    diffusion: DiffusionConfig = field(
        default_factory=lambda: DiffusionConfig(prediction="x0", sigma_data=1.0, noise="cosine", loss="simple")
    )


class Prior(nn.Module):
    """A causal transformer over [text encodings, text embedding, noise level, noised image embedding, query].

    The query's output is the prediction. It works on embeddings of length sqrt(c), see `to_scaled`.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        self.preconditioning = config.diffusion.preconditioning()
        width = config.transformer.width
        self.encodings = nn.Linear(config.c_text, width)
        self.embedding = nn.Linear(config.c_clip, width)
        self.noise = NoiseEmbedding(width)
        self.noised = nn.Linear(config.c_clip, width)
        self.query = nn.Parameter(START * torch.randn(width))
        self.positions = nn.Parameter(START * torch.randn(config.n_text + AFTER_TEXT, width))
        self.null_embedding = nn.Parameter(torch.randn(config.c_clip))
        self.transformer = Transformer(config.transformer)
        self.out = nn.Linear(width, config.c_clip)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def to_scaled(self, embedding: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return unit embeddings at unit variance, the form that is diffused."""
        return embedding * math.sqrt(self.config.c_clip)

    def to_unit(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Return diffused embeddings at unit length."""
        return F.normalize(x, dim=-1)

    def network(self, text: ClipText | None, drop: Bool[Tensor, "b"] | None = None) -> Network:
        """Return F(scaled x, noise feature) under a condition.

        Args:
            text: CLIP's encoding of a caption for each item; None for the unconditional model.
            drop: items of ``text`` that are to be unconditional all the same (training for guidance).
        """
        start = 0
        if text is None:
            tokens, mask = self.embedding(self.null_embedding)[None, None], None
            start = self.config.n_text
        else:
            # An unconditional item has a learned embedding, and its encodings are not seen.
            embedding, mask = self.to_scaled(text.embedding), text.mask
            if drop is not None:
                embedding = torch.where(drop[:, None], self.null_embedding, embedding)
                mask = mask & ~drop[:, None]
            tokens = torch.cat([self.encodings(text.encodings), self.embedding(embedding)[:, None]], dim=1)
            mask = F.pad(mask, (0, AFTER_TEXT), value=True)

        def network(x: Float[Tensor, "b c"], noise: Float[Tensor, "..."]) -> Float[Tensor, "b c"]:
            batch = len(x)
            sequence = torch.cat(
                [
                    tokens.expand(batch, -1, -1),
                    self.noise(expand_noise(noise, batch))[:, None].to(tokens.dtype),
                    self.noised(x)[:, None],
                    self.query.to(tokens.dtype).expand(batch, 1, -1),
                ],
                dim=1,
            )
            # The caller's x and the text have one batch, or there is one text for all.
            seen = None if mask is None else mask.expand(batch, -1)
            answer = self.transformer(sequence + self.positions[start:], seen, causal=True)[:, -1]
            result: Tensor = self.out(answer)
            return result.float()

        return network

    def denoiser(self, text: ClipText | None) -> Denoise:
        """Return D(x, sigma) for the core's samplers; None for the unconditional model of guidance."""
        return as_denoiser(self.preconditioning, self.network(text))
