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


def shared_single(single: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """Return the mean square, over channels, of what all tokens' single representations have in common.

    Whatever reads the single representation normalises it first, so a large common part drowns what tells the tokens
    apart. Early in training, at the rates of a short run, the diffusion module drives it there within a hundred steps,
    and then neither it nor the confidence head sees the residues any more.
    """
    return single.float().mean(dim=0).square().mean()


def training_loss(
    config: LossConfig,
    diffusion: DiffusionLoss | None = None,
    distogram: Float[Tensor, ""] | None = None,
    confidence: ConfidenceLoss | None = None,
    shared: Float[Tensor, ""] | None = None,
    weight: float = 1.0,
) -> TrainingLoss:
    """Return ``weight`` times the weighted sum of the parts that are given.

    Args:
        config: weights.
        diffusion, distogram, confidence, shared: parts; those left out do not count. ``shared`` is `shared_single`.
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
    if shared is not None:
        parts.append(config.shared_single * shared)
        terms["shared_single"] = shared
    if not parts:
        raise ValueError("The training loss needs at least one part.")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    terms = {"total": total} | terms
    return TrainingLoss(weight * total, {name: value.detach() for name, value in terms.items()})
