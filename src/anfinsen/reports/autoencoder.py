"""One self-contained page about a trained autoencoder and the rows it was shown; it opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .. import __version__
from ..autoencoders.dataset import DataSet
from ..autoencoders.findings import Example, LatentMap, Sweep
from .autoencoder_pictures import picture_row, picture_scale
from .page import filled, packed, table

MAX_CLASSES = 35  # of labels that are told apart on the map: 7 colours times 5 shapes
CONTINUOUS_FROM = 12  # different numbers as labels from which on they are a scale, not classes
BINS = 40  # of the histogram
SHOWN_ROWS = 10  # reconstructions shown of the strangest rows, and of the most usual ones
MAX_COLUMNS = 200  # of the table of columns, the worst first


@dataclass(frozen=True)
class AutoencoderReport:
    """What the page tells.

    Attributes:
        title, lead: what the data are; one line about the model.
        data, sweep, examples, latent_map: the rows and what was found in them.
        threshold: rows with higher scores are outliers.
        training_loss, validation_loss: one number for each epoch; empty for a model that was trained earlier or
            without validation.
        settings: names and values.
        notes: sentences.
    """

    title: str
    lead: str
    data: DataSet
    sweep: Sweep
    examples: tuple[Example, ...]
    latent_map: LatentMap
    threshold: float
    training_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def autoencoder_html(report: AutoencoderReport) -> str:
    """Return the page.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    outliers = int((report.sweep.scores > report.threshold).sum())
    parts = {
        "TITLE": html.escape(report.title),
        "LEAD": html.escape(report.lead),
        "NUMBERS": _numbers(report, outliers),
        "LOSS_HINT": html.escape(_loss_hint(report)),
        "HISTOGRAM_HINT": html.escape(
            f"The higher, the stranger the row. {counted(outliers, 'row')} beyond the threshold "
            f"({report.threshold:.4g}, dashed).{_last_bar(report)}"
        ),
        "MAP_HINT": html.escape(_map_hint(report)),
        "COLOURS": _colours(report),
        "RECONSTRUCTIONS": _pictures(report) if report.data.image_shape else _row_chooser(report),
        "RANKING_HINT": html.escape(_ranking_hint(report)),
        "RANKING": _ranking(report),
        "COLUMNS": "" if report.data.image_shape else _columns(report),
        "SETTINGS": "".join(f"<dt>{html.escape(a)}</dt><dd>{html.escape(b)}</dd>" for a, b in report.settings)
        + "".join(f"<dt>note</dt><dd>{html.escape(note)}</dd>" for note in report.notes),
        "VERSION": html.escape(__version__),
        "DATA": packed(json.dumps(_page_data(report), allow_nan=False)),
    }
    return filled("autoencoder", parts)


def label_text(data: DataSet, row: int) -> str:
    """Return the label of a row; empty where there are no labels."""
    if data.labels is None:
        return ""
    value = data.labels[row]
    return f"{value:.6g}" if data.labels.dtype.kind == "f" else str(value)


def _page_data(report: AutoencoderReport) -> dict[str, Any]:
    data, found, chart = report.data, report.sweep, report.latent_map
    counts, edges = histogram(found.scores, report.threshold)
    content: dict[str, Any] = {
        "losses": {"training": _short(report.training_loss), "validation": _short(report.validation_loss)},
        "histogram": {"edges": _short(edges, 8), "counts": counts.tolist(), "threshold": float(report.threshold)},
        "map": {
            "x": _short(chart.points[:, 0]),
            "y": _short(chart.points[:, 1]),
            "x_title": chart.axes[0],
            "y_title": chart.axes[1],
            "names": [data.row_name(int(row)) for row in chart.rows],
            "scores": _short(found.scores[chart.rows]),
            "outlier": (found.scores[chart.rows] > report.threshold).tolist(),
            "label_name": data.target,
            **_labels(report),
        },
    }
    if not data.image_shape:
        content |= {
            "columns": list(data.columns),
            "centre": _short(found.centre),
            "spread": _short(found.unit),
            "examples": [
                {"values": _short(each.values), "reconstruction": _short(each.reconstruction)}
                for each in _shown(report.examples)
            ],
        }
    return content


def _short(values: Sequence[float] | Float[np.ndarray, "n"], digits: int = 6) -> list[float]:
    """Return numbers without the digits that no plot shows."""
    return [float(f"{value:.{digits}g}") for value in values]


def _labels(report: AutoencoderReport) -> dict[str, Any]:
    """Return the labels of the map's rows: numbers on a scale, texts of classes, or None if they cannot be coloured."""
    labels = report.data.labels
    if labels is None:
        return {"labels": None, "numeric": False}
    chosen = labels[report.latent_map.rows]
    if chosen.dtype.kind in "iuf" and len(np.unique(chosen)) >= CONTINUOUS_FROM:
        return {"labels": _short(chosen.astype(np.float64)), "numeric": True}
    texts = [label_text(report.data, int(row)) for row in report.latent_map.rows]
    return {"labels": texts, "numeric": False} if len(set(texts)) <= MAX_CLASSES else {"labels": None, "numeric": False}


def histogram(
    scores: Float[np.ndarray, "N"], threshold: float
) -> tuple[Int[np.ndarray, "bins"], Float[np.ndarray, "edges"]]:
    """Return counts and edges; a few scores far out share the last bin, so that the others can be told apart."""
    low = min(float(scores.min()), threshold)
    usual = float(np.quantile(scores, 0.5))
    high = min(float(scores.max()), max(threshold, usual) + 3 * (max(threshold, usual) - low))
    # Scores that differ by rounding only cannot be told apart by bins.
    apart = high - low > max(1e-12 * max(abs(low), abs(high)), 1e-300)
    high = high if apart else low + max(abs(low), 1.0) * 1e-6
    return np.histogram(np.minimum(scores, high), bins=BINS, range=(low, high))


def _last_bar(report: AutoencoderReport) -> str:
    _, edges = histogram(report.sweep.scores, report.threshold)
    return " The last bar holds all higher ones too." if report.sweep.scores.max() > edges[-1] else ""


def _numbers(report: AutoencoderReport, outliers: int) -> str:
    found, images = report.sweep, report.data.image_shape
    r2 = found.pooled_r2 if images else found.mean_r2
    entries = [
        (f"{len(report.data):,}", "images" if images else "rows"),
        (f"{len(report.data.columns):,}", "pixels × channels" if images else "columns"),
        ("–" if r2 is None else f"{r2:.4f}", "R² of all pixels" if images else "mean R² of columns"),
        (f"{found.rmse:.4g}", "root mean squared error")
        if images
        else (f"{found.standard_rmse:.4g}", "error in standard deviations"),
        (f"{outliers:,}", "outlier" if outliers == 1 else "outliers"),
    ]
    return "".join(f"<li><strong>{value}</strong><span>{name}</span></li>" for value, name in entries)


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, in words."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _loss_hint(report: AutoencoderReport) -> str:
    if not report.training_loss:
        return "The model was trained earlier; its own report shows how."
    epochs = counted(len(report.training_loss), "epoch")
    if not report.validation_loss:
        return f"{epochs}; no rows were held out for validation."
    best = int(np.argmin(report.validation_loss))
    return f"{epochs}; lowest on rows that were held out in epoch {best + 1}: {report.validation_loss[best]:.4g}."


def _map_hint(report: AutoencoderReport) -> str:
    shown, rows = len(report.latent_map.rows), len(report.data)
    drawn = "Every row" if shown == rows else f"{shown:,} of {rows:,} rows, those with the highest scores among them,"
    labels = _labels(report)["labels"] is None and report.data.labels is not None
    many = f" {report.data.target!r} has too many values for colours." if labels else ""
    return f"{drawn} in the latent space. Point at one for its name.{many}"


def _colours(report: AutoencoderReport) -> str:
    options = {"score": "anomaly score", "outlier": "outlier or not"}
    if _labels(report)["labels"] is not None:
        options = {"label": report.data.target} | options
    return "".join(f'<option value="{name}">{html.escape(text)}</option>' for name, text in options.items())


def _shown(examples: Sequence[Example]) -> list[Example]:
    """Return the rows whose reconstructions are shown: the strangest, then the most usual (that first)."""
    first, last = list(examples[:SHOWN_ROWS]), list(examples[SHOWN_ROWS:][-SHOWN_ROWS:])
    return first + last[::-1]


def _parts(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    shown = _shown(examples)
    return [("Highest scores", shown[:SHOWN_ROWS]), ("Lowest scores", shown[SHOWN_ROWS:])]


def _pictures(report: AutoencoderReport) -> str:
    shape = report.data.image_shape
    assert shape is not None
    scale = picture_scale([each.values for each in report.examples])
    parts = ['<p class="hint">The image, its reconstruction, and their difference (bright is large).</p>']
    for title, chosen in _parts(report.examples):
        if chosen:
            figures = "".join(_picture(each, report, shape, scale) for each in chosen)
            parts.append(f'<h3>{title}</h3><div class="pictures">{figures}</div>')
    return "".join(parts)


def _picture(each: Example, report: AutoencoderReport, shape: tuple[int, int, int], scale: tuple[float, float]) -> str:
    name = report.data.row_name(each.row)
    label = label_text(report.data, each.row)
    sources = picture_row(each.values.reshape(shape), each.reconstruction.reshape(shape), scale)
    strip = "".join(
        f'<img src="{source}" alt="{kind} of {html.escape(name)}" title="{kind}">'
        for kind, source in zip(("image", "reconstruction", "difference"), sources, strict=True)
    )
    caption = f"{html.escape(' · '.join(part for part in (name, label) if part))}<br>score {each.score:.4g}"
    return f'<figure><div class="strip">{strip}</div><figcaption>{caption}</figcaption></figure>'


def _row_chooser(report: AutoencoderReport) -> str:
    options, place = [], 0
    for title, chosen in _parts(report.examples):
        inside = ""
        for each in chosen:
            label = label_text(report.data, each.row)
            text = f"row {report.data.row_name(each.row)}{f' ({label})' if label else ''}, score {each.score:.4g}"
            inside += f'<option value="{place}">{html.escape(text)}</option>'
            place += 1
        options.append(f'<optgroup label="{title}">{inside}</optgroup>' if inside else "")
    return (
        '<p class="hint">True and reconstructed values of one row, as standard deviations from each column\'s mean; '
        "point at a mark for the numbers.</p>"
        f'<div class="tools"><label>Row <select id="row">{"".join(options)}</select></label></div>'
        '<div id="row-plot" class="plot" role="img" aria-label="True and reconstructed values of a row"></div>'
    )


def _ranking_hint(report: AutoencoderReport) -> str:
    shown = min(len(_ranked(report)), len(report.data))
    which = "All rows" if shown == len(report.data) else f"The {shown} strangest of {len(report.data):,} rows"
    return f"{which}, the strangest first; scores.csv has every row."


def _ranked(report: AutoencoderReport) -> list[Example]:
    return [each for place, each in enumerate(report.examples) if each.rank == place + 1]


def _ranking(report: AutoencoderReport) -> str:
    data = report.data
    head = ["rank", "image" if data.image_shape else "row"] + ([html.escape(data.target)] if data.target else [])
    head += [] if data.image_shape else ["column that differs most"]
    text_columns = len(head)
    head += ([] if data.image_shape else ["true", "reconstructed"]) + ["score", "outlier"]
    rows = []
    for each in _ranked(report):
        cells = [str(each.rank), html.escape(data.row_name(each.row))]
        cells += [html.escape(label_text(data, each.row))] if data.target else []
        if not data.image_shape:
            worst = int(np.argmax(np.abs(each.reconstruction - each.values) / report.sweep.unit))
            cells += [
                html.escape(data.columns[worst]),
                f"{each.values[worst]:.5g}",
                f"{each.reconstruction[worst]:.5g}",
            ]
        outlier = "<strong>yes</strong>" if each.score > report.threshold else "no"
        rows.append([*cells, f"{each.score:.4g}", outlier])
    return _scrolled("anomaly ranking", table(head, [rows], text_columns))


def _columns(report: AutoencoderReport) -> str:
    found = report.sweep
    r2 = found.column_r2
    order = sorted(range(len(r2)), key=lambda place: (r2[place] is not None, r2[place] or 0.0))
    rows = []
    for place in order[:MAX_COLUMNS]:
        share = r2[place]
        rows.append(
            [
                html.escape(report.data.columns[place]),
                "constant" if share is None else f"{share:.4f}",
                f"{np.sqrt(found.squared_error[place]):.4g}",
                f"{found.centre[place]:.5g}",
                f"{found.spread[place]:.4g}",
            ]
        )
    head = ("column", "R²", "root mean squared error", "mean", "standard deviation")
    more = f" The {MAX_COLUMNS} worst of {len(r2):,} are shown." if len(r2) > MAX_COLUMNS else ""
    return (
        '<section id="columns" class="wide" aria-labelledby="columns-title"><h2 id="columns-title">Columns</h2>'
        f'<p class="hint">How much of each column\'s variance comes back, the least first.{more}</p>'
        f"{_scrolled('columns', table(head, [rows]))}</section>"
    )


def _scrolled(name: str, content: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {name}">{content}</div>'
