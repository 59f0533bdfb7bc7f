"""`anfinsen train clip` and the commands of the other image networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .train_arguments import run_training, with_shared_options

if TYPE_CHECKING:
    from anfinsen.training.images.options import Network

_Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder made by scripts/image_data.py.", show_default=False)
]
_Preset = Annotated[str, typer.Option(help="Size of the network: mini or small.")]
_Clip = Annotated[str, typer.Option(metavar="WEIGHTS", help="CLIP that it stands on: a bundled model or a file.")]
_Dvae = Annotated[
    str, typer.Option(metavar="WEIGHTS", help="Discrete VAE whose codes it writes: a bundled model or a file.")
]
_Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where to keep what that network says of the data, so that other runs need not ask it again.",
        show_default="in the output folder",
    ),
]
_Noise = Annotated[
    str | None,
    typer.Option(
        metavar="KIND", help="Noise levels of training: log-normal, cosine or linear.", show_default="the preset's"
    ),
]
_NoiseMean = Annotated[
    float | None, typer.Option(help="Mean of ln(level), for log-normal.", show_default="the preset's")
]
_NoiseStd = Annotated[
    float | None, typer.Option(help="Standard deviation of ln(level), for log-normal.", show_default="the preset's")
]
_DropEmbedding = Annotated[
    float | None,
    typer.Option(help="Share of examples without CLIP's embedding of the picture.", show_default="the recipe's"),
]
_DropCaption = Annotated[
    float | None, typer.Option(help="Share of examples without the caption.", show_default="the recipe's")
]
_DropBoth = Annotated[
    float | None, typer.Option(help="Share that does without both, besides.", show_default="the recipe's")
]


def add_image_commands(app: typer.Typer) -> None:
    """Add a command for each image network to ``anfinsen train``."""
    app.command("clip", help="Train CLIP on captioned pictures.")(_alone("clip"))
    app.command("dalle2-prior", help="Train DALL·E 2's prior: CLIP's image embedding from a caption.")(
        _on_clip("dalle2-prior")
    )
    app.command("dalle2-decoder", help="Train DALL·E 2's decoder: a small picture from CLIP's embedding.")(_decoder())
    app.command("dalle2-upsampler", help="Train DALL·E 2's upsampler: a picture from a small one.")(
        _on_clip("dalle2-upsampler")
    )
    app.command("dalle1-dvae", help="Train DALL·E 1's discrete VAE: pictures as codes.")(_alone("dalle1-dvae"))
    app.command("dalle1-transformer", help="Train DALL·E 1's transformer: codes from a caption.")(
        _on_dvae("dalle1-transformer")
    )


def _alone(network: Network) -> Callable[..., int]:
    """Return the command of a network that stands on no other."""

    def command(shared: dict[str, Any], data: _Data, preset: _Preset = "mini") -> int:
        return _train(network, {"data": data, "preset": preset, **shared})

    return with_shared_options(command)


def _on_clip(network: Network) -> Callable[..., int]:
    """Return the command of a network of DALL·E 2."""

    def command(
        shared: dict[str, Any],
        data: _Data,
        clip: _Clip = "clip-mini",
        preset: _Preset = "mini",
        noise: _Noise = None,
        noise_mean: _NoiseMean = None,
        noise_std: _NoiseStd = None,
        cache: _Cache = None,
    ) -> int:
        from anfinsen.training.images.options import NoiseOptions

        levels = NoiseOptions(noise, noise_mean, noise_std)
        return _train(network, {"data": data, "preset": preset, **shared}, clip=clip, cache=cache, noise=levels)

    return with_shared_options(command)


def _decoder() -> Callable[..., int]:
    """Return the command of DALL·E 2's decoder, which can do without each of its conditions."""

    def command(
        shared: dict[str, Any],
        data: _Data,
        clip: _Clip = "clip-mini",
        preset: _Preset = "mini",
        noise: _Noise = None,
        noise_mean: _NoiseMean = None,
        noise_std: _NoiseStd = None,
        drop_embedding: _DropEmbedding = None,
        drop_caption: _DropCaption = None,
        drop_both: _DropBoth = None,
        cache: _Cache = None,
    ) -> int:
        from anfinsen.training.images.options import DropOptions, NoiseOptions

        levels = NoiseOptions(noise, noise_mean, noise_std)
        drop = DropOptions(drop_embedding, drop_caption, drop_both)
        run = {"data": data, "preset": preset, **shared}
        return _train("dalle2-decoder", run, clip=clip, cache=cache, noise=levels, drop=drop)

    return with_shared_options(command)


def _on_dvae(network: Network) -> Callable[..., int]:
    """Return the command of a network that writes a discrete VAE's codes."""

    def command(
        shared: dict[str, Any],
        data: _Data,
        dvae: _Dvae = "dalle1-dvae-mini",
        preset: _Preset = "mini",
        cache: _Cache = None,
    ) -> int:
        return _train(network, {"data": data, "preset": preset, **shared}, dvae=dvae, cache=cache)

    return with_shared_options(command)


def _train(network: Network, run: dict[str, Any], **own: Any) -> int:
    from anfinsen.training.images.options import ImageTrainOptions
    from anfinsen.training.images.train import train_images
    from anfinsen.training.options import TrainOptions

    return run_training(train_images, ImageTrainOptions(network, TrainOptions(**run), **own))
