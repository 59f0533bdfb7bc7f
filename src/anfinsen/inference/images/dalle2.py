"""DALL·E 2 as a pipeline in the manner of `diffusers`, and what can be done to pictures.

Source: Ramesh et al. 2022 (unCLIP), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anfinsen.common.device import choose_device
from anfinsen.common.seeding import Generators, gaussian, torch_generator
from anfinsen.diffusion import Denoise, ddim_sampler, inpainting_denoiser, invert
from anfinsen.images.dalle2 import slerp, text_difference, to_base

from .dalle2_parts import DallE2Parts, text_rows
from .files import read_mask, read_picture
from .models import load_dalle2
from .shared import (
    MAX_PICTURES,
    ImagePipelineOutput,
    StepCallback,
    at_once,
    best_candidates,
    candidate_seeds,
    check_call,
    check_number,
    image_sampler,
    output,
    picture_seeds,
    stage_generators,
    walk,
)

if TYPE_CHECKING:
    from PIL.Image import Image

STEPS = 16  # of the decoder
GUIDANCE = 3.0
REFINEMENTS = 2  # rounds of fixed-point iteration in each step of an inversion
PLAIN_STEPS = 50  # of Euler's method, up and down again, where a picture is inverted
# Share of fresh noise in variations: 0 gives the picture itself, 1 what its embedding says. On validation scenes more
# variations keep shapes and colours with 0.4 than with 0.6, and things still move.
VARIATION_ETA = 0.4


class DallE2Pipeline(DallE2Parts):
    """Text to pictures, and pictures to others; a call is as `diffusers` has it."""

    @classmethod
    def from_bundled(cls, device: torch.device | str = "auto") -> DallE2Pipeline:
        """Return the pipeline of the weights that travel with this package.

        Raises:
            ConfigError: the device is not there. WeightsError: this installation came without the weights.
        """
        return cls.from_files({}, device)

    @classmethod
    def from_files(cls, files: Mapping[str, str], device: torch.device | str = "auto") -> DallE2Pipeline:
        """Return the pipeline of weights by network ("clip", "dalle2-prior", "dalle2-decoder", "dalle2-upsampler").

        Args:
            files: file or model name of each; the bundled one where none is given.

        Raises:
            ConfigError: an unknown network or device. WeightsError: a file cannot be used, or was not trained with
                this CLIP.
        """
        return cls(**load_dalle2(files, choose_device(str(device))))

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        num_inference_steps: int = STEPS,
        guidance_scale: float = GUIDANCE,
        num_images_per_prompt: int = 1,
        generator: Generators | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> ImagePipelineOutput:
        """Draw pictures of each prompt.

        Args:
            prompt: one or several captions.
            num_inference_steps: of the decoder.
            guidance_scale: 1 follows the caption as trained, more follows it more closely.
            num_images_per_prompt: pictures of each, of which each is the best of ``options.candidates``.
            generator: one, or one for each picture. A picture does not depend on how many are drawn, up to the
                rounding of computing them together.
            output_type: "pil" or "pt".
            callback_on_step_end: is told of each step of the pictures that are given; where they were chosen among
                candidates, they are drawn once more for it.

        Raises:
            ConfigError: a value is out of range, or a prompt is empty or too long.
            NonFiniteError: sampling gave NaN or infinity.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        check_call(prompts, num_images_per_prompt, guidance_scale, output_type)
        image_sampler(self.options.sampler, num_inference_steps)
        text = self.encode(prompts, num_images_per_prompt)

        def draw(rows: Sequence[int], own_seeds: Sequence[int], callback: StepCallback | None) -> Tensor:
            own = text_rows(text, rows)
            embedding = self.image_embeddings(own, own_seeds, callback)
            low = self.decode(self.guided(embedding, own, guidance_scale), num_inference_steps, own_seeds, callback)
            return self.upsample(low, embedding, own_seeds, callback)

        seeds = picture_seeds(generator, len(text.embedding))
        pictures, seeds = self._best(seeds, draw, text.embedding, callback_on_step_end)
        return output(pictures, output_type, self.clip_scores(pictures, text), seeds)

    def _best(
        self,
        seeds: Sequence[int],
        draw: Callable[[Sequence[int], Sequence[int], StepCallback | None], Tensor],
        wanted: Float[Tensor, "n c"],
        callback: StepCallback | None,
    ) -> tuple[Float[Tensor, "n 3 64 64"], tuple[int, ...]]:
        """Return the best candidate for each picture, and the seeds that they came from.

        Args:
            seeds: of each picture. draw: makes pictures of some rows of these, with seeds, and tells of its steps.
            wanted: CLIP embedding that each picture's should be close to. callback: is told of what is given.
        """
        rows, count = list(range(len(seeds))), self.options.candidates
        if count == 1:
            return draw(rows, seeds, callback), tuple(seeds)
        several, owners = candidate_seeds(seeds, count), [row for row in rows for _ in range(count)]
        pictures: list[Tensor] = []
        scores: list[Tensor] = []
        for some in at_once(len(several)):  # there may be thousands
            pictures.append(draw(owners[some], several[some], None))
            scores.append((self.clip.encode_image(pictures[-1]) * wanted[owners[some]]).sum(-1))
        best = best_candidates(torch.cat(scores), count).tolist()
        chosen = tuple(several[row] for row in best)
        if callback is not None:
            return draw(rows, chosen, callback), chosen
        return torch.cat(pictures)[best], chosen

    @torch.no_grad()
    def variation(
        self,
        image: Path | str | Image | Tensor,
        *,
        num_images: int = 1,
        num_inference_steps: int = PLAIN_STEPS,
        eta: float = VARIATION_ETA,
        generator: Generators | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> ImagePipelineOutput:
        """Draw pictures with the CLIP embedding of ``image`` from its own noise, found by DDIM inversion.

        Each is the one of ``options.candidates`` whose own embedding is closest to that of ``image``.

        Args:
            image: see `read_picture`. num_images: how many. eta: DDIM's share of fresh noise, 0 to 1.
            num_inference_steps, generator, output_type, callback_on_step_end: as in a call.

        Raises:
            InputError: the picture cannot be read, or a value is out of range.

        Source: section 3.1.
        """
        check_call(["variation"], num_images, 1.0, output_type)
        sampler = image_sampler("ddim", num_inference_steps, eta)
        picture = read_picture(image)[None].to(self.device)
        embedding = self.clip.encode_image(picture)
        denoise = self.decoder.denoiser(embedding, None)
        seeds = picture_seeds(generator, num_images)
        noise = self._inverted(denoise, to_base(picture), num_inference_steps, seeds[0])
        sigmas = self.decoder.config.diffusion.sigmas(num_inference_steps)

        def draw(rows: Sequence[int], own_seeds: Sequence[int], callback: StepCallback | None) -> Tensor:
            own, generators = embedding.expand(len(rows), -1), stage_generators(own_seeds, "decoder")
            start = noise.repeat(len(rows), 1, 1, 1)
            low = walk(self, "decoder", self.decoder.denoiser(own, None), start, sigmas, sampler, generators, callback)
            return self.upsample(low, own, own_seeds, callback)

        wanted = embedding.expand(num_images, -1)
        pictures, seeds = self._best(seeds, draw, wanted, callback_on_step_end)
        return output(pictures, output_type, (), seeds)

    @torch.no_grad()
    def interpolate(
        self,
        first: Path | str | Image | Tensor,
        second: Path | str | Image | Tensor,
        *,
        steps: int = 9,
        num_inference_steps: int = PLAIN_STEPS,
        generator: Generators | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> ImagePipelineOutput:
        """Walk from one picture to another in ``steps`` pictures, both of them first and last as the model sees them.

        Embeddings and inverted noise go along great circles.

        Raises:
            InputError: as `variation`.

        Source: section 3.2.
        """
        check_number("samples", steps, 2, MAX_PICTURES)
        check_call(["interpolation"], steps, 1.0, output_type)
        image_sampler("euler", num_inference_steps)
        pictures = torch.stack([read_picture(first), read_picture(second)]).to(self.device)
        ends = self.clip.encode_image(pictures)
        (seed,) = picture_seeds(generator, 1)
        noise = self._inverted(self.decoder.denoiser(ends, None), to_base(pictures), num_inference_steps, seed)
        weights = [place / (steps - 1) for place in range(steps)]
        embedding = torch.cat([slerp(ends[:1], ends[1:], weight) for weight in weights])
        starts = torch.cat([_great_circle(noise[:1], noise[1:], weight) for weight in weights])
        return self._plain(embedding, starts, num_inference_steps, seed, output_type, callback_on_step_end)

    @torch.no_grad()
    def text_difference(
        self,
        image: Path | str | Image | Tensor,
        text_from: str,
        text_to: str,
        *,
        steps: int = 9,
        weight: float = 0.5,
        num_inference_steps: int = PLAIN_STEPS,
        generator: Generators | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> ImagePipelineOutput:
        """Change a picture as one caption differs from another, in ``steps`` pictures from none to ``weight`` of it.

        The paper goes to 0.25 to 0.5 of the way; the noise stays that of the picture.

        Raises:
            InputError: as `variation`.

        Source: section 3.3.
        """
        check_number("samples", steps, 2, MAX_PICTURES)
        check_number("weight", weight, 0.0, 1.0)
        check_call([text_from, text_to], steps, 1.0, output_type)
        image_sampler("euler", num_inference_steps)
        picture = read_picture(image)[None].to(self.device)
        texts = self.encode([text_from, text_to], 1).embedding
        own = self.clip.encode_image(picture)
        (seed,) = picture_seeds(generator, 1)
        noise = self._inverted(self.decoder.denoiser(own, None), to_base(picture), num_inference_steps, seed)
        shares = [weight * place / (steps - 1) for place in range(steps)]
        embedding = torch.cat([text_difference(own, texts[:1], texts[1:], share) for share in shares])
        starts = noise.repeat(steps, 1, 1, 1)
        return self._plain(embedding, starts, num_inference_steps, seed, output_type, callback_on_step_end)

    @torch.no_grad()
    def inpaint(
        self,
        image: Path | str | Image | Tensor,
        mask: Path | str | Image | Bool[Tensor, "64 64"],
        prompt: str,
        *,
        num_inference_steps: int = STEPS,
        guidance_scale: float = GUIDANCE,
        num_images: int = 1,
        generator: Generators | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> ImagePipelineOutput:
        """Paint the white part of ``mask`` anew so that the picture fits ``prompt``; the rest is kept as it is.

        Each is the one of ``options.candidates`` that fits best.

        Raises:
            InputError: as `variation`; ConfigError: as a call.
        """
        check_call([prompt], num_images, guidance_scale, output_type)
        image_sampler(self.options.sampler, num_inference_steps)
        picture = read_picture(image)[None].to(self.device)
        painted = read_mask(mask).to(self.device)
        text = self.encode([prompt], num_images)
        # A base pixel is known where all of its pixels are.
        known = to_base((~painted).float().expand(1, 3, -1, -1) * 2 - 1) == 1
        base = to_base(picture)

        def draw(rows: Sequence[int], own_seeds: Sequence[int], callback: StepCallback | None) -> Tensor:
            own, several = text_rows(text, rows), (len(rows), -1, -1, -1)
            embedding = self.image_embeddings(own, own_seeds, callback)
            guided = self.guided(embedding, own, guidance_scale)
            denoise = inpainting_denoiser(guided, base.expand(several), known.expand(several))
            low = self.decode(denoise, num_inference_steps, own_seeds, callback)
            return torch.where(painted, self.upsample(low, embedding, own_seeds, callback), picture)

        seeds = picture_seeds(generator, num_images)
        pictures, seeds = self._best(seeds, draw, text.embedding, callback_on_step_end)
        return output(pictures, output_type, self.clip_scores(pictures, text), seeds)

    def _inverted(
        self, denoise: Denoise, low: Float[Tensor, "n 3 32 32"], steps: int, seed: int
    ) -> Float[Tensor, "n 3 32 32"]:
        """Return the noise that leads to pictures, found from a little noise upward (see `DallE2Options`)."""
        sigmas, level = self.decoder.config.diffusion.sigmas(steps), self.options.inversion_noise
        if level:
            noise = gaussian(low.shape[1:], torch_generator(seed, "inversion")).to(low)
            low = low + level * noise
            sigmas = torch.cat([sigmas[sigmas > level], sigmas.new_tensor([level])])
        return invert(denoise, low, sigmas, refinements=REFINEMENTS)

    def _plain(
        self,
        embedding: Tensor,
        starts: Tensor,
        steps: int,
        seed: int,
        output_type: str,
        callback: StepCallback | None,
    ) -> ImagePipelineOutput:
        """Deterministic steps from given noise; only the upsampler's noise is drawn, the same for all pictures."""
        seeds = (seed,) * len(embedding)
        sigmas = self.decoder.config.diffusion.sigmas(steps)
        generators = stage_generators(seeds, "decoder")
        denoise = self.decoder.denoiser(embedding, None)
        low = walk(self, "decoder", denoise, starts, sigmas, ddim_sampler(), generators, callback)
        return output(self.upsample(low, embedding, seeds, callback), output_type, (), seeds)


def _great_circle(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Return noise between two noises: directions along the great circle, lengths in proportion."""
    a, b = first.flatten(1), second.flatten(1)
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    direction = slerp(a / lengths[0], b / lengths[1], weight)
    return (direction * torch.lerp(*lengths, weight)).reshape(first.shape)
