"""What frozen networks say of the data, computed once: CLIP's embeddings and encodings, the discrete VAE's codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import BFloat16, Bool, Float, Int
from torch import Tensor

from anfinsen.common.errors import InputError, WeightsError
from anfinsen.common.progress import Progress
from anfinsen.images.clip import Clip, ClipText
from anfinsen.images.dalle1 import DiscreteVae
from anfinsen.weights.tensors import read_tensors, write_tensors

from .data import ImageData, chunks

_CHUNK = 256  # pictures, or captions, at once


@dataclass(frozen=True)
class ClipFeatures:
    """CLIP's view of a split.

    Attributes:
        images: unit embedding of each picture.
        texts, encodings, masks: unit embedding, encodings and real tokens of each different caption.
        groups: the caption of each picture.
    """

    images: Float[Tensor, "n c"]
    texts: Float[Tensor, "captions c"]
    encodings: BFloat16[Tensor, "captions text c_text"]
    masks: Bool[Tensor, "captions text"]
    groups: Int[Tensor, "n"]

    def text(self, rows: Int[Tensor, "b"], device: torch.device | str = "cpu") -> ClipText:
        """Return what CLIP makes of the captions of these pictures."""
        chosen = self.groups[rows]
        parts = (part[chosen].to(device) for part in (self.texts, self.encodings, self.masks))
        embedding, encodings, mask = parts
        return ClipText(embedding, encodings.float(), mask)


@dataclass(frozen=True)
class FeatureStore:
    """Where features are kept, so that a run that goes on, or the next network's, need not compute them again.

    Attributes:
        folder: of the files. device: where the networks are. bf16: whether they compute in bfloat16 where it is safe.
        progress: is told.
    """

    folder: Path
    device: torch.device
    bf16: bool
    progress: Progress

    def clip(self, clip: Clip, sha256: str, data: ImageData) -> ClipFeatures:
        """Return CLIP's view of ``data``; ``sha256`` is of CLIP's weights file.

        Raises:
            InputError: the stored features cannot be read. OutputError: they cannot be stored.
        """
        path = self._path("clip", sha256, data)
        if not path.is_file():
            write_tensors(path, self._clip(clip, data), {})
        return ClipFeatures(**_kept(path), groups=data.groups)

    def codes(self, dvae: DiscreteVae, sha256: str, data: ImageData) -> Int[Tensor, "n h w"]:
        """Return the codes of all pictures; ``sha256`` is of the discrete VAE's weights file.

        Raises:
            InputError: the stored codes cannot be read. OutputError: they cannot be stored.
        """
        path = self._path("dvae", sha256, data)
        if not path.is_file():
            write_tensors(path, {"codes": self._codes(dvae, data)}, {})
        return _kept(path)["codes"].long()

    def _path(self, network: str, sha256: str, data: ImageData) -> Path:
        precision = "bf16" if self.bf16 else "float32"
        return self.folder / f"{network}-{sha256[:12]}-{data.digest[:12]}-{data.split}-{precision}.safetensors"

    @torch.no_grad()
    def _clip(self, clip: Clip, data: ImageData) -> dict[str, Tensor]:
        # Captions are numbered as they appear: each is new where the highest number so far rises.
        highest = data.groups.cummax(0).values
        first = highest.diff(prepend=highest.new_tensor([-1])).nonzero().flatten()
        pictures = chunks(len(data), _CHUNK)
        captions = [first[rows] for rows in chunks(len(first), _CHUNK)]
        self.progress.stage(f"CLIP of the {data.split} split", len(pictures) + len(captions))
        images, texts, encodings = [], [], []
        for rows in pictures:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                images.append(clip.encode_image(data.pictures(rows, self.device)).float().cpu())
            self.progress.advance()
        for rows in captions:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                text = clip.encode_text(data.ids[rows].to(self.device), data.mask[rows].to(self.device))
            texts.append(text.embedding.float().cpu())
            encodings.append(text.encodings.bfloat16().cpu())
            self.progress.advance()
        parts = {"images": torch.cat(images), "texts": torch.cat(texts), "encodings": torch.cat(encodings)}
        return {**parts, "masks": data.mask[first]}

    @torch.no_grad()
    def _codes(self, dvae: DiscreteVae, data: ImageData) -> Int[Tensor, "n h w"]:
        pictures = chunks(len(data), _CHUNK)
        self.progress.stage(f"codes of the {data.split} split", len(pictures))
        codes = []
        for rows in pictures:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                codes.append(dvae.codes(data.pictures(rows, self.device)).to(torch.int16).cpu())
            self.progress.advance()
        return torch.cat(codes)


def _kept(path: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(path).tensors
    except WeightsError as error:
        raise InputError(
            f"{path} cannot be read; it was to hold what a network says of the data: delete it, and it is made again."
        ) from error
