"""The whole objective (AlphaFold 3 supplement, equation 15)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from .confidence import ConfidenceLoss
from .config import LossConfig
from .diffusion import DiffusionLoss


@dataclass(frozen=True)
class TrainingLoss:
    """What is minimised, and its terms by name (without gradient) for curves."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


def training_loss(
    config: LossConfig,
    diffusion: DiffusionLoss | None = None,
    distogram: Float[Tensor, ""] | None = None,
    confidence: ConfidenceLoss | None = None,
    weight: float = 1.0,
) -> TrainingLoss:
    """Return ``weight`` times the weighted sum of the parts that are given.

    Args:
        config: weights.
        diffusion, distogram, confidence: parts; those left out do not count.
        weight: scale of the example (`Labels.weight`).

    Raises:
        ValueError: no part is given.
    """
    parts: list[Tensor] = []
    terms: dict[str, Tensor] = {}
    if diffusion is not None:
        parts.append(config.diffusion * diffusion.total)
        terms |= {name: getattr(diffusion, name) for name in ("mse", "bond", "smooth_lddt")}
        terms["diffusion"] = diffusion.total
    if distogram is not None:
        parts.append(config.distogram * distogram)
        terms["distogram"] = distogram
    if confidence is not None:
        parts.append(config.confidence * confidence.total)
        terms |= {name: getattr(confidence, name) for name in ("plddt", "pae", "pde", "resolved")}
        terms["confidence"] = confidence.total
    if not parts:
        raise ValueError("The training loss needs at least one part.")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    terms = {"total": total} | terms
    return TrainingLoss(weight * total, {name: value.detach() for name, value in terms.items()})
