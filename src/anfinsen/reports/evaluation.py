"""All files of an evaluation: JSON for programs, CSV for tables, one HTML page for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..common.errors import MissingExtraError, NonFiniteError, OutputError
from ..common.files import results_record
from ..inference.evaluation_run import Judged
from ..inference.evaluation_scores import SCORES
from ..inference.runner import whole_folder
from .evaluation_html import evaluation_html
from .evaluation_summary import Summary, rounded

FORMAT = "anfinsen-evaluation-1"
_FORMATS = "anfinsen-evaluation-"  # what the records of all versions begin with
RECORD = "evaluation.json"
TABLES = ("chains", "interfaces", "ligands")


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Make sure that results may be written into ``folder``, before time is spent on them.

    Raises:
        OutputError: it exists, and was not made by `anfinsen evaluate` or may not be replaced.
    """
    made = results_record(folder, RECORD, _FORMATS, "anfinsen evaluate")
    if made is not None and not overwrite:
        raise OutputError(
            f"{folder} holds an evaluation: give --overwrite to replace it, or choose another folder with --out."
        )


def write_evaluation(judged: Sequence[Judged], folder: Path) -> tuple[str, ...]:
    """Write every file into ``folder``, which appears whole or not at all; return what could not be done, if anything.

    Raises:
        OutputError: a file cannot be written.
        NonFiniteError: a number is NaN or infinite.
    """
    summary = Summary.of(judged)
    try:
        record = evaluation_json(summary)
    except ValueError as error:
        raise NonFiniteError("A score is not finite: nothing is written.") from error
    texts = {RECORD: record, "evaluation.csv": scores_csv(summary)}
    for table in TABLES:
        rows = _rows(summary, table)
        if rows:
            texts[f"{table}.csv"] = _csv(rows)
    bins = [
        {"model": model} | row
        for model in summary.models
        if (found := summary.calibration(model)) is not None
        for row in found["bins"]
    ]
    if bins:
        texts["calibration.csv"] = _csv(bins)
    notes = []
    try:
        texts["evaluation.html"] = evaluation_html(summary)
    except MissingExtraError as error:
        notes.append(f"evaluation.html was not written. {error}")
    with whole_folder(folder) as inside:
        for name, text in texts.items():
            (inside / name).write_text(text, encoding="utf-8")
    return tuple(notes)


def evaluation_json(summary: Summary) -> str:
    """Return everything as JSON.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    content = {
        "format": FORMAT,
        "version": __version__,
        "scores": {
            name: {"label": SCORES[name].label, "meaning": SCORES[name].meaning, "better": SCORES[name].better}
            for name in summary.scores()
        },
        "models": {model: summary.model_record(model) for model in summary.models},
        "entries": [_entry(each) for each in summary.judged if each.evaluation is not None],
        "failed": [
            {"model": each.comparison.model, "entry": each.comparison.name, "message": each.outcome.message}
            for each in summary.failed
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def scores_csv(summary: Summary) -> str:
    """Return one line for each model and entry; what failed has no scores and a message."""
    scores = summary.scores()
    rows = []
    for each in summary.judged:
        found = {} if each.evaluation is None else each.evaluation.scores
        row = _labels(each) | {name: rounded(found.get(name)) for name in scores}
        rows.append(row | {"error": each.outcome.message})
    return _csv(rows)


def _entry(each: Judged) -> dict[str, Any]:
    found = each.evaluation
    assert found is not None
    tables = {table: rounded(getattr(found, table)) for table in TABLES}
    motion = found.superposition
    moved = (
        None
        if motion is None
        else {"by": motion.by, "rotation": motion.rotation.tolist(), "translation": motion.translation.tolist()}
    )
    return _labels(each) | {
        "scores": rounded(found.scores),
        **tables,
        "superposition": rounded(moved),
        "notes": list(found.notes),
    }


def _labels(each: Judged) -> dict[str, Any]:
    task = each.comparison
    return {"model": task.model, "entry": task.name, "class": task.kind}


def _rows(summary: Summary, table: str) -> list[dict[str, Any]]:
    return [
        _labels(each) | {name: value for name, value in rounded(row).items() if name != "alignment"}
        for each in summary.judged
        if each.evaluation is not None
        for row in getattr(each.evaluation, table)
    ]


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    fields = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()})
    return text.getvalue()
