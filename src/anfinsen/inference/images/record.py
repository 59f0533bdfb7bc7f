"""What a pipeline's callback saw of each step, in bytes that a page can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from .files import byte_tensor

MAX_SHOWN = 9  # pictures whose steps are kept
MAX_FRAMES = 40  # steps that are kept of one stage


@dataclass(frozen=True)
class DenoisingFrames:
    """F steps of one stage, of P pictures.

    Attributes:
        stage: "decoder", "upsampler" or "transformer". step: number of each, from 0. of: steps of the stage.
        sigma: level that each step started at (of a transformer: the share of codes that is missing).
        noisy: x, scaled to the spread of pictures, as bytes; None where there is no noise (DALL·E 1).
        clean: D(x, sigma) as bytes.
    """

    stage: str
    step: tuple[int, ...]
    of: int
    sigma: tuple[float, ...]
    noisy: UInt8[Tensor, "F P h w 3"] | None
    clean: UInt8[Tensor, "F P h w 3"]


@dataclass
class DenoisingRecorder:
    """A pipeline's ``callback_on_step_end`` that keeps what it is told.

    Noisy pictures are kept at unit scale, x / sqrt(1 + (sigma / sigma_data)²): at every level they have the spread of
    pictures. (What a network sees is a multiple of that with EDM's c_in, and x / sqrt(1 + sigma²) otherwise.)
    """

    sigma_data: float = 0.5
    _seen: dict[str, list[tuple[float, Tensor | None, Tensor]]] = field(default_factory=dict)

    def __call__(self, pipeline: object, step: int, timestep: float, kwargs: Mapping[str, Any]) -> None:
        """Keep one step; the prior's embeddings cannot be looked at, and are not kept."""
        clean: Tensor = kwargs["clean"]
        if clean.ndim != 4:
            return
        noisy: Tensor = kwargs["latents"]
        scaled = None
        if noisy.ndim == 4:
            scaled = byte_tensor(noisy[:MAX_SHOWN] / (1 + (timestep / self.sigma_data) ** 2) ** 0.5)
        self._seen.setdefault(kwargs["stage"], []).append((timestep, scaled, byte_tensor(clean[:MAX_SHOWN])))

    def stages(self) -> tuple[DenoisingFrames, ...]:
        """Return what was seen, stage by stage; of many steps as many as can be told apart."""
        return tuple(_frames(stage, seen) for stage, seen in self._seen.items())


def _frames(stage: str, seen: list[tuple[float, Tensor | None, Tensor]]) -> DenoisingFrames:
    count = min(len(seen), MAX_FRAMES)
    chosen = [round(place * (len(seen) - 1) / max(count - 1, 1)) for place in range(count)]
    noisy = [seen[place][1] for place in chosen]
    kept = [each for each in noisy if each is not None]
    return DenoisingFrames(
        stage=stage,
        step=tuple(chosen),
        of=len(seen),
        sigma=tuple(seen[place][0] for place in chosen),
        noisy=torch.stack(kept) if len(kept) == count else None,
        clean=torch.stack([seen[place][2] for place in chosen]),
    )
