"""One job in one call, by whichever model the options name."""

from __future__ import annotations

from pathlib import Path

from anfinsen.common.errors import JobError
from anfinsen.common.progress import Progress
from anfinsen.jobs import Job, load_jobs_with_notes
from anfinsen.weights.alphafold1 import is_alphafold1
from anfinsen.weights.alphafold2 import is_alphafold2

from .alphafold1 import AlphaFold1Predictor
from .alphafold2 import AlphaFold2Predictor
from .alphafold3 import AlphaFold3Predictor
from .options import PredictOptions
from .prediction import Prediction
from .predictor import Predictor


def make_predictor(options: PredictOptions, progress: Progress | None = None) -> Predictor:
    """Return the predictor of the model that ``options`` name, of whichever family.

    Raises:
        ConfigError, WeightsError: device, model or weights cannot be used.
    """
    if is_alphafold1(options.source):
        return AlphaFold1Predictor(options, progress)
    if is_alphafold2(options.source):
        return AlphaFold2Predictor(options, progress)
    return AlphaFold3Predictor(options, progress)


def predict(
    job: Job | Path | str, options: PredictOptions | None = None, *, progress: Progress | None = None
) -> Prediction:
    """Predict the structures of one job.

    Args:
        job: a job, or the path of a file that holds one.
        options: model, seeds, samples, device; the defaults are those of ``anfinsen predict``.
        progress: is told of each stage.

    Raises:
        JobError, ChemistryError, AlignmentError: the job cannot be used.
        ConfigError, WeightsError: model or device cannot be used.
        MemoryLimitError: the job does not fit; the message says what would.
        NonFiniteError: the model gave NaN or infinity.
    """
    options = options or PredictOptions()
    if isinstance(job, Job):
        notes: tuple[str, ...] = ()
    else:
        loaded = load_jobs_with_notes(job)
        if len(loaded.jobs) != 1:
            raise JobError(
                f"Job file {str(job)!r} holds {len(loaded.jobs)} jobs: load them with anfinsen.load_jobs and predict "
                "each, or use `anfinsen predict`."
            )
        job, notes = loaded.jobs[0], loaded.notes
    return make_predictor(options, progress).predict(job, notes)
