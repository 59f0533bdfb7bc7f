"""The page of `anfinsen image`: the pictures, and one slider through both diffusions, of pixels and of atoms."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from .. import __version__
from ..inference.images.record import DenoisingFrames
from ..inference.images.run import ImageRequest, ImageResult
from .page import filled, packed

TITLES = {"dalle2": "DALL·E 2", "dalle1": "DALL·E 1"}
_STAGES = {"decoder": "Decoder, 32 pixels", "upsampler": "Upsampler, 64 pixels", "transformer": "Codes, row by row"}
_SHORT_HASH = 12


@dataclass(frozen=True)
class ImageReport:
    """What a page shows.

    Attributes:
        request: what was asked for. result: what came out.
        trajectory: of AlphaFold 3 (`Trajectory.record`). own_trajectory: it is the user's, not the bundled one.
        device: that the pictures were made on.
    """

    request: ImageRequest
    result: ImageResult
    trajectory: Mapping[str, Any]
    own_trajectory: bool = False
    device: str = "cpu"


def bundled_trajectory() -> dict[str, Any]:
    """Return the recording of AlphaFold 3 that travels with this package (`scripts/record_trajectory.py`)."""
    text = resources.files("anfinsen.reports").joinpath("assets", "trajectory.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record


def image_html(report: ImageReport) -> str:
    """Return the page; it needs no network.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    request, result = report.request, report.result
    stages = [_stage(each) for each in result.stages]
    data = {"stages": stages, "sigmaData": result.sigma_data, "atoms": dict(report.trajectory)}
    parts = {
        "TITLE": html.escape(request.title),
        "LEAD": html.escape(_lead(report)),
        "INPUTS": _inputs(result),
        "PICTURES": "".join(_figure(result, place) for place in range(len(result.labels))),
        "PICTURES_HINT": html.escape(_pictures_hint(report)),
        "STAGES": "".join(
            f'<option value="{place}">{html.escape(_STAGES.get(each.stage, each.stage))}</option>'
            for place, each in enumerate(result.stages)
        ),
        "STEPS_HINT": html.escape(_steps_hint(report)),
        "ATOMS_HINT": html.escape(_atoms_hint(report)),
        "SETTINGS": _definitions(_settings(report)),
        "VERSION": html.escape(__version__),
        "DATA": packed(json.dumps(data, allow_nan=False, separators=(",", ":"))),
    }
    return filled("image", parts)


def picture_grid(pictures: UInt8[torch.Tensor, "n h w 3"], gap: int = 4) -> bytes:
    """Return a PNG of all pictures in rows, as nearly square as their number allows.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    count, height, width, _ = pictures.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures.numpy()):
        top, left = gap + place // columns * (height + gap), gap + place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return png(torch.from_numpy(sheet))


def png(picture: UInt8[torch.Tensor, "h w 3"]) -> bytes:
    """Return a picture as a PNG file without a time stamp, so that equal pictures give equal files.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    from ..inference.images.files import require_pillow

    require_pillow()
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture.numpy()).save(file, "PNG", optimize=True)
    return file.getvalue()


def _stage(frames: DenoisingFrames) -> dict[str, Any]:
    """One stage for the script: bytes of all frames in one string each; after the last step comes the end."""
    sigma, step, clean, noisy = list(frames.sigma), list(frames.step), frames.clean, frames.noisy
    if noisy is not None:
        # The last step goes to level 0, where x is the clean estimate itself.
        clean, noisy = torch.cat([clean, clean[-1:]]), torch.cat([noisy, clean[-1:]])
        sigma, step = [*sigma, 0.0], [*step, frames.of]
    return {
        "stage": frames.stage,
        "of": frames.of,
        "step": step,
        "sigma": [float(f"{level:.5g}") for level in sigma],
        "size": frames.clean.shape[2],
        "pictures": frames.clean.shape[1],
        "clean": _base64(clean),
        "noisy": None if noisy is None else _base64(noisy),
    }


def _base64(values: torch.Tensor) -> str:
    return base64.b64encode(values.numpy().tobytes()).decode("ascii")


def _image(picture: torch.Tensor, words: str) -> str:
    address = f"data:image/png;base64,{base64.b64encode(png(picture)).decode('ascii')}"
    return f'<img src="{address}" width="64" height="64" alt="{html.escape(words)}">'


def _figure(result: ImageResult, place: int) -> str:
    label = html.escape(result.labels[place])
    score = f"<br>CLIP score {result.clip_scores[place]:.3f}" if result.clip_scores else ""
    image = _image(result.pictures[place], f"Picture {result.labels[place]}")
    return f"<figure>{image}<figcaption>{label}{score}</figcaption></figure>"


def _inputs(result: ImageResult) -> str:
    if not result.inputs:
        return ""
    figures = "".join(
        f"<figure>{_image(picture, name)}<figcaption>{html.escape(name)}</figcaption></figure>"
        for name, picture in result.inputs.items()
    )
    return (
        '<section id="inputs" class="wide" aria-labelledby="inputs-title"><h2 id="inputs-title">Given</h2>'
        '<p class="hint">As the model sees it: 64 pixels, on white.</p>'
        f'<div class="pictures">{figures}</div></section>'
    )


def _lead(report: ImageReport) -> str:
    request, count = report.request, len(report.result.labels)
    what = "" if request.mode == "text" else f" · {request.mode}"
    return f"{TITLES[request.model]}{what} · {count} picture{'' if count == 1 else 's'} · seed {request.seed}"


def _pictures_hint(report: ImageReport) -> str:
    hints = {
        "text": "The CLIP score is the cosine between a picture's embedding and its caption's.",
        "in-painting": "The CLIP score is the cosine between a picture's embedding and its caption's.",
        "variation": "Each keeps what CLIP's embedding says of the given picture; the larger η is, the more moves.",
        "interpolation": "Embeddings and noise go along great circles from the first picture to the last.",
        "text difference": "The embedding turns in the direction from one caption to the other; the noise stays.",
    }
    return hints[report.request.mode]


def _steps_hint(report: ImageReport) -> str:
    if report.request.model == "dalle1":
        return (
            "DALL·E 1 does not diffuse: its transformer draws codes one after the other. On the left is what the "
            "discrete VAE paints of the codes so far. On the right, AlphaFold 3's atoms come out of noise."
        )
    return (
        "The same loop draws both, along the same kind of noise levels: at each level σ the network answers with its "
        "clean estimate D(x, σ), and a step leads toward it. x is drawn at unit scale, x / √(1 + (σ/σ_data)²)."
    )


def _atoms_hint(report: ImageReport) -> str:
    atoms = report.trajectory
    whose = "Your job" if report.own_trajectory else "Recorded when this version was made"
    points = len(atoms["names"])
    return (
        f"{whose}: {atoms['name']}, by {atoms['model']} (weights {atoms['weights_sha256'][:_SHORT_HASH] or 'untrained'}"
        f", seed {atoms['seed']}, {atoms['steps']} steps); {points} points: one for each residue, each atom of the "
        f"rest. Mean pLDDT at the end: {atoms['plddt']:.0f}. Drag, or use the arrow keys, to turn it."
    )


def _settings(report: ImageReport) -> dict[str, str]:
    names = {
        "candidates": "Candidates for each picture",
        "eta": "Fresh noise in each step (η)",
        "guidance": "Guidance",
        "steps": "Steps of the decoder",
        "sampler": "Sampler",
        "seed": "Seed",
    }
    settings = {"Model": TITLES[report.request.model]}
    for key, value in report.request.settings().items():
        if key == "prior":
            settings["Prior"] = "yes" if value else "no: the caption's embedding goes to the decoder"
        elif key in names:
            settings[names[key]] = str(value)
    for name, info in report.result.weights.items():
        settings[f"Weights: {name}"] = f"{info.name}, SHA-256 {info.sha256}" if info.sha256 else f"{info.name}"
    return settings | {"Device": report.device}


def _definitions(entries: Mapping[str, str]) -> str:
    return "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in entries.items())
