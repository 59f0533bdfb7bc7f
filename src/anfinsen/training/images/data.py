"""Captioned pictures in memory, tokenised once, and the order in which a run sees them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from anfinsen.common.errors import InputError
from anfinsen.common.files import file_sha256
from anfinsen.common.seeding import torch_generator
from anfinsen.images.dalle2 import to_base
from anfinsen.images.datasets import ImageTextDataset, from_bytes, split_files
from anfinsen.images.tokenizer import Tokenizer

ABOUT = "about.json"
Split = Literal["train", "validation", "test", "heldout"]


@dataclass(frozen=True)
class ImageData:
    """One split of a data folder.

    Attributes:
        captions: of the pictures. images: pictures as stored, RGB.
        ids, mask: tokens of the captions, and which of them are real.
        groups: a number for each different caption, from 0 in order of first appearance.
        scenes: how many pictures are procedural scenes: the first ones, siblings side by side; the rest are emoji.
        split: which it is. digest: SHA-256 of the split's files and of what the folder says of itself.
    """

    captions: tuple[str, ...]
    images: UInt8[Tensor, "n 3 64 64"]
    ids: Int[Tensor, "n text"]
    mask: Bool[Tensor, "n text"]
    groups: Int[Tensor, "n"]
    scenes: int
    split: Split
    digest: str

    def __len__(self) -> int:
        return len(self.images)

    def pictures(self, rows: Int[Tensor, "b"], device: torch.device | str = "cpu") -> Float[Tensor, "b 3 64 64"]:
        """Return pictures in [-1, 1], in the layout that convolutions like."""
        return from_bytes(self.images[rows].to(device)).contiguous(memory_format=torch.channels_last)

    def small(self, rows: Int[Tensor, "b"], device: torch.device | str = "cpu") -> Float[Tensor, "b 3 32 32"]:
        """Return pictures of half the size, as the decoder makes them."""
        return to_base(self.pictures(rows, device))


def read_captions(folder: Path) -> list[str]:
    """Return the captions that a tokenizer of this data is trained on: those of the training split.

    Raises:
        InputError: the folder is not whole.
    """
    return list(_dataset(folder, "train").captions)


def read_images(folder: Path, split: Split, tokenizer: Tokenizer) -> ImageData:
    """Return a split of a data folder, which `scripts/image_data.py` made.

    Raises:
        InputError: the folder is not whole, or a caption is too long for the tokenizer.
    """
    data = _dataset(folder, split)
    try:
        tokens = tokenizer.encode(data.captions)
    except InputError as error:
        raise InputError(f"The captions of {folder}, split {split}, cannot be used. {error}") from error
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(caption, len(numbers)) for caption in data.captions]
    scenes = sum(scene is not None for scene in data.scenes)
    return ImageData(
        tuple(data.captions),
        data.images,
        tokens.ids,
        tokens.mask,
        torch.tensor(groups),
        scenes,
        split,
        _digest(folder, split),
    )


def _check_about(folder: Path) -> None:
    """Refuse a folder whose `about.json` is missing or no JSON: it was not made, or not to its end."""
    path = folder / ABOUT
    try:
        json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{folder} is no folder of captioned pictures: cannot read {path} ({error.strerror}); make one with "
            "scripts/image_data.py."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): make the folder anew with scripts/image_data.py.") from error


def _digest(folder: Path, split: Split) -> str:
    """Return the hash under which a run, its weights and its features remember their data."""
    total = hashlib.sha256()
    for name in (ABOUT, *split_files(split)):
        total.update(bytes.fromhex(file_sha256(folder / name)))
    return total.hexdigest()


@lru_cache(maxsize=1)  # the tokenizer and the first split are of the same file
def _dataset(folder: Path, split: Split) -> ImageTextDataset:
    _check_about(folder)
    return ImageTextDataset(folder, split)


class Batches:
    """The order in which a run sees pictures: every one once, in another order, before any other round begins.

    Neighbours of the data stay together: scenes come as siblings that differ in one thing, and a contrastive batch
    that holds both must tell them apart.
    """

    def __init__(self, scenes: int, total: int, emoji_repeats: int, batch: int, seed: int) -> None:
        """Keep the sizes.

        Args:
            scenes, total: pictures that are scenes, and all of them.
            emoji_repeats: how often the others come in the time that scenes come once.
            batch: pictures of a step.
            seed: decides the order.

        Raises:
            InputError: there are fewer than two pictures.
        """
        if total < 2:
            raise InputError(f"The training split has {total} picture: expected two at least, to tell them apart.")
        first = torch.arange(0, scenes - scenes % 2, 2)
        others = torch.arange(scenes - scenes % 2, total)
        # Emoji have no siblings: two halves of their list make the pairs, and one that is left goes with picture 0.
        others = torch.cat([others, others.new_zeros(len(others) % 2)]).reshape(2, -1).T
        self._pairs = torch.cat([torch.stack([first, first + 1], dim=1), others.repeat(emoji_repeats, 1)])
        self._batch, self._seed = batch, seed
        self._epochs: dict[int, Tensor] = {}

    @property
    def epoch(self) -> int:
        """Pictures of one round."""
        return 2 * len(self._pairs)

    def at(self, step: int) -> Int[Tensor, "b"]:
        """Return the rows of step number ``step``, from 0."""
        begin, rows = step * self._batch, []
        end = begin + self._batch
        while begin < end:
            epoch, offset = divmod(begin, self.epoch)
            part = self._order(epoch)[offset : offset + end - begin]
            rows.append(part)
            begin += len(part)
        return torch.cat(rows)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            order = torch.randperm(len(self._pairs), generator=torch_generator(self._seed, "epoch", epoch))
            # Two are kept: a step may end one round and begin the next.
            self._epochs = {e: rows for e, rows in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self._pairs[order].flatten()
        return self._epochs[epoch]


def chunks(count: int, size: int) -> Sequence[Int[Tensor, "b"]]:
    """Return the rows 0 to ``count`` - 1 in chunks of at most ``size``."""
    return [torch.arange(first, min(first + size, count)) for first in range(0, count, size)]
