"""Checkpoints: everything a run needs to go on with the same numbers, in one safetensors file, written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from anfinsen.common.errors import WeightsError
from anfinsen.weights import write_tensors

from .ema import ExponentialMovingAverage

FORMAT = "anfinsen-checkpoint-1"


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, ...],
    ema: ExponentialMovingAverage,
    step: int,
    settings: dict[str, object],
) -> None:
    """Write model, optimiser and average after ``step`` steps to ``path``.

    Random numbers need no state: every step derives its own from the seed and the step number.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"ema/{name}": value for name, value in ema.shadow.items()}
    for name, parameter in model.named_parameters():
        for key, value in _state_of(optimizers, parameter).get(parameter, {}).items():
            tensors[f"optimizer/{key}/{name}"] = value
    metadata = {
        "format": FORMAT,
        "step": str(step),
        "ema_updates": str(ema.updates),
        "settings": json.dumps(settings, sort_keys=True),
    }
    write_tensors(path, {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, metadata)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, ...],
    ema: ExponentialMovingAverage,
    settings: dict[str, object],
) -> int:
    """Restore a run in place and return the number of steps done.

    Raises:
        WeightsError: the file is damaged, or was written by a run with other settings.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"Cannot read the checkpoint {path} ({error}): delete it to start the run anew.") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path} is not an anfinsen checkpoint: delete it, or choose another --out folder.")
    before = json.loads(metadata["settings"])
    now = json.loads(json.dumps(settings))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        raise WeightsError(
            f"The checkpoint {path} belongs to a run with another {changed[0]!r}: "
            "use the same settings to go on, or another --out folder to start anew."
        )
    model.load_state_dict({key.removeprefix("model/"): v for key, v in tensors.items() if key.startswith("model/")})
    for name in ema.shadow:
        ema.shadow[name].copy_(tensors[f"ema/{name}"])
    ema.updates = int(metadata["ema_updates"])
    for name, parameter in model.named_parameters():
        keys = [key for key in tensors if key.startswith("optimizer/") and key.split("/", 2)[2] == name]
        if keys:
            state = {key.split("/", 2)[1]: tensors[key].to(parameter.device) for key in keys}
            if "step" in state:  # Adam counts its steps on the CPU
                state["step"] = state["step"].cpu()
            _state_of(optimizers, parameter)[parameter] = state
    return int(metadata["step"])


def _state_of(optimizers: tuple[torch.optim.Optimizer, ...], parameter: nn.Parameter) -> dict[torch.Tensor, Any]:
    """Return the state of the optimiser that moves ``parameter``."""
    return next(o.state for o in optimizers if any(p is parameter for group in o.param_groups for p in group["params"]))
