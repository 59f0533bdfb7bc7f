"""Every part of the diffusion module reproduces the published implementations from their own weights."""

import pytest
import torch
from diffusion_cases import loaded
from diffusion_files import FILES, squeezed, valid_region
from parity import outputs_of
from trunk_cases import Golden

CASES = [pytest.param(peer, name, id=f"{peer}-{name}") for peer, names in FILES.items() for name in names]


def errors(file, dtype, gradients):
    """Largest error of each output inside its valid region, relative to the largest output."""
    outputs = outputs_of(*loaded(file, dtype), file, dtype, gradients)
    result = {}
    kind = "output64" if dtype == torch.float64 and "output64" in file.tensors else "output"
    for name, theirs in file.tensors[kind].items():
        expected = squeezed(theirs)
        keep = valid_region(file, name, expected)
        actual = squeezed(outputs[name].detach())
        assert actual.shape == expected.shape, name
        difference = (actual - expected)[keep].abs().max()
        result[name] = (difference / expected[keep].abs().max()).item()
    return result


@pytest.mark.parametrize("gradients", [True, False], ids=["training-path", "inference-path"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("peer", "name"), CASES)
def test_diffusion_parity(peer, name, precision, gradients, golden, request):
    folder = request.getfixturevalue("shared") / "parity" if peer == "af3_official" else golden
    file = Golden(folder / peer / f"{name}.safetensors")
    found = errors(file, getattr(torch, precision), gradients)
    # The released JAX code keeps some float32 steps in its float64 run.
    limit = {"float64": 1e-6 if peer == "af3_official" else 1e-9, "float32": 5e-6}[precision]
    assert max(found.values()) <= limit, found
