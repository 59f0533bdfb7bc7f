"""All files of one job's results, laid out as AlphaFold 3 lays them out."""

from __future__ import annotations

import json
from pathlib import Path

from ..common.errors import MissingExtraError
from ..inference import Fingerprint, Prediction, RankedSample, run_record, settings_file
from ..jobs import job_json
from .confidences import confidences_json, summary_json
from .html import report_html
from .mmcif import ModelSource, prediction_mmcif
from .ranking import ranking_csv
from .report_data import sample_label


def model_cif(prediction: Prediction, ranked: RankedSample) -> str:
    """Return the ModelCIF text of one structure."""
    confidence, weights = prediction.confidence(ranked), prediction.weights
    settings = {
        "seed": str(ranked.seed),
        "sample": str(ranked.sample),
        "recycles": str(prediction.settings.recycles),
        "diffusion steps": str(prediction.settings.steps),
    }
    if weights.sha256:
        settings["weights sha256"] = weights.sha256
    scores = {"pTM": confidence.ptm, "ranking_score": confidence.ranking_score}
    if confidence.iptm is not None:
        scores["ipTM"] = confidence.iptm
    return prediction_mmcif(
        prediction.structure,
        prediction.library,
        prediction.coordinates(ranked),
        confidence.atom_plddt,
        name=prediction.job.name,
        source=ModelSource(version=prediction.versions["anfinsen"], weights=weights.name, settings=settings),
        scores=scores,
    )


def write_results(prediction: Prediction, folder: Path, fingerprint: Fingerprint) -> None:
    """Write every file of ``prediction`` into ``folder``, which exists; files are named after it.

    The report needs the extra ``report``; without it the other files are written, and the record's notes say so.

    Raises:
        OSError: a file cannot be written.
        NonFiniteError: a number is NaN or infinite.
    """
    name, notes = folder.name, []
    texts: dict[str, str] = {}
    for ranked in prediction.ranking:
        label = sample_label(ranked)
        texts[label] = _write_sample(prediction, ranked, folder / label, f"{name}_{label}")
    _write_sample(prediction, prediction.ranking[0], folder, name)
    _write(folder / f"{name}_data.json", job_json(prediction.job))
    _write(folder / f"{name}_ranking_scores.csv", ranking_csv(prediction))
    try:
        _write(folder / "report.html", report_html(prediction, texts))
    except MissingExtraError as error:
        notes.append(f"report.html was not written. {error}")
    record = run_record(prediction, fingerprint)
    record["notes"] += notes
    _write(settings_file(folder), json.dumps(record, indent=1, allow_nan=False) + "\n")


def _write_sample(prediction: Prediction, ranked: RankedSample, folder: Path, stem: str) -> str:
    confidence = prediction.confidence(ranked)
    contacts = prediction.seeds[ranked.index].contact_probs
    folder.mkdir(exist_ok=True)
    text = model_cif(prediction, ranked)
    _write(folder / f"{stem}_model.cif", text)
    confidences = confidences_json(prediction.structure, prediction.tokens, confidence, contacts)
    _write(folder / f"{stem}_confidences.json", confidences)
    _write(folder / f"{stem}_summary_confidences.json", summary_json(confidence))
    return text


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
