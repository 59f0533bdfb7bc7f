"""What the gallery of workbooks takes from trained models: networks on a job, CLIP and DALL·E 2 on some scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from anfinsen.alignments import Msa
from anfinsen.byhand.gallery import Losses, Network, Pairs, PictureDecoder
from anfinsen.common.errors import JobError
from anfinsen.common.seeding import numpy_generator
from anfinsen.features import prepare_job
from anfinsen.geometry import Frames
from anfinsen.images.captions import caption
from anfinsen.images.clip import Clip
from anfinsen.images.dalle2 import Decoder, to_base
from anfinsen.images.datasets import from_bytes
from anfinsen.images.scenes import Scene, sample_scene
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.jobs import Job
from anfinsen.losses.alphafold2_fape import FramedPoints, fape
from anfinsen.losses.images import contrastive_loss
from anfinsen.weights import WeightsInfo
from anfinsen.weights.images import CLIP, DALLE2_DECODER, tokenizer_of
from anfinsen.weights.store import RANDOM, Family, bundled_path

from .choose import make_predictor
from .network_run import network_run
from .options import PredictOptions

SCENES = 4
MINI = "mini"
ModelT = TypeVar("ModelT", bound=nn.Module)
ConfigT = TypeVar("ConfigT")


def _fape(predicted: Frames, points: Tensor, true: Frames, true_points: Tensor) -> Tensor:
    return fape(FramedPoints(predicted, points), FramedPoints(true, true_points))


GALLERY_LOSSES = Losses(fape=_fape, contrastive=contrastive_loss)


@dataclass(frozen=True)
class GallerySources:
    """The bundled mini models on one job; each is loaded and run when the gallery first asks for it.

    Attributes:
        job: one whose first chain is a protein with an alignment. device: where the networks run.
    """

    job: Job
    device: str = "cpu"

    @property
    def losses(self) -> Losses:
        """The losses that the models are trained with."""
        return GALLERY_LOSSES

    def network(self, family: str) -> Network:
        """Return the bundled mini model of "alphafold1", "alphafold2" or "alphafold3", ready to run on the job.

        Raises:
            JobError, ChemistryError, AlignmentError: the job cannot be used with it.
            WeightsError: this installation came without it.
        """
        if family not in self._networks:
            name = f"{family}-{MINI}"
            predictor = make_predictor(PredictOptions(model=name, device=self.device))
            run = network_run(predictor, self.job)
            self._networks[family] = Network(f"{name} on {self.job.name}", run.model, run.run, run.tokens)
        return self._networks[family]

    @cached_property
    def _networks(self) -> dict[str, Network]:
        """Those that were asked for."""
        return {}

    def alignment(self) -> Msa:
        """Return the alignment of the job's first chain.

        Raises:
            JobError: it has none.
        """
        msa = prepare_job(self.job, self.job.seeds[0]).alignments[0].unpaired
        if msa is None:
            raise JobError(
                f"The first chain of job {self.job.name!r} has no alignment: the gallery needs one for its couplings."
            )
        return msa

    def pairs(self) -> Pairs:
        """Return some scenes and their captions as CLIP sees them (an untrained one where none is bundled)."""
        clip, info = _load(CLIP, self.device)
        scenes, pictures = _scenes()
        words = tuple(caption(scene) for scene in scenes)
        with torch.no_grad():
            images = clip.encode_image(pictures)
            texts = clip.encode_text(*_tokens(clip, info, words)).embedding
            return Pairs(info.name, images, texts, clip.scale.detach(), words)

    def decoder(self) -> PictureDecoder:
        """Return DALL·E 2's decoder and a scene for it (untrained where none is bundled)."""
        clip, _ = _load(CLIP, self.device)
        decoder, info = _load(DALLE2_DECODER, self.device)
        _, pictures = _scenes()
        with torch.no_grad():
            embedding = clip.encode_image(pictures[:1])
        assert isinstance(decoder, Decoder)
        return PictureDecoder(info.name, decoder, to_base(pictures[:1]), embedding)


def _load(family: Family[ModelT, ConfigT], device: str) -> tuple[ModelT, WeightsInfo]:
    """Return the bundled mini model, or an untrained one in an installation without it."""
    name = f"{family.name}-{MINI}"
    known = bundled_path(family.bundled[name]).is_file()
    return family.load(name if known else name + RANDOM, device)


@cache
def _scenes() -> tuple[tuple[Scene, ...], Tensor]:
    """Return scenes and their pictures [n, 3, 64, 64]."""
    from anfinsen.images.rendering import render  # needs pillow

    rng = numpy_generator(0, "gallery", "scenes")
    scenes = tuple(sample_scene(rng) for _ in range(SCENES))
    pictures = torch.stack([torch.tensor(render(scene, rng)).permute(2, 0, 1) for scene in scenes])
    return scenes, from_bytes(pictures)


def _tokens(clip: Clip, info: WeightsInfo, words: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Return tokens and mask of captions; an untrained CLIP has no tokenizer, and reads letters."""
    if not info.name.endswith(RANDOM):
        tokenizer: Tokenizer = tokenizer_of(info)
        encoded = tokenizer.encode(words)
        return encoded.ids, encoded.mask
    length = clip.config.length
    ids = torch.zeros(len(words), length, dtype=torch.long)
    for row, word in enumerate(words):
        letters = [ord(letter) % clip.config.vocabulary for letter in word[:length]]
        ids[row, : len(letters)] = torch.tensor(letters)
    return ids, ids > 0
