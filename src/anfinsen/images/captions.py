"""Scenes in words, and words back into scenes: "two small red circles above a large blue square".

:func:`describe` writes grammatical captions in several wordings; :func:`parse` reads all of them, and some more freely
(digits, spare articles, "center"). Both stand on the same tables of words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from anfinsen.common.errors import InputError

from .scenes import COLOURS, SHAPES, Group, Scene

# Captions say the first word or phrase of each, now and then the second; the others are only read.
NUMBERS = {1: ("a", "one", "an", "1"), 2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
PLURALS = {shape: f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in SHAPES}
RELATION_WORDS = {
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
}
POSITION_WORDS = {
    "top left": ("in the top left corner", "in the upper left corner", "at the top left"),
    "top": ("at the top", "in the upper middle"),
    "top right": ("in the top right corner", "in the upper right corner", "at the top right"),
    "left": ("on the left", "on the left side"),
    "middle": ("in the middle", "in the centre", "in the center"),
    "right": ("on the right", "on the right side"),
    "bottom left": ("in the bottom left corner", "in the lower left corner", "at the bottom left"),
    "bottom": ("at the bottom", "in the lower middle"),
    "bottom right": ("in the bottom right corner", "in the lower right corner", "at the bottom right"),
}
LEADS = ("a picture of", "an image of", "a drawing of", "there is", "there are")

# How often a caption takes another than the plain wording.
OTHER_WORD = 0.2
OTHER_PHRASE = 0.4
LEAD_SAID = 0.25
TURNED_ROUND = 0.2

_GROUP = (
    rf"(?:the )?(?:({'|'.join(word for words in NUMBERS.values() for word in words)}) )?"
    rf"(?:({'|'.join(word for words in SIZE_WORDS.values() for word in words)}) )?"
    rf"({'|'.join(COLOURS)}) ({'|'.join((*PLURALS.values(), *SHAPES))})"
)
_RELATION = f"({'|'.join(phrase for phrases in RELATION_WORDS.values() for phrase in reversed(phrases))})"
_POSITION = f"({'|'.join(phrase for phrases in POSITION_WORDS.values() for phrase in reversed(phrases))})"
_LEAD = re.compile(rf"^(?:{'|'.join(LEADS)}) ")
_ALONE = re.compile(rf"{_GROUP}(?: {_POSITION})?")
_IN_LINE = re.compile(rf"{_GROUP} {_RELATION} {_GROUP}(?: {_RELATION} {_GROUP})?")
_TURNED = re.compile(rf"{_GROUP} with {_GROUP} {_RELATION} (?:it|them)")
_LISTED = re.compile(rf"{_GROUP}(?: {_GROUP})? and {_GROUP}")
_GROUP_PARTS = 4  # that the pattern of a group captures
_SHOWN = 80  # letters of a text that an error shows


def caption(scene: Scene) -> str:
    """Return the plain caption of ``scene``, always the same."""
    return _write(scene, None)


def describe(scene: Scene, generator: np.random.Generator) -> str:
    """Return a caption of ``scene`` in a wording drawn from ``generator``."""
    return _write(scene, generator)


def parse(text: str) -> Scene:
    """Return the scene that a caption asks for; what it leaves open (a size, say) is None.

    Raises:
        InputError: the text does not describe a scene of these shapes, colours and relations.
    """
    words = " ".join(re.findall(r"[^\W_]+", text.lower()))
    body = _LEAD.sub("", words)
    if found := _ALONE.fullmatch(body):
        parts = found.groups()
        return Scene((_group(parts[:_GROUP_PARTS]),), position=_meaning(POSITION_WORDS, parts[-1]))
    if found := _TURNED.fullmatch(body):
        parts = found.groups()
        beside, first = _group(parts[:_GROUP_PARTS]), _group(parts[_GROUP_PARTS : 2 * _GROUP_PARTS])
        return Scene((first, beside), _meaning(RELATION_WORDS, parts[-1]))
    if found := _IN_LINE.fullmatch(body):
        parts = found.groups()
        step = _GROUP_PARTS + 1
        groups = tuple(
            _group(parts[start : start + _GROUP_PARTS]) for start in (0, step, 2 * step) if _said(parts, start)
        )
        relations = {
            _meaning(RELATION_WORDS, part) for part in (parts[_GROUP_PARTS], parts[step + _GROUP_PARTS]) if part
        }
        if len(relations) > 1:
            raise InputError(
                f"The text {text[:_SHOWN]!r} has two relations: three groups stand in one line, such as "
                "'a red circle above a blue square above a green star'."
            )
        return Scene(groups, relations.pop())
    if found := _LISTED.fullmatch(body):
        parts = found.groups()
        starts = (0, _GROUP_PARTS, 2 * _GROUP_PARTS)
        return Scene(tuple(_group(parts[start : start + _GROUP_PARTS]) for start in starts if _said(parts, start)))
    raise InputError(
        f"The text {text[:_SHOWN]!r} does not describe a scene: expected such as "
        "'two small red circles above a large blue square' or 'a red star in the top left corner'; "
        f"shapes are {', '.join(SHAPES)}, colours are {', '.join(COLOURS)}, numbers go up to four."
    )


def _write(scene: Scene, generator: np.random.Generator | None) -> str:
    groups = [_noun_phrase(group, generator) for group in scene.groups]
    relation = None if scene.relation is None else _pick(RELATION_WORDS[scene.relation], OTHER_PHRASE, generator)
    if scene.position is not None:
        body = f"{groups[0]} {_pick(POSITION_WORDS[scene.position], OTHER_PHRASE, generator)}"
    elif relation is None:
        body = " and ".join([", ".join(groups[:-1]), groups[-1]] if len(groups) > 1 else groups)
    elif len(groups) == 2 and generator is not None and generator.random() < TURNED_ROUND:
        pronoun = "it" if scene.groups[1].count == 1 else "them"
        lead = _lead(scene.groups[1], generator)
        return f"{lead}{groups[1]} with {groups[0]} {relation} {pronoun}"
    else:
        body = f" {relation} ".join(groups)
    # Three groups are long enough: a caption should fit into the transformers' 24 tokens.
    lead = _lead(scene.groups[0], generator) if generator is not None and len(groups) < 3 else ""
    return lead + body


def _lead(first: Group, generator: np.random.Generator) -> str:
    if generator.random() >= LEAD_SAID:
        return ""
    if generator.random() < 0.5:
        return "there is " if first.count == 1 else "there are "
    return "a picture of "


def _noun_phrase(group: Group, generator: np.random.Generator | None) -> str:
    size = [] if group.size is None else [_pick(SIZE_WORDS[group.size], OTHER_WORD, generator)]
    noun = group.shape if group.count == 1 else PLURALS[group.shape]
    words = [*size, group.colour, noun]
    number = NUMBERS[group.count][0]
    if group.count == 1:
        number = _pick(("an" if words[0][0] in "aeiou" else "a", "one"), OTHER_WORD / 2, generator)
    return " ".join([number, *words])


def _pick(words: tuple[str, ...], other: float, generator: np.random.Generator | None) -> str:
    """Return the first of ``words``, or with the chance ``other`` the second."""
    return words[0] if generator is None or generator.random() >= other else words[1]


def _group(parts: tuple[str | None, ...]) -> Group:
    number, size, colour, noun = parts
    shape = next(shape for shape in SHAPES if noun in {shape, PLURALS[shape]})
    if number is None and noun == PLURALS[shape]:
        raise InputError(f"The text does not say how many {noun} there are: write such as 'two {colour} {noun}'.")
    count = next((count for count, words in NUMBERS.items() if number in words), 1)
    return Group(shape, str(colour), _meaning(SIZE_WORDS, size), count)


def _said(parts: tuple[str | None, ...], start: int) -> bool:
    return parts[start + _GROUP_PARTS - 1] is not None


def _meaning(table: Mapping[str, tuple[str, ...]], phrase: str | None) -> str | None:
    return next((meaning for meaning, phrases in table.items() if phrase in phrases), None)
