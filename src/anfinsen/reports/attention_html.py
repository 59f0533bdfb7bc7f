"""One self-contained page of what heads look at: ranked maps, a picture of all heads, one head at a time; offline."""

from __future__ import annotations

import base64
import html
import json
from typing import Any

import numpy as np
from jaxtyping import Float

from .. import __version__
from ..inference.attention_scores import BINS, RANKINGS, SCORES, HeadScores, ranked
from ..inference.attention_study import AttentionStudy
from .page import filled, packed, table

# Pixels of a map's side, at most: of heads in a ranking, and of all others, whose maps together keep to so many bytes.
RANKED_SIDE, SIDE, LEAST_SIDE = 256, 128, 32
BYTES = 6 * 2**20


def attention_html(study: AttentionStudy, top: int) -> str:
    """Return the page; rankings show ``top`` heads each."""
    prediction = study.prediction
    name = prediction.job.name
    chosen = {(head.index, head.head) for ranking in RANKINGS for head in ranked(study.heads, ranking, top)}
    parts = {
        "TITLE": html.escape(f"{name}: attention · Anfinsen"),
        "NAME": html.escape(name),
        "LEAD": html.escape(
            f"{len(study.heads)} attention heads in {len(study.layers)} layers of {prediction.weights.name} · "
            f"{len(study.names)} tokens · seed {prediction.seeds[0].seed}"
        ),
        "CONTACTS": html.escape(study.contacts_from),
        "CHANCE": html.escape(_chance(study)),
        "RANKINGS": _rankings(study, top),
        "MEANINGS": _meanings(),
        "NOTES": _notes(study),
        "VERSION": html.escape(__version__),
        "DATA": packed(json.dumps(_data(study, top, chosen), allow_nan=False)),
    }
    return filled("attention", parts)


def _chance(study: AttentionStudy) -> str:
    rate = study.setting.base_rate
    if not rate:
        return "No pair at least 6 residues apart is a contact here, so that no head can be judged by contacts."
    return f"By chance, {rate:.1%} of the strongest pairs would be contacts."


def _rankings(study: AttentionStudy, top: int) -> str:
    parts = []
    for ranking in RANKINGS:
        rows = []
        for place, head in enumerate(ranked(study.heads, ranking, top), start=1):
            value = head.scores[ranking.score]
            rows.append([html.escape(head.layer), html.escape(head.kind), str(head.head), f"{value:.3f}", str(place)])
        if rows:
            cells = ("layer", "kind", "head", html.escape(SCORES[ranking.score].label), "place")
            parts.append(f'<h3>{html.escape(ranking.title)}</h3><div class="scroll">{table(cells, [rows], 2)}</div>')
    return "".join(parts)


def _meanings() -> str:
    entries = "".join(
        f"<dt>{html.escape(score.label)}</dt><dd>{html.escape(score.meaning)}</dd>" for score in SCORES.values()
    )
    return f"<dl>{entries}</dl>"


def _notes(study: AttentionStudy) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in study.notes)
    return f"<ul>{notes}</ul>" if notes else "<p>None.</p>"


def _data(study: AttentionStudy, top: int, chosen: set[tuple[int, int]]) -> dict[str, Any]:
    setting, n = study.setting, len(study.names)
    with_maps = sum(layer.layer.heads for layer in study.layers if layer.maps is not None)
    side = int(np.clip(np.sqrt(BYTES / max(with_maps, 1)), LEAST_SIDE, SIDE))
    heads = []
    for head in study.heads:
        layer = study.layers[head.index]
        large = (head.index, head.head) in chosen
        heads.append(
            {
                "layer": head.index,
                "head": head.head,
                "scores": {key: _short(value) for key, value in head.scores.items()},
                "bins": [_short(share) for share in head.bins],
                "map": None if layer.maps is None else picture(layer.maps[head.head], RANKED_SIDE if large else side),
                "gates": None if layer.gates is None else _bytes(np.round(255 * layer.gates[head.head])),
            }
        )
    # Above the diagonal what heads are judged by, below it what the network predicts.
    contacts = np.triu(setting.contacts, 1) + np.tril(study.probabilities, -1)
    edges = np.flatnonzero(np.diff(setting.chain)) + 1
    return {
        "names": list(study.names),
        "borders": [float(edge / n) for edge in edges],
        "contacts": picture(contacts.astype(np.float32), RANKED_SIDE),
        "layers": [{"label": layer.label, "kind": layer.layer.kind} for layer in study.layers],
        "scores": {key: {"label": score.label, "meaning": score.meaning} for key, score in SCORES.items()},
        "rankings": [
            {
                "title": ranking.title,
                "score": ranking.score,
                "heads": _places(study.heads, ranked(study.heads, ranking, top)),
            }
            for ranking in RANKINGS
        ],
        "separations": [str(low) if high == low else f"{low}–{high}" if high else f"{low}+" for low, high in BINS],
        "heads": heads,
        "depth": setting.depth.tolist(),
        "plddt": [round(float(value), 1) for value in setting.plddt],
    }


def _places(heads: tuple[HeadScores, ...], some: tuple[HeadScores, ...]) -> list[int]:
    place = {(head.index, head.head): index for index, head in enumerate(heads)}
    return [place[head.index, head.head] for head in some]


def picture(values: Float[np.ndarray, "N N"], side: int) -> dict[str, Any]:
    """Return a square map as bytes, at most ``side`` of them a row: 255 √(value / largest), means of what is merged."""
    n = len(values)
    if n > side:
        start = np.linspace(0, n, side, endpoint=False).astype(int)
        count = np.diff([*start, n])
        values = np.add.reduceat(np.add.reduceat(values, start, 0), start, 1) / (count[:, None] * count)
    most = float(values.max())
    shade = np.sqrt(np.clip(values / most, 0, 1)) if most > 0 else np.zeros_like(values)
    return {"size": len(values), "most": most, "bytes": _bytes(np.round(255 * shade))}


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode("ascii")


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
