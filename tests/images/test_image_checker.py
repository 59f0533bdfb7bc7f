from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from anfinsen.common.seeding import numpy_generator
from anfinsen.images.checker import Attributes, check, compare, read_picture
from anfinsen.images.rendering import PICTURE_SIZE, Placed, draw, place, render
from anfinsen.images.scenes import CHANGES, COLOURS, SHAPES, Group, Scene, change_scene, sample_scene

RIGHT = Attributes(True, True, True, True, True, True)


def test_rendered_scenes_are_read_right() -> None:
    generator = numpy_generator(0, "checker")
    wrong = 0
    for index in range(500):
        scene = sample_scene(generator, held_out=index % 5 == 0)
        placed = place(scene, generator)
        found = read_picture(draw(placed))
        wrong += not (compare(scene, found) == RIGHT and _same(placed, found))
    assert wrong <= 2  # 99.5 % right


def _same(placed: tuple[Placed, ...], found: list) -> bool:
    if len(placed) != len(found):
        return False
    for each in placed:
        near = min(found, key=lambda other: (other.x - each.x) ** 2 + (other.y - each.y) ** 2)
        if (near.shape, near.colour, near.size) != (each.shape, each.colour, each.size):
            return False
        # Extents come out a little large: Pillow draws a polygon's edge too.
        if max(abs(near.x - each.x), abs(near.y - each.y)) > 0.3 or abs(near.extent - each.extent) > 1:
            return False
    return True


def _soft(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Blur of 0.7 pixels and noise of 0.05, of the range from -1 to 1."""
    blurred = ndimage.gaussian_filter(picture.astype(float), (0.7, 0.7, 0))
    return (blurred + generator.normal(0, 0.05 * 127.5, picture.shape)).round().clip(0, 255).astype(np.uint8)


def _halved(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    half = Image.fromarray(picture).resize((32, 32), Image.Resampling.BOX)
    return np.asarray(half.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BILINEAR))


def _pale(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Colours that are a little off, and a background that is not quite white."""
    shift = generator.normal(0, 8, 3)
    return (picture * 0.93 + 8 + shift).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("spoil", [_soft, _halved, _pale])
def test_spoilt_pictures_are_read_right(spoil) -> None:
    generator = numpy_generator(1, "checker", spoil.__name__)
    wrong = 0
    for _ in range(150):
        scene = sample_scene(generator)
        wrong += check(scene, spoil(render(scene, generator), generator)) != RIGHT
    assert wrong <= 2


@pytest.mark.parametrize("change", CHANGES)
def test_every_kind_of_change_is_caught(change: str) -> None:
    generator = numpy_generator(2, "checker", change)
    told = {"shape": "shapes", "colour": "shape_and_colour", "exchange": "shape_and_colour", "count": "counts"}
    told |= {"relation": "relations", "position": "relations", "size": "sizes"}
    caught = 0
    while caught < 25:
        scene = sample_scene(generator)
        changed = change_scene(scene, change, generator)
        if changed is None or not changed.fits:
            continue
        found = check(scene, render(changed, generator))
        assert not found.all
        if change != "shape" or {g.shape for g in scene.groups} != {g.shape for g in changed.groups}:
            assert not getattr(found, told[change])
        caught += 1


def test_attributes_are_told_apart() -> None:
    two = Scene((Group("circle", "red", "small"), Group("square", "blue", "small")), "left")
    objects = [Placed("circle", "red", "small", 15.0, 30.0, 13.0), Placed("square", "blue", "small", 45.0, 30.0, 13.0)]
    assert check(two, draw(objects)) == RIGHT
    exchanged = [replace(objects[0], colour="blue"), replace(objects[1], colour="red")]
    assert check(two, draw(exchanged)) == Attributes(True, True, False, False, False, False)
    assert check(two, draw([objects[0]])) == Attributes(False, False, False, False, False, False)
    extra = Placed("circle", "red", "small", 15.0, 50.0, 13.0)
    assert check(two, draw([*objects, extra])) == replace(RIGHT, counts=False)
    larger = replace(objects[1], extent=23.0)
    assert check(two, draw([objects[0], larger])) == replace(RIGHT, sizes=False)
    above = replace(objects[1], x=15.0, y=50.0)
    assert check(two, draw([objects[0], above])) == replace(RIGHT, relations=False)


def test_what_is_not_said_is_not_asked() -> None:
    either = Scene((Group("circle", "red"), Group("square", "blue")))
    for x in (15.0, 50.0):
        objects = [Placed("circle", "red", "large", 32.0, 30.0, 23.0), Placed("square", "blue", "small", x, 55.0, 13.0)]
        assert check(either, draw(objects)) == RIGHT


def test_pictures_without_objects_and_of_noise_are_read() -> None:
    scene = Scene((Group("star", "red"),), position="top")
    white = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 255, dtype=np.uint8)
    assert read_picture(white) == []
    assert check(scene, white) == Attributes(False, False, False, False, False, False)
    for level in (0, 128):  # one blob over everything is no object
        assert read_picture(np.full_like(white, level)) == []
    noise = np.random.default_rng(0).integers(0, 256, white.shape, dtype=np.uint8)
    assert not check(scene, noise).all


def test_every_shape_in_every_colour_is_known_in_both_sizes() -> None:
    for shape in SHAPES:
        for colour in COLOURS:
            found = read_picture(
                draw(
                    [Placed(shape, colour, "small", 14.2, 30.7, 12.8), Placed(shape, colour, "large", 44.6, 30.1, 23.0)]
                )
            )
            assert sorted((each.shape, each.colour, each.size) for each in found) == [
                (shape, colour, "large"),
                (shape, colour, "small"),
            ]
