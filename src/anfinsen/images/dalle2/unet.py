"""The U-Net that decoder and upsampler share, made for a processor's cache: few pixels, many channels.

A pixel-unshuffle stem turns each patch of pixels into the channels of one, so that nothing is computed at the picture's
own resolution (Hoogeboom et al. 2023, "Simple diffusion", section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anfinsen.common.errors import ConfigError
from anfinsen.nn import FourierEmbedding
from anfinsen.nn.attention import MASKED, biased_attention

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a `UNet`.

    Attributes:
        size: height and width of the pictures, pixels.
        c_picture: colours of the pictures.
        patch: pixels on the side of a patch; the first level's height and width are ``size / patch``.
        c_extra: channels of a second input that is given at the first level's height and width.
        channels: at each level; the next level has half the height and width.
        attention: at which levels each residual block is followed by attention.
        blocks: residual blocks of each level, on the way down and again on the way up.
        middle: residual blocks at the bottom between the two, each followed by attention if that level has it.
        transformer: blocks of attention and MLP behind those of the middle, where pixels are few.
        expansion: hidden channels of these MLPs, as a multiple of the lowest level's.
        c_head: channels of an attention head.
        normalised: whether queries and keys of attention are.
        c_group: channels of a group that is normalised together; torch's CPU kernel is slow with fewer than 16.
        c_embedding: width of the vector that conditions each residual block.
        c_context: width of the tokens that attention looks at beside the pixels; 0 for none.

    Raises:
        ConfigError: a size is not divisible as the patch, the levels, the heads or the groups need.
    """

    size: int = 32
    c_picture: int = 3
    patch: int = 2
    c_extra: int = 0
    channels: tuple[int, ...] = (64, 128)
    attention: tuple[bool, ...] = (False, True)
    blocks: tuple[int, ...] = (2, 2)
    middle: int = 1
    transformer: int = 0
    expansion: int = 3
    c_head: int = 32
    normalised: bool = False
    c_group: int = 16
    c_embedding: int = 256
    c_context: int = 128

    @property
    def side(self) -> int:
        """Patches along each side of a picture: height and width of the first level."""
        return self.size // self.patch

    @property
    def lowest_side(self) -> int:
        """Height and width of the lowest level."""
        return self.side >> (len(self.channels) - 1)  # halved at each further level

    def __post_init__(self) -> None:
        smallest = self.patch * 2 ** (len(self.channels) - 1)
        if self.size % smallest:
            raise ConfigError(f"The U-Net's pictures are {self.size} pixels wide: expected a multiple of {smallest}.")
        if len(self.attention) != len(self.channels):
            raise ConfigError(
                f"The U-Net has {len(self.channels)} levels, but 'attention' {len(self.attention)}: expected as many."
            )
        if len(self.blocks) != len(self.channels):
            raise ConfigError(
                f"The U-Net has {len(self.channels)} levels, but 'blocks' {len(self.blocks)}: expected as many."
            )
        if self.transformer and self.channels[-1] % self.c_head:
            raise ConfigError(
                f"The U-Net's lowest level has {self.channels[-1]} channels: expected a multiple of 'c_head' "
                f"{self.c_head} for its transformer."
            )
        for channels, attends in zip(self.channels, self.attention, strict=True):
            divisor = self.c_head if attends else self.c_group
            if channels % divisor or channels % self.c_group:
                raise ConfigError(
                    f"A level of the U-Net has {channels} channels: expected a multiple of 'c_group' "
                    f"{self.c_group} and, with attention, of 'c_head' {self.c_head}."
                )


class NoiseEmbedding(nn.Module):
    """The noise feature as a vector: the Fourier features of AlphaFold 3, then two layers (DDPM, appendix B)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.features = FourierEmbedding(c)
        self.layers = nn.Sequential(nn.Linear(c, c), nn.SiLU(), nn.Linear(c, c))

    def forward(self, noise: Float[Tensor, "b"]) -> Float[Tensor, "b c"]:
        """Return the vectors."""
        result: Tensor = self.layers(self.features(noise))
        return result


class ResidualBlock(nn.Module):
    """Two convolutions, the second under adaptive group normalisation (Dhariwal and Nichol 2021, section 3.1).

    The second starts at zero: an untrained block passes its input on.
    """

    def __init__(self, c: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(c // config.c_group, c)
        self.conv_1 = nn.Conv2d(c, c, 3, padding=1)
        self.modulation = nn.Linear(config.c_embedding, 2 * c)
        self.norm_2 = nn.GroupNorm(c // config.c_group, c, affine=False)
        self.conv_2 = _zero(nn.Conv2d(c, c, 3, padding=1))

    def forward(self, x: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b c h w"]:
        """Return ``x`` after the block; ``embedding`` has gone through SiLU."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv_1(F.silu(self.norm_1(x)))
        h = torch.addcmul(shift, self.norm_2(h), 1 + scale)
        updated: Tensor = x + self.conv_2(F.silu(h))
        return updated


class AttentionBlock(nn.Module):
    """Pixels look at all pixels and at the context, in one attention (GLIDE: Nichol et al. 2021, section 2.1).

    Where the configuration wants it, queries and keys are normalised (Dehghani et al. 2023, section 2.1): under Muon
    they otherwise grow until each pixel looks at one place only.
    """

    def __init__(self, c: int, config: UNetConfig) -> None:
        super().__init__()
        self.c_head = config.c_head
        self.norm = nn.GroupNorm(c // config.c_group, c)
        self.to_qkv = nn.Linear(c, 3 * c)
        self.context_kv = nn.Linear(config.c_context, 2 * c) if config.c_context else None
        self.q_norm, self.k_norm = (
            nn.LayerNorm(config.c_head) if config.normalised else nn.Identity() for _ in range(2)
        )
        self.out = _zero(nn.Linear(c, c))

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        context: Float[Tensor, "b k c_context"] | None,
        mask: Bool[Tensor, "b k"] | None,
    ) -> Float[Tensor, "b c h w"]:
        """Return ``x`` after the block; ``mask`` is True at the tokens of ``context`` that are there."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.to_qkv(tokens).chunk(3, dim=-1)
        bias = None
        if self.context_kv is not None and context is not None and mask is not None:
            context_k, context_v = self.context_kv(context).chunk(2, dim=-1)
            k, v = torch.cat([k, context_k], dim=1), torch.cat([v, context_v], dim=1)
            hidden = F.pad(~mask, (tokens.shape[1], 0), value=False)[:, None, None, :]
            bias = torch.zeros_like(hidden, dtype=q.dtype).masked_fill(hidden, MASKED)
        q, k, v = self._heads(q), self._heads(k), self._heads(v)
        attended = biased_attention(self.q_norm(q), self.k_norm(k), v, bias)
        update = self.out(attended.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, x.shape[2:])
        result: Tensor = x + update
        return result

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], -1, self.c_head).transpose(1, 2)


class FeedForward(nn.Module):
    """An MLP for each pixel under adaptive group normalisation, whose last layer starts at zero."""

    def __init__(self, c: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(c // config.c_group, c, affine=False)
        self.modulation = nn.Linear(config.c_embedding, 2 * c)
        self.expand = nn.Linear(c, config.expansion * c)
        self.contract = _zero(nn.Linear(config.expansion * c, c))

    def forward(self, x: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b c h w"]:
        """Return ``x`` after the MLP; ``embedding`` has gone through SiLU."""
        scale, shift = self.modulation(embedding)[:, None, :].chunk(2, dim=-1)
        tokens = torch.addcmul(shift, self.norm(x).flatten(2).transpose(1, 2), 1 + scale)
        update = self.contract(F.gelu(self.expand(tokens))).transpose(1, 2).unflatten(2, x.shape[2:])
        result: Tensor = x + update
        return result


class TransformerBlock(nn.Module):
    """Attention to all pixels and the context, then an MLP (U-ViT: Hoogeboom et al. 2023, section 2.3)."""

    def __init__(self, c: int, config: UNetConfig) -> None:
        super().__init__()
        self.attention = AttentionBlock(c, config)
        self.feed_forward = FeedForward(c, config)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        embedding: Float[Tensor, "b e"],
        context: Float[Tensor, "b k c_context"] | None,
        mask: Bool[Tensor, "b k"] | None,
    ) -> Float[Tensor, "b c h w"]:
        """Return ``x`` after both."""
        result: Tensor = self.feed_forward(self.attention(x, context, mask), embedding)
        return result


class Stage(nn.Module):
    """A residual block and, where the level has it, attention."""

    def __init__(self, c: int, attends: bool, config: UNetConfig) -> None:
        super().__init__()
        self.block = ResidualBlock(c, config)
        self.attention = AttentionBlock(c, config) if attends else None

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        embedding: Float[Tensor, "b e"],
        context: Float[Tensor, "b k c_context"] | None,
        mask: Bool[Tensor, "b k"] | None,
    ) -> Float[Tensor, "b c h w"]:
        """Return ``x`` after both."""
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, context, mask)


class UNet(nn.Module):
    """F(scaled picture, conditions) for any preconditioning; its last layer, and so F, starts at zero."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        first, inside = config.channels[0], config.c_picture * config.patch**2
        side = config.side
        self.stem = nn.Conv2d(inside + config.c_extra, first, 3, padding=1)
        self.position = nn.Parameter(0.02 * torch.randn(first, side, side))
        levels = list(zip(config.channels, config.attention, config.blocks, strict=True))
        self.down = nn.ModuleList(
            nn.ModuleList(Stage(c, attends, config) for _ in range(blocks)) for c, attends, blocks in levels
        )
        self.downsample = nn.ModuleList(nn.Conv2d(a, b, 3, 2, padding=1) for a, b in pairwise(config.channels))
        self.middle = nn.ModuleList(Stage(*levels[-1][:2], config) for _ in range(config.middle))
        self.transformer = nn.ModuleList(
            TransformerBlock(config.channels[-1], config) for _ in range(config.transformer)
        )
        # From the lowest level up. What came down is joined by a convolution of one pixel: three cost nine times more.
        self.join = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(2 * c, c, 1) for _ in range(blocks)) for c, _, blocks in reversed(levels)
        )
        self.up = nn.ModuleList(
            nn.ModuleList(Stage(c, attends, config) for _ in range(blocks)) for c, attends, blocks in reversed(levels)
        )
        self.upsample = nn.ModuleList(
            nn.Sequential(nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2)) for b, a in pairwise(reversed(config.channels))
        )
        self.norm = nn.GroupNorm(first // config.c_group, first)
        self.out = _zero(nn.Conv2d(first, inside, 3, padding=1))

    def forward(
        self,
        x: Float[Tensor, "b c_picture size size"],
        embedding: Float[Tensor, "b e"],
        context: Float[Tensor, "b k c_context"] | None = None,
        mask: Bool[Tensor, "b k"] | None = None,
        extra: Float[Tensor, "b c_extra side side"] | None = None,
    ) -> Float[Tensor, "b c_picture size size"]:
        """Return F in float32.

        Args:
            x: scaled pictures.
            embedding: noise level and global conditions.
            context, mask: tokens that attention looks at, and which of them are there.
            extra: second input at the first level's height and width.
        """
        embedding = F.silu(embedding)
        x = F.pixel_unshuffle(x, self.config.patch)
        h = self.stem(x if extra is None else torch.cat([x, extra], dim=1)) + self.position
        left: list[Tensor] = []
        for level, stages in enumerate(self.down):
            if level:
                h = self.downsample[level - 1](h)
            for stage in _stages(stages):
                h = stage(h, embedding, context, mask)
                left.append(h)
        for stage in (*self.middle, *self.transformer):
            h = stage(h, embedding, context, mask)
        for level, (joins, stages) in enumerate(zip(self.join, self.up, strict=True)):
            if level:
                h = self.upsample[level - 1](h)
            for join, stage in zip(_stages(joins), _stages(stages), strict=True):
                h = stage(join(torch.cat([h, left.pop()], dim=1)), embedding, context, mask)
        out: Tensor = self.out(F.silu(self.norm(h)))
        return F.pixel_shuffle(out, self.config.patch).float()


def _stages(modules: nn.Module) -> nn.ModuleList:
    assert isinstance(modules, nn.ModuleList)
    return modules


def _zero(module: ModuleT) -> ModuleT:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
