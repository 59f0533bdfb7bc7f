"""Procedural scenes: groups of coloured shapes, how they stand to each other, and which combinations are held out.

The grammar of a scene: one group, perhaps with a position in the picture; or two or three groups, perhaps with one
relation that holds between each and the next. A size, a relation or a position that is None is not said: any will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from anfinsen.common.errors import InputError

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS = {
    "red": (220, 38, 38),
    "orange": (255, 140, 0),
    "yellow": (250, 220, 30),
    "green": (40, 165, 65),
    "blue": (35, 90, 220),
    "purple": (145, 45, 180),
    "black": (25, 25, 25),
}
"""Names of colours and their 8-bit RGB values."""
SIZES = ("small", "large")
RELATIONS = ("above", "below", "left", "right")
OPPOSITES = {"above": "below", "below": "above", "left": "right", "right": "left"}
POSITIONS = (
    "top left",
    "top",
    "top right",
    "left",
    "middle",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
MOST_OBJECTS = 4  # of a group
MOST_GROUPS = 3

HELD_OUT = frozenset(
    {
        ("circle", "green"),
        ("square", "orange"),
        ("square", "yellow"),
        ("triangle", "purple"),
        ("star", "blue"),
        ("heart", "black"),
        ("cross", "red"),
    }
)
"""Shapes with colours that training never shows together: each colour once, each shape once or twice."""

SEEN = tuple((shape, colour) for shape in SHAPES for colour in COLOURS if (shape, colour) not in HELD_OUT)

# How often scenes have one, two and three groups, and how often a thing is said that may be left out.
GROUP_SHARES = (0.35, 0.5, 0.15)
COUNT_SHARES = (0.46, 0.24, 0.17, 0.13)
SIZE_SAID = 0.7
POSITION_SAID = 0.7
RELATION_SAID = 0.92
CHANGES = ("relation", "count", "colour", "shape", "size", "position", "exchange")
"""What :func:`sibling` can change; an exchange gives each of two groups the other's colour."""
_MOST_TRIES = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """So many objects alike: ``count`` of 1 to 4; ``size`` is None where any will do.

    Raises:
        InputError: a word or number is none of those that scenes know.
    """

    shape: str
    colour: str
    size: str | None = None
    count: int = 1

    def __post_init__(self) -> None:
        _check("shape", self.shape, SHAPES)
        _check("colour", self.colour, tuple(COLOURS))
        if self.size is not None:
            _check("size", self.size, SIZES)
        _check("count", self.count, tuple(range(1, MOST_OBJECTS + 1)))

    @property
    def kind(self) -> tuple[str, str]:
        """Shape and colour."""
        return self.shape, self.colour


@dataclass(frozen=True)
class Scene:
    """One to three groups of different kinds; ``relation`` holds between each and the next ("above": the first on top).

    Raises:
        InputError: too many groups, two of one kind, or a relation or position that does not fit their number.
    """

    groups: tuple[Group, ...]
    relation: str | None = None
    position: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.groups) <= MOST_GROUPS:
            raise InputError(f"A scene has 1 to {MOST_GROUPS} groups of objects: {len(self.groups)} were given.")
        if len({group.kind for group in self.groups}) < len(self.groups):
            raise InputError("Two groups of a scene have the same shape and colour: give one of them another colour.")
        if self.relation is not None:
            _check("relation", self.relation, RELATIONS)
        if self.position is not None:
            _check("position", self.position, POSITIONS)
        if self.relation is not None and len(self.groups) == 1:
            raise InputError(f"The relation {self.relation!r} needs two groups: a scene of one can have a position.")
        if self.position is not None and len(self.groups) > 1:
            raise InputError(f"The position {self.position!r} needs a scene of one group, not {len(self.groups)}.")

    @property
    def is_held_out(self) -> bool:
        """Whether any group is of a kind that training never shows."""
        return any(group.kind in HELD_OUT for group in self.groups)

    @property
    def fits(self) -> bool:
        """Whether all objects fit beside each other into a picture of 64 pixels, where they are asked to be."""
        counts = [(group.size, group.count) for group in self.groups]
        if len(counts) == 1:  # four large ones fill the picture
            size, count = counts[0]
            return self.position in {None, "middle"} or size != "large" or count == 1
        large = [count for size, count in counts if size == "large"]
        if any(count > 2 for count in large):
            return False
        fours = sum(count == MOST_OBJECTS for _, count in counts)
        return fours <= 1 if len(counts) == 2 else fours == 0 and len(large) <= 1

    def to_mapping(self) -> dict[str, Any]:
        """Return what :meth:`from_mapping` reads: words, numbers, lists and None."""
        return {**asdict(self), "groups": [asdict(group) for group in self.groups]}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Scene:
        """Read a scene as :meth:`to_mapping` writes it.

        Raises:
            InputError: it does not describe a scene.
        """
        try:
            groups = tuple(Group(**group) for group in mapping["groups"])
            return cls(groups, mapping["relation"], mapping["position"])
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{mapping!r} does not describe a scene: expected groups (shape, colour, size, count), "
                "relation and position."
            ) from error


def sample_scene(generator: np.random.Generator, held_out: bool = False) -> Scene:
    """Draw a scene that fits into a picture, of kinds that training shows.

    With ``held_out``, one of its groups is of a kind that training does not show.
    """
    for _ in range(_MOST_TRIES):
        number = 1 + int(generator.choice(len(GROUP_SHARES), p=GROUP_SHARES))
        kinds = [SEEN[index] for index in generator.choice(len(SEEN), number, replace=False)]
        if held_out:
            unseen = sorted(HELD_OUT)
            kinds[int(generator.integers(number))] = unseen[int(generator.integers(len(unseen)))]
        groups = tuple(_sample_group(kind, generator) for kind in kinds)
        relation = position = None
        if number == 1 and generator.random() < POSITION_SAID:
            position = str(generator.choice(POSITIONS))
        elif number > 1 and generator.random() < RELATION_SAID:
            relation = str(generator.choice(RELATIONS))
        scene = Scene(groups, relation, position)
        if scene.fits:
            return scene
    raise AssertionError("No scene fits.")  # about nine in ten do


def sibling(scene: Scene, generator: np.random.Generator) -> tuple[Scene, str]:
    """Return the same scene with one thing changed, and what that is (one of ``CHANGES``).

    Captions and pictures of siblings differ in little, which makes them hard to tell apart. A sibling of a scene that
    training may show is one too, and a held-out scene's sibling is held out.
    """
    for _ in range(_MOST_TRIES):
        change = str(generator.choice(CHANGES))
        changed = change_scene(scene, change, generator)
        if changed is not None and changed.fits and changed.is_held_out == scene.is_held_out:
            return changed, change
    raise AssertionError(f"{scene} has no sibling.")  # its count can always change


def change_scene(scene: Scene, change: str, generator: np.random.Generator) -> Scene | None:
    """Return ``scene`` with one thing changed (one of ``CHANGES``), or None where it has no such thing.

    The scene that comes out may be held out, or may not fit into a picture.

    Raises:
        InputError: there is no such change.
    """
    _check("change", change, CHANGES)
    if change == "relation":
        return None if scene.relation is None else replace(scene, relation=OPPOSITES[scene.relation])
    if change == "position":
        other = _other(POSITIONS, scene.position, generator)
        return None if scene.position is None else replace(scene, position=other)
    groups = list(scene.groups)
    index = int(generator.integers(len(groups)))
    group = groups[index]
    if change == "exchange":
        if len(groups) == 1:
            return None
        beside = (index + 1) % len(groups)
        groups[index] = replace(group, colour=groups[beside].colour)
        groups[beside] = replace(groups[beside], colour=group.colour)
    elif change == "count":
        groups[index] = replace(group, count=_other(tuple(range(1, MOST_OBJECTS + 1)), group.count, generator))
    elif change == "size":
        if group.size is None:
            return None
        groups[index] = replace(group, size=_other(SIZES, group.size, generator))
    elif change == "colour":
        groups[index] = replace(group, colour=_other(tuple(COLOURS), group.colour, generator))
    else:
        groups[index] = replace(group, shape=_other(SHAPES, group.shape, generator))
    kinds = {each.kind for each in groups}
    # Two groups of one kind are no scene; and those of one colour have nothing to exchange.
    if len(kinds) < len(groups) or (change == "exchange" and kinds == {each.kind for each in scene.groups}):
        return None
    return replace(scene, groups=tuple(groups))


def _sample_group(kind: tuple[str, str], generator: np.random.Generator) -> Group:
    size = str(generator.choice(SIZES)) if generator.random() < SIZE_SAID else None
    count = 1 + int(generator.choice(MOST_OBJECTS, p=COUNT_SHARES))
    return Group(*kind, size=size, count=count)


def _other(choices: tuple[T, ...], now: T | None, generator: np.random.Generator) -> T:
    others = [choice for choice in choices if choice != now]
    return others[int(generator.integers(len(others)))]


def _check(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise InputError(f"The {name} of a scene is {value!r}: expected one of {', '.join(map(str, known))}.")
