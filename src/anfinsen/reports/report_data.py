"""What the report's script needs: structures, and plots' numbers in as few bytes as the screen can show."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..chemistry import Structure, Tokens
from ..inference import Prediction, RankedSample

MAX_PAE_PIXELS = 800  # per side; larger maps are averaged in squares
PAE_SCALE = 8  # a byte holds a PAE of up to 31.9 Å in steps of 1/8 Å


def sample_label(ranked: RankedSample) -> str:
    """Return the name of a structure's folder."""
    return f"seed-{ranked.seed}_sample-{ranked.sample}"


def report_data(prediction: Prediction, ranking: Sequence[RankedSample], models: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON that `assets/report.js` reads.

    Args:
        prediction: what is shown. ranking: the structures shown, best first.
        models: mmCIF text of each structure, by `sample_label`.
    """
    structure, tokens = prediction.structure, prediction.tokens
    step = pixel_step(len(tokens))
    return {
        "residues": _residue_names(structure),
        "residueSpans": _spans(structure, structure.residues.chain),
        "tokens": _token_names(structure, tokens),
        "tokenSpans": _spans(structure, tokens.chain),
        "pae": {"size": -(-len(tokens) // step), "step": step, "scale": PAE_SCALE},
        "samples": [
            {
                "file": f"{prediction.job.file_name}_{sample_label(ranked)}",
                "plddt": _residue_means(structure, prediction.confidence(ranked).atom_plddt),
                "pae": map_pixels(prediction.confidence(ranked).pae, step),
                "model": models[sample_label(ranked)],
            }
            for ranked in ranking
        ],
    }


def _spans(structure: Structure, chain: Int[np.ndarray, "rows"]) -> list[dict[str, Any]]:
    """Return first row and end of each chain; rows of a chain are contiguous."""
    spans = []
    for index, each in enumerate(structure.chains):
        rows = np.flatnonzero(chain == index)
        if len(rows):
            spans.append({"id": each.chain_id, "start": int(rows[0]), "end": int(rows[-1]) + 1})
    return spans


def _residue_names(structure: Structure) -> list[str]:
    residues = structure.residues
    return [
        f"{structure.chains[chain].chain_id} {name} {number}"
        for chain, name, number in zip(residues.chain, residues.name, residues.number, strict=True)
    ]


def _token_names(structure: Structure, tokens: Tokens) -> list[str]:
    names = _residue_names(structure)
    return [
        names[residue] if standard else f"{names[residue]} {structure.atoms.name[atom]}"
        for residue, standard, atom in zip(tokens.residue, tokens.is_standard, tokens.center_atom, strict=True)
    ]


def _residue_means(structure: Structure, plddt: Float[np.ndarray, "A"]) -> list[float]:
    count = np.bincount(structure.atoms.residue, minlength=len(structure.residues))
    total = np.bincount(structure.atoms.residue, weights=plddt, minlength=len(structure.residues))
    means: list[float] = (total / count).round(1).tolist()
    return means


def pixel_step(size: int) -> int:
    """Return how many tokens one pixel of a map with ``size`` rows stands for."""
    return -(-size // MAX_PAE_PIXELS)


def map_pixels(values: Float[np.ndarray, "N N"], step: int, scale: int = PAE_SCALE) -> str:
    """Return ``scale`` x a map row by row, a byte each, as base64; ``step`` x ``step`` tokens become one pixel."""
    if step > 1:
        starts = np.arange(0, len(values), step)
        sizes = np.diff(np.append(starts, len(values)))
        sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), starts, axis=0), starts, axis=1)
        values = sums / np.outer(sizes, sizes)
    scaled = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
    return base64.b64encode(scaled.tobytes()).decode("ascii")
