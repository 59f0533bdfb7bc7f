"""Named emoji of an Iconify icon set (such as Microsoft's Fluent flat set, MIT licence) as pictures with captions."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from anfinsen.common.errors import InputError, MissingExtraError

from .rendering import PICTURE_SIZE
from .scenes import HELD_OUT

FILE_NAME = "icons.json"
VALIDATION_SHARE = TEST_SHARE = 0.05
_DRAWN_LARGER = 2  # than needed, then averaged: resvg's edges are hard to see, but small gaps show
_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_SKIN_TONE = re.compile(r"-(?:medium-light|medium-dark|light|medium|dark)$")
_WOMAN_OR_MAN = re.compile(r"^(?:woman|man|women|men)-")


@dataclass(frozen=True)
class Icon:
    """One emoji: its name (words joined by hyphens) and its SVG document."""

    name: str
    svg: str

    @property
    def caption(self) -> str:
        """ "the red apple emoji", which is grammatical for every kind of name ("dashing away", "jeans")."""
        return f"the {self.name.replace('-', ' ')} emoji"

    @property
    def split(self) -> str:
        """The split that it belongs to, by its name alone: 90 % train, 5 % validation and 5 % test."""
        digest = hashlib.sha256(self.name.encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        if share < VALIDATION_SHARE:
            return "validation"
        return "test" if share < VALIDATION_SHARE + TEST_SHARE else "train"


def read_icons(path: Path) -> list[Icon]:
    """Return the useful icons of a set, sorted by name: a folder with ``icons.json``, or that file.

    Left out are skin tones, women and men beside a person who does the same, second names of one drawing, and what
    would show training a shape and colour that scenes hold out (a green circle, say).

    Raises:
        InputError: the file is missing or is no icon set.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        icons: dict[str, dict[str, Any]] = content["icons"]
        drawings = {name: _svg(icon, content) for name, icon in sorted(icons.items()) if not icon.get("hidden")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The icon set {path} cannot be read ({error}): expected icons.json of an Iconify package."
        ) from error
    known: set[str] = set()
    found = []
    for name in sorted(drawings, key=lambda name: (len(name), name)):  # the shortest name of a drawing stays
        if _is_useful(name, drawings) and drawings[name] not in known:
            known.add(drawings[name])
            found.append(Icon(name, drawings[name]))
    return sorted(found, key=lambda icon: icon.name)


def rasterise(svg: str) -> UInt8[np.ndarray, "64 64 3"]:
    """Return an SVG document as a picture on white.

    Raises:
        InputError: it is no SVG document that can be drawn.
        MissingExtraError: the library is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtraError("Drawing emoji needs resvg-py: pip install 'anfinsen[images]'.") from error
    side = PICTURE_SIZE * _DRAWN_LARGER
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=side, height=side, background="#ffffff", skip_system_fonts=True
        )
        with Image.open(io.BytesIO(bytes(png)), formats=("PNG",)) as opened:
            image = opened.convert("RGB")
    except (ValueError, OSError) as error:
        raise InputError(f"An emoji cannot be drawn: {error}.") from error
    return np.asarray(image.reduce(_DRAWN_LARGER), dtype=np.uint8)


def _svg(icon: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(side, content.get(side, 16)) for side in ("width", "height"))  # 16: Iconify's default
    side = max(width, height)  # a square, in whose middle the drawing stands
    frame = f'width="{side}" height="{side}" viewBox="{left} {top} {width} {height}"'
    return f"<svg {_NAMESPACES} {frame}>{icon['body']}</svg>"


def _is_useful(name: str, drawings: Mapping[str, str]) -> bool:
    if _SKIN_TONE.sub("", name) != name and _SKIN_TONE.sub("", name) in drawings:
        return False
    activity = _WOMAN_OR_MAN.sub("", name)
    if activity != name and (activity in drawings or f"person-{activity}" in drawings):
        return False
    words = set(name.split("-"))
    return not any({shape, colour} <= words for shape, colour in HELD_OUT)
