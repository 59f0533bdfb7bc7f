"""What the user chooses about training an image network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from anfinsen.common.errors import ConfigError

from ..options import TrainOptions
from .recipe import ConditionDrop

Network = Literal["clip", "dalle2-prior", "dalle2-decoder", "dalle2-upsampler", "dalle1-dvae", "dalle1-transformer"]
NETWORKS: tuple[str, ...] = get_args(Network)
MOST_NOISE = 10.0  # of the mean and width of ln(sigma): pictures have a spread of about a half


@dataclass(frozen=True)
class NoiseOptions:
    """Changes to the noise levels that a network of DALL·E 2 is trained at; None: as the preset has it.

    Attributes:
        kind: "log-normal", "cosine" or "linear". mean, std: of ln(sigma), for the first.
    """

    kind: str | None = None
    mean: float | None = None
    std: float | None = None

    def applied(self, config: Any) -> Any:
        """Return the configuration of a network with these levels, which its weights then remember.

        Raises:
            ConfigError: the levels cannot be, or have no mean and width to choose.
        """
        known = ("log-normal", "cosine", "linear")
        if self.kind is not None and self.kind not in known:
            raise ConfigError(f"Training noise {self.kind!r} is unknown: expected one of {', '.join(known)}.")
        kind = self.kind or config.diffusion.noise
        for name, value in (("--noise-mean", self.mean), ("--noise-std", self.std)):
            if value is not None and kind != "log-normal":
                raise ConfigError(
                    f"Option {name} is for log-normal noise levels, and those of this training are {kind}: leave it "
                    "out, or give --noise log-normal."
                )
        if not -MOST_NOISE <= (self.mean or 0.0) <= MOST_NOISE:
            raise ConfigError(f"Option --noise-mean is {self.mean}: expected {-MOST_NOISE:g} to {MOST_NOISE:g}.")
        if self.std is not None and not 0 < self.std <= MOST_NOISE:
            raise ConfigError(f"Option --noise-std is {self.std}: expected more than 0, and {MOST_NOISE:g} at most.")
        chosen = {"noise": self.kind, "noise_mean": self.mean, "noise_std": self.std}
        changes = {name: value for name, value in chosen.items() if value is not None}
        return replace(config, diffusion=replace(config.diffusion, **changes)) if changes else config


@dataclass(frozen=True)
class DropOptions:
    """Changes to how often the decoder is trained without its conditions; None: as the recipe has it.

    Attributes:
        embedding, caption, both: as ``image``, ``text`` and ``both`` of `ConditionDrop`.

    Raises:
        ConfigError: a share is below 0, or leaves nothing.
    """

    embedding: float | None = None
    caption: float | None = None
    both: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("embedding", self.embedding), ("caption", self.caption), ("both", self.both)):
            if value is not None and not 0 <= value < 1:
                raise ConfigError(f"Option --drop-{name} is {value}: expected 0 or more, and less than 1.")

    def applied(self, drop: ConditionDrop) -> ConditionDrop:
        """Return the recipe's shares with these in their place."""
        chosen = {"image": self.embedding, "text": self.caption, "both": self.both}
        return replace(drop, **{name: value for name, value in chosen.items() if value is not None})


@dataclass(frozen=True)
class ImageTrainOptions:
    """Options of ``anfinsen train clip`` and of the other image networks.

    Attributes:
        network: which one. run: data, output folder, preset, seed, device, steps; its ``data`` is a folder that
            ``scripts/image_data.py`` made.
        clip: name or weights file of the CLIP that DALL·E 2 stands on. dvae: likewise of the discrete VAE that
            DALL·E 1's transformer writes in.
        cache: folder of what these say of the data; None: in the output folder.
        noise: levels of training. drop: how often the decoder does without its conditions.

    Raises:
        ConfigError: ``drop`` is given for another network.
    """

    network: Network
    run: TrainOptions
    clip: str = "clip-mini"
    dvae: str = "dalle1-dvae-mini"
    cache: Path | None = None
    noise: NoiseOptions = NoiseOptions()
    drop: DropOptions = DropOptions()

    def __post_init__(self) -> None:
        if self.network != "dalle2-decoder" and self.drop != DropOptions():
            raise ConfigError(
                f"Shares of dropped conditions are for dalle2-decoder, not for {self.network}: leave them."
            )

    @property
    def features(self) -> Path:
        """The folder of what frozen networks say of the data."""
        return self.cache or self.run.out / "cache"
