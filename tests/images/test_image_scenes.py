import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.common.errors import InputError
from anfinsen.common.seeding import numpy_generator
from anfinsen.images.scenes import (
    CHANGES,
    COLOURS,
    HELD_OUT,
    SEEN,
    SHAPES,
    Group,
    Scene,
    change_scene,
    sample_scene,
    sibling,
)

SEEDS = st.integers(0, 2**32)


def test_each_shape_and_colour_is_seen_often() -> None:
    assert len(HELD_OUT) == 7
    assert not HELD_OUT & set(SEEN)
    for shape in SHAPES:
        assert sum(kind[0] == shape for kind in SEEN) >= 5
    for colour in COLOURS:
        assert sum(kind[1] == colour for kind in SEEN) == len(SHAPES) - 1


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.booleans())
def test_scenes_keep_to_their_combinations_and_mappings(seed: int, held_out: bool) -> None:
    generator = np.random.default_rng(seed)
    scene = sample_scene(generator, held_out)
    assert scene.fits
    assert scene.is_held_out == held_out
    assert Scene.from_mapping(scene.to_mapping()) == scene


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.booleans())
def test_siblings_differ_in_the_one_thing_named(seed: int, held_out: bool) -> None:
    generator = np.random.default_rng(seed)
    scene = sample_scene(generator, held_out)
    other, change = sibling(scene, generator)
    assert other != scene
    assert other.fits
    assert other.is_held_out == held_out
    differences = {
        name
        for one, two in zip(scene.groups, other.groups, strict=True)
        for name in ("shape", "colour", "size", "count")
        if getattr(one, name) != getattr(two, name)
    }
    differences |= {name for name in ("relation", "position") if getattr(scene, name) != getattr(other, name)}
    assert differences == {"colour" if change == "exchange" else change}


def test_all_changes_come_up() -> None:
    generator = numpy_generator(0, "changes")
    seen = {sibling(sample_scene(generator), generator)[1] for _ in range(300)}
    assert seen == set(CHANGES)


def test_a_change_that_a_scene_does_not_have_is_none() -> None:
    generator = numpy_generator(0, "changes")
    alone = Scene((Group("star", "red"),))
    for change in ("relation", "position", "size", "exchange"):
        assert change_scene(alone, change, generator) is None
    same_colour = Scene((Group("star", "red"), Group("circle", "red")), "above")
    assert change_scene(same_colour, "exchange", generator) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Group("blob", "red"), "The shape of a scene is 'blob': expected one of circle, square"),
        (lambda: Group("star", "pink"), "The colour of a scene is 'pink'"),
        (lambda: Group("star", "red", count=5), "The count of a scene is 5: expected one of 1, 2, 3, 4"),
        (lambda: Scene(()), "1 to 3 groups"),
        (lambda: Scene((Group("star", "red"), Group("star", "red", "large"))), "the same shape and colour"),
        (lambda: Scene((Group("star", "red"),), relation="above"), "needs two groups"),
        (lambda: Scene((Group("star", "red"), Group("cross", "blue")), position="top"), "needs a scene of one group"),
        (lambda: Scene.from_mapping({"groups": [{"shape": "star"}]}), "does not describe a scene"),
        (lambda: change_scene(Scene((Group("star", "red"),)), "mood", np.random.default_rng(0)), "The change"),
    ],
)
def test_what_is_no_scene_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
