"""The transformer of DALL·E 1: one stream of a caption's words and a picture's codes, each predicted from those before.

Source: Ramesh et al. 2021, section 2.2. Their sparse attention along rows, columns and neighbourhoods is for 1,024
codes; a few dozen let every token see all before it. Hidden captions for guidance are later work (Gafni et al. 2022,
section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import Generators

from ..transformer import INITIAL_DEVIATION, KeyValueCache, Transformer
from .config import ImageTransformerConfig
from .noise import exponential

OnCode = Callable[[int, Tensor], None]
"""Called after each code with how many there are, and all of them [batch, grid, grid]; those to come are 0."""


class ImageTransformer(nn.Module):
    """Words, then codes row by row; positions are a word's, or a code's row and column.

    A word that is padding has an embedding of its own at each position (section 2.2), and a hidden caption is padding
    throughout. The logits are products with the embeddings of words and of codes (Press and Wolf 2017).
    """

    def __init__(self, config: ImageTransformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.width
        self.words = nn.Embedding(config.vocabulary, width)
        self.padding = nn.Parameter(torch.empty(config.length, width))
        self.positions = nn.Parameter(torch.empty(config.length, width))
        self.codes = nn.Embedding(config.codes, width)
        self.rows = nn.Parameter(torch.empty(config.grid, width))
        self.columns = nn.Parameter(torch.empty(config.grid, width))
        self.transformer = Transformer(config.transformer)
        self.word_bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.code_bias = nn.Parameter(torch.zeros(config.codes))
        for table in (self.words.weight, self.padding, self.codes.weight):
            nn.init.normal_(table, std=INITIAL_DEVIATION)
        for table in (self.positions, self.rows, self.columns):
            nn.init.normal_(table, std=INITIAL_DEVIATION / 2)

    def forward(
        self,
        ids: Int[Tensor, "batch n"],
        mask: Bool[Tensor, "batch n"],
        codes: Int[Tensor, "batch {self.config.grid} {self.config.grid}"],
    ) -> tuple[Float[Tensor, "batch n-1 vocabulary"], Float[Tensor, "batch places codes"]]:
        """Return the logits of word i + 1 after words 0 to i, and of code i after all words and codes 0 to i - 1.

        Args:
            ids: a caption's tokens. mask: which are not padding; none in a hidden caption. codes: the discrete VAE's.

        Raises:
            ValueError: ``ids`` are not ``config.length`` tokens.
        """
        before = codes.flatten(1)[:, :-1]
        tokens = torch.cat([self._embed_words(ids, mask), self._embed_codes(before, 0)], dim=1)
        hidden = self.transformer(tokens, causal=True)
        words, places = hidden[:, : self.config.length - 1], hidden[:, self.config.length - 1 :]
        return F.linear(words, self.words.weight, self.word_bias).float(), self._code_logits(places)

    def drop_captions(
        self, ids: Int[Tensor, "batch n"], mask: Bool[Tensor, "batch n"], drop: Bool[Tensor, " batch"]
    ) -> tuple[Int[Tensor, "batch n"], Bool[Tensor, "batch n"]]:
        """Return the captions with those to ``drop`` hidden."""
        return ids, mask & ~drop[:, None]

    @torch.no_grad()
    def generate(
        self,
        ids: Int[Tensor, "batch n"],
        mask: Bool[Tensor, "batch n"],
        generator: Generators,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        guidance: float = 1.0,
        on_code: OnCode | None = None,
    ) -> Int[Tensor, "batch {self.config.grid} {self.config.grid}"]:
        """Draw a grid of codes for each caption, code after code.

        Args:
            ids, mask: captions, as for :meth:`forward`.
            generator: source of the draws; one for each caption makes them independent of the batch.
            temperature: divides the logits; 0 takes the most probable code.
            top_k: draw from the k most probable codes only. top_p: from the fewest with this probability together.
            guidance: w of l_u + w (l_c - l_u), with the logits without and with the caption; 1: no guidance.
            on_code: see `OnCode`.

        Raises:
            ConfigError: a setting is out of range.
            ValueError: ``ids`` are not ``config.length`` tokens, or the number of generators is not the captions'.
        """
        _check_sampling(temperature, top_k, top_p)
        guided, batch, grid = guidance != 1, len(ids), self.config.grid
        if guided:
            ids, mask = ids.repeat(2, 1), torch.cat([mask, torch.zeros_like(mask)])
        cache = KeyValueCache(self.config.transformer.depth, self.config.length + grid**2 - 1)
        codes = torch.zeros(batch, grid**2, dtype=torch.long, device=ids.device)
        tokens = self._embed_words(ids, mask)
        for place in range(grid**2):
            logits = self._code_logits(self.transformer(tokens, cache=cache)[:, -1:])[:, 0]
            if guided:
                conditional, unconditional = logits.chunk(2)
                logits = unconditional + guidance * (conditional - unconditional)
            codes[:, place] = _draw(_kept(logits, temperature, top_k, top_p), generator)
            if on_code is not None:
                on_code(place + 1, codes.view(batch, grid, grid))
            if place + 1 < grid**2:
                new = codes[:, place : place + 1]
                tokens = self._embed_codes(new.repeat(2, 1) if guided else new, place)
        return codes.view(batch, grid, grid)

    def _embed_words(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the tokens of captions [batch, length, width]."""
        if ids.shape[1] != self.config.length:
            raise ValueError(f"captions have {ids.shape[1]} tokens: expected {self.config.length}")
        return torch.where(mask[..., None], self.words(ids), self.padding) + self.positions

    def _embed_codes(self, codes: Tensor, first: int) -> Tensor:
        """Return the tokens of ``codes`` [batch, m] at the places from number ``first`` on."""
        positions = (self.rows[:, None] + self.columns[None, :]).flatten(0, 1)
        embedded: Tensor = self.codes(codes) + positions[first : first + codes.shape[1]]
        return embedded

    def _code_logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.codes.weight, self.code_bias).float()


def _check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if temperature < 0:
        raise ConfigError(f"Temperature {temperature} cannot be used: expected 0 or more.")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"Codes cannot be drawn from the {top_k} most probable ones: expected top_k of 1 or more.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ConfigError(f"Probability {top_p} cannot be kept: expected top_p above 0 and at most 1.")


def _kept(logits: Tensor, temperature: float, top_k: int | None, top_p: float | None) -> Tensor:
    """Return the probabilities [batch, codes] to draw from; they need not add up to 1."""
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    probability = torch.softmax(logits / temperature, dim=-1)
    if top_k is not None and top_k < logits.shape[-1]:
        least = probability.topk(top_k, dim=-1).values[:, -1:]
        probability = probability * (probability >= least)
    if top_p is not None and top_p < 1:
        # Holtzman et al. 2020, equation 2, of what top_k left.
        probability = probability / probability.sum(-1, keepdim=True)
        falling, order = probability.sort(dim=-1, descending=True)
        enough = falling.cumsum(-1) - falling >= top_p
        probability = torch.zeros_like(probability).scatter(-1, order, falling.masked_fill(enough, 0.0))
    return probability


def _draw(probability: Tensor, generator: Generators) -> Tensor:
    """Return a category for each row of ``probability``."""
    noise = exponential(probability.shape, generator).to(probability.device)
    return (probability / noise).argmax(-1)
