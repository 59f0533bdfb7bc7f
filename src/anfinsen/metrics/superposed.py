"""Scores that need a superposition: RMSD, TM-score, GDT."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anfinsen.geometry import rigid_align, rotate, superpose

GDT_TS, GDT_HA = (1.0, 2.0, 4.0, 8.0), (0.5, 1.0, 2.0, 4.0)  # Å
SHORTEST_FRAGMENT = 4  # residues, first guess of a superposition
MAX_ITERATIONS = 20
NUMBERS_AT_ONCE = 4_000_000  # coordinates held per batch of superpositions: 32 MB
CLIMBERS, CLIMB_STEPS, CLIMB_RESIDUES = 6, 12, 24  # of the search around the best superpositions for GDT


@dataclass(frozen=True)
class SuperposedScores:
    """Best scores over superpositions of a prediction on the truth.

    Attributes:
        tm_score: 0 to 1 (Zhang and Skolnick 2004). gdt_ts, gdt_ha: 0 to 1 (Zemla 2003).
        rotation, translation: the superposition of the TM-score, to be applied to the prediction as R x + t; Å.
    """

    tm_score: float
    gdt_ts: float
    gdt_ha: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]


def rmsd(
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    resolved: Bool[np.ndarray, "n"] | None = None,
    *,
    superposed: bool = True,
) -> float:
    """Return the root mean square deviation in Å, after the best superposition unless ``superposed`` is False.

    Raises:
        ValueError: no atom is resolved.
    """
    x, y = _resolved(predicted, true, resolved)
    if superposed:
        x = rigid_align(x, y)
    return float((x - y).square().sum(-1).mean().sqrt())


def tm_distance(length: int) -> float:
    """Return d0 in Å, the distance that counts a half, for a chain of ``length`` residues (at least 0.5)."""
    return max(0.5, 1.24 * float(np.cbrt(length - 15)) - 1.8)


def tm_score(
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    resolved: Bool[np.ndarray, "n"] | None = None,
    length: int | None = None,
) -> float:
    """Return the TM-score (see :func:`superposed_scores`)."""
    return superposed_scores(predicted, true, resolved, length).tm_score


def superposed_scores(
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    resolved: Bool[np.ndarray, "n"] | None = None,
    length: int | None = None,
    *,
    thorough: bool = False,
) -> SuperposedScores:
    """Return TM-score and GDT of CA (or C1') atoms in known correspondence.

    Superpositions are searched as the TM-score program does: from fragments of the whole, a half, a quarter, … of the
    length, each refined by superposing again on the residues that came close, until these stay the same.

    Args:
        predicted, true: Å, one atom per residue.
        resolved: residues with a known true position; all if not given.
        length: number of residues that the scores are divided by; the resolved ones if not given.
        thorough: search for each distance of GDT too, as LGA does, and among the neighbours of the best superpositions,
            which takes several times as long.

    Raises:
        ValueError: no residue is resolved.
    """
    x, y = _resolved(predicted, true, resolved)
    count = len(x)
    length = count if length is None else length
    d0 = tm_distance(length)
    # How near residues come that take part in the next superpositions, first and later: TM-score's d0_search, 4.5 to
    # 8 Å, less and plus 1 Å.
    reach = min(max(d0, 4.5), 8.0)
    reaches = [(reach - 1, reach + 1)]
    if thorough:
        reaches += [(threshold, threshold) for threshold in sorted({*GDT_TS, *GDT_HA})]
    best = (-1.0, torch.eye(3, dtype=x.dtype), x.new_zeros(3))
    within = dict.fromkeys((*GDT_TS, *GDT_HA), 0)
    tops: dict[float, Tensor] = {threshold: torch.zeros(0, count, dtype=torch.bool) for threshold in within}
    fragments = _fragments(count)
    at_once = max(1, NUMBERS_AT_ONCE // (3 * count))
    for (first, later), start in product(reaches, range(0, len(fragments), at_once)):
        chosen = fragments[start : start + at_once]
        for iteration in range(MAX_ITERATIONS + 1):
            rotation, shift, distance = _superpose_on(x, y, chosen)
            scores = (1 / (1 + (distance / d0) ** 2)).sum(-1) / length
            top = int(scores.argmax())
            if scores[top] > best[0]:
                best = (float(scores[top]), rotation[top], shift[top])
            for threshold, most in within.items():
                inside = (distance < threshold).sum(-1)
                within[threshold] = max(most, int(inside.max()))
                if thorough and first == threshold:
                    leading = _closest(distance[inside.topk(min(CLIMBERS, len(inside))).indices], threshold)
                    tops[threshold] = torch.cat([tops[threshold], leading])
            close = _closest(distance, first if iteration == 0 else later)
            moving = (close != chosen).any(-1)
            if not moving.any():
                break
            chosen = torch.unique(close[moving], dim=0)
    for threshold, most in within.items():
        if thorough and most < count and count > 2:
            within[threshold] = max(most, _climb(x, y, tops[threshold], threshold))
    gdt_ts, gdt_ha = (sum(within[t] for t in thresholds) / (4 * length) for thresholds in (GDT_TS, GDT_HA))
    return SuperposedScores(best[0], gdt_ts, gdt_ha, best[1].numpy(), best[2].numpy())


def _fragments(count: int) -> Bool[Tensor, "fragments n"]:
    """Masks of the stretches that superpositions start from."""
    position = torch.arange(count)
    masks, size = [], count
    while True:
        # Neighbouring starts lead to the same place: an eighth of the fragment is step enough.
        starts = torch.arange(0, count - size + 1, max(1, size // 8))
        masks.append((position >= starts[:, None]) & (position < starts[:, None] + size))
        if size <= SHORTEST_FRAGMENT:
            return torch.cat(masks)
        size = max(SHORTEST_FRAGMENT, size // 2)


def _superpose_on(x: Tensor, y: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Superpose all of ``x`` on ``y`` by the residues of each mask; return motions and distances [masks, n]."""
    masks = len(chosen)
    moving, fixed = x.expand(masks, -1, -1), y.expand(masks, -1, -1)
    rotation, shift = superpose(moving, fixed, chosen.to(x.dtype))
    distance = (rotate(moving, rotation) + shift[:, None] - fixed).norm(dim=-1)
    return rotation, shift, distance


def _climb(x: Tensor, y: Tensor, chosen: Tensor, threshold: float) -> int:
    """Return how many residues come within ``threshold`` when single residues join or leave those superposed.

    Only residues whose distance is near the threshold are tried; the sets that bring most residues near go on, those
    first whose other residues are nearly there.
    """
    best, highest = 0, -1.0
    chosen = torch.unique(chosen, dim=0)
    for _ in range(CLIMB_STEPS):
        distance = _superpose_on(x, y, chosen)[2]
        inside = (distance < threshold).sum(-1)
        almost = torch.sigmoid(4 * (1 - distance / threshold)).sum(-1) / distance.shape[-1]
        order = (inside + almost).argsort(descending=True)[:CLIMBERS]
        best, before = max(best, int(inside[order[0]])), highest
        highest = float((inside + almost)[order[0]])
        if highest <= before:
            break
        leading = torch.cat([chosen[order], _closest(distance[order], threshold)])
        margin = (distance[order].repeat(2, 1) - threshold).abs()
        turned = margin.argsort(dim=-1)[:, :CLIMB_RESIDUES]
        others = leading[:, None] ^ torch.nn.functional.one_hot(turned, distance.shape[-1]).bool()
        others = others.reshape(-1, distance.shape[-1])
        chosen = torch.unique(torch.cat([leading, others[others.sum(-1) > 2]]), dim=0)
    return best


def _closest(distance: Tensor, reach: float) -> Tensor:
    """Residues within ``reach``, or the three closest where there are fewer."""
    third = distance.topk(min(3, distance.shape[-1]), dim=-1, largest=False).values[:, -1:]
    return distance <= third.clamp(min=reach)


def _resolved(
    predicted: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "n 3"], resolved: Bool[np.ndarray, "n"] | None
) -> tuple[Float[Tensor, "m 3"], Float[Tensor, "m 3"]]:
    keep = slice(None) if resolved is None else resolved
    x, y = (torch.from_numpy(np.asarray(part[keep], dtype=np.float64)) for part in (predicted, true))
    if len(x) == 0:
        raise ValueError("No atom is resolved: there is nothing to compare.")
    return x, y
