"""Which optimiser moves which weights: Adam as published, or Muon for the matrices and Adam for the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

# A matrix with a shorter side has too few directions for evening them out to mean anything.
_SMALLEST_SIDE = 8


def make_optimizers(
    parameters: Iterable[nn.Parameter], betas: tuple[float, float], matrix_rate: float
) -> tuple[torch.optim.Optimizer, ...]:
    """Return the optimisers of ``parameters``, each of which is in exactly one of them.

    A group's "scale" is the factor of the run's learning rate that it moves by. Adam moves every weight of a matrix by
    about the rate, so what all tokens share, where every gradient points the same way, grows by rate × inputs at every
    step: at the rates of a short run the single representation becomes a constant, and nothing downstream sees the
    residues. Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") moves all directions
    of a matrix by the same amount. Rates are matched to Adam's as by Liu et al. 2025, "Muon is scalable for LLM
    training".

    Args:
        parameters: of a model.
        betas: of Adam.
        matrix_rate: factor of the learning rate for Muon on every matrix; 0: Adam for all.
    """
    parameters = list(parameters)
    matrices = [p for p in parameters if matrix_rate and p.ndim == 2 and min(p.shape) >= _SMALLEST_SIDE]
    chosen = {id(p) for p in matrices}
    rest = [p for p in parameters if id(p) not in chosen]
    adam = torch.optim.Adam([{"params": rest, "scale": 1.0}], lr=1.0, betas=betas, eps=1e-8)
    if not matrices:
        return (adam,)
    groups = [{"params": matrices, "scale": matrix_rate}]
    return adam, torch.optim.Muon(groups, lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
