"""One self-contained page that compares models over a data set; it opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..inference.evaluation_run import Judged
from ..inference.evaluation_scores import SCORES
from .evaluation_structures import Overlays, overlays
from .evaluation_summary import EVERY, Summary, rounded
from .page import filled, packed, packed_library, table

MAX_ROWS = 2000  # of the table of entries; all are in the CSV
# What stands in the tables of means; the plots can show every score.
HEADLINE = ("lddt", "lddt_ca", "tm_score", "gdt_ts", "rmsd", "dockq", "ligand_rmsd", "ligand_success", "lddt_pli")
SECOND = ("contacts_l5", "clashes", "rama_outliers", "chirality_errors", "plddt", "plddt_spearman", "calibration_error")


def evaluation_html(summary: Summary) -> str:
    """Return the page.

    Raises:
        MissingExtraError: plotly or the structure viewer is not installed.
    """
    shown = overlays(summary)
    done = len(summary.judged) - len(summary.failed)
    models = "1 model" if len(summary.models) == 1 else f"{len(summary.models)} models"
    parts = {
        "LEAD": html.escape(f"{models} · {done} of {len(summary.judged)} comparisons scored"),
        "MEANS": _means(summary, EVERY),
        "STRUCTURES": _structures(shown),
        "CLASSES": _classes(summary),
        "OPTIONS": _options(summary),
        "CALIBRATION": _calibration(summary),
        "ENTRIES": _entries(summary),
        "FAILED": _failed(summary),
        "MEANINGS": _meanings(summary),
        "VERSION": html.escape(__version__),
        "DATA": packed(json.dumps(_data(summary), allow_nan=False)),
        "VIEWER": _viewer(shown),
        "VIEWER_NAMED": "Structure view: Mol* (MIT licence). " if shown.entries else "",
    }
    return filled("evaluation", parts, ("viewer", "superposed"))


def _data(summary: Summary) -> dict[str, Any]:
    return {
        "models": list(summary.models),
        "scores": {name: {"label": SCORES[name].label, "better": SCORES[name].better} for name in summary.scores()},
        "entries": [
            {
                "model": each.comparison.model,
                "name": each.comparison.name,
                "kind": each.comparison.kind,
                "scores": rounded(each.evaluation.scores),
            }
            for each in summary.judged
            if each.evaluation is not None
        ],
        "calibration": {model: summary.calibration(model) for model in summary.models},
    }


def _structures(shown: Overlays) -> str:
    """The section that shows models on their references; nothing where there is nothing to show."""
    notes = "".join(f'<p class="hint">{html.escape(note)}</p>' for note in shown.notes)
    if not shown.entries:
        return f'<section class="wide"><h2>Structures</h2>{notes}</section>' if notes else ""
    return f"""<section id="structures" class="wide" aria-labelledby="structures-title">
<h2 id="structures-title">Models on the known structure</h2>
<p class="hint">Each model is laid on the reference (grey): a single protein chain by TM-align, anything else by the
superposition of its TM-score. Choose below what is shown.</p>
<div class="tools">
<label>Entry <select id="entry"></select></label>
<button type="button" id="reset">Reset view</button>
<button type="button" id="image">Save image</button>
</div>
<div id="viewer" role="img" aria-label="Three-dimensional view of the models on the known structure">\
<p class="wait">Loading the viewer …</p></div>
<ul id="legend" class="legend" aria-label="Structures and their scores"></ul>{notes}
</section>"""


def _viewer(shown: Overlays) -> str:
    """What the script of that section unpacks."""
    if not shown.entries:
        return ""
    blocks = {
        "data-structures": packed(json.dumps(shown.entries, allow_nan=False)),
        "data-viewer": packed_library("molstar_cli", "static/molstar/molstar.js"),
        "data-viewer-style": packed_library("molstar_cli", "static/molstar/molstar.css"),
    }
    return "".join(
        f'<script type="application/octet-stream" id="{name}">{text}</script>\n' for name, text in blocks.items()
    )


def _means(summary: Summary, kind: str) -> str:
    """Two tables of means over the entries that all models have; the best of each column is bold."""
    return "".join(_block(summary, kind, names) for names in (HEADLINE, SECOND))


def _block(summary: Summary, kind: str, names: Sequence[str]) -> str:
    columns = [(name, values) for name in names if any((values := summary.common(name, kind)).values())]
    if not columns:
        return ""
    rows = [["entries", *(str(len(next(iter(values.values())))) for _, values in columns)]]
    for model in summary.models:
        rows.append([html.escape(model), *(_mean(name, values, model) for name, values in columns)])
    head = ("mean", *(html.escape(SCORES[name].label) for name, _ in columns))
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table: means">{table(head, [rows])}</div>'


def _mean(name: str, values: dict[str, list[float]], model: str) -> str:
    means = {each: round(float(np.mean(own)), SCORES[name].decimals) for each, own in values.items()}
    text = f"{means[model]:.{SCORES[name].decimals}f}"
    better = {"high": max, "low": min}.get(SCORES[name].better)
    first = better is not None and len(means) > 1 and means[model] == better(means.values())
    return f"<strong>{text}</strong>" if first else text


def _classes(summary: Summary) -> str:
    if not summary.classes:
        return '<p class="hint">No classes were given (option --classes).</p>'
    return "".join(f"<h3>{html.escape(kind)}</h3>{_means(summary, kind)}" for kind in summary.classes)


def _options(summary: Summary) -> str:
    return "".join(f'<option value="{name}">{html.escape(SCORES[name].label)}</option>' for name in summary.scores())


def _calibration(summary: Summary) -> str:
    found = {model: summary.calibration(model) for model in summary.models}
    known = {model: each for model, each in found.items() if each is not None}
    if not known:
        return '<p class="hint">No prediction has pLDDT.</p>'
    rows = [
        [
            html.escape(model),
            f"{each['residues']:,}",
            "–" if each["spearman"] is None else f"{each['spearman']:.3f}",
            f"{each['error']:.1f}",
        ]
        for model, each in known.items()
    ]
    tables = table(("model", "residues", "Spearman", "calibration error"), [rows])
    for model, each in known.items():
        bins = [
            [
                f"{row['from']:.0f} to {row['to']:.0f}",
                f"{row['residues']:,}",
                f"{row['plddt']:.1f}",
                f"{row['lddt']:.1f}",
            ]
            for row in each["bins"]
            if row["residues"]
        ]
        head = ("pLDDT", "residues", "mean pLDDT", "mean lDDT × 100")
        tables += f"<details><summary>{html.escape(model)}, bin by bin</summary>{table(head, [bins])}</details>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table: calibration">{tables}</div>'


def _entries(summary: Summary) -> str:
    names = [name for name in (*HEADLINE, "plddt") if name in summary.scores()]
    done = [each for each in summary.judged if each.evaluation is not None]
    rows = []
    for each in done[:MAX_ROWS]:
        assert each.evaluation is not None
        scores = each.evaluation.scores
        cells = [f"{scores[name]:.{SCORES[name].decimals}f}" if name in scores else "–" for name in names]
        task = each.comparison
        rows.append([html.escape(text) for text in (task.name, task.model, task.kind or "–")] + cells)
    head = ("entry", "model", "class", *(html.escape(SCORES[name].label) for name in names))
    entries = table(head, [rows], text_columns=3)
    more = "" if len(done) <= MAX_ROWS else f'<p class="hint">The first {MAX_ROWS} of {len(done)}; the CSV has all.</p>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: entries">{entries}</div>{more}'
        f"{_notes(done[:MAX_ROWS])}"
    )


def _notes(done: Sequence[Judged]) -> str:
    """What was chosen or left out in each comparison, folded away."""
    lines = [f"{each.outcome.name}: {note}" for each in done if each.evaluation for note in each.evaluation.notes]
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<details><summary>Notes ({len(lines)})</summary><ul>{items}</ul></details>"


def _failed(summary: Summary) -> str:
    if not summary.failed:
        return "<p>None.</p>"
    items = [
        f"<li>{html.escape(each.outcome.name)}: {html.escape(each.outcome.message)}</li>" for each in summary.failed
    ]
    return f"<ul>{''.join(items)}</ul>"


def _meanings(summary: Summary) -> str:
    items = [
        f"<dt>{html.escape(SCORES[name].label)}</dt><dd>{html.escape(SCORES[name].meaning)}"
        f"{ {'high': '; higher is better', 'low': '; lower is better'}.get(SCORES[name].better, '') }</dd>"
        for name in summary.scores()
    ]
    return f"<dl>{''.join(items)}</dl>"
