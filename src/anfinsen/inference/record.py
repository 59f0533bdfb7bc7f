"""What a finished folder says about the run that made it, so that the same run is not made twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anfinsen.jobs import Job, job_json
from anfinsen.weights import WeightsInfo

from .prediction import Prediction, RunSettings
from .predictor import Predictor

FORMAT = "anfinsen-run-1"


def settings_file(folder: Path) -> Path:
    """Return the path of the record in the results folder of one job."""
    return folder / f"{folder.name}_settings.json"


def fingerprint(job: Job, predictor: Predictor) -> str:
    """Return a hash of everything that decides the results: the whole job, the weights and the settings."""
    at_once = predictor.options.samples_at_once
    return _fingerprint(predictor.with_seeds(job), predictor.settings(0), at_once, _model(predictor.weights))


def run_record(prediction: Prediction, run: str) -> dict[str, Any]:
    """Return the record of a run whose :func:`fingerprint` is ``run``, ready for JSON; it holds no times."""
    weights = prediction.weights
    return {
        "format": FORMAT,
        "fingerprint": run,
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


def recorded_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of the run that made ``folder``, None if this program did not make it."""
    try:
        record = json.loads(settings_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return None
    found = record.get("fingerprint")
    return found if isinstance(found, str) else None


def _model(weights: WeightsInfo) -> str:
    # Random weights have no file; their name says which they are.
    return weights.sha256 or weights.name


def _fingerprint(job: Job, settings: RunSettings, at_once: int | None, model: str) -> str:
    decisive = {**asdict(settings), "samples_at_once": at_once, "model": model, "format": FORMAT}
    # Devices differ in the last bits only: a batch may go on elsewhere.
    del decisive["device"]
    text = json.dumps(decisive, sort_keys=True) + job_json(job)
    return hashlib.sha256(text.encode()).hexdigest()
