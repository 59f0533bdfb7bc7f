"""All files of a study of attention: a table of heads, every map, and one page for people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..common.errors import NonFiniteError, OutputError
from ..common.files import results_record
from ..inference.attention_scores import BINS, RANKINGS, SCORES, HeadScores, ranked
from ..inference.attention_study import AttentionStudy
from ..inference.runner import whole_folder
from .attention_html import attention_html

FORMAT = "anfinsen-attention-1"
_FORMATS = "anfinsen-attention-"  # what the records of all versions begin with
RECORD = "attention.json"
DIGITS = 6  # of a score


def check_attention_target(folder: Path, *, overwrite: bool) -> None:
    """Make sure that results may be written into ``folder``, before time is spent on them.

    Raises:
        OutputError: it exists, and was not made by `anfinsen attention` or may not be replaced.
    """
    made = results_record(folder, RECORD, _FORMATS, "anfinsen attention")
    if made is not None and not overwrite:
        raise OutputError(
            f"{folder} holds a study of attention: give --overwrite to replace it, or choose another folder with --out."
        )


def write_attention(study: AttentionStudy, folder: Path, *, top: int) -> None:
    """Write every file into ``folder``, which appears whole or not at all; rankings name ``top`` heads each.

    Raises:
        OutputError: a file cannot be written. NonFiniteError: a number is NaN or infinite.
    """
    for layer in study.layers:
        parts = [part for part in (layer.maps, layer.gates) if part is not None]
        if not all(np.isfinite(part).all() for part in parts):
            raise NonFiniteError(f"Attention of {layer.label} is not finite: the weights are damaged.")
    try:
        record = attention_json(study, top)
    except ValueError as error:
        raise NonFiniteError("A score of a head is not finite: nothing is written.") from error
    texts = {RECORD: record, "heads.csv": heads_csv(study), "attention.html": attention_html(study, top)}
    with whole_folder(folder) as inside:
        for name, text in texts.items():
            (inside / name).write_text(text, encoding="utf-8")
        np.savez_compressed(inside / "maps.npz", allow_pickle=False, **_arrays(study))


def attention_json(study: AttentionStudy, top: int) -> str:
    """Return everything but the maps as JSON.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    prediction, setting = study.prediction, study.setting
    content = {
        "format": FORMAT,
        "version": __version__,
        "job": prediction.job.name,
        "model": prediction.weights.name,
        "weights_sha256": prediction.weights.sha256,
        "seed": prediction.seeds[0].seed,
        "recycles": prediction.settings.recycles,
        "steps": prediction.settings.steps,
        "tokens": len(study.names),
        "contacts": study.contacts_from,
        "contact_share": setting.base_rate,
        "scores": {name: {"label": score.label, "meaning": score.meaning} for name, score in SCORES.items()},
        "separations": [{"from": low, "to": high} for low, high in BINS],
        "rankings": [
            {
                "title": ranking.title,
                "score": ranking.score,
                "first": ranking.first,
                "heads": [_place(head) for head in ranked(study.heads, ranking, top)],
            }
            for ranking in RANKINGS
        ],
        "heads": [_row(head) for head in study.heads],
        "notes": list(study.notes),
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def heads_csv(study: AttentionStudy) -> str:
    """Return one line for each head; empty cells mean nothing there."""
    text = io.StringIO()
    bins = [f"separation_{low}_{high}" if high is not None else f"separation_{low}_up" for low, high in BINS]
    writer = csv.DictWriter(text, ["layer", "kind", "head", *SCORES, *bins], lineterminator="\n")
    writer.writeheader()
    for head in study.heads:
        row = _row(head)
        shares = row.pop("separations")
        writer.writerow(row | dict(zip(bins, shares, strict=True)) if shares else row)
    return text.getvalue()


def _place(head: HeadScores) -> dict[str, Any]:
    return {"layer": head.layer, "head": head.head}


def _row(head: HeadScores) -> dict[str, Any]:
    scores = {name: None if value is None else round(value, DIGITS) for name, value in head.scores.items()}
    return {
        **_place(head),
        "kind": head.kind,
        **scores,
        "separations": [round(share, DIGITS) for share in head.bins],
    }


def _arrays(study: AttentionStudy) -> dict[str, np.ndarray]:
    setting = study.setting
    arrays = {
        "tokens": np.array(study.names),
        "contacts": setting.contacts,
        "known": setting.known,
        "contact_probabilities": study.probabilities.astype(np.float32),
        "depth": setting.depth,
        "plddt": setting.plddt,
    }
    for layer in study.layers:
        if layer.maps is not None:
            arrays[f"maps/{layer.label}"] = layer.maps
        if layer.gates is not None:
            arrays[f"gates/{layer.label}"] = layer.gates
    return arrays
