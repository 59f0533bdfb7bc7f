"""Job → Prediction: running the model, confidences, ranking, batches of jobs, and what a run will take."""

from .choose import make_predictor, predict
from .confidence import Confidence, contact_probabilities, ranking_score
from .folding_record import FoldingRecord
from .inspection import ChainSummary, Inspection, inspect_job
from .memory import Estimate, Size, estimate
from .options import DEFAULT_MODEL, PredictOptions
from .prediction import Prediction, RankedSample, RunSettings, SeedPrediction
from .predictor import Predictor
from .record import Fingerprint, differences, fingerprint, run_record, settings_file
from .relax import relax_structure
from .relax_options import RelaxConfig
from .relaxation import Relaxation
from .runner import JobRequest, Outcome, failure, job_files, prepare_output, read_requests, run_jobs

__all__ = [
    "DEFAULT_MODEL",
    "ChainSummary",
    "Confidence",
    "Estimate",
    "Fingerprint",
    "FoldingRecord",
    "Inspection",
    "JobRequest",
    "Outcome",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "RankedSample",
    "RelaxConfig",
    "Relaxation",
    "RunSettings",
    "SeedPrediction",
    "Size",
    "contact_probabilities",
    "differences",
    "estimate",
    "failure",
    "fingerprint",
    "inspect_job",
    "job_files",
    "make_predictor",
    "predict",
    "prepare_output",
    "ranking_score",
    "read_requests",
    "relax_structure",
    "run_jobs",
    "run_record",
    "settings_file",
]
