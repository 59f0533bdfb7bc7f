"""What AlphaFold 1 is trained against: cross-entropies of the distogram and of the auxiliary heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.models.alphafold1 import CropLogits, ResidueLogits

IGNORED = -1
"""Label of what is not known."""


@dataclass(frozen=True)
class AlphaFold1LossConfig:
    """Weights of the terms.

    Attributes:
        distogram: of the distances. orientation: of each of the three angles between near residues.
        torsion, secondary_structure, accessibility: of the auxiliary heads. Senior et al. 2020 give these 0.01 and
            less; at that weight a small network learns them too late to fold with.
    """

    distogram: float = 1.0
    orientation: float = 0.25
    torsion: float = 0.1
    secondary_structure: float = 0.05
    accessibility: float = 0.05


@dataclass(frozen=True)
class ResidueTargets:
    """Bins of the residues along one side of B crops; `IGNORED` where unknown.

    Attributes:
        torsion: phi bin times the number of bins, plus psi bin.
    """

    torsion: Int[Tensor, "B n"]
    secondary_structure: Int[Tensor, "B n"]
    accessibility: Int[Tensor, "B n"]


@dataclass(frozen=True)
class CropTargets:
    """Bins of B crops; `IGNORED` where unknown, orientations also where residues are far apart."""

    distance: Int[Tensor, "B n m"]
    omega: Int[Tensor, "B n m"]
    theta: Int[Tensor, "B n m"]
    phi: Int[Tensor, "B n m"]
    rows: ResidueTargets
    columns: ResidueTargets


def alphafold1_loss(
    logits: CropLogits, targets: CropTargets, config: AlphaFold1LossConfig
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return the weighted sum and every term by name (without gradient), each a mean over what is known."""
    terms = {"distogram": (config.distogram, _cross_entropy(logits.distogram, targets.distance))}
    if logits.omega is not None and logits.theta is not None and logits.phi is not None:
        terms["omega"] = (config.orientation, _cross_entropy(logits.omega, targets.omega))
        terms["theta"] = (config.orientation, _cross_entropy(logits.theta, targets.theta))
        terms["phi"] = (config.orientation, _cross_entropy(logits.phi, targets.phi))
    sides = ((logits.rows, targets.rows), (logits.columns, targets.columns))
    for name in ("torsion", "secondary_structure", "accessibility"):
        parts = [_residue_term(side, wanted, name) for side, wanted in sides]
        terms[name] = (getattr(config, name), (parts[0] + parts[1]) / 2)
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return total, {"total": total.detach()} | {name: value.detach() for name, (_, value) in terms.items()}


def _residue_term(logits: ResidueLogits, targets: ResidueTargets, name: str) -> Float[Tensor, ""]:
    values: Tensor = getattr(logits, name)
    return _cross_entropy(values.flatten(2), getattr(targets, name))


def _cross_entropy(logits: Float[Tensor, "*shape bins"], target: Int[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean over known targets; 0 where there are none."""
    known = target != IGNORED
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), target.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / known.sum().clamp(min=1)
