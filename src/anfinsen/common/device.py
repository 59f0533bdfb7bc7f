"""Choosing where to compute."""

from __future__ import annotations

import torch

from .errors import ConfigError


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device called ``name``: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda", "mps"}:
        raise ConfigError(f"Unknown device {name!r}: expected auto, cpu, cuda, cuda:N or mps.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"Device {name!r} is not available: this machine shows {torch.cuda.device_count()} CUDA devices. "
            "Use --device auto or --device cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("Device 'mps' is not available on this machine. Use --device auto or --device cpu.")
    return device
