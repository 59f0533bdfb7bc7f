"""All files of one job's results, laid out as AlphaFold 3 lays them out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..common.errors import MissingExtraError
from ..inference import Fingerprint, FoldingRecord, Prediction, RankedSample, run_record, settings_file
from ..jobs import job_json
from .confidences import confidences_json, summary_json
from .html import report_html
from .mmcif import ModelSource, prediction_mmcif
from .ranking import ranking_csv
from .report_data import sample_label


def model_cif(prediction: Prediction, ranked: RankedSample, *, unrelaxed: bool = False) -> str:
    """Return the ModelCIF text of one structure; ``unrelaxed``: as the model gave it, where it was relaxed since."""
    confidence, weights = prediction.confidence(ranked), prediction.weights
    settings = {
        "seed": str(ranked.seed),
        "sample": str(ranked.sample),
    }
    if prediction.settings.recycles or prediction.settings.steps:  # AlphaFold 1 has neither
        settings["recycles"] = str(prediction.settings.recycles)
    if prediction.settings.steps:
        settings["diffusion steps"] = str(prediction.settings.steps)
    if weights.sha256:
        settings["weights sha256"] = weights.sha256
    relaxation, coordinates = prediction.relaxation(ranked), prediction.coordinates(ranked)
    if relaxation is not None and unrelaxed:
        coordinates = relaxation.unrelaxed
    elif relaxation is not None:
        settings["relaxation"] = f"{relaxation.force_field}, {relaxation.software}"
    scores = {"pTM": confidence.ptm, "ranking_score": confidence.ranking_score}
    if confidence.iptm is not None:
        scores["ipTM"] = confidence.iptm
    source = ModelSource(version=prediction.versions["anfinsen"], weights=weights.name, settings=settings)
    if prediction.seeds[ranked.index].folding is not None:
        source = replace(source, description="Structure prediction from a distogram (AlphaFold 1)")
    elif prediction.method:
        source = replace(source, description=prediction.method)
    return prediction_mmcif(
        prediction.structure,
        prediction.library,
        coordinates,
        confidence.atom_plddt,
        name=prediction.job.name,
        source=source,
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
    for result in prediction.seeds:
        if result.folding is not None:
            _write_folding(result.folding, folder, f"seed-{result.seed}", name)
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
    relaxation = prediction.relaxation(ranked)
    if relaxation is not None:
        _write(folder / f"{stem}_unrelaxed.cif", model_cif(prediction, ranked, unrelaxed=True))
        _write(folder / f"{stem}_relaxation.json", json.dumps(relaxation.record(), indent=1, allow_nan=False) + "\n")
    confidences = confidences_json(prediction.structure, prediction.tokens, confidence, contacts)
    _write(folder / f"{stem}_confidences.json", confidences)
    _write(folder / f"{stem}_summary_confidences.json", summary_json(confidence))
    return text


def _write_folding(record: FoldingRecord, folder: Path, seed: str, name: str) -> None:
    """Write what AlphaFold 1 folded from (named as AlphaFold 3 names its distograms), and how it folded."""
    files: dict[str, dict[str, np.ndarray]] = {
        "distogram": {"distogram": record.distogram.astype(np.float16), "bin_edges": record.bin_edges},
        "folding": {
            "energy": record.energy,
            **{f"energy_{term}": values for term, values in record.terms.items()},
            "origin": np.array(record.origin),
            "handedness": record.handedness,
            "trace": record.trace,
            "snapshots": record.snapshots,
            "snapshot_steps": record.snapshot_steps,
        },
    }
    for kind, arrays in files.items():
        place = folder / f"{seed}_{kind}"
        place.mkdir(exist_ok=True)
        # numpy stamps no time into its archives: equal predictions give equal files.
        np.savez_compressed(place / f"{name}_{seed}_{kind}.npz", allow_pickle=False, **arrays)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
