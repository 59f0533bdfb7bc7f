"""All files of one run of `anfinsen image`: pictures, a grid of them, a manifest for programs, a page for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.errors import OutputError
from ..common.files import results_record
from ..inference.images.run import ImageRequest, file_hashes, shown_name
from ..inference.predictor import versions
from ..inference.runner import free_name, whole_folder
from ..jobs import Job, job_json
from .image import ImageReport, image_html, picture_grid, png

FORMAT = "anfinsen-image-1"
_FORMATS = "anfinsen-image-"  # what the manifests of all versions begin with
MANIFEST, PAGE, GRID, SINGLES = "manifest.json", "report.html", "grid.png", "pictures"
_VERSIONED = ("anfinsen", "torch")  # what can change the pictures


def run_folder(request: ImageRequest, out: Path) -> Path:
    """Return the folder of a run's results."""
    return out / free_name(request.name, set())


def run_record(request: ImageRequest, job: Job | None, weights: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that decides a run's results; runs with equal records are the same run.

    Args:
        request: what is asked for. job: AlphaFold 3's, for the page; None for the bundled recording.
        weights: hash of each network's file, by name.

    Raises:
        InputError: a picture cannot be read.
    """
    known = versions()
    return {
        "model": request.model,
        "mode": request.mode,
        "prompt": request.prompt,
        "captions": None if request.difference is None else list(request.difference),
        "settings": request.settings(),
        "inputs": file_hashes(request),
        "weights": dict(weights),
        "job": None if job is None else hashlib.sha256(job_json(job).encode()).hexdigest(),
        "versions": {name: known[name] for name in _VERSIONED},
    }


def finished(folder: Path, run: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Return whether ``folder`` holds the results of this very run already.

    Raises:
        OutputError: it holds something else, and may not be replaced.
    """
    manifest = results_record(folder, MANIFEST, _FORMATS, "anfinsen image")
    if manifest is None or overwrite:
        return False
    then = manifest.get("run")
    if then != run:
        parts = [key for key in run if not isinstance(then, dict) or then.get(key) != run[key]]
        raise OutputError(
            f"{folder} holds results of another run; it differs in {', '.join(parts)}: give --overwrite to replace "
            "them, or choose another folder with --out."
        )
    return True


def write_images(report: ImageReport, run: Mapping[str, Any], folder: Path) -> None:
    """Write every file into ``folder``, which appears whole or not at all.

    Raises:
        OutputError: a file cannot be written. MissingExtraError: Pillow is not installed.
    """
    result = report.result
    digits = max(2, len(str(len(result.labels))))
    names = [f"{SINGLES}/{place:0{digits}d}.png" for place in range(1, len(result.labels) + 1)]
    with whole_folder(folder) as inside:
        (inside / SINGLES).mkdir()
        for name, picture in zip(names, result.pictures, strict=True):
            (inside / name).write_bytes(png(picture))
        (inside / GRID).write_bytes(picture_grid(result.pictures))
        (inside / PAGE).write_text(image_html(report), encoding="utf-8")
        manifest = json.dumps(_manifest(report, run, names), indent=1, ensure_ascii=False, allow_nan=False)
        (inside / MANIFEST).write_text(f"{manifest}\n", encoding="utf-8")


def _manifest(report: ImageReport, run: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    result, atoms = report.result, report.trajectory
    pictures = [
        {"file": name, "label": label, "seed": seed}
        | ({"clip_score": round(result.clip_scores[place], 6)} if result.clip_scores else {})
        for place, (name, label, seed) in enumerate(zip(names, result.labels, result.seeds, strict=True))
    ]
    return {
        "format": FORMAT,
        "run": dict(run),
        "title": report.request.title,
        "grid": GRID,
        "page": PAGE,
        "pictures": pictures,
        "inputs": {name: shown_name(path) for name, path in report.request.files.items()},
        "weights": {
            name: {"name": info.name, "preset": info.preset, "sha256": info.sha256}
            for name, info in result.weights.items()
        },
        "trajectory": {key: atoms[key] for key in ("name", "model", "weights_sha256", "seed", "steps", "version")},
        "device": report.device,
        "versions": versions(),
    }
