"""What a finished folder says about the run that made it, so that the same run is not made twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anfinsen.jobs import Job, job_json
from anfinsen.weights import WeightsInfo

from .prediction import Prediction
from .predictor import Predictor, versions

FORMAT = "anfinsen-run-3"
_FORMATS = "anfinsen-run-"  # what the records of all versions begin with
_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides the results of a run; runs with equal fingerprints are the same run.

    Devices and the number of samples drawn at once are not in it: they differ in the last bits only, and a batch may
    go on elsewhere.

    Attributes:
        job: hash of the whole job but its seeds. seeds: that are run.
        weights: hash of the weights file (the name of random weights).
        samples, recycles, steps, relax: of the run. version: of anfinsen.
    """

    job: str
    seeds: tuple[int, ...]
    weights: str
    samples: int
    recycles: int
    steps: int
    version: str
    relax: str = "none"

    def record(self) -> dict[str, Any]:
        """Return the parts, ready for JSON."""
        return asdict(self) | {"seeds": list(self.seeds)}


def settings_file(folder: Path) -> Path:
    """Return the path of the record in the results folder of one job."""
    return folder / f"{folder.name}_settings.json"


def fingerprint(job: Job, predictor: Predictor) -> Fingerprint:
    """Return what decides the results of ``job``: the job, the weights, the settings and the program's version."""
    job = predictor.with_seeds(job)
    return Fingerprint(
        job=hashlib.sha256(job_json(job.model_copy(update={"seeds": (0,)})).encode()).hexdigest(),
        seeds=job.seeds,
        weights=_weights(predictor.weights),
        samples=predictor.samples,
        recycles=predictor.recycles,
        steps=predictor.steps,
        version=versions()["anfinsen"],
        relax=predictor.options.relax,
    )


def run_record(prediction: Prediction, run: Fingerprint) -> dict[str, Any]:
    """Return the record of a run whose :func:`fingerprint` is ``run``, ready for JSON; it holds no times."""
    weights = prediction.weights
    return {
        "format": FORMAT,
        "fingerprint": run.record(),
        "name": prediction.job.name,
        "seeds": list(prediction.job.seeds),
        "settings": asdict(prediction.settings),
        "model": {
            "name": weights.name,
            "preset": weights.preset,
            "weights_sha256": weights.sha256,
            "training": weights.metadata,
        },
        "versions": prediction.versions,
        "notes": list(prediction.notes),
    }


def differences(folder: Path, run: Fingerprint) -> tuple[str, ...] | None:
    """Return how the run that made ``folder`` differs from ``run``, part by part; empty if it is the same run.

    None if this program did not make the folder.
    """
    try:
        record = json.loads(settings_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not str(record.get("format")).startswith(_FORMATS):
        return None
    found = record.get("fingerprint")
    if record["format"] != FORMAT or not isinstance(found, dict):
        return ("the version of anfinsen",)
    return tuple(
        _difference(name, found.get(name), now) for name, now in run.record().items() if found.get(name) != now
    )


def _difference(name: str, then: object, now: object) -> str:
    if name in ("job", "weights"):  # hashes tell the reader nothing
        return f"the {name}"
    return f"{name} ({_shown(then)} then, {_shown(now)} now)"


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _weights(weights: WeightsInfo) -> str:
    # Random weights have no file; their name says which they are.
    return weights.sha256 or weights.name
