import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.common.errors import InputError
from anfinsen.images.captions import caption, describe, parse
from anfinsen.images.scenes import COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, Group, Scene

GROUPS = st.builds(
    Group,
    st.sampled_from(SHAPES),
    st.sampled_from(sorted(COLOURS)),
    st.sampled_from([None, *SIZES]),
    st.integers(1, 4),
)

NOUN_PHRASE = re.compile(rf"\b(an?|one|two|three|four) (?:\w+ )?(?:{'|'.join(COLOURS)}) (\w+)")


PARTS = st.tuples(
    st.lists(GROUPS, min_size=1, max_size=3, unique_by=lambda group: group.kind),
    st.sampled_from([None, *RELATIONS]),
    st.sampled_from([None, *POSITIONS]),
)


def scene_of(parts: tuple[list[Group], str | None, str | None]) -> Scene:
    groups, relation, position = parts
    return Scene(tuple(groups), position=position) if len(groups) == 1 else Scene(tuple(groups), relation)


@settings(max_examples=400, deadline=None)
@given(PARTS, st.integers(0, 2**32))
def test_every_wording_is_read_back(parts, seed: int) -> None:
    scene = scene_of(parts)
    text = describe(scene, np.random.default_rng(seed))
    assert parse(text) == scene
    assert parse(caption(scene)) == scene


@settings(max_examples=200, deadline=None)
@given(PARTS, st.integers(0, 2**32))
def test_captions_are_grammatical(parts, seed: int) -> None:
    scene = scene_of(parts)
    text = describe(scene, np.random.default_rng(seed))
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text)
    for number, words in NOUN_PHRASE.findall(text):
        plural = words.endswith("s") and not words.endswith("cross")
        assert plural == (number in {"two", "three", "four"})
    if text.startswith("there"):
        assert text.startswith("there is") == bool(re.match(r"there (?:is|are) (?:an?|one) ", text))
    assert (text.endswith(" it")) <= bool(re.search(r"\b(?:an?|one) .* with ", text))


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        (
            Scene((Group("circle", "red", "small", 2), Group("square", "blue", "large")), "above"),
            "two small red circles above a large blue square",
        ),
        (Scene((Group("star", "green"),), position="bottom right"), "a green star in the bottom right corner"),
        (Scene((Group("cross", "orange", None, 3),)), "three orange crosses"),
        (
            Scene((Group("cross", "orange"), Group("heart", "red"), Group("star", "black")), "left"),
            "an orange cross left of a red heart left of a black star",
        ),
        (
            Scene((Group("cross", "orange"), Group("heart", "red", None, 2), Group("star", "black"))),
            "an orange cross, two red hearts and a black star",
        ),
    ],
)
def test_plain_captions(scene: Scene, text: str) -> None:
    assert caption(scene) == text


@pytest.mark.parametrize(
    "text",
    [
        "2 small red circles over 1 big blue square",
        "A picture of TWO little red circles above a large blue square.",
        "there is a huge blue square with two tiny red circles above it",
        "an image of the two small red circles above the large blue square",
    ],
)
def test_free_wordings_are_understood(text: str) -> None:
    assert parse(text) == Scene((Group("circle", "red", "small", 2), Group("square", "blue", "large")), "above")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not describe a scene"),
        ("a cat on a mat", "does not describe a scene"),
        ("five red circles", "numbers go up to four"),
        ("red circles", "does not say how many circles"),
        ("a red circle above a blue square left of a green star", "two relations"),
        ("a red circle above a red circle", "the same shape and colour"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse(text)
    except InputError as error:
        assert "\n" not in str(error)
