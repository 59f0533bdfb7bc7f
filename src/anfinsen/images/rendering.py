"""Scenes as pictures: where objects stand, and their pixels (64 x 64, on white, 4 x 4 samples a pixel).

Lengths and places are in pixels; x grows to the right and y downwards, from the upper left corner. Every shape is a
polygon in a unit box; an object's ``extent`` is the side of its box. Objects never overlap and are never cut off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from anfinsen.common.errors import InputError

from .scenes import COLOURS, RELATIONS, SIZES, Group, Scene

PICTURE_SIZE = 64
SAMPLES = 4  # a pixel, along each side
EXTENTS = {"small": (12.5, 14.0), "large": (22.5, 24.5)}
"""Smallest and largest extent of each size."""
MARGIN = 1.0  # to the picture's edge
OBJECT_GAP = (3.0, 5.0)  # between objects of a group
GROUP_GAP = 4.0  # between groups, at the least
ALIGNMENT = 0.7  # of the way to the next group, at the most, it is shifted sideways
MIDDLE_JITTER = 3.0  # of a group in the middle, to both sides
EDGE_REACH = 20.16  # from an edge to the centre of a group that stands there, at the most
_MOST_TRIES = 200
_FITTING_TRIES = 40  # then sizes that are not said are small, and two or more groups as thin as can be

# Rows of objects that a group can form.
_ARRANGEMENTS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((1,),),
    2: ((2,), (1, 1)),
    3: ((3,), (1, 1, 1), (1, 2), (2, 1)),
    4: ((2, 2),),
}


@dataclass(frozen=True)
class Placed:
    """One object in a picture: centre of its box and extent, both in pixels; ``group`` numbers the scene's groups."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    extent: float
    group: int = 0


@dataclass(frozen=True)
class _Block:
    """A group's objects, relative to the upper left corner of the box around them."""

    objects: tuple[Placed, ...]
    width: float
    height: float


def render(scene: Scene, generator: np.random.Generator) -> UInt8[np.ndarray, "64 64 3"]:
    """Return a picture of ``scene``; places, sizes and what the scene leaves open are drawn from ``generator``.

    Raises:
        InputError: the objects do not fit into a picture.
    """
    return draw(place(scene, generator))


def draw(objects: Sequence[Placed]) -> UInt8[np.ndarray, "64 64 3"]:
    """Return a picture of ``objects`` on white."""
    image = Image.new("RGB", (PICTURE_SIZE * SAMPLES, PICTURE_SIZE * SAMPLES), "white")
    canvas = ImageDraw.Draw(image)
    for each in objects:
        canvas.polygon(_corners(each.shape, each.x, each.y, each.extent), fill=COLOURS[each.colour])
    return np.asarray(image.reduce(SAMPLES), dtype=np.uint8)


def coverage(shape: str, x: float, y: float, extent: float, size: int = PICTURE_SIZE) -> Float[np.ndarray, "size size"]:
    """Return which part of each pixel of a picture of ``size`` pixels an object covers, 0 to 1."""
    image = Image.new("L", (size * SAMPLES, size * SAMPLES), 0)
    ImageDraw.Draw(image).polygon(_corners(shape, x, y, extent), fill=255)
    return np.asarray(image.reduce(SAMPLES), dtype=np.float64) / 255


def place(scene: Scene, generator: np.random.Generator) -> tuple[Placed, ...]:
    """Return the objects of ``scene`` at places drawn from ``generator``.

    Raises:
        InputError: the objects do not fit into a picture.
    """
    relation = scene.relation or str(generator.choice(RELATIONS))
    for attempt in range(_MOST_TRIES):
        spare = ("height" if relation in {"above", "below"} else "width") if attempt >= _FITTING_TRIES else None
        blocks = [_block(group, index, generator, spare) for index, group in enumerate(scene.groups)]
        if len(blocks) == 1:
            corners = _place_one(blocks[0], scene.position, generator)
        else:
            corners = _place_in_line(blocks, relation, generator)
        if corners is not None:
            return tuple(
                replace(each, x=each.x + left, y=each.y + top)
                for block, (left, top) in zip(blocks, corners, strict=True)
                for each in block.objects
            )
    raise InputError(
        f"{sum(group.count for group in scene.groups)} objects of the sizes asked for do not fit into a picture of "
        f"{PICTURE_SIZE} pixels: ask for fewer or smaller ones."
    )


def third(centre: float) -> int:
    """Return in which third of the picture an object or a group counts that has its centre there: 0, 1 or 2."""
    border = (EDGE_REACH + PICTURE_SIZE / 2 - MIDDLE_JITTER) / 2  # halfway between the two kinds of place
    return 0 if centre < border else 2 if centre > PICTURE_SIZE - border else 1


def _block(group: Group, index: int, generator: np.random.Generator, spare: str | None) -> _Block:
    """Arrange a group in rows; with ``spare`` ("width" or "height") it is often made to take little of that."""
    size = group.size or ("small" if spare else str(generator.choice(SIZES)))
    choices = _ARRANGEMENTS[group.count]
    if spare is not None and generator.random() < 0.5:
        choices = (min(choices, key=max if spare == "width" else len),)
    rows = choices[int(generator.integers(len(choices)))]
    smallest, largest = EXTENTS[size]
    cell = largest + generator.uniform(*OBJECT_GAP)
    widest = max(rows)
    objects = []
    for row, number in enumerate(rows):
        for column in range(number):
            extent = generator.uniform(smallest, largest)
            wiggle = generator.uniform(-1, 1, 2) * (largest - extent) / 2
            x = largest / 2 + cell * (column + (widest - number) / 2) + wiggle[0]
            y = largest / 2 + cell * row + wiggle[1]
            objects.append(Placed(group.shape, group.colour, size, x, y, extent, index))
    return _Block(tuple(objects), largest + cell * (widest - 1), largest + cell * (len(rows) - 1))


def _place_one(block: _Block, position: str | None, generator: np.random.Generator) -> list[tuple[float, float]] | None:
    """Return the upper left corner of a lone group's box, or None where it does not fit."""
    words = position.split() if position else []
    spans = []
    for extent, (first, last) in ((block.width, ("left", "right")), (block.height, ("top", "bottom"))):
        low, high = MARGIN + extent / 2, PICTURE_SIZE - MARGIN - extent / 2
        half = PICTURE_SIZE / 2
        if first in words:
            high = min(high, EDGE_REACH)
        elif last in words:
            low = max(low, PICTURE_SIZE - EDGE_REACH)
        elif words:
            low, high = max(low, half - MIDDLE_JITTER), min(high, half + MIDDLE_JITTER)
        if low > high:
            return None
        spans.append(generator.uniform(low, high) - extent / 2)
    return [(float(spans[0]), float(spans[1]))]


def _place_in_line(
    blocks: list[_Block], relation: str, generator: np.random.Generator
) -> list[tuple[float, float]] | None:
    """Return the upper left corners of groups that stand in a line, in the blocks' order, or None where too large."""
    vertical = relation in {"above", "below"}
    backwards = relation in {"below", "right"}
    ordered = blocks[::-1] if backwards else blocks
    along = np.array([block.height if vertical else block.width for block in ordered])
    across = np.array([block.width if vertical else block.height for block in ordered])
    room = PICTURE_SIZE - 2 * MARGIN
    slack = room - along.sum() - GROUP_GAP * (len(blocks) - 1)
    if slack < 0 or across.max() > room:
        return None
    # The space that is left is split at random before, between and after the groups.
    parts = np.diff(np.sort(generator.uniform(0, slack, len(blocks))), prepend=0.0)
    starts = MARGIN + np.cumsum(parts) + np.concatenate([[0], np.cumsum(along[:-1] + GROUP_GAP)])
    centres = starts + along / 2
    sideways: list[float] = []
    for index, extent in enumerate(across):
        low, high = MARGIN + extent / 2, PICTURE_SIZE - MARGIN - extent / 2
        if sideways:
            reach = ALIGNMENT * (centres[index] - centres[index - 1])
            low, high = max(low, sideways[-1] - reach), min(high, sideways[-1] + reach)
        if low > high:
            return None
        sideways.append(float(generator.uniform(low, high)))
    corners = [
        (side - wide / 2, start) if vertical else (start, side - wide / 2)
        for side, wide, start in zip(sideways, across, map(float, starts), strict=True)
    ]
    corners = [(float(left), float(top)) for left, top in corners]
    return corners[::-1] if backwards else corners


def holds(relation: str, first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Return whether ``relation`` holds between two places (x, y): one quarter of all directions is each relation's."""
    right, down = second[0] - first[0], second[1] - first[1]
    along = down if relation in {"above", "below"} else right
    across = right if relation in {"above", "below"} else down
    if relation in {"below", "right"}:
        along = -along
    return bool(along > abs(across))


def _corners(shape: str, x: float, y: float, extent: float) -> list[tuple[float, float]]:
    """Return a polygon's corners in samples; Pillow counts from the middle of the first sample."""
    return [((x + extent * u) * SAMPLES - 0.5, (y + extent * v) * SAMPLES - 0.5) for u, v in outline(shape)]


@lru_cache
def outline(shape: str) -> tuple[tuple[float, float], ...]:
    """Return the corners of a shape's polygon in a box from -0.5 to 0.5 on both axes."""
    if shape == "circle":
        turns = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        return tuple((0.5 * math.cos(turn), 0.5 * math.sin(turn)) for turn in turns)
    if shape == "square":  # as heavy to the eye as the circle
        return ((-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45))
    if shape == "triangle":
        return ((0.0, -0.46), (0.5, 0.42), (-0.5, 0.42))
    if shape == "star":
        turns = np.arange(10) * math.pi / 5 - math.pi / 2
        radii = np.where(np.arange(10) % 2 == 0, 0.52, 0.225)
        return tuple((r * math.cos(turn), r * math.sin(turn) + 0.03) for r, turn in zip(radii, turns, strict=True))
    if shape == "heart":  # x = 16 sin³ t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, the usual curve
        turns = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        across = 16 * np.sin(turns) ** 3
        up = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
        return tuple((float(u) / 33, -float(v + 2.5) / 33) for u, v in zip(across, up, strict=True))
    if shape == "cross":
        arm = 0.16
        quarter: tuple[tuple[float, float], ...] = ((arm, -0.5), (arm, -arm), (0.5, -arm))
        corners: list[tuple[float, float]] = []
        for _ in range(4):
            corners.extend(quarter)
            quarter = tuple((-v, u) for u, v in quarter)  # turned by a right angle
        return tuple(corners)
    raise InputError(f"There is no shape {shape!r}.")
