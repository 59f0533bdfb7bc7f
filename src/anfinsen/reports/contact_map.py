"""The contact map as one SVG file: strength of all pairs above the diagonal, the strongest pairs below it."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..alignments.couplings import Couplings, RankedContacts

_SIZE, _MARGIN, _HEAD, _LEGEND = 640, 56, 64, 44  # pixels
_DARK = np.array([8, 48, 107])  # the strongest pairs; the weakest are white
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_MOST_TICKS = 10


def contact_map_svg(name: str, couplings: Couplings, contacts: RankedContacts) -> str:
    """Return the picture.

    Above the diagonal: z-scores, white at 0 and below, dark at that of the L-th strongest pair and above. Below it: the
    L strongest pairs, filled by their probability, each with its numbers as a tooltip.
    """
    length = len(couplings.scores)
    shown = min(length, len(contacts))
    z = couplings.z_scores()
    top = max(float(contacts.z[shown - 1]) if shown else 0.0, 1.0)
    cell = _SIZE / length
    parts = [_head(name, couplings), _axes(length, cell)]
    parts.append(
        f'<image x="{_MARGIN}" y="{_HEAD}" width="{_SIZE}" height="{_SIZE}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{_png(z, top)}"/>'
    )
    side = max(cell, 3.0)
    for rank in range(shown):
        i, j = int(contacts.first[rank]), int(contacts.second[rank])
        # Pair (i, j) with i < j lies below the diagonal at column i, row j.
        x, y = _MARGIN + (i + 0.5) * cell - side / 2, _HEAD + (j + 0.5) * cell - side / 2
        parts.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{side:.2f}" height="{side:.2f}" fill="#b2182b" '
            f'fill-opacity="{0.15 + 0.85 * contacts.probability[rank]:.2f}"><title>{i + 1} – {j + 1}: z '
            f"{contacts.z[rank]:.1f}, probability {contacts.probability[rank]:.2f}</title></rect>"
        )
    parts.append(_legend(top, shown))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _png(z: np.ndarray, top: float) -> str:
    share = np.triu(np.clip(z / top, 0.0, 1.0), 1)[..., None]
    pixels: UInt8[np.ndarray, "L L 3"] = np.round(255 + share * (_DARK - 255)).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", optimize=True)
    return base64.b64encode(data.getvalue()).decode("ascii")


def _head(name: str, couplings: Couplings) -> str:
    width, height = _SIZE + 2 * _MARGIN, _HEAD + _SIZE + _MARGIN + _LEGEND
    method = {"potts": "Potts model", "mean-field": "mean-field DCA"}[couplings.method]
    figures = (
        f"{method} · {len(couplings.scores)} residues · {couplings.rows:,} of {couplings.depth:,} rows · "
        f"effective depth {couplings.effective_depth:,.0f}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">\n'
        f"<title>Contact map of {html.escape(name)}</title>\n"
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        f'<text x="{_MARGIN}" y="26" font-size="17" font-weight="600">{html.escape(name)}</text>\n'
        f'<text x="{_MARGIN}" y="46" fill="#444">{figures}</text>'
    )


def _axes(length: int, cell: float) -> str:
    step = next((tick for tick in _TICKS if length / tick <= _MOST_TICKS), _TICKS[-1])
    bottom = _HEAD + _SIZE
    parts = [f'<rect x="{_MARGIN}" y="{_HEAD}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="#888"/>']
    for number in range(step, length + 1, step):
        at = (number - 0.5) * cell
        parts.append(f'<text x="{_MARGIN + at:.1f}" y="{bottom + 18}" text-anchor="middle">{number}</text>')
        parts.append(f'<text x="{_MARGIN - 8}" y="{_HEAD + at + 4:.1f}" text-anchor="end">{number}</text>')
    parts.append(f'<text x="{_MARGIN + _SIZE / 2}" y="{bottom + 38}" text-anchor="middle">residue</text>')
    return "\n".join(parts)


def _legend(top: float, shown: int) -> str:
    y = _HEAD + _SIZE + _MARGIN + 10
    return (
        f'<text x="{_MARGIN}" y="{y}" fill="#444">Above the diagonal: strength of coupling, white for z ≤ 0 to dark '
        f"for z ≥ {top:.1f}.</text>\n"
        f'<text x="{_MARGIN}" y="{y + 18}" fill="#444">Below: the {shown} strongest pairs at least 6 apart; the '
        "stronger the red, the likelier they touch.</text>"
    )
