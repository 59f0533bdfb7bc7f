"""The parts of the report that only AlphaFold 1 fills: distogram, contacts, potential, and the folding to be played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ..inference import FoldingRecord, Prediction, RankedSample
from ..inference.confidence import CONTACT_DISTANCE
from .page import table
from .report_data import PAE_SCALE, map_pixels, pixel_step

FRAME_SCALE = 10  # snapshots are whole numbers of 0.1 Å
LONG_RANGE = 24  # residues apart
_ORIGINS = {
    "scaled": "scaled distances",
    "sampled": "sampled torsions",
    "pool": "noisy copy",
    "mirror": "mirror image of the best",
}


def has_folding(prediction: Prediction) -> bool:
    """Return whether ``prediction`` has what these parts show."""
    return all(seed.folding is not None for seed in prediction.seeds)


def folding_data(prediction: Prediction, ranking: Sequence[RankedSample]) -> dict[str, Any] | None:
    """Return the JSON that `assets/folding.js` reads; None for models that do not fold this way.

    Maps are of residues, a byte a pixel, as that of the PAE is.
    """
    if not has_folding(prediction):
        return None
    length = len(prediction.structure.residues)
    step = pixel_step(length)
    # Only seeds of which a structure is shown, in the order of the prediction.
    shown = sorted({ranked.index for ranked in ranking})
    return {
        "residues": length,
        "size": -(-length // step),
        "step": step,
        "scale": PAE_SCALE,
        "frameScale": FRAME_SCALE,
        "longRange": LONG_RANGE,
        "seeds": [_seed(prediction, index, step) for index in shown],
        "samples": [
            {"seed": shown.index(ranked.index), "sample": ranked.sample, **_sample(prediction, ranked, step)}
            for ranked in ranking
        ],
    }


def _record(prediction: Prediction, index: int) -> FoldingRecord:
    record = prediction.seeds[index].folding
    assert record is not None  # asked before
    return record


def _seed(prediction: Prediction, index: int, step: int) -> dict[str, Any]:
    record = _record(prediction, index)
    frames = np.rint(record.snapshots * FRAME_SCALE).astype(int)
    return {
        "seed": prediction.seeds[index].seed,
        "expected": map_pixels(record.expected_distance, step),
        "spread": map_pixels(record.spread, step),
        "contacts": map_pixels(contact_probability(prediction, index), step, 255),
        "trace": [round(float(value), 2) for value in record.trace],
        "stages": record.stage_starts.tolist(),
        # Each frame after the first as what it differs by: small numbers pack well.
        "frames": [frames[0].ravel().tolist(), *(frames[1:] - frames[:-1]).reshape(len(frames) - 1, -1).tolist()],
        "frameSteps": record.snapshot_steps.tolist(),
    }


def _sample(prediction: Prediction, ranked: RankedSample, step: int) -> dict[str, Any]:
    distance = _record(prediction, ranked.index).realised_distance(ranked.sample)
    first, second = np.nonzero(np.triu(distance < CONTACT_DISTANCE, 1))
    return {
        "realised": map_pixels(distance, step),
        "touching": np.stack([first, second], axis=1).ravel().tolist(),
        "kept": kept_share(contact_probability(prediction, ranked.index), distance),
    }


def contact_probability(prediction: Prediction, index: int) -> Float[np.ndarray, "L L"]:
    """Return the probabilities of contact between residues; those of a seed are between tokens."""
    _, first = np.unique(prediction.tokens.residue, return_index=True)
    probability: Float[np.ndarray, "L L"] = prediction.seeds[index].contact_probs[np.ix_(first, first)]
    return probability


def kept_share(probability: Float[np.ndarray, "L L"], distance: Float[np.ndarray, "L L"]) -> float | None:
    """Return which share of the L likeliest long-range pairs touch in the structure; None for chains without any."""
    length = len(probability)
    first, second = np.triu_indices(length, LONG_RANGE)
    if not len(first):
        return None
    likeliest = np.argsort(-probability[first, second], kind="stable")[:length]
    return round(float((distance[first, second][likeliest] < CONTACT_DISTANCE).mean()), 4)


def folding_parts(prediction: Prediction, ranking: Sequence[RankedSample]) -> dict[str, str]:
    """Return the HTML of these parts by the names of their places; empty for models that do not fold this way."""
    if not has_folding(prediction):
        return {"PLAYER": "", "ENERGY": "", "MAPS": ""}
    return {"PLAYER": _PLAYER, "ENERGY": _ENERGY.replace("%POOL%", _pool(prediction, ranking)), "MAPS": _MAPS}


def _pool(prediction: Prediction, ranking: Sequence[RankedSample]) -> str:
    names = sorted(set().union(*(_record(prediction, ranked.index).terms for ranked in ranking)))
    bodies = [_pool_rows(_record(prediction, ranked.index), ranked, names) for ranked in ranking]
    head = ("structure", "started from", "potential", *names, "right-handed")
    return table(head, bodies, text_columns=2)


def _pool_rows(record: FoldingRecord, ranked: RankedSample, names: Sequence[str]) -> list[list[str]]:
    rows = []
    for number, energy in enumerate(record.energy):
        if number >= len(record.cb):
            name = "not kept"
        else:
            name = f"sample {number}{' (chosen)' if number == ranked.sample else ''}"
        terms = [f"{record.terms[name][number]:,.1f}" if name in record.terms else "–" for name in names]
        turns = (1 + record.handedness[number]) / 2
        origin = _ORIGINS.get(record.origin[number], record.origin[number])
        rows.append([name, origin, f"{energy:,.1f}", *terms, f"{turns:.0%}" if record.handedness[number] else "–"])
    return rows


def folding_scripts(prediction: Prediction) -> tuple[str, ...]:
    """Return the scripts that the page needs besides its own."""
    return ("folding",) if has_folding(prediction) else ()


def error_words(prediction: Prediction) -> Mapping[str, str]:
    """Return what the map of errors is called: AlphaFold 1 knows errors of distances only."""
    if has_folding(prediction):
        return {
            "PAE_TITLE": "Expected error of distances",
            "PAE_HINT": "Mean difference in Å between the distance of two residues in the structure and what the "
            "distogram says of it. AlphaFold 1 predicts distances, not frames: this stands in for the predicted "
            "aligned error of later models.",
        }
    return {
        "PAE_TITLE": "Predicted aligned error",
        "PAE_HINT": "Expected error in Å of each token's place (across) when the structure is laid over another token "
        "(down). Dark blocks between chains mean that their places relative to each other can be trusted; lines "
        "separate chains.",
    }


_PLAYER = """<div class="tools" id="player" role="group" aria-label="Folding">
<button type="button" id="play" disabled>Play the folding</button>
<input type="range" id="frame" min="0" max="0" value="0" step="1" disabled aria-label="Step of the folding">
<output id="frame-step" for="frame"></output>
<button type="button" id="folded" disabled>Show the structure</button>
</div>
<p class="hint">The descent that found the best structure of the chosen seed, as a trace of its CA atoms coloured along
the chain, each step laid over the last.</p>
"""

_ENERGY = """<section id="energy" aria-labelledby="energy-title">
<h2 id="energy-title">Potential during folding</h2>
<p class="hint">Of the descent that found the best structure of the chosen seed, in units of −log
probability. At the dashed lines the weights of its terms change, or a new start begins.</p>
<div id="energy-plot" class="plot"></div>
<p class="hint">The structures at the end, the lowest potential first, the terms of each without weights, and how much
of its helical turns is right-handed. A mirror image has the same distances, and should lose.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Table: structures at the end of folding">%POOL%</div>
</section>
"""

_MAPS = """<section id="distogram" aria-labelledby="distogram-title">
<h2 id="distogram-title">Distances, predicted and realised</h2>
<p class="hint">Between the CB atoms of two residues, in Å. Predicted: the mean of the distogram, the same for all
structures of a seed; no more than 22 Å are told apart. Realised: in the chosen structure.</p>
<div class="pair">
<figure><div id="distogram-plot" class="plot square"></div><figcaption>Predicted</figcaption></figure>
<figure><div id="realised-plot" class="plot square"></div><figcaption>Realised</figcaption></figure>
</div>
</section>
<section id="contacts" aria-labelledby="contacts-title">
<h2 id="contacts-title">Contacts, predicted and realised</h2>
<p class="hint">Above the diagonal: probability that two CB atoms are within 8 Å. Below it: pairs that are within 8 Å in
the chosen structure, <span class="realised likely">dark</span> where that was likelier than not,
<span class="realised unlikely">orange</span> where it was not.</p>
<div id="contacts-plot" class="plot square"></div>
<p class="hint" id="contacts-kept"></p>
</section>
"""
