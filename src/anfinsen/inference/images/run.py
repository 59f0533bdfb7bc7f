"""One run of `anfinsen image`: what is asked for, checked once, and what comes out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.files import file_sha256
from anfinsen.common.progress import Progress
from anfinsen.common.seeding import MAX_SEED, torch_generator
from anfinsen.weights import WeightsInfo

from .dalle1 import GUIDANCE as DALLE1_GUIDANCE
from .dalle1 import DallE1Pipeline
from .dalle2 import GUIDANCE, PLAIN_STEPS, STEPS, VARIATION_ETA, DallE2Pipeline
from .files import byte_tensor, read_mask, read_picture, require_pillow
from .record import DenoisingFrames, DenoisingRecorder
from .shared import (
    CANDIDATES,
    MAX_GUIDANCE,
    MAX_PICTURES,
    MAX_STEPS,
    SAMPLERS,
    ImagePipelineOutput,
    check_number,
    image_sampler,
)

MODELS = ("dalle2", "dalle1")
DEFAULT_SAMPLES = 9
CHOSEN = ("text", "variation", "in-painting")  # of candidates
_EDITS = {
    "variation": "--variation",
    "interpolation": "--interpolate",
    "text difference": "--text-difference",
    "in-painting": "--inpaint",
}


@dataclass(frozen=True)
class ImageRequest:
    """What a run is to draw, checked when it is built; None takes the default of what is asked for.

    Attributes:
        prompt: caption of the pictures. model: "dalle2" or "dalle1".
        variation: a picture to vary. interpolate: two pictures to go between.
        difference: captions, before and after, by whose difference ``variation`` is changed.
        inpaint: a picture whose white part of ``mask`` is painted anew.
        samples: pictures, or steps of a way. guidance, steps, sampler: of the decoder. seed: of all randomness.
        use_prior: False gives the text's embedding to the decoder.
        candidates: pictures drawn for each of a prompt, and for each variation, of which CLIP keeps one.
        eta: share of fresh noise in variations.
        weights: files or model names by network, in place of the bundled ones.

    Raises:
        ConfigError: a value is out of range, or two do not go together.
    """

    prompt: str | None = None
    model: str = "dalle2"
    variation: Path | None = None
    interpolate: tuple[Path, Path] | None = None
    difference: tuple[str, str] | None = None
    inpaint: Path | None = None
    mask: Path | None = None
    samples: int = DEFAULT_SAMPLES
    guidance: float | None = None
    steps: int | None = None
    sampler: str | None = None
    seed: int = 0
    use_prior: bool = True
    candidates: int | None = None
    eta: float | None = None
    weights: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ConfigError(f"Unknown model {self.model!r}: expected {' or '.join(MODELS)}.")
        least = 2 if self.mode in ("interpolation", "text difference") else 1
        check_number("samples", self.samples, least, MAX_PICTURES)
        check_number("seed", self.seed, 0, MAX_SEED)
        if self.guidance is not None:
            check_number("guidance", self.guidance, 0.0, MAX_GUIDANCE)
        if self.steps is not None:
            check_number("steps", self.steps, 1, MAX_STEPS)
        if self.sampler is not None:
            image_sampler(self.sampler, 1)
        if self.candidates is not None:
            check_number("candidates", self.candidates, 1, MAX_PICTURES)
        if self.eta is not None:
            check_number("eta", self.eta, 0.0, 1.0)
        self._check_mode()
        self._check_model()

    @property
    def mode(self) -> str:
        """What is done: "text", or the edit of a picture."""
        if self.difference is not None:
            return "text difference"
        if self.variation is not None:
            return "variation"
        if self.interpolate is not None:
            return "interpolation"
        return "in-painting" if self.inpaint is not None else "text"

    @property
    def title(self) -> str:
        """What is drawn, in a few words."""
        names = {name: shown_name(path) for name, path in self.files.items()}
        if self.difference is not None and self.variation is not None:
            return f"{names['picture']}: from “{self.difference[0]}” to “{self.difference[1]}”"
        if self.variation is not None:
            return f"Variations of {names['picture']}"
        if self.interpolate is not None:
            return f"From {names['first']} to {names['last']}"
        if self.inpaint is not None:
            return f"{self.prompt}, in {names['picture']}"
        return str(self.prompt)

    @property
    def name(self) -> str:
        """What the results' folder is called."""
        words = re.sub(r"[^\w]+", "-", self.title.lower()).strip("-_") or "picture"
        return words if self.model == "dalle2" else f"{words}-{self.model}"

    @property
    def files(self) -> dict[str, Path]:
        """The pictures that are read, by what they are."""
        found = {"picture": self.variation or self.inpaint, "mask": self.mask}
        if self.interpolate is not None:
            found |= {"first": self.interpolate[0], "last": self.interpolate[1]}
        return {name: path for name, path in found.items() if path is not None}

    def settings(self) -> dict[str, Any]:
        """Return the numbers that the run is made with, those that nobody chose among them."""
        numbers: dict[str, Any] = {"samples": self.samples, "seed": self.seed}
        if self.mode in CHOSEN:
            numbers["candidates"] = self.candidates or CANDIDATES
        if self.model == "dalle1":
            return numbers | {"guidance": DALLE1_GUIDANCE if self.guidance is None else self.guidance}
        if self.mode == "variation":
            numbers["eta"] = VARIATION_ETA if self.eta is None else self.eta
        if self.mode not in ("text", "in-painting"):
            return numbers | {"steps": self.steps or PLAIN_STEPS}
        numbers |= {"guidance": GUIDANCE if self.guidance is None else self.guidance, "steps": self.steps or STEPS}
        return numbers | {"sampler": self.sampler or SAMPLERS[0], "prior": self.use_prior}

    def _check_mode(self) -> None:
        given = [
            name
            for name, value in (
                ("--variation", self.variation),
                ("--interpolate", self.interpolate),
                ("--inpaint", self.inpaint),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise ConfigError(f"Options {' and '.join(given)} do not go together: give one of them.")
        if self.difference is not None and self.variation is None:
            raise ConfigError("Option --text-difference changes a picture: name it with --variation.")
        if (self.mask is None) != (self.inpaint is None):
            raise ConfigError("Options --inpaint and --mask go together: give both, a picture and where to paint it.")
        drawn = self.mode in ("text", "in-painting")
        if drawn and not (self.prompt or "").strip():
            raise ConfigError(
                'The prompt is empty: say what to draw, such as "a small red circle above a blue square".'
            )
        if not drawn and self.prompt is not None:
            raise ConfigError(f"Option {_EDITS[self.mode]} takes no prompt: leave {self.prompt!r} out.")
        if self.difference is not None and not all(text.strip() for text in self.difference):
            raise ConfigError("A caption of --text-difference is empty: give what the picture is, and what it becomes.")
        if self.difference is not None and self.difference[0].split() == self.difference[1].split():
            raise ConfigError("The captions of --text-difference are the same: give two that differ.")
        if not drawn:
            for name, chosen in (
                ("--guidance", self.guidance is not None),
                ("--sampler", self.sampler is not None),
                ("--no-prior", not self.use_prior),
            ):
                if chosen:
                    raise ConfigError(f"Option {name} is for pictures of a prompt: leave it out.")
        if self.mode != "variation" and self.eta is not None:
            raise ConfigError("Option --eta is for variations: leave it out.")
        if self.mode not in CHOSEN and self.candidates is not None:
            raise ConfigError("Option --candidates is not for --interpolate and --text-difference: leave it out.")

    def _check_model(self) -> None:
        if self.model == "dalle2":
            return
        if self.mode != "text":
            raise ConfigError(f"Option {_EDITS[self.mode]} needs --model dalle2: DALL·E 1 draws from prompts only.")
        for name, chosen in (
            ("--steps", self.steps is not None),
            ("--sampler", self.sampler is not None),
            ("--no-prior", not self.use_prior),
        ):
            if chosen:
                raise ConfigError(f"Option {name} is for --model dalle2: DALL·E 1 does not diffuse.")


@dataclass(frozen=True)
class ImageResult:
    """What a run drew.

    Attributes:
        pictures: as bytes. labels: what each is. seeds: of each. clip_scores: see `ImagePipelineOutput`.
        stages: how they came about. sigma_data: spread of pictures, which noise levels are measured by.
        inputs: the pictures that were read, as the model saw them, by what they are.
        weights: of each network, by name.
    """

    pictures: UInt8[Tensor, "n 64 64 3"]
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    clip_scores: tuple[float, ...]
    stages: tuple[DenoisingFrames, ...]
    sigma_data: float
    inputs: Mapping[str, UInt8[Tensor, "64 64 3"]]
    weights: Mapping[str, WeightsInfo]


def shown_name(path: Path) -> str:
    """Return a file's name as text: bytes of it that are not UTF-8, which no page could hold, become a mark."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def check_inputs(request: ImageRequest) -> None:
    """Read the pictures that a run needs, before time is spent on loading models.

    Raises:
        InputError: one cannot be read. MissingExtraError: Pillow is not installed.
    """
    require_pillow()
    for name, path in request.files.items():
        if name == "mask":
            read_mask(path)
        else:
            read_picture(path)


def file_hashes(request: ImageRequest) -> dict[str, str]:
    """Return the SHA-256 of each picture that is read, by what it is.

    Raises:
        InputError: one cannot be read.
    """
    try:
        return {name: file_sha256(path) for name, path in request.files.items()}
    except OSError as error:
        raise InputError(f"Picture {error.filename!r} cannot be read: {error.strerror}.") from error


def load_pipeline(
    request: ImageRequest, device: str = "auto", progress: Progress | None = None
) -> DallE1Pipeline | DallE2Pipeline:
    """Return the pipeline that a run needs.

    Raises:
        ConfigError, WeightsError: device or weights cannot be used.
        InputError: a caption is too long for the model, or has no letter that it knows.
    """
    kind = DallE2Pipeline if request.model == "dalle2" else DallE1Pipeline
    pipeline = kind.from_files(request.weights, device)
    if progress is not None:
        pipeline.progress = progress
    captions = [*([request.prompt] if request.prompt else []), *(request.difference or ())]
    pipeline.tokenizer.require_words(captions)  # refused before anything is made
    candidates = request.settings().get("candidates", 1)
    if isinstance(pipeline, DallE1Pipeline):
        pipeline.clip_tokenizer.require_words(captions)
        pipeline.options = replace(pipeline.options, candidates=candidates)
    else:
        sampler = request.sampler or pipeline.options.sampler
        pipeline.options = replace(
            pipeline.options, sampler=sampler, use_prior=request.use_prior, candidates=candidates
        )
    return pipeline


def draw(request: ImageRequest, pipeline: DallE1Pipeline | DallE2Pipeline) -> ImageResult:
    """Run what is asked for.

    Raises:
        NonFiniteError: sampling gave NaN or infinity.
    """
    recorder = DenoisingRecorder()
    if isinstance(pipeline, DallE2Pipeline):
        recorder = DenoisingRecorder(pipeline.decoder.config.diffusion.sigma_data)
        drawn = _dalle2(request, pipeline, recorder)
    else:
        drawn = pipeline(
            str(request.prompt),
            guidance_scale=request.settings()["guidance"],
            num_images_per_prompt=request.samples,
            generator=_generators(request),
            output_type="pt",
            callback_on_step_end=recorder,
        )
    pictures = drawn.images
    assert isinstance(pictures, Tensor)
    return ImageResult(
        pictures=byte_tensor(pictures),
        labels=_labels(request),
        seeds=drawn.seeds,
        clip_scores=drawn.clip_scores,
        stages=recorder.stages(),
        sigma_data=recorder.sigma_data,
        inputs={name: byte_tensor(read_picture(path)[None])[0] for name, path in request.files.items()},
        weights=pipeline.weights,
    )


def _dalle2(request: ImageRequest, pipeline: DallE2Pipeline, recorder: DenoisingRecorder) -> ImagePipelineOutput:
    settings = request.settings()
    steps, several = settings["steps"], _generators(request)
    if request.interpolate is not None:
        return pipeline.interpolate(
            *request.interpolate,
            steps=request.samples,
            num_inference_steps=steps,
            generator=several[0],
            output_type="pt",
            callback_on_step_end=recorder,
        )
    if request.variation is not None and request.difference is not None:
        return pipeline.text_difference(
            request.variation,
            *request.difference,
            steps=request.samples,
            num_inference_steps=steps,
            generator=several[0],
            output_type="pt",
            callback_on_step_end=recorder,
        )
    if request.variation is not None:
        return pipeline.variation(
            request.variation,
            num_images=request.samples,
            num_inference_steps=steps,
            eta=settings["eta"],
            generator=several,
            output_type="pt",
            callback_on_step_end=recorder,
        )
    if request.inpaint is not None and request.mask is not None:
        return pipeline.inpaint(
            request.inpaint,
            request.mask,
            str(request.prompt),
            num_inference_steps=steps,
            guidance_scale=settings["guidance"],
            num_images=request.samples,
            generator=several,
            output_type="pt",
            callback_on_step_end=recorder,
        )
    return pipeline(
        str(request.prompt),
        num_inference_steps=steps,
        guidance_scale=settings["guidance"],
        num_images_per_prompt=request.samples,
        generator=several,
        output_type="pt",
        callback_on_step_end=recorder,
    )


def _generators(request: ImageRequest) -> list[torch.Generator]:
    return [torch_generator(request.seed, "picture", number) for number in range(request.samples)]


def _labels(request: ImageRequest) -> tuple[str, ...]:
    if request.mode in ("interpolation", "text difference"):
        return tuple(f"{place / (request.samples - 1):.0%}" for place in range(request.samples))
    return tuple(f"{number}" for number in range(1, request.samples + 1))
