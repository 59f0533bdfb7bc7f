"""Tensor files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from anfinsen.common.errors import OutputError
from anfinsen.common.files import atomic_path


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write ``tensors`` and ``metadata`` to the safetensors file ``path``.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            # A full disk comes as the library's own error.
            raise OutputError(
                f"Cannot write {path}: {error}. Choose another folder with --out, or free space and check permissions."
            ) from error
