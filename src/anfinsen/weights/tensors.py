"""Tensor files: written whole or not at all, and read only if whole and finite."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anfinsen.common.errors import OutputError, WeightsError
from anfinsen.common.files import atomic_path

_PUBLISHED = {".npz", ".pt", ".ckpt"}  # endings of what `weights.convert` reads


@dataclass(frozen=True)
class TensorFile:
    """What a safetensors file holds, and the SHA-256 of its bytes."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str

    def check(self, expected: Mapping[str, Tensor]) -> None:
        """Compare the tensors with a model's ``state_dict``, whose numbers are not read.

        Raises:
            WeightsError: they are not the model's, or hold numbers that are not finite.
        """
        missing, unknown = expected.keys() - self.tensors.keys(), self.tensors.keys() - expected.keys()
        if missing or unknown:
            raise WeightsError(
                f"{self.path} does not match its own configuration: {len(missing)} tensors are missing and "
                f"{len(unknown)} unknown, {min(missing or unknown)!r} for one; copy the file again, or train again."
            )
        for key, value in self.tensors.items():
            if value.shape != expected[key].shape:
                raise WeightsError(
                    f"{self.path} does not match its own configuration: tensor {key!r} has shape {tuple(value.shape)}, "
                    f"expected {tuple(expected[key].shape)}."
                )
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise WeightsError(
                    f"{self.path}: tensor {key!r} holds non-finite numbers; copy the file again, or train again."
                )

    def fill(self, model: nn.Module) -> None:
        """Put the tensors into ``model``, in its own number types.

        Raises:
            WeightsError: as `check`.
        """
        expected = model.state_dict()
        self.check(expected)
        model.load_state_dict({key: value.to(expected[key].dtype) for key, value in self.tensors.items()})


def read_tensors(path: Path) -> TensorFile:
    """Return what the safetensors file ``path`` holds.

    Raises:
        WeightsError: the file cannot be read, or is damaged.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="pt") as handle:
            metadata = dict(handle.metadata() or {})
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise WeightsError(f"Cannot read the weights file {path}: {error.strerror or error}.") from error
    except SafetensorError as error:
        mend = "copy it again, or train it again with `anfinsen train`"
        if path.suffix in _PUBLISHED:
            mend = "make one of published parameters with `anfinsen weights convert`"
        raise WeightsError(f"{path} is not a whole safetensors file ({error}): {mend}.") from error
    return TensorFile(path, tensors, metadata, digest)


def stored_tensors(
    state: Mapping[str, Tensor], path: Path, *, bf16: bool, exact: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return the tensors of a model as they are stored in ``path``.

    Args:
        state: a model's ``state_dict``.
        path: where they will go, for messages.
        bf16: store matrices in bfloat16; norms, biases, and the tensors named in ``exact`` keep their type.
        exact: names.

    Raises:
        WeightsError: a number is NaN or infinite.
    """
    tensors = {}
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"Weight {name!r} holds non-finite numbers; {path} was not written.")
        small = bf16 and value.ndim > 1 and value.is_floating_point() and name not in exact
        tensors[name] = value.detach().cpu().to(torch.bfloat16 if small else value.dtype).contiguous()
    return tensors


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
