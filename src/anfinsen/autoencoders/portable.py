"""Fitted state that can be loaded on a machine without the device it was fitted on."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from .fitting import History
from .networks import Network


def on_cpu(value: Any) -> Any:
    """Return a network, tensors (in dictionaries too) or a `History` on the CPU; anything else as it is."""
    if isinstance(value, Network):
        return value if next(value.parameters()).device.type == "cpu" else copy.deepcopy(value).cpu()
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: on_cpu(entry) for key, entry in value.items()}
    if isinstance(value, History):
        return History(value.losses, value.validation, value.epochs, value.steps, on_cpu(value.optimizer))
    return value
