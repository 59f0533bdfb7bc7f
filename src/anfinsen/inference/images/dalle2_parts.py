"""The parts of DALL·E 2's pipeline: text, prior, decoder, upsampler, each on the one diffusion core.

Source: Ramesh et al. 2022 (unCLIP), section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import gaussian, torch_generator
from anfinsen.diffusion import EULER_SAMPLER, Denoise, GuidanceConfig, classifier_free_guidance
from anfinsen.images.clip import Clip, ClipText
from anfinsen.images.dalle2 import Decoder, Prior, Upsampler
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.weights import WeightsInfo

from .shared import (
    CANDIDATES,
    MAX_GUIDANCE,
    MAX_PICTURES,
    MAX_STEPS,
    SAMPLERS,
    StepCallback,
    check_number,
    image_sampler,
    stage_generators,
    walk,
)


@dataclass(frozen=True)
class DallE2Options:
    """What is seldom changed between calls.

    Attributes:
        sampler: of the decoder, one of `SAMPLERS`.
        use_prior: False gives the text's embedding to the decoder in place of a picture's.
        prior_steps, prior_guidance: of the prior, by deterministic steps.
        embeddings: drawn for each picture; the closest to the text is taken (section 2.2).
        candidates: pictures drawn for each that is asked for; the one with the highest CLIP score is given, as DALL·E 1
            does. Of variations it is the one whose embedding is closest to the picture's. 1: as published.
        upsampler_steps: Heun's, from 32 to 64 pixels.
        inversion_noise: standard deviation of noise that a picture gets before it is inverted. At lower levels hardly
            any noise is there to be found, and what the network gets wrong of the picture would be taken for it; 0
            inverts the picture itself, as published.

    Raises:
        ConfigError: a number is out of range.
    """

    sampler: str = SAMPLERS[0]
    use_prior: bool = True
    prior_steps: int = 32
    prior_guidance: float = 1.0
    embeddings: int = 2
    candidates: int = CANDIDATES
    upsampler_steps: int = 8
    inversion_noise: float = 0.1

    def __post_init__(self) -> None:
        image_sampler(self.sampler, 1)
        check_number("prior_steps", self.prior_steps, 1, MAX_STEPS)
        check_number("prior_guidance", self.prior_guidance, 0.0, MAX_GUIDANCE)
        check_number("embeddings", self.embeddings, 1, MAX_PICTURES)
        check_number("candidates", self.candidates, 1, MAX_PICTURES)
        check_number("upsampler_steps", self.upsampler_steps, 1, MAX_STEPS)
        check_number("inversion_noise", self.inversion_noise, 0.0, 1.0)


class DallE2Parts:
    """The four networks, and one method for each of the steps from a text to a picture.

    Attributes:
        options: may be replaced between calls. progress: is told of stages. weights: of each network, by name.
    """

    def __init__(
        self,
        clip: Clip,
        tokenizer: Tokenizer,
        prior: Prior,
        decoder: Decoder,
        upsampler: Upsampler,
        weights: Mapping[str, WeightsInfo] | None = None,
        options: DallE2Options | None = None,
    ) -> None:
        self.clip, self.tokenizer = clip, tokenizer
        self.prior, self.decoder, self.upsampler = prior, decoder, upsampler
        self.weights = dict(weights or {})
        self.options = options or DallE2Options()
        self.progress: Progress = Silent()
        self.device = next(decoder.parameters()).device

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], repeats: int = 1) -> ClipText:
        """Return CLIP's view of each prompt, ``repeats`` times next to each other.

        Raises:
            ConfigError: a prompt is too long.
        """
        tokens = self.tokenizer.encode(list(prompts))
        text = self.clip.encode_text(tokens.ids.to(self.device), tokens.mask.to(self.device))
        return repeated(text, repeats)

    @torch.no_grad()
    def image_embeddings(
        self, text: ClipText, seeds: Sequence[int], callback: StepCallback | None = None
    ) -> Float[Tensor, "n c"]:
        """Return a picture's embedding for each text, of unit length, drawn by the prior (section 2.2)."""
        options = self.options
        if not options.use_prior:
            return text.embedding
        count, repeats = len(text.embedding), options.embeddings
        several = repeated(text, repeats)
        generators = [torch_generator(seed, "prior", number) for seed in seeds for number in range(repeats)]
        sigmas = self.prior.config.diffusion.sigmas(options.prior_steps)
        start = gaussian(several.embedding.shape, generators).to(self.device) * float(sigmas[0])
        denoise = classifier_free_guidance(
            self.prior.denoiser(several), self.prior.denoiser(None), GuidanceConfig(weight=options.prior_guidance)
        )
        drawn = walk(self, "prior", denoise, start, sigmas, EULER_SAMPLER, generators, callback)
        units = self.prior.to_unit(drawn).reshape(count, repeats, -1)
        best = torch.einsum("nkc,nc->nk", units, text.embedding).argmax(1)
        return units[torch.arange(count, device=best.device), best]

    @torch.no_grad()
    def upsample(
        self,
        low: Float[Tensor, "n 3 32 32"],
        embedding: Float[Tensor, "n c"],
        seeds: Sequence[int],
        callback: StepCallback | None = None,
    ) -> Float[Tensor, "n 3 64 64"]:
        """Return pictures of 64 pixels."""
        generators = stage_generators(seeds, "upsampler")
        low, level = self.upsampler.noised(low.clamp(-1, 1), generators)
        sigmas = self.upsampler.config.diffusion.sigmas(self.options.upsampler_steps)
        start = gaussian((len(low), 3, 2 * low.shape[2], 2 * low.shape[3]), generators).to(low) * float(sigmas[0])
        denoise = self.upsampler.denoiser(low, level, embedding)
        sampler = image_sampler("heun", self.options.upsampler_steps)
        return walk(self, "upsampler", denoise, start, sigmas, sampler, generators, callback).clamp(-1, 1)

    @torch.no_grad()
    def clip_scores(self, pictures: Float[Tensor, "n 3 64 64"], text: ClipText) -> tuple[float, ...]:
        """Return the cosine of each picture's embedding with that of its text."""
        return tuple((self.clip.encode_image(pictures) * text.embedding).sum(-1).tolist())

    def guided(self, embedding: Float[Tensor, "n c"], text: ClipText, guidance: float) -> Denoise:
        """Return the decoder's denoiser under both conditions, guided away from neither."""
        return classifier_free_guidance(
            self.decoder.denoiser(embedding, text), self.decoder.denoiser(None, None), GuidanceConfig(weight=guidance)
        )

    def decode(
        self, denoise: Denoise, steps: int, seeds: Sequence[int], callback: StepCallback | None = None
    ) -> Float[Tensor, "n 3 32 32"]:
        """Return small pictures that ``denoise`` leads to from noise of the seeds."""
        generators = stage_generators(seeds, "decoder")
        sigmas = self.decoder.config.diffusion.sigmas(steps)
        size = self.decoder.config.unet.size
        start = gaussian((len(seeds), 3, size, size), generators).to(self.device) * float(sigmas[0])
        sampler = image_sampler(self.options.sampler, steps)
        return walk(self, "decoder", denoise, start, sigmas, sampler, generators, callback)


def text_rows(text: ClipText, rows: Sequence[int]) -> ClipText:
    """Return some captions, each as often as its row is named."""
    chosen = list(rows)
    return ClipText(text.embedding[chosen], text.encodings[chosen], text.mask[chosen])


def repeated(text: ClipText, times: int) -> ClipText:
    """Return each caption ``times`` times, next to each other."""
    return text_rows(text, [row for row in range(len(text.embedding)) for _ in range(times)])
