from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.common.errors import InputError
from anfinsen.images.rendering import (
    EXTENTS,
    PICTURE_SIZE,
    SAMPLES,
    coverage,
    draw,
    holds,
    outline,
    place,
    render,
    third,
)
from anfinsen.images.scenes import COLOURS, POSITIONS, RELATIONS, SHAPES, Group, Scene, sample_scene


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_objects_never_overlap_and_are_never_cut_off(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scene = sample_scene(generator)
    objects = place(scene, generator)
    assert [sum(each.group == index for each in objects) for index in range(len(scene.groups))] == [
        group.count for group in scene.groups
    ]
    masks = [coverage(each.shape, each.x, each.y, each.extent) for each in objects]
    assert sum(mask > 0 for mask in masks).max() == 1
    for each, mask in zip(objects, masks, strict=True):
        group = scene.groups[each.group]
        assert (each.shape, each.colour) == group.kind
        assert group.size in {None, each.size}
        assert EXTENTS[each.size][0] <= each.extent <= EXTENTS[each.size][1]
        corners = np.array(outline(each.shape)) * each.extent
        area = _shoelace(corners)
        # Pillow draws a polygon's edge too, which adds about half a sample all round.
        assert area < mask.sum() < area + np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1).sum() / SAMPLES
    picture = draw(objects)
    assert np.array_equal(picture.min(axis=2) < 255, sum(masks) > 0)


def _shoelace(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def test_shapes_fill_their_box_but_do_not_leave_it() -> None:
    for shape in SHAPES:
        corners = np.array(outline(shape))
        assert np.abs(corners).max() <= 0.55
        assert (np.ptp(corners, axis=0) > 0.85).all()
    with pytest.raises(InputError, match="no shape"):
        outline("blob")


def test_pictures_depend_on_the_generator_alone() -> None:
    scene = Scene((Group("star", "red", None, 3), Group("cross", "blue")), "left")
    same = [render(scene, np.random.default_rng(5)) for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], render(scene, np.random.default_rng(6)))
    colours = {tuple(map(int, pixel)) for pixel in same[0].reshape(-1, 3)}
    assert {COLOURS["red"], COLOURS["blue"], (255, 255, 255)} <= colours


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("number", [2, 3])
def test_relations_hold_in_pictures(relation: str, number: int) -> None:
    groups = (Group("star", "red", None, 2), Group("cross", "blue"), Group("heart", "green", "small", 2))[:number]
    for seed in range(20):
        objects = place(Scene(groups, relation), np.random.default_rng(seed))
        middles = [
            np.mean([(each.x, each.y) for each in objects if each.group == index], axis=0) for index in range(number)
        ]
        for first, second in pairwise(middles):
            assert [name for name in RELATIONS if holds(name, tuple(first), tuple(second))] == [relation]


@pytest.mark.parametrize("position", POSITIONS)
def test_positions_hold_in_pictures(position: str) -> None:
    row = 0 if "top" in position else 2 if "bottom" in position else 1
    column = 0 if "left" in position else 2 if "right" in position else 1
    for group in (Group("star", "red", "large"), Group("circle", "blue", "small", 4), Group("heart", "red", None, 3)):
        for seed in range(10):
            objects = place(Scene((group,), position=position), np.random.default_rng(seed))
            xs, ys = [each.x for each in objects], [each.y for each in objects]
            assert third((min(xs) + max(xs)) / 2) == column
            assert third((min(ys) + max(ys)) / 2) == row


def test_what_cannot_fit_is_refused() -> None:
    crowd = Scene((Group("star", "red", "large", 4), Group("cross", "blue", "large", 4)), "above")
    assert not crowd.fits
    with pytest.raises(InputError, match=f"8 objects .* do not fit into a picture of {PICTURE_SIZE} pixels"):
        render(crowd, np.random.default_rng(0))


def test_every_scene_that_should_fit_does() -> None:
    generator = np.random.default_rng(7)
    sizes = (None, "small", "large")
    for _ in range(150):
        number = int(generator.integers(1, 4))
        groups = tuple(
            Group(shape, "red", sizes[generator.integers(3)], int(generator.integers(1, 5)))
            for shape in SHAPES[:number]
        )
        scene = Scene(groups, str(generator.choice(RELATIONS)) if number > 1 else None)
        if scene.fits:
            assert len(place(scene, generator)) == sum(group.count for group in groups)
