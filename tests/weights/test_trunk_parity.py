"""Every trunk module reproduces the published implementations from their own weights."""

import pytest
import torch
from parity import outputs_of, relative_errors
from trunk_cases import FILES, Golden, loaded

CASES = [pytest.param(peer, name, id=f"{peer}-{name}") for peer, names in FILES.items() for name in names]


def find(peer, name, golden, request):
    """Files of af3_official stay in the shared folder; the others are committed."""
    folder = request.getfixturevalue("shared") / "parity" if peer == "af3_official" else golden
    return Golden(folder / peer / f"{name}.safetensors")


def errors(file, dtype, gradients):
    outputs = outputs_of(*loaded(file, dtype), file, dtype, gradients)
    return relative_errors(outputs, file.tensors["output64" if dtype == torch.float64 else "output"], file, dtype)


@pytest.mark.parametrize("gradients", [True, False], ids=["training-path", "inference-path"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("peer", "name"), CASES)
def test_parity(peer, name, precision, gradients, golden, request):
    file = find(peer, name, golden, request)
    found = errors(file, getattr(torch, precision), gradients)
    # The released JAX code keeps some float32 steps in its float64 run.
    limit = {"float64": 1e-6 if peer == "af3_official" else 1e-9, "float32": 5e-6}[precision]
    assert max(found.values()) <= limit, found
