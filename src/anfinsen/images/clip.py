"""CLIP: a text encoder and an image encoder whose unit vectors agree for a caption and its picture.

Source: Radford et al. 2021, "Learning transferable visual models from natural language supervision" (section 2.3 and
figure 3). Smaller than theirs, and with two departures: a convolutional stem makes the image's tokens, and their mean
(not a class token) is projected, which trains faster on few pictures (Beyer et al. 2022, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .transformer import INITIAL_DEVIATION, Transformer, TransformerConfig

MAX_SCALE = 100.0  # section 2.5: logits are never scaled by more
INITIAL_TEMPERATURE = 0.07  # section 2.5
POSITION_DEVIATION = 0.01  # of the positions' embeddings at the start, half of the words'
PATCH = 4  # pixels along each side that the stem's first convolution takes as one
TOKEN_STRIDE = 8  # pixels along each side of an image token
GROUP = 16  # channels of a group of every GroupNorm; fewer are slow in bfloat16 on a CPU


@dataclass(frozen=True)
class ClipConfig:
    """Shape of a `Clip`.

    Attributes:
        text: the text transformer, causal; its width is that of the text encodings.
        image: the image transformer. stem: channels of the convolutions before it.
        embedding: numbers of the unit vectors that texts and images share.
        vocabulary: size of the tokenizer's vocabulary, at most. length: tokens of a caption, with its padding.
        picture_size: pixels along each side of a picture.
    """

    text: TransformerConfig
    image: TransformerConfig
    stem: int
    embedding: int
    vocabulary: int = 1024
    length: int = 24
    picture_size: int = 64

    def __post_init__(self) -> None:
        if self.picture_size % TOKEN_STRIDE or self.stem % GROUP:
            raise ValueError(f"picture_size must be a multiple of {TOKEN_STRIDE}, and stem one of {GROUP}")

    @property
    def image_tokens(self) -> int:
        """Number of tokens of a picture."""
        return (self.picture_size // TOKEN_STRIDE) ** 2


CLIP_PRESETS: dict[str, ClipConfig] = {
    "mini": ClipConfig(
        text=TransformerConfig(width=128, heads=4, depth=3),
        image=TransformerConfig(width=160, heads=5, depth=2),
        stem=64,
        embedding=128,
    ),
    "small": ClipConfig(
        text=TransformerConfig(width=256, heads=4, depth=6),
        image=TransformerConfig(width=320, heads=5, depth=6),
        stem=128,
        embedding=256,
    ),
}


@dataclass(frozen=True)
class ClipText:
    """Captions as the text encoder gives them.

    Attributes:
        embedding: of unit length, comparable to images'. encodings: of each token, after the last normalisation.
        mask: which tokens are words, start or end, not padding.
    """

    embedding: Float[Tensor, "batch c"]
    encodings: Float[Tensor, "batch n c_text"]
    mask: Bool[Tensor, "batch n"]


class TextEncoder(nn.Module):
    """A causal transformer, read off at the end token (Radford et al. 2021, section 2.4)."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width = config.text.width
        self.words = nn.Embedding(config.vocabulary, width)
        self.positions = nn.Parameter(torch.empty(config.length, width))
        self.transformer = Transformer(config.text)
        self.project = nn.Linear(width, config.embedding, bias=False)
        nn.init.normal_(self.words.weight, std=INITIAL_DEVIATION)
        nn.init.normal_(self.positions, std=POSITION_DEVIATION)
        nn.init.normal_(self.project.weight, std=width**-0.5)

    def forward(self, ids: Int[Tensor, "batch n"], mask: Bool[Tensor, "batch n"]) -> ClipText:
        """Return unit embeddings and encodings."""
        x = self.words(ids) + self.positions[: ids.shape[1]]
        encodings = self.transformer(x, causal=True).float()  # padding is last: no word sees any
        end = mask.sum(1) - 1
        pooled = encodings[torch.arange(len(ids), device=ids.device), end]
        return ClipText(F.normalize(self.project(pooled).float(), dim=-1), encodings, mask)


class ImageEncoder(nn.Module):
    """Convolutions down to tokens of 8 x 8 pixels, and a transformer over them."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width, stem = config.image.width, config.stem
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(3 * PATCH**2, stem, 3, padding=1),
            nn.GroupNorm(stem // GROUP, stem),
            nn.SiLU(),
            nn.Conv2d(stem, stem, 3, padding=1),
            nn.GroupNorm(stem // GROUP, stem),
            nn.SiLU(),
            nn.Conv2d(stem, width, 3, stride=TOKEN_STRIDE // PATCH, padding=1),
        )
        self.positions = nn.Parameter(torch.empty(config.image_tokens, width))
        self.transformer = Transformer(config.image)
        self.project = nn.Linear(width, config.embedding, bias=False)
        nn.init.normal_(self.positions, std=POSITION_DEVIATION)
        nn.init.normal_(self.project.weight, std=width**-0.5)

    def tokens(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch n c_picture"]:
        """Return what the transformer makes of each token, in reading order."""
        tokens = self.stem(pictures).flatten(2).transpose(1, 2) + self.positions
        encodings: Tensor = self.transformer(tokens).float()
        return encodings

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch c"]:
        """Return unit embeddings."""
        return F.normalize(self.project(self.tokens(pictures).mean(1)).float(), dim=-1)


class Clip(nn.Module):
    """The two encoders and the temperature of their logits."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextEncoder(config)
        self.image = ImageEncoder(config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(INITIAL_TEMPERATURE)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """The inverse temperature, at most `MAX_SCALE`."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)

    def encode_text(self, ids: Int[Tensor, "batch n"], mask: Bool[Tensor, "batch n"]) -> ClipText:
        """Return captions' embeddings and encodings.

        Args:
            ids: tokens of the captions: start, words, end, padding.
            mask: which are not padding; these stand first, at least one in each row.

        Raises:
            ValueError: there are more tokens than ``config.length``, or a caption has none.
        """
        if ids.shape[1] > self.config.length:
            raise ValueError(f"captions have {ids.shape[1]} tokens: expected at most {self.config.length}")
        if not bool(mask.any(1).all()):
            raise ValueError("a caption has no token: expected at least its start and its end")
        encoded: ClipText = self.text(ids, mask)
        return encoded

    def encode_image(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch c"]:
        """Return pictures' unit embeddings; a picture is square, RGB, in [-1, 1].

        Raises:
            ValueError: the pictures are not ``config.picture_size`` pixels wide and high.
        """
        size = self.config.picture_size
        if pictures.shape[2:] != (size, size):
            raise ValueError(f"pictures are {tuple(pictures.shape[2:])} pixels: expected {size} x {size}")
        embedding: Tensor = self.image(pictures)
        return embedding

    def logits(
        self, images: Float[Tensor, "images c"], texts: Float[Tensor, "texts c"]
    ) -> Float[Tensor, "images texts"]:
        """Return the scaled cosines of unit embeddings, each image against each text (figure 3)."""
        return self.scale * images @ texts.T

    def classify(
        self,
        pictures: Float[Tensor, "batch 3 height width"],
        ids: Int[Tensor, "classes n"],
        mask: Bool[Tensor, "classes n"],
    ) -> Float[Tensor, "batch classes"]:
        """Return the probability that each of some captions, one a class, is a picture's (section 3.1.2: zero-shot).

        Raises:
            ValueError: pictures or captions have the wrong size (see the encoders).
        """
        texts = self.encode_text(ids, mask).embedding
        return torch.softmax(self.logits(self.encode_image(pictures), texts), dim=-1)
