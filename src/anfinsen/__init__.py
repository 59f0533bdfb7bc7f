"""Anfinsen: from a sequence to its structure.

    >>> import anfinsen
    >>> prediction = anfinsen.predict("job.yaml", anfinsen.PredictOptions(samples=1))

Importing the package is quick: torch and the rooms behind the names below load when a name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference import Prediction, PredictOptions, predict
    from .jobs import Job, load_jobs

__version__ = "0.1.0"

_HOMES = {
    "Job": "jobs",
    "load_jobs": "jobs",
    "PredictOptions": "inference",
    "Prediction": "inference",
    "predict": "inference",
}

__all__ = ["Job", "PredictOptions", "Prediction", "__version__", "load_jobs", "predict"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anfinsen' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
