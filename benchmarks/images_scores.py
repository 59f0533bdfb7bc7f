"""Scores of drawn pictures, of CLIP itself, and of what is done to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from anfinsen.common.seeding import numpy_generator, torch_generator
from anfinsen.images.captions import caption
from anfinsen.images.checker import check
from anfinsen.images.clip import Clip
from anfinsen.images.datasets import ImageTextDataset, from_bytes, to_bytes
from anfinsen.images.retrieval import RECALL_RANKS, retrieval_recall
from anfinsen.images.scenes import COLOURS, MOST_OBJECTS, POSITIONS, RELATIONS, SHAPES, SIZES, Scene
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.inference.images.dalle2 import DallE2Pipeline
from anfinsen.metrics import frechet_distance, kernel_distance

ATTRIBUTES = ("shapes", "colours", "shape_and_colour", "counts", "relations", "sizes", "all")
BATCH = 64
KERNEL_SUBSETS, LARGEST_SUBSET = 100, 200
WAY = 9  # pictures from one end of an interpolation to the other
Record = dict[str, Any]


class Encoder:
    """CLIP, in batches, without gradients."""

    def __init__(self, clip: Clip, tokenizer: Tokenizer) -> None:
        self.clip, self.tokenizer = clip, tokenizer

    @torch.no_grad()
    def pictures(self, pictures: Tensor) -> Tensor:
        """Return unit embeddings of pictures in bytes [n, 3, 64, 64]."""
        return torch.cat([self.clip.encode_image(from_bytes(part)) for part in pictures.split(BATCH)])

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> Tensor:
        """Return unit embeddings of captions."""
        found = []
        for first in range(0, len(captions), BATCH):
            tokens = self.tokenizer.encode(list(captions[first : first + BATCH]))
            found.append(self.clip.encode_text(tokens.ids, tokens.mask).embedding)
        return torch.cat(found)


def attributes(pictures: np.ndarray, scenes: Sequence[Scene]) -> dict[str, list[int]]:
    """Return, of each attribute, which pictures (bytes, channels last) have it right."""
    found = [check(scene, picture) for scene, picture in zip(scenes, pictures, strict=True)]
    return {name: [int(getattr(each, name)) for each in found] for name in ATTRIBUTES}


def picture_scores(
    encoder: Encoder,
    pictures: np.ndarray,
    captions: Sequence[str],
    scenes: Sequence[Scene],
    reference: Tensor,
    seed: int,
) -> Record:
    """Return attributes, CLIP scores, and distances to real pictures in CLIP's features.

    Args:
        pictures: bytes [n, 64, 64, 3], drawn for ``captions`` of ``scenes``. reference: real ones, [m, 3, 64, 64].
    """
    features = encoder.pictures(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2))
    real = encoder.pictures(reference).numpy()
    size = min(LARGEST_SUBSET, len(features), len(real))
    kernel = kernel_distance(
        features.numpy(), real, numpy_generator(seed, "kernel distance"), subsets=KERNEL_SUBSETS, subset_size=size
    )
    return {
        "n": len(pictures),
        "attributes": attributes(pictures, scenes),
        "clip_scores": [round(float(value), 5) for value in (features * encoder.texts(captions)).sum(1)],
        "frechet": frechet_distance(features.numpy(), real),
        "kernel": [kernel.mean, kernel.std, size],
        "reference": len(real),
    }


def clip_record(encoder: Encoder, datasets: dict[str, ImageTextDataset]) -> Record:
    """Return CLIP's recall, and how often it names attributes of scenes it was never shown."""
    recalls, named = {}, {}
    for name, dataset in datasets.items():
        images, texts = encoder.pictures(dataset.images), encoder.texts(dataset.captions)
        for source in (*dict.fromkeys(dataset.sources), "all"):
            rows = [row for row, each in enumerate(dataset.sources) if source in (each, "all")]
            found = retrieval_recall(images[rows], texts[rows], [dataset.captions[row] for row in rows])
            different = len({dataset.captions[row] for row in rows})
            recalls[f"{name}: {source}"] = {
                "pictures": len(rows),
                "captions": different,
                "to_caption": [found.captions[k] for k in RECALL_RANKS],
                "to_picture": [found.pictures[k] for k in RECALL_RANKS],
            }
        named[name] = zero_shot(encoder, dataset, images)
    return {"recall": recalls, "zero_shot": named}


def alternatives(scene: Scene) -> dict[str, tuple[list[Scene], int]]:
    """Return, of each attribute that a scene's caption says, the scenes with every value of it, and which is right.

    Scenes of one group have shape, colour, both, count, and perhaps size and position; others perhaps a relation.
    """
    if len(scene.groups) > 1:
        if scene.relation is None or len(scene.groups) > 2:
            return {}
        others = [replace(scene, relation=relation) for relation in RELATIONS]
        return {"relation": (others, RELATIONS.index(scene.relation))}
    (group,), colours = scene.groups, tuple(COLOURS)

    def varied(name: str, values: Sequence[Any]) -> tuple[list[Scene], int]:
        now = getattr(group, name)
        return [replace(scene, groups=(replace(group, **{name: value}),)) for value in values], values.index(now)

    both = [(shape, colour) for shape in SHAPES for colour in colours]
    found = {
        "shape": varied("shape", SHAPES),
        "colour": varied("colour", colours),
        "shape and colour": (
            [replace(scene, groups=(replace(group, shape=shape, colour=colour),)) for shape, colour in both],
            both.index(group.kind),
        ),
        "count": varied("count", tuple(range(1, MOST_OBJECTS + 1))),
    }
    if group.size is not None:
        found["size"] = varied("size", SIZES)
    if scene.position is not None:
        found["position"] = ([replace(scene, position=each) for each in POSITIONS], POSITIONS.index(scene.position))
    return found


def zero_shot(encoder: Encoder, dataset: ImageTextDataset, images: Tensor) -> dict[str, Record]:
    """Return, by attribute, which pictures' own caption is the nearest of those that differ in that attribute only."""
    asked: dict[str, list[tuple[int, list[str], int]]] = {}
    for row, scene in enumerate(dataset.scenes):
        for name, (others, right) in alternatives(scene).items() if scene is not None else ():
            asked.setdefault(name, []).append((row, [caption(each) for each in others], right))
    every = sorted({text for questions in asked.values() for _, texts, _ in questions for text in texts})
    place, texts = {text: index for index, text in enumerate(every)}, encoder.texts(every)
    return {
        name: {
            "choices": len(questions[0][1]),
            "right": [
                int(int((texts[[place[text] for text in choices]] @ images[row]).argmax()) == right)
                for row, choices, right in questions
            ],
        }
        for name, questions in asked.items()
    }


def variation_record(
    pipe: DallE2Pipeline, pictures: Tensor, scenes: Sequence[Scene], each: int, seed: int, steps: int | None = None
) -> Record:
    """Return what variations of real pictures (from -1 to 1) keep of their captions, and how near they stay."""
    kept: dict[str, list[list[int]]] = {name: [] for name in ATTRIBUTES}
    cosines = []
    chosen = {} if steps is None else {"num_inference_steps": steps}
    for index, (picture, scene) in enumerate(zip(pictures, scenes, strict=True)):
        generators = [torch_generator(seed, "variation", index, number) for number in range(each)]
        made = pipe.variation(picture, num_images=each, generator=generators, output_type="pt", **chosen).images
        found = attributes(to_bytes(made), [scene] * each)
        for name in ATTRIBUTES:
            kept[name].append(found[name])
        with torch.no_grad():
            both = pipe.clip.encode_image(torch.cat([picture[None], made]))
        cosines += [round(float(value), 5) for value in both[1:] @ both[0]]
    return {"attributes": kept, "cosines": cosines}


def interpolation_record(
    pipe: DallE2Pipeline, pictures: Tensor, pairs: int, seed: int, steps: int | None = None
) -> Record:
    """Return how pictures between two others move in CLIP's space.

    Of each picture on the way: its cosine with the last end minus that with the first.
    """
    chosen = {} if steps is None else {"num_inference_steps": steps}
    ways = []
    for index in range(pairs):
        ends = pictures[2 * index : 2 * index + 2]
        generator = torch_generator(seed, "interpolation", index)
        made = pipe.interpolate(*ends, steps=WAY, generator=generator, output_type="pt", **chosen).images
        with torch.no_grad():
            first, last = pipe.clip.encode_image(ends)
            ways.append([round(float(value), 5) for value in pipe.clip.encode_image(made) @ (last - first)])
    return {"ways": ways}


def monotony(way: Sequence[float]) -> tuple[float, float]:
    """Return the rank correlation of a way with its places, and the share of its steps that lead forward.

    A way that does not move at all has no ranks; it counts as 0.
    """
    rises = np.diff(way) > 0
    if np.ptp(way) == 0:
        return 0.0, 0.0
    return float(stats.spearmanr(range(len(way)), way).statistic), float(rises.mean())
