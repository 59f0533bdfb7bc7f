"""How far a fold can be trusted: what the distogram itself expects, and how well the pool agrees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.geometry import pairwise_distances

from .folding import Fold
from .maps import FIRST_DISTANCE, LAST_DISTANCE, PairMaps

_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å, lDDT's
_RADIUS = 15.0  # Å, lDDT's
_POOL_WINDOW = 0.15  # structures whose potential is within this share of the best one's vote on agreement
CONFIDENCE_SIGNALS = ("expected_lddt", "agreement", "sharpness", "contact", "long_range", "length")


@dataclass(frozen=True)
class Confidence:
    """Calibrated estimates.

    Attributes:
        plddt: expected CA lDDT of each residue, 0 to 100. tm_score: expected TM-score, 0 to 1.
    """

    plddt: Float[Tensor, "L"]
    tm_score: float


class Calibration(nn.Module):
    """Logistic regression from signals to lDDT and TM-score; until fitted it passes on what the distogram expects."""

    lddt_weights: Float[Tensor, "signals_and_one"]
    tm_weights: Float[Tensor, "signals_and_one"]

    def __init__(self) -> None:
        super().__init__()
        start = torch.zeros(len(CONFIDENCE_SIGNALS) + 1)
        # logit(p) is about 4 (p - 1/2) near a half: the identity on the first signal, roughly.
        start[0], start[-1] = 4.0, -2.0
        self.register_buffer("lddt_weights", start)
        self.register_buffer("tm_weights", start.clone())

    def forward(self, signals: Float[Tensor, "L signals"]) -> Confidence:
        """Return the estimates for one structure."""
        lddt = torch.sigmoid(_with_one(signals) @ self.lddt_weights)
        tm = torch.sigmoid(_with_one(signals.mean(0, keepdim=True)) @ self.tm_weights)
        return Confidence(100 * lddt, float(tm))

    def fit(
        self, signals: list[Float[Tensor, "_ signals"]], lddt: list[Float[Tensor, "_"]], tm: Float[Tensor, "chains"]
    ) -> None:
        """Fit to structures whose truth is known.

        Args:
            signals: of each structure. lddt: true CA lDDT of its residues, 0 to 1. tm: true TM-scores.
        """
        self.lddt_weights.copy_(_logistic_fit(torch.cat(signals), torch.cat(lddt)))
        self.tm_weights.copy_(_logistic_fit(torch.stack([part.mean(0) for part in signals]), tm))


def confidence_signals(maps: PairMaps, fold: Fold, number: int = 0) -> Float[Tensor, "L signals"]:
    """Return what is known about each residue of structure ``number`` (0: the best), all about 0 to 1.

    expected_lddt: lDDT that the distogram expects of the structure. agreement: CA lDDT between it and others of about
    the best one's potential. sharpness: 1 less the mean entropy of the distances to residues nearby. contact: mean
    probability of the closest eight contacts; long_range: of those at least 24 residues away. length: log of it.
    """
    ca, cb = fold.backbone.ca, fold.backbone.cb
    expected = expected_lddt(maps, cb[number])
    voting = fold.energy <= fold.energy[0] + _POOL_WINDOW * fold.energy[0].abs()
    others = [i for i in voting.nonzero()[:, 0].tolist() if i != number]
    agreement = torch.stack([lddt_between(ca[number], ca[i]) for i in others]).mean(0) if others else expected
    near = _near(pairwise_distances(cb[number]))
    entropy = -(maps.distogram * (maps.distogram + 1e-9).log()).sum(-1) / torch.log(
        torch.tensor(float(maps.distogram.shape[-1]))
    )
    sharpness = 1 - (entropy * near).sum(1) / near.sum(1).clamp(min=1)
    contact = maps.probability_within(8.0)
    place = torch.arange(len(maps))
    separation = (place[:, None] - place).abs()
    signals = [expected, agreement, sharpness]
    for least in (6, 24):
        strong = (contact * (separation >= least)).sort(1, descending=True).values[:, :8]
        signals.append(strong.mean(1))
    signals.append(torch.full_like(expected, len(maps) / 100.0).log() / 2)
    return torch.stack(signals, dim=1).float()


def expected_lddt(maps: PairMaps, cb: Float[Tensor, "L 3"]) -> Float[Tensor, "L"]:
    """Return the lDDT of each residue's CB if true distances were drawn from the distogram, 0 to 1.

    A bin counts by the part of it that lies within lDDT's thresholds of the structure's own distance.
    """
    distance = pairwise_distances(cb)
    bins = maps.distogram.shape[-1]
    width = (LAST_DISTANCE - FIRST_DISTANCE) / bins
    low = FIRST_DISTANCE + width * torch.arange(bins, device=cb.device)
    score = torch.zeros_like(distance)
    for threshold in _THRESHOLDS:
        upper = torch.minimum(low + width, (distance + threshold)[..., None])
        lower = torch.maximum(low, (distance - threshold)[..., None])
        score += (maps.distogram * ((upper - lower) / width).clamp(0, 1)).sum(-1) / len(_THRESHOLDS)
    near = _near(distance)
    return (score * near).sum(1) / near.sum(1).clamp(min=1)


def lddt_between(first: Float[Tensor, "L 3"], second: Float[Tensor, "L 3"]) -> Float[Tensor, "L"]:
    """Return the lDDT of ``second`` as if ``first`` were the truth, per residue, 0 to 1."""
    true = pairwise_distances(first)
    error = (pairwise_distances(second) - true).abs()
    score = torch.stack([(error < threshold).float() for threshold in _THRESHOLDS]).mean(0)
    near = _near(true)
    return (score * near).sum(1) / near.sum(1).clamp(min=1)


def _near(distance: Float[Tensor, "L L"]) -> Float[Tensor, "L L"]:
    others = ~torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    return ((distance < _RADIUS) & others).float()


def _with_one(signals: Float[Tensor, "n signals"]) -> Float[Tensor, "n signals_and_one"]:
    return torch.cat([signals, torch.ones_like(signals[:, :1])], dim=1)


def _logistic_fit(
    signals: Float[Tensor, "n signals"], target: Float[Tensor, "n"], steps: int = 50, ridge: float = 1e-4
) -> Float[Tensor, "signals_and_one"]:
    """Minimise cross-entropy to targets between 0 and 1 by Newton's method, with a small ridge."""
    x, y = _with_one(signals).double(), target.double()
    weights = torch.zeros(x.shape[1], dtype=torch.float64)
    penalty = ridge * torch.eye(x.shape[1], dtype=torch.float64)
    penalty[-1, -1] = 1e-9  # the constant is free
    for _ in range(steps):
        p = torch.sigmoid(x @ weights)
        gradient = x.T @ (p - y) / len(x) + penalty @ weights
        hessian = (x.T * (p * (1 - p)).clamp(min=1e-6)) @ x / len(x) + penalty
        weights = weights - torch.linalg.solve(hessian, gradient)
    return weights.float()
