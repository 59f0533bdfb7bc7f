"""Muon for the filters of convolutions, each seen as a matrix: outputs × (inputs and places)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class FilterMuon(torch.optim.Optimizer):
    """`torch.optim.Muon`, which takes matrices only, on flattened views of filters.

    Source: Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks"), who flatten the last three
    axes of filters likewise.
    """

    def __init__(self, filters: Iterable[nn.Parameter], scale: float, weight_decay: float) -> None:
        """Keep the filters; ``scale`` is the factor of the run's learning rate that they move by."""
        filters = list(filters)
        super().__init__([{"params": filters, "scale": scale}], {"lr": 1.0})
        # Views of the same numbers: what moves them moves the filters.
        self._flat = [(each, nn.Parameter(each.detach().view(len(each), -1))) for each in filters]
        flat = [matrix for _, matrix in self._flat]
        self._muon = torch.optim.Muon(flat, lr=1.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure: gradients are there
        """Move the filters that have gradients."""
        del closure
        for each, matrix in self._flat:
            matrix.grad = None if each.grad is None else each.grad.flatten(1)
            # Momentum belongs to the filter, where checkpoints look for it.
            if each in self.state:
                self._muon.state[matrix] = self.state[each]
        self._muon.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self._muon.step()  # type: ignore[no-untyped-call]  # torch does not type it
        for each, matrix in self._flat:
            if matrix in self._muon.state:
                self.state[each] = self._muon.state[matrix]
