"""Ways to draw pictures of captions, and the records of what they drew."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import images_scores as scores
import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.files import atomic_path, write_text
from anfinsen.common.seeding import derive_seed, torch_generator
from anfinsen.images.clip import Clip
from anfinsen.images.dalle2 import to_base
from anfinsen.images.datasets import ImageTextDataset, from_bytes, to_bytes
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.inference.images import dalle1, dalle2
from anfinsen.inference.images.dalle1 import DallE1Pipeline
from anfinsen.inference.images.dalle2 import DallE2Pipeline
from anfinsen.training.images.train import CPU_SECONDS
from anfinsen.weights import WeightsInfo
from anfinsen.weights.images import CLIP, tokenizer_of

BATCH = 32
SPLITS = ("test", "heldout")
REAL, DALLE1, DALLE2 = "real pictures", "DALL·E 1", "DALL·E 2"
NETWORKS = {
    DALLE1: ("dalle1-dvae", "dalle1-transformer"),
    DALLE2: ("dalle2-prior", "dalle2-decoder", "dalle2-upsampler"),
}
SAMPLERS = ("euler", "heun", "ancestral", "edm-stochastic")
STEPS = (4, 8, 16, 32, 64, 128, 250)
GUIDANCES = (1.0, 2.0, 3.0, 5.0, 8.0)
Record = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One way to draw.

    Attributes:
        name: unique. model: REAL (the captions' own pictures), DALLE1 or DALLE2. split: whose captions.
        pictures: how many, one of each caption. steps, sampler: of the decoder; 0 and "" the product's.
        guidance: None: the product's. use_prior: False gives the text's embedding to the decoder.
        candidates: pictures drawn for each, of which CLIP chooses one; 0: the product's.
        decoder: weights file in place of the one that is used elsewhere.
        counted: whether floating-point operations are counted, too.
        restored: nothing is drawn: the captions' own pictures go through the last network alone (the discrete VAE, or
            32 pixels and the upsampler), which bounds what the model can get right.
    """

    name: str
    model: str
    split: str
    pictures: int
    steps: int = 0
    sampler: str = ""
    guidance: float | None = None
    use_prior: bool = True
    candidates: int = 0
    decoder: str = ""
    counted: bool = False
    restored: bool = False


def comparison_arms(limit: int, splits: Sequence[str] = SPLITS) -> list[Arm]:
    """DALL·E 2 against DALL·E 1, on combinations that training has seen and on others; sweeps draw no candidates."""
    return [
        arm
        for split in splits
        for arm in (
            Arm(f"{split}: {REAL}", REAL, split, limit),
            Arm(f"{split}: {DALLE2} re-ranked", DALLE2, split, limit, counted=True),
            Arm(f"{split}: {DALLE2}", DALLE2, split, limit, candidates=1, counted=True),
            Arm(f"{split}: {DALLE2} without prior", DALLE2, split, limit, use_prior=False, candidates=1, counted=True),
            Arm(f"{split}: {DALLE1} re-ranked", DALLE1, split, limit, counted=True),
            Arm(f"{split}: {DALLE1}", DALLE1, split, limit, candidates=1, counted=True),
            Arm(f"{split}: real pictures through {DALLE2}'s upsampler", DALLE2, split, limit, restored=True),
            Arm(f"{split}: real pictures through {DALLE1}'s codes", DALLE1, split, limit, restored=True),
        )
    ]


def guidance_arms(limit: int, split: str = SPLITS[0]) -> list[Arm]:
    return [Arm(f"guidance {value:g}", DALLE2, split, limit, guidance=value, candidates=1) for value in GUIDANCES]


def step_arms(limit: int, split: str = SPLITS[0]) -> list[Arm]:
    """Each sampler with each number of steps, cheapest first."""
    return [
        Arm(f"{sampler}, {steps} steps", DALLE2, split, limit, steps=steps, sampler=sampler, candidates=1)
        for steps in STEPS
        for sampler in SAMPLERS
    ]


@dataclass(frozen=True)
class Setting:
    """What all arms share: the data folder, files of networks in place of the bundled ones, seed, threads."""

    data: Path
    files: tuple[tuple[str, str], ...] = ()
    seed: int = 0
    threads: int = 1
    steps: int = 0
    """The product's number of steps is replaced by this, for a quick look; 0: is not."""

    def of(self, model: str) -> dict[str, str]:
        """Return the files that concern a model."""
        return {name: file for name, file in self.files if name == "clip" or name in NETWORKS.get(model, ())}


class Prompts:
    """The captions that are drawn, and the real pictures that features are compared with.

    Scenes come in pairs that differ in one thing and look alike: of the split's first half one of each pair is drawn,
    and all of its second half is the reference. (A drawn scene's own sibling would not be another draw of the scenes:
    with siblings as the reference, real pictures' Fréchet distance is a third too small.)
    """

    def __init__(self, data: Path, split: str, count: int) -> None:
        dataset = ImageTextDataset(data, split, ("scenes",))
        quarter = len(dataset) // 4
        if not 2 <= count <= quarter:
            raise ConfigError(
                f"{count} pictures are asked for: {data} has {len(dataset)} scenes in its split {split!r}, a "
                "quarter of which can be drawn; at least 2 are needed."
            )
        rows = range(0, 2 * count, 2)
        self.captions = [dataset.captions[row] for row in rows]
        self.scenes = [dataset.scenes[row] for row in rows]
        self.pictures = dataset.images[0 : 2 * count : 2]
        self.reference = dataset.images[2 * quarter :]


class Records:
    """Records of arms, in a file of JSON lines in a folder, beside the pictures that were drawn."""

    def __init__(self, folder: Path) -> None:
        """Read what an earlier run left; a last line that was cut off is dropped.

        Raises:
            InputError: the file holds something else.
        """
        self._folder, self._path = folder, folder / "records.jsonl"
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        try:
            self._rows = {(row["arm"], row["key"]): row for row in map(json.loads, whole.splitlines())}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path} is not a file of records ({error}): name another folder.") from error
        if whole != text:
            write_text(self._path, whole)

    def find(self, arm: str, key: str) -> Record | None:
        return self._rows.get((arm, key))

    def add(self, record: Record, pictures: np.ndarray | None = None) -> None:
        """Keep a record, and the pictures that it is about."""
        line = json.dumps(record, allow_nan=False) + "\n"
        if pictures is not None:
            with atomic_path(self.pictures_path(record)) as temporary, temporary.open("wb") as file:
                np.save(file, pictures)
        self._rows[record["arm"], record["key"]] = record
        if not self._path.exists():
            write_text(self._path, line)
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def pictures_path(self, record: Record) -> Path:
        return self._folder / f"{record['key']}.npy"


@cache
def pipeline(model: str, files: tuple[tuple[str, str], ...]) -> DallE1Pipeline | DallE2Pipeline:
    """Return the pipeline of a model on the CPU."""
    kind = DallE1Pipeline if model == DALLE1 else DallE2Pipeline
    pipe = kind.from_files(dict(files), "cpu")
    for name in ("clip", *NETWORKS[model]):
        # The counter of operations stumbles over a parameter that wants a gradient where none is computed.
        getattr(pipe, name.rpartition("-")[2]).requires_grad_(False)
    return pipe


@cache
def clip_alone(files: tuple[tuple[str, str], ...]) -> tuple[Clip, Tokenizer, WeightsInfo]:
    """Return CLIP, its tokenizer and what its weights say of themselves; the other networks need not be there."""
    clip, info = CLIP.load(dict(files).get("clip", "clip-mini"), torch.device("cpu"))
    return clip, tokenizer_of(info), info


def _pipeline_of(arm: Arm, setting: Setting) -> DallE1Pipeline | DallE2Pipeline:
    # What draws nothing from captions, real pictures for one, is scored by the same CLIP.
    model = arm.model if arm.model in NETWORKS else DALLE2
    files = setting.of(model) | ({"dalle2-decoder": arm.decoder} if arm.decoder else {})
    return pipeline(model, tuple(sorted(files.items())))


def key_of(arm: Arm, setting: Setting) -> str:
    """Return what identifies an arm's pictures: all that they depend on."""
    pipe = _pipeline_of(arm, setting)
    weights = {name: info.sha256 for name, info in pipe.weights.items()}
    # What is chosen where an arm does not say.
    usual = [
        asdict(pipe.options),
        dalle1.GUIDANCE,
        dalle2.GUIDANCE,
        dalle2.STEPS,
        dalle2.PLAIN_STEPS,
        dalle2.VARIATION_ETA,
    ]
    return digest(asdict(arm) | {"name": ""}, weights, about(setting.data), setting.seed, setting.steps, usual)


def digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def about(data: Path) -> str:
    """Return what a data folder says of itself.

    Raises:
        InputError: it says nothing.
    """
    try:
        return (data / "about.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{data} is no folder of captioned pictures ({error}): make it with image_data.py.") from error


@contextmanager
def as_in(pipe: DallE1Pipeline | DallE2Pipeline, arm: Arm) -> Iterator[None]:
    """Give the pipeline, which others use too, the options of an arm while it draws."""
    own = pipe.options
    try:
        if arm.candidates:
            pipe.options = replace(pipe.options, candidates=arm.candidates)
        if arm.model == DALLE2:
            pipe.options = replace(pipe.options, use_prior=arm.use_prior, sampler=arm.sampler or own.sampler)
        yield
    finally:
        pipe.options = own


def _call(
    pipe: DallE1Pipeline | DallE2Pipeline, arm: Arm, setting: Setting, captions: Sequence[str], first: int
) -> Any:
    """Draw pictures of captions, the first of which is number ``first``: its randomness depends on that alone."""
    generators = [torch_generator(setting.seed, "picture", first + index) for index in range(len(captions))]
    chosen: dict[str, Any] = {} if arm.guidance is None else {"guidance_scale": arm.guidance}
    if arm.model == DALLE2 and (arm.steps or setting.steps):
        chosen["num_inference_steps"] = arm.steps or setting.steps
    with as_in(pipe, arm):
        return pipe(list(captions), generator=generators, output_type="pt", **chosen).images


@torch.no_grad()
def _restore(pipe: DallE1Pipeline | DallE2Pipeline, setting: Setting, pictures: torch.Tensor, first: int) -> Any:
    """Return pictures (bytes) as the last network gives them back."""
    real = from_bytes(pictures)
    if isinstance(pipe, DallE1Pipeline):
        return pipe.decode(pipe.dvae.codes(real))
    seeds = [derive_seed(setting.seed, "picture", first + index) for index in range(len(real))]
    return pipe.upsample(to_base(real), pipe.clip.encode_image(real), seeds)


def counted_flops(pipe: DallE1Pipeline | DallE2Pipeline, arm: Arm, setting: Setting, caption: str) -> int:
    """Return the floating-point operations of drawing one picture (a multiplication and an addition are two)."""
    # The counter does not know the CPU's fused attention; written out, it is matrix products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        _call(pipe, arm, setting, [caption], 0)
    return counter.get_total_flops()


def run(arm: Arm, setting: Setting) -> tuple[Record, np.ndarray]:
    """Draw an arm's pictures and score them; return the record and the pictures, as bytes."""
    torch.set_num_threads(setting.threads)
    pipe, what = _pipeline_of(arm, setting), Prompts(setting.data, arm.split, arm.pictures)
    record: Record = {"arm": arm.name, "key": key_of(arm, setting), "model": arm.model, "split": arm.split}
    if arm.model == REAL:
        pictures = what.pictures.permute(0, 2, 3, 1).numpy()
    else:
        started = time.process_time()
        parts = [
            _restore(pipe, setting, what.pictures[first : first + BATCH], first)
            if arm.restored
            else _call(pipe, arm, setting, what.captions[first : first + BATCH], first)
            for first in range(0, arm.pictures, BATCH)
        ]
        pictures = np.concatenate([to_bytes(part) for part in parts])
        record["seconds"] = (time.process_time() - started) / arm.pictures
        if arm.counted:
            record["flops"] = counted_flops(pipe, arm, setting, what.captions[0])
        record |= model_facts(pipe, arm.model, arm.use_prior)
    record |= {"arm_settings": asdict(arm), "weights": {name: info.sha256 for name, info in pipe.weights.items()}}
    encoder = scores.Encoder(pipe.clip, pipe.tokenizer if arm.model != DALLE1 else pipe.clip_tokenizer)
    record |= scores.picture_scores(encoder, pictures, what.captions, what.scenes, what.reference, setting.seed)
    return record, pictures


def model_facts(pipe: DallE1Pipeline | DallE2Pipeline, model: str, use_prior: bool = True) -> Record:
    """Return how large a model is and what its training took, CLIP apart; None where the weights do not tell."""
    names = [name for name in NETWORKS[model] if use_prior or name != "dalle2-prior"]
    networks = {name: getattr(pipe, name.rpartition("-")[2]) for name in names}
    seconds = [pipe.weights[name].metadata.get(CPU_SECONDS) for name in names]
    return {
        "parameters": {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()},
        "training_seconds": None if None in seconds else sum(map(float, seconds)),
    }


def files_of(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read NAME=FILE, several times.

    Raises:
        ConfigError: there is no such network, or a text has another form.
    """
    known = ("clip", *(name for names in NETWORKS.values() for name in names))
    found: Mapping[str, str] = dict(text.partition("=")[::2] for text in texts)
    for name, file in found.items():
        if name not in known or not file:
            raise ConfigError(f"Weights are given as {name}={file}: expected NAME=FILE with one of {', '.join(known)}.")
    return tuple(sorted(found.items()))
