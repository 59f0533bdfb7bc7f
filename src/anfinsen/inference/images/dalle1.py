"""DALL·E 1 as a pipeline: a transformer draws the codes of a picture, a discrete VAE paints them, CLIP chooses.

Source: Ramesh et al. 2021, sections 2 and 2.6 (re-ranking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.common.device import choose_device
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import Generators, torch_generator
from anfinsen.images.clip import Clip
from anfinsen.images.dalle1 import DiscreteVae, ImageTransformer
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.weights import WeightsInfo

from .models import load_dalle1
from .shared import (
    CANDIDATES,
    MAX_PICTURES,
    ImagePipelineOutput,
    StepCallback,
    at_once,
    best_candidates,
    check_call,
    check_number,
    output,
    picture_seeds,
)

GUIDANCE = 3.0


@dataclass(frozen=True)
class DallE1Options:
    """What is seldom changed between calls.

    Attributes:
        temperature: of the draws; top_p: share of the probability that is drawn from, the likeliest codes first.
        candidates: pictures drawn for each that is asked for; the one with the highest CLIP score is given.

    Raises:
        ConfigError: a number is out of range.
    """

    temperature: float = 1.0
    top_p: float = 0.95
    candidates: int = CANDIDATES

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, 0.01, 10.0)
        check_number("top_p", self.top_p, 0.01, 1.0)
        check_number("candidates", self.candidates, 1, MAX_PICTURES)


class DallE1Pipeline:
    """Text to pictures, token by token.

    Attributes:
        options: may be replaced between calls. progress: is told of stages. weights: of each network, by name.
    """

    def __init__(
        self,
        clip: Clip,
        clip_tokenizer: Tokenizer,
        dvae: DiscreteVae,
        transformer: ImageTransformer,
        tokenizer: Tokenizer,
        weights: Mapping[str, WeightsInfo] | None = None,
        options: DallE1Options | None = None,
    ) -> None:
        self.clip, self.clip_tokenizer = clip, clip_tokenizer
        self.dvae, self.transformer, self.tokenizer = dvae, transformer, tokenizer
        self.weights = dict(weights or {})
        self.options = options or DallE1Options()
        self.progress: Progress = Silent()
        self.device = next(transformer.parameters()).device

    @classmethod
    def from_bundled(cls, device: torch.device | str = "auto") -> DallE1Pipeline:
        """Return the pipeline of the weights that travel with this package.

        Raises:
            ConfigError: the device is not there. WeightsError: this installation came without the weights.
        """
        return cls.from_files({}, device)

    @classmethod
    def from_files(cls, files: Mapping[str, str], device: torch.device | str = "auto") -> DallE1Pipeline:
        """Return the pipeline of weights by network ("clip", "dalle1-dvae", "dalle1-transformer").

        Args:
            files: file or model name of each; the bundled one where none is given.

        Raises:
            ConfigError: an unknown network or device. WeightsError: a file cannot be used, or the transformer was
                trained with another discrete VAE.
        """
        return cls(**load_dalle1(files, choose_device(str(device))))

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        guidance_scale: float = GUIDANCE,
        num_images_per_prompt: int = 1,
        generator: Generators | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> ImagePipelineOutput:
        """Draw pictures of each prompt.

        There is no number of steps to choose: each code is one.

        Args:
            prompt: one or several captions. guidance_scale: 1 follows the caption as trained, more more closely.
            num_images_per_prompt: pictures of each, of which each is the best of ``options.candidates``.
            generator: one, or one for each picture. A picture does not depend on how many are drawn, up to the
                rounding of computing them together.
            output_type: "pil" or "pt".
            callback_on_step_end: is told of the pictures that were chosen, row of codes by row of codes, at the end:
                "clean" is what the discrete VAE makes of the codes so far, the level the share that is missing.

        Raises:
            ConfigError: a value is out of range, or a prompt is empty or too long.

        Source: guidance of logits as in Gafni et al. 2022 ("Make-a-scene"), section 3.5.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        check_call(prompts, num_images_per_prompt, guidance_scale, output_type)
        repeats = self.options.candidates
        count = len(prompts) * num_images_per_prompt
        seeds = picture_seeds(generator, count)
        generators = [torch_generator(seed, "codes", number) for seed in seeds for number in range(repeats)]
        codes = self._codes(prompts, num_images_per_prompt * repeats, guidance_scale, generators)
        pictures = torch.cat([self.decode(codes[some]) for some in at_once(count * repeats)])
        scores = self._scores(prompts, pictures)
        best = best_candidates(scores, repeats)
        chosen = codes[best]
        if callback_on_step_end is not None:
            height = chosen.shape[1]
            for row in range(height):
                clean = self.decode(chosen, known_rows=row + 1)
                told = {"stage": "transformer", "latents": chosen, "clean": clean}
                callback_on_step_end(self, row, 1 - (row + 1) / height, told)
        return output(pictures[best], output_type, scores[best].tolist(), seeds)

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "n h w"], known_rows: int | None = None) -> Float[Tensor, "n 3 64 64"]:
        """Return what the discrete VAE paints of codes; where only the first rows are known, nothing for the rest."""
        one_hot = F.one_hot(codes, self.dvae.config.codes).permute(0, 3, 1, 2).float()
        if known_rows is not None:
            one_hot[:, :, known_rows:] = 0
        pictures: Tensor = self.dvae.decode(one_hot)
        return pictures.float().clamp(-1, 1)

    def _codes(
        self, prompts: Sequence[str], repeats: int, guidance: float, generators: Sequence[torch.Generator]
    ) -> Int[Tensor, "n h w"]:
        tokens = self.tokenizer.encode(list(prompts))
        ids, mask = (part.repeat_interleave(repeats, dim=0).to(self.device) for part in (tokens.ids, tokens.mask))
        codes = []
        for some in at_once(len(ids)):
            self.progress.stage("Codes", self.transformer.config.grid**2)
            codes.append(
                self.transformer.generate(
                    ids[some],
                    mask[some],
                    generators[some],
                    temperature=self.options.temperature,
                    top_p=self.options.top_p,
                    guidance=guidance,
                    on_code=lambda place, codes: self.progress.advance(),
                )
            )
        return torch.cat(codes)

    def _scores(self, prompts: Sequence[str], pictures: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n"]:
        tokens = self.clip_tokenizer.encode(list(prompts))
        texts = self.clip.encode_text(tokens.ids.to(self.device), tokens.mask.to(self.device)).embedding
        texts = texts.repeat_interleave(len(pictures) // len(prompts), dim=0)
        images = torch.cat([self.clip.encode_image(pictures[some]) for some in at_once(len(pictures))])
        return (images * texts).sum(-1)
