"""Pictures with captions on disk: a torch data set over the folder that ``scripts/image_data.py`` makes.

``{split}-images.npy`` holds 8-bit pictures [n, 64, 64, 3]; ``{split}.jsonl`` one line for each (caption, source,
scene); ``about.json`` the versions, the seed and the licence. Scenes come first, siblings (see ``scenes.sibling``) side
by side: scenes 0 and 1, 2 and 3, and so on. Then come the emoji.
"""

from __future__ import annotations

import json
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.files import atomic_path, write_text

from .rendering import PICTURE_SIZE
from .scenes import Scene

SPLITS = ("train", "validation", "test", "heldout")
SOURCES = ("scenes", "emoji")
_LEVELS = 255  # of 8-bit pictures


@dataclass(frozen=True)
class Captioned:
    """What one picture shows: its caption, where it comes from (one of ``SOURCES``), and its scene, if it has one."""

    caption: str
    source: str
    scene: Scene | None = None


def split_files(split: str) -> tuple[str, str]:
    """Return the names of a split's two files: pictures and captions."""
    return f"{split}-images.npy", f"{split}.jsonl"


class ImageTextDataset(Dataset[tuple[Tensor, str]]):
    """One split of a data folder; an item is (8-bit picture [3, 64, 64], caption).

    Pictures stay in the file until they are used, and programs that read the same file share the memory.

    Raises:
        ConfigError: there is no such split or source.
        InputError: a file is missing or damaged, or no picture is of these sources.
    """

    def __init__(self, folder: Path | str, split: str, sources: Sequence[str] = SOURCES) -> None:
        if split not in SPLITS:
            raise ConfigError(f"There is no split {split!r}: expected one of {', '.join(SPLITS)}.")
        if not sources or set(sources) - set(SOURCES):
            raise ConfigError(f"The sources are {', '.join(sources) or 'none'}: expected some of {', '.join(SOURCES)}.")
        folder = Path(folder)
        images, captions = (folder / name for name in split_files(split))
        rows = read_captions(captions)
        pictures = _read_pictures(images, len(rows))
        chosen = [index for index, row in enumerate(rows) if row.source in sources]
        if not chosen:
            raise InputError(f"{folder} has no pictures of {', '.join(sources)} in its split {split!r}.")
        if chosen == list(range(chosen[0], chosen[-1] + 1)):  # a slice is no copy
            pictures = pictures[chosen[0] : chosen[-1] + 1]
        else:
            pictures = pictures[chosen]
        self.images: UInt8[Tensor, "n 3 64 64"] = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        """All pictures; in memory the channels stand last (a view of the file)."""
        self.captions: list[str] = [rows[index].caption for index in chosen]
        """Their captions."""
        self.sources: list[str] = [rows[index].source for index in chosen]
        """Where each comes from, one of ``SOURCES``."""
        self.scenes: list[Scene | None] = [rows[index].scene for index in chosen]
        """Their scenes; None for an emoji."""

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "3 64 64"], str]:
        return self.images[index], self.captions[index]


def from_bytes(images: UInt8[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch 3 h w"]:
    """Return 8-bit pictures as float32 numbers from -1 to 1."""
    return images.float() / (_LEVELS / 2) - 1


def to_bytes(pictures: Float[Tensor, "*batch 3 h w"]) -> UInt8[np.ndarray, "*batch h w 3"]:
    """Return pictures of numbers from -1 to 1 (others are clipped) as 8-bit arrays, channels last.

    Raises:
        InputError: a number is not finite.
    """
    if not bool(torch.isfinite(pictures).all()):
        raise InputError("A picture holds numbers that are not finite.")
    levels = ((pictures.detach().float() + 1) * (_LEVELS / 2)).round().clamp(0, _LEVELS)
    return levels.to(torch.uint8).movedim(-3, -1).cpu().numpy()


def write_split(folder: Path, split: str, pictures: UInt8[np.ndarray, "n 64 64 3"], rows: Sequence[Captioned]) -> None:
    """Write one split's two files, each whole or not at all.

    Raises:
        OutputError: they cannot be written.
    """
    images, captions = (folder / name for name in split_files(split))
    with atomic_path(images) as temporary, temporary.open("wb") as file:
        np.save(file, pictures)
    lines = (
        {"caption": row.caption, "source": row.source, "scene": None if row.scene is None else row.scene.to_mapping()}
        for row in rows
    )
    write_text(captions, "".join(json.dumps(line) + "\n" for line in lines))


def read_captions(path: Path) -> list[Captioned]:
    """Read the captions of one split.

    Raises:
        InputError: the file is missing, or a line is not as :func:`write_split` writes it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The captions {path} cannot be read ({error}): make the folder with scripts/image_data.py."
        ) from error
    return [_read_line(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _read_line(line: str, where: str) -> Captioned:
    try:
        values: dict[str, Any] = json.loads(line)
        caption, source, scene = values["caption"], values["source"], values["scene"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where} is no captioned picture: expected caption, source and scene as JSON.") from error
    if not isinstance(caption, str) or source not in SOURCES or not isinstance(scene, dict | None):
        raise InputError(
            f"{where} is no captioned picture: expected a caption, a source ({' or '.join(SOURCES)}), a scene or null."
        )
    try:
        return Captioned(caption, source, None if scene is None else Scene.from_mapping(scene))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _read_pictures(path: Path, number: int) -> UInt8[np.ndarray, "n 64 64 3"]:
    try:
        # "c": changes, which torch cannot forbid, never reach the file.
        pictures = np.lib.format.open_memmap(path, mode="c")
    except (OSError, ValueError, tokenize.TokenError) as error:  # the last is of a damaged header
        raise InputError(
            f"The pictures {path} cannot be read ({error}): make the folder with scripts/image_data.py."
        ) from error
    expected = (number, PICTURE_SIZE, PICTURE_SIZE, 3)
    if pictures.dtype != np.uint8 or pictures.shape != expected:
        raise InputError(
            f"The pictures {path} are {pictures.dtype} {pictures.shape}: expected uint8 {expected}, one "
            "for each caption; make the folder anew with scripts/image_data.py."
        )
    return np.asarray(pictures)
