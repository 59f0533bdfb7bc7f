"""What the image benchmarks found, as Markdown tables and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from images_arms import DALLE1, DALLE2, REAL, SAMPLERS, STEPS, Arm
from images_scores import ATTRIBUTES, monotony
from pages import table
from scipy import stats

from anfinsen.common.errors import MissingExtraError
from anfinsen.common.files import atomic_path
from anfinsen.common.seeding import numpy_generator
from anfinsen.images.retrieval import RECALL_RANKS

Record = dict[str, Any]
RESAMPLES = 2000
NAMES = {
    "shapes": "shapes",
    "colours": "colours",
    "shape_and_colour": "shape and colour",
    "counts": "counts",
    "relations": "relations, positions",
    "sizes": "sizes",
    "all": "all",
}
SPLITS = {
    "test": "Combinations of shape and colour seen in training",
    "heldout": "A combination never seen in training",
    "validation": "Of the split that choices are made on",
}
TOLD = {"euler": "Euler (DDIM)", "heun": "Heun", "ancestral": "ancestral (DDPM)", "edm-stochastic": "EDM stochastic"}
CALLS = {"euler": 1, "heun": 2, "ancestral": 1, "edm-stochastic": 2}  # of the denoiser in a step


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean; the draw is seeded."""
    rows = np.asarray(values, dtype=float)
    if len(rows) < 2 or np.ptp(rows) == 0:
        return float(rows.mean()), float(rows.mean())
    draw = numpy_generator(0, "bootstrap", len(rows))
    found = stats.bootstrap((rows,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=draw)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def percent(values: Sequence[float] | np.ndarray) -> str:
    """Return the mean and its interval, in percent."""
    low, high = interval(values)
    return f"{100 * np.mean(values):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def number(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    """Return the mean and its interval."""
    low, high = interval(values)
    return f"{np.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def clip_tables(record: Record) -> str:
    head = ["set", "pictures", "captions"]
    head += [f"{way}, recall@{k}" for way in ("picture → caption", "caption → picture") for k in RECALL_RANKS]
    lines = [
        [name, row["pictures"], row["captions"], *(f"{100 * v:.1f}" for v in row["to_caption"] + row["to_picture"])]
        for name, row in record["recall"].items()
    ]
    named = record["zero_shot"]
    attributes = list(dict.fromkeys(name for each in named.values() for name in each))
    rows = []
    for name in attributes:
        found = [each.get(name) for each in named.values()]
        choices = next(each["choices"] for each in found if each)
        rows.append(
            [name, choices, f"{100 / choices:.1f}", *(percent(each["right"]) if each else "–" for each in found)]
        )
    zero = table(["attribute", "choices", "chance", *named], rows)
    return (
        f"#### CLIP: recall, %\n\n{table(head, lines)}\n\nEqual captions are one caption of several pictures. Every "
        "scene stands beside a sibling that differs in one thing only, so the second-nearest is often nearly right.\n\n"
        f"#### CLIP: attributes without training on them (zero-shot), %\n\n{zero}\n\nThe caption with the right "
        "value against the same caption with each other value."
    )


def _found(records: Mapping[str, Record], arms: Sequence[Arm]) -> list[tuple[Arm, Record]]:
    return [(arm, records[arm.name]) for arm in arms if arm.name in records]


def _short(arm: Arm) -> str:
    return arm.name.removeprefix(f"{arm.split}: ")


def comparison_tables(records: Mapping[str, Record], arms: Sequence[Arm]) -> str:
    parts = []
    for split, title in SPLITS.items():
        chosen = [(arm, row) for arm, row in _found(records, arms) if arm.split == split]
        if not chosen:
            continue
        right = [
            [_short(arm), row["n"], *(percent(row["attributes"][key]) for key in ATTRIBUTES)] for arm, row in chosen
        ]
        parts.append(f"#### {title}: attributes that are right, %\n\n{table(['', 'n', *NAMES.values()], right)}")
        gain = _gain(records, split)
        if gain:
            parts.append(gain)
        far = [[_short(arm), f"{row['frechet']:.4f}", _kernel(row), number(row["clip_scores"])] for arm, row in chosen]
        head = ["", "Fréchet distance (our CLIP)", "kernel distance × 1000 (our CLIP)", "CLIP score"]
        parts.append(f"#### {title}: likeness to real pictures, and to the caption\n\n{table(head, far)}")
    costs = [line for arm, row in _found(records, arms) if arm.split == arms[0].split and (line := _cost(arm, row))]
    if costs:
        head = ["", "weights, millions", "training, CPU s", "drawing a picture, CPU s", "GFLOP a picture"]
        parts.append(f"#### What they cost\n\n{table(head, costs)}\n\nCLIP, which all of them use, is not counted.")
    return "\n\n".join(parts)


def _kernel(row: Record) -> str:
    mean, spread, _ = row["kernel"]
    return f"{1000 * mean:.2f} ± {1000 * spread:.2f}"


def _gain(records: Mapping[str, Record], split: str) -> str:
    """Return how much more of the same captions DALL·E 2 gets right, caption by caption."""
    parts = []
    for how in (" re-ranked", ""):
        ours, theirs = (records.get(f"{split}: {name}{how}") for name in (DALLE2, DALLE1))
        if ours is None or theirs is None or ours["n"] != theirs["n"]:
            continue
        gains = [np.subtract(ours["attributes"][key], theirs["attributes"][key]) for key in ("shape_and_colour", "all")]
        parts.append(
            f"{DALLE2}{how} minus {DALLE1}{how}, caption by caption: shape and colour {percent(gains[0])}, all "
            f"{percent(gains[1])} percentage points."
        )
    return " ".join(parts)


def _cost(arm: Arm, row: Record) -> list[str] | None:
    if arm.model == REAL or arm.restored:
        return None
    size, trained, flops = sum(row["parameters"].values()), row["training_seconds"], row.get("flops")
    return [
        _short(arm),
        f"{size / 1e6:.2f}",
        "–" if trained is None else f"{trained:,.0f}",
        f"{row['seconds']:.2f}",
        "–" if flops is None else f"{flops / 1e9:.1f}",
    ]


def guidance_table(records: Mapping[str, Record], arms: Sequence[Arm]) -> str:
    lines = [
        [
            f"{arm.guidance:g}",
            *(percent(row["attributes"][key]) for key in ("shape_and_colour", "all")),
            number(row["clip_scores"]),
            f"{row['frechet']:.4f}",
            _kernel(row),
        ]
        for arm, row in _found(records, arms)
    ]
    return _titled("Guidance", ["scale", *_score_head()], lines)


def _score_head() -> list[str]:
    return ["shape and colour right, %", "all right, %", "CLIP score", "Fréchet distance", "kernel distance × 1000"]


def _titled(title: str, head: Sequence[str], lines: Sequence[Sequence[object]], note: str = "") -> str:
    return f"#### {title}\n\n{table(head, lines)}{note and chr(10) * 2 + note}" if lines else ""


def steps_table(records: Mapping[str, Record], arms: Sequence[Arm], distances: Mapping[str, float]) -> str:
    """Return, for each number of steps, each sampler's figures.

    ``distances``: of an arm's pictures from those of the most Heun steps from the same noise.
    """
    rows = dict(_found(records, arms))
    by_place = {(arm.steps, arm.sampler): (arm, row) for arm, row in rows.items()}
    columns: dict[str, Callable[[Arm, Record], str]] = {
        "shape and colour right, %": lambda _, row: f"{100 * np.mean(row['attributes']['shape_and_colour']):.0f}",
        "all right, %": lambda _, row: f"{100 * np.mean(row['attributes']['all']):.0f}",
        "Fréchet distance": lambda _, row: f"{row['frechet']:.3f}",
        "CPU s a picture": lambda _, row: f"{row['seconds']:.2f}",
    }
    parts = []
    for title, cell in columns.items():
        lines = [
            [steps, *(cell(*by_place[steps, name]) if (steps, name) in by_place else "–" for name in SAMPLERS)]
            for steps in STEPS
            if any((steps, name) in by_place for name in SAMPLERS)
        ]
        parts.append(_titled(f"Sampling steps: {title}", ["steps", *TOLD.values()], lines))
    lines = [
        [
            steps,
            *(f"{distances[name]:.4f}" if name in distances else "–" for name in (f"{s}, {steps} steps" for s in TOLD)),
        ]
        for steps in STEPS
        if any(f"{name}, {steps} steps" in distances for name in SAMPLERS)
    ]
    note = (
        "Root mean square over pixels from 0 to 1. The stochastic samplers add noise of their own and cannot meet it."
    )
    parts.append(
        _titled("Sampling steps: distance from Heun's most steps, same noise", ["steps", *TOLD.values()], lines, note)
    )
    return "\n\n".join(part for part in parts if part)


def plot_steps(path: Path, records: Mapping[str, Record], arms: Sequence[Arm], distances: Mapping[str, float]) -> None:
    """Write the sweep over steps as an SVG picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("The plot needs matplotlib: pip install matplotlib.") from error
    rows = _found(records, arms)
    # No date and no random names, so that equal figures give equal files.
    with mpl.rc_context({"svg.hashsalt": "anfinsen", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        panels = figure.subplots(1, 3)
        titles = ("Shape and colour right, %", "Fréchet distance (our CLIP)", "RMS distance from 250 Heun steps")
        for panel, title in zip(panels, titles, strict=True):
            panel.set(title=title, xlabel="calls of the denoiser", xscale="log")
            panel.grid(alpha=0.3)
        for name in SAMPLERS:
            own = sorted(((arm, row) for arm, row in rows if arm.sampler == name), key=lambda each: each[0].steps)
            calls = [CALLS[name] * arm.steps for arm, _ in own]
            curves = (
                [100 * np.mean(row["attributes"]["shape_and_colour"]) for _, row in own],
                [row["frechet"] for _, row in own],
                [distances.get(arm.name, np.nan) for arm, _ in own],
            )
            for panel, curve in zip(panels, curves, strict=True):
                panel.plot(calls, curve, marker="o", markersize=4, label=TOLD[name])
        panels[1].set_yscale("log")
        panels[0].legend(frameon=False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def edit_tables(variations: Mapping[str, Record | None], interpolations: Record | None, split: str = "test") -> str:
    """Return what edits keep; ``variations`` by the name of their column."""
    parts = []
    varied = {name: record for name, record in variations.items() if record}
    if varied:
        lines = [
            [
                NAMES[key],
                *(percent([np.mean(each) for each in record["attributes"][key]]) for record in varied.values()),
            ]
            for key in ATTRIBUTES
        ]
        lines.append(["cosine with the picture (CLIP)", *(number(record["cosines"]) for record in varied.values())])
        rows = next(iter(varied.values()))["attributes"]["all"]
        note = f"{sum(map(len, rows))} variations of {len(rows)} {split} pictures."
        parts.append(_titled("Variations: what of the caption they keep", ["", *varied], lines, note))
    if interpolations:
        found = np.array([monotony(way) for way in interpolations["ways"]])
        whole = (found[:, 1] == 1).astype(float)
        lines = [
            ["rank correlation of place and progress", number(found[:, 0])],
            ["steps that lead forward, %", percent(found[:, 1])],
            ["ways on which every step does, %", percent(whole)],
        ]
        note = (
            f"{len(found)} pairs of {split} pictures, {len(interpolations['ways'][0])} pictures a way; progress is the "
            "cosine with the last picture's embedding minus that with the first's."
        )
        parts.append(_titled("Interpolation: movement in CLIP's space", ["", ""], lines, note))
    return "\n\n".join(parts)


def noise_table(records: Mapping[str, Record], arms: Sequence[Arm]) -> str:
    lines = [
        [
            arm.name,
            *(percent(row["attributes"][key]) for key in ("shape_and_colour", "all")),
            number(row["clip_scores"]),
            f"{row['frechet']:.4f}",
            _kernel(row),
        ]
        for arm, row in _found(records, arms)
    ]
    return _titled("Noise levels of the decoder's training", ["trained at", *_score_head()], lines)
