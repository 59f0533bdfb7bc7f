"""Every module of AlphaFold 2 reproduces OpenFold from OpenFold's own weights."""

import pytest
import torch
from alphafold2_cases import BUILDERS, as_matrices, existing_groups, loaded
from parity import outputs_of, relative_errors
from trunk_cases import Golden

from anfinsen.geometry import Frames, quaternion_to_rotation

# Peers round differently where float32 cancels; their own noise is up to 1e-6.
LIMITS = {"float64": 1e-9, "float32": 5e-6}


def expected_outputs(file, kind):
    """The peer's outputs; backbone frames of the monomer are quaternion and translation."""
    outputs = dict(file.tensors[kind])
    if file.name == "structure_module_monomer":
        quaternion, origin = outputs["frames"].split([4, 3], dim=-1)
        outputs["frames"] = as_matrices(Frames(quaternion_to_rotation(quaternion), origin))
    if "sidechain_frames" in outputs:
        exists = existing_groups(file.tensors["input"]["aatype"])
        outputs["sidechain_frames"] = outputs["sidechain_frames"] * exists[..., None, None]
    return outputs


def errors(file, dtype, gradients):
    outputs = outputs_of(*loaded(file, dtype), file, dtype, gradients)
    expected = expected_outputs(file, "output64" if dtype == torch.float64 else "output")
    return relative_errors(outputs, expected, file, dtype)


@pytest.mark.parametrize("gradients", [True, False], ids=["training-path", "inference-path"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", BUILDERS)
def test_parity(name, precision, gradients, shared):
    file = Golden(shared / "parity" / "openfold" / f"{name}.safetensors")
    if precision == "float64" and "output64" not in file.tensors:
        assert name.startswith("extra_msa_block")  # the peer cannot run these in float64
        precision = "float32"
    found = errors(file, getattr(torch, precision), gradients)
    assert max(found.values()) <= LIMITS[precision], found


def test_no_golden_file_is_left_out(shared):
    assert {path.stem for path in (shared / "parity" / "openfold").glob("*.safetensors")} == set(BUILDERS)
