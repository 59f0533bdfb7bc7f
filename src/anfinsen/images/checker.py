"""What a picture shows: its objects read back, and whether they are what a caption asks for.

Knows only the renderer's shapes and colours, no network. Works on generated pictures too, whose edges are soft and
whose colours are near a colour of the scenes rather than exact: a pixel's coverage is how far its colour lies from
white towards the object's colour. Coverage summed over an object (its area) and its centre of mass do not change with
blur, so for each shape they give the one box that the object would have; the shape drawn nearest is the object's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from .rendering import EXTENTS, PICTURE_SIZE, coverage, holds, third
from .scenes import COLOURS, SHAPES, Group, Scene

FOREGROUND = 0.5  # of coverage: pixels that make an object
LEAST_AREA = 0.35  # of the smallest object there is: smaller specks are none
RIM = 2  # pixels around an object where its soft edge lies
BLURS = (0.4, 0.9, 1.4)  # pixels: an edge's softness is not the object's
FULL = 90  # percentile of an object's coverage that counts as fully covered
SIZE_LIMIT = (EXTENTS["small"][1] + EXTENTS["large"][0]) / 2
_WHITE = 255.0
_WINDOW = 40  # pixels around an object: a large one with its soft edge
_THIRDS = {"left": 0, "top": 0, "right": 2, "bottom": 2}


@dataclass(frozen=True)
class Found:
    """One object of a picture: its centre and extent (the side of its box) in pixels, and how badly its shape fits.

    ``misfit`` is the squared difference to the shape's drawing, relative to the drawing.
    """

    shape: str
    colour: str
    size: str
    x: float
    y: float
    extent: float
    misfit: float

    @property
    def kind(self) -> tuple[str, str]:
        """Shape and colour."""
        return self.shape, self.colour


@dataclass(frozen=True)
class Attributes:
    """What of a scene a picture has right."""

    shapes: bool
    """The shapes that it shows are those asked for, no more and no fewer."""
    colours: bool
    """So are the colours."""
    shape_and_colour: bool
    """So are the pairs of shape and colour."""
    counts: bool
    """So is the number of objects of each pair."""
    relations: bool
    """The relation holds between the groups, or the position of the one group; true where none is asked for."""
    sizes: bool
    """All objects of each pair have the size asked for, if any is."""

    @property
    def all(self) -> bool:
        """Everything is right."""
        return self.shape_and_colour and self.counts and self.relations and self.sizes


def check(scene: Scene, picture: UInt8[np.ndarray, "64 64 3"]) -> Attributes:
    """Return what ``picture`` has right of ``scene``."""
    return compare(scene, read_picture(picture))


def compare(scene: Scene, found: Sequence[Found]) -> Attributes:
    """Return what the objects ``found`` in a picture have right of ``scene``.

    Groups are told apart by shape and colour: where those are missing, so are their relation and size.
    """
    members = [[each for each in found if each.kind == group.kind] for group in scene.groups]
    kinds = {group.kind for group in scene.groups}
    complete = all(members)
    return Attributes(
        shapes={each.shape for each in found} == {shape for shape, _ in kinds},
        colours={each.colour for each in found} == {colour for _, colour in kinds},
        shape_and_colour={each.kind for each in found} == kinds,
        counts=len(found) == sum(map(len, members))
        and all(len(objects) == group.count for objects, group in zip(members, scene.groups, strict=True)),
        relations=complete and _stand_right(scene, [_middle(objects) for objects in members]),
        sizes=complete and all(map(_sized_right, members, scene.groups)),
    )


def read_picture(picture: UInt8[np.ndarray, "64 64 3"]) -> list[Found]:
    """Return the objects of a picture on white, from top to bottom."""
    darkness = _WHITE - picture.astype(np.float64)
    covered, offness = _coverages(darkness)
    nearest = offness.argmin(axis=0)
    strength = np.take_along_axis(covered, nearest[None], axis=0)[0]
    labels, number = _label(nearest, strength > FOREGROUND)
    found = []
    for label in range(1, number + 1):
        inside = labels == label
        colour = int(nearest[inside][0])
        # The soft edge belongs to the object, as far as it is not another's.
        around = ndimage.binary_dilation(inside, iterations=RIM) & ((labels == 0) | inside)
        each = _read_object(np.where(around, covered[colour].clip(0), 0.0), inside, list(COLOURS)[colour])
        if each is not None:
            found.append(each)
    return sorted(found, key=lambda each: (each.y, each.x))


def _coverages(
    darkness: Float[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "colours h w"], Float[np.ndarray, "colours h w"]]:
    """Return how far each pixel lies from white (0) towards each colour (1), and how far off that line it is."""
    colours = _WHITE - np.array(list(COLOURS.values()), dtype=np.float64)
    covered = np.einsum("hwc,nc->nhw", darkness, colours) / (colours**2).sum(axis=1)[:, None, None]
    nearest = covered.clip(0, 1)[..., None] * colours[:, None, None]
    return covered, ((darkness - nearest) ** 2).sum(axis=-1)


def _label(nearest: Int[np.ndarray, "h w"], solid: Bool[np.ndarray, "h w"]) -> tuple[Int[np.ndarray, "h w"], int]:
    """Number connected pixels of one colour from 1; specks are taken out, and what is no object is 0."""
    labels = np.zeros(nearest.shape, dtype=np.int64)
    number = 0
    for colour in range(len(COLOURS)):
        parts, most = ndimage.label(solid & (nearest == colour))
        for part in range(1, most + 1):
            inside = parts == part
            if inside.sum() >= LEAST_AREA * _smallest_area():
                number += 1
                labels[inside] = number
    return labels, number


def _read_object(covered: Float[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"], colour: str) -> Found | None:
    full = float(np.percentile(covered[inside], FULL))
    covered = covered / full
    area = float(covered.sum())
    row, column = ndimage.center_of_mass(covered)
    # A window around the object, its centre of mass in the middle pixel.
    top, left = round(row) - _WINDOW // 2, round(column) - _WINDOW // 2
    seen = _window(covered, top, left)
    best: Found | None = None
    for shape in SHAPES:
        unit_area, (across, down) = _unit(shape)
        extent = float(np.sqrt(area / unit_area))
        if extent > _WINDOW:  # no object of a scene
            return None
        x, y = column + 0.5 - across * extent, row + 0.5 - down * extent
        drawn = coverage(shape, x - left, y - top, extent, _WINDOW)
        for blur in BLURS:
            misfit = _difference(seen, ndimage.gaussian_filter(drawn, blur))
            if best is None or misfit < best.misfit:
                size = "small" if extent < SIZE_LIMIT else "large"
                best = Found(shape, colour, size, float(x), float(y), extent, misfit)
    return best


def _window(covered: Float[np.ndarray, "h w"], top: int, left: int) -> Float[np.ndarray, "size size"]:
    padded = np.pad(covered, _WINDOW)
    return padded[top + _WINDOW : top + 2 * _WINDOW, left + _WINDOW : left + 2 * _WINDOW]


def _difference(seen: Float[np.ndarray, "h w"], drawn: Float[np.ndarray, "h w"]) -> float:
    return float(((seen - drawn) ** 2).sum() / (drawn**2).sum())


@lru_cache
def _unit(shape: str) -> tuple[float, tuple[float, float]]:
    """Return the area of a shape of extent 1, and its centre of mass (x, y) from the middle of its box."""
    extent = PICTURE_SIZE / 2
    drawn = coverage(shape, extent, extent, extent)
    row, column = ndimage.center_of_mass(drawn)
    middle = extent - 0.5
    return float(drawn.sum() / extent**2), ((float(column) - middle) / extent, (float(row) - middle) / extent)


@lru_cache
def _smallest_area() -> float:
    return min(_unit(shape)[0] for shape in SHAPES) * EXTENTS["small"][0] ** 2


def _middle(objects: Sequence[Found]) -> tuple[float, float]:
    """Return the middle (x, y) of the box around the objects' centres, or NaN without objects."""
    if not objects:
        return float("nan"), float("nan")
    xs, ys = [each.x for each in objects], [each.y for each in objects]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2


def _sized_right(objects: Sequence[Found], group: Group) -> bool:
    return group.size is None or all(each.size == group.size for each in objects)


def _stand_right(scene: Scene, middles: Sequence[tuple[float, float]]) -> bool:
    if scene.position is not None:
        words = scene.position.split()
        x, y = middles[0]
        column = next((_THIRDS[word] for word in words if word in {"left", "right"}), None)
        row = next((_THIRDS[word] for word in words if word in {"top", "bottom"}), None)
        return third(x) == (1 if column is None else column) and third(y) == (1 if row is None else row)
    if scene.relation is None:
        return True
    return all(holds(scene.relation, first, second) for first, second in pairwise(middles))
