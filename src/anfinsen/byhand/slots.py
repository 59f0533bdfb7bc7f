"""What cells of a tensor stand for: which token, head, channel, ... each one belongs to.

Every traced tensor carries, for some of the `SLOTS`, an integer array that broadcasts to its shape: "this cell is about
token 3 (slot ``i``) and token 7 (slot ``j``), channel 12 (slot ``c``)". They follow the values through the operations,
so that a user may name tokens, heads and channels, and tiles can name their rows and columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Labels = dict[str, NDArray[np.int32]]
"""By slot: an array that broadcasts to the tensor's shape; -1: none."""

# Slots in the order in which labels name them, and the family of each: members of a family count the same things.
SLOTS: dict[str, str] = {
    "b": "sample",
    "s": "sequence",
    "t": "sequence",
    "p": "part",
    "h": "head",
    "i": "token",
    "j": "token",
    "k": "token",
    "l": "atom",
    "m": "atom",
    "y": "row",
    "x": "column",
    "c": "channel",
    "d": "channel",
    "e": "channel",
}
FAMILIES: dict[str, tuple[str, ...]] = {
    family: tuple(slot for slot, of in SLOTS.items() if of == family) for family in dict.fromkeys(SLOTS.values())
}
# How one member of a family is written where the caller gave no names: as users write them (tokens count from 1).
_WRITTEN = {
    "sample": ("sample ", 1),
    "sequence": ("sequence ", 1),
    "head": ("head ", 0),
    "token": ("", 1),
    "atom": ("atom ", 1),
    "row": ("y", 0),
    "column": ("x", 0),
    "channel": ("c", 0),
}
# What the letters of shapes in our signatures count; widths ("c_z", "64") are channels.
_DIMENSIONS = {
    "n": "token", "N": "token", "m": "token", "rows": "sequence", "s": "sequence", "S": "sequence", "e": "sequence",
    "heads": "head", "h": "row", "w": "column", "a": "atom", "A": "atom", "b": "sample", "samples": "sample",
    "sample": "sample", "channel": "channel", "token": "token", "head": "head", "sequence": "sequence",
    "atom": "atom", "row": "row", "column": "column",
}  # fmt: skip
_QUOTED = re.compile(r"\[[^\[\]\"']*[\"']([^\"']*)[\"']\]")


@dataclass
class Names:
    """Words for labels.

    Attributes:
        members: by family, the name of each member ("token": ("M1", "K2", ...)); others are counted.
        parts: names of the parts that slot ``p`` counts ("q", "k", ...), in order of first use.
    """

    members: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def part(self, name: str) -> int:
        """Return the number of a part."""
        if name not in self.parts:
            self.parts.append(name)
        return self.parts.index(name)

    def of(self, slot: str, value: int) -> str:
        """Return how member ``value`` of ``slot`` is written."""
        family = SLOTS[slot]
        if family == "part":
            return self.parts[value]
        known = self.members.get(family, ())
        if value < len(known):
            return known[value]
        prefix, first = _WRITTEN[family]
        return f"{slot if slot in 'de' else prefix}{value + first}"


def parse_axes(text: str, ndim: int) -> tuple[str | None, ...]:
    """Return the slot of each axis of a tensor whose shape is written like ``"*batch n n c_z"`` (None: unnamed)."""
    words = [word.lstrip("*#").partition("=")[2] or word.lstrip("*#") for word in text.split() if word[0] not in "*."]
    words = words[-ndim:] if ndim else []
    slots: list[str | None] = [None] * (ndim - len(words))
    for word in words:
        known = _DIMENSIONS.get(word)
        family = known or ("channel" if word[:1] == "c" or word.isdigit() else None)
        free = [slot for slot in FAMILIES.get(family or "", ()) if slot not in slots]
        slots.append(word if word in SLOTS and known is None and word not in slots else (free[0] if free else None))
    return tuple(slots)


def known_sizes(slots: Sequence[str | None], shape: Sequence[int], names: Names) -> tuple[str | None, ...]:
    """Return ``slots`` with unnamed axes named that are as long as there are tokens (sequences, ...) with names.

    Signatures such as ``"*batch c"`` say nothing of what a block is used on.
    """
    lengths = {len(members): family for family, members in reversed(list(names.members.items()))}
    result = list(slots)
    for axis, size in enumerate(shape):
        if result[axis] is None and axis < len(shape) - 1 and size in lengths:
            free = [slot for slot in FAMILIES[lengths[size]] if slot not in result]
            result[axis] = free[0] if free else None
    return tuple(result)


def shape_text(annotation: object) -> str:
    """Return the shape that a jaxtyping annotation states, "" if there is none."""
    found = _QUOTED.search(annotation if isinstance(annotation, str) else str(annotation))
    return found.group(1) if found else str(getattr(annotation, "dim_str", ""))


def axis_labels(shape: Sequence[int], slots: Sequence[str | None]) -> Labels:
    """Return the labels of a tensor whose axes count members of ``slots``."""
    labels: Labels = {}
    for axis, slot in enumerate(slots):
        if shape[axis] == 1 and slot is None:
            continue
        # What nobody named: the last axis channels, the others places.
        order = ("c", "d", "e") if axis == len(shape) - 1 else ("y", "x", "b", "e", "d")
        free = [other for other in order if other not in (*slots, *labels)]
        chosen = slot if slot is not None else (free[0] if free else None)
        if chosen is not None:
            extent = [1] * len(shape)
            extent[axis] = shape[axis]
            labels[chosen] = np.arange(shape[axis], dtype=np.int32).reshape(extent)
    return labels


def compress(labels: Labels) -> Labels:
    """Return ``labels`` with axes along which they do not change reduced to 1, and without empty slots."""
    result: Labels = {}
    for slot, given in labels.items():
        values = given
        for axis, size in enumerate(given.shape):
            if size > 1 and (values.strides[axis] == 0 or bool((values == values.take([0], axis)).all())):
                values = values.take([0], axis)
        if values.size and (values >= 0).any():
            result[slot] = values
    return result


def merge(parts: Sequence[Labels], ndim: int) -> Labels:
    """Return the labels of an element-wise result: each slot from the first operand that has it."""
    merged: Labels = {}
    for labels in parts:
        for slot, values in labels.items():
            merged.setdefault(slot, values.reshape((1,) * (ndim - values.ndim) + values.shape))
    return merged


def along_lines(labels: Labels, ndim: int) -> Labels:
    """Return the slots that do not change along the last axis, without that axis (a sum over it keeps these)."""
    kept: Labels = {}
    for slot, values in labels.items():
        full = values.reshape((1,) * (ndim - values.ndim) + values.shape)
        if full.shape[-1] == 1:
            kept[slot] = full[..., 0]
    return kept


def product_labels(left: Labels, right: Labels) -> Labels:
    """Return the labels of [batch, m, n] from those of the lines [batch, m] and [batch, n] of a matrix product.

    Where both factors use one slot for different things (query j and key j), the two move to two slots of the family,
    in order.
    """
    result: Labels = {}
    rows = {slot: values[..., :, None] for slot, values in left.items()}
    columns = {slot: values[..., None, :] for slot, values in right.items()}
    # A slot that only the batch axes carry is the same thing in both factors.
    for slot in SLOTS:
        a, b = rows.get(slot), columns.get(slot)
        if a is None or b is None:
            continue
        if a.shape[-2] > 1 and b.shape[-1] > 1:
            continue
        result[slot] = a if a.shape[-2] > 1 or b.shape[-1] == 1 else b
        del rows[slot], columns[slot]
    clashing = [slot for slot in SLOTS if slot in rows and slot in columns]
    for slot in {*rows, *columns} - set(clashing):
        result[slot] = rows.get(slot, columns.get(slot))  # type: ignore[assignment]  # one of the two has it
    for slot in clashing:
        free = [other for other in FAMILIES[SLOTS[slot]] if other == slot or other not in result]
        result[free[0]] = rows[slot]
        if len(free) > 1:
            result[free[1]] = columns[slot]
    return compress(result)
