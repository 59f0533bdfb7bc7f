"""DeepMind's parameter files: every published array has its place, none is left over, and numbers arrive unchanged."""

import dataclasses

import numpy as np
import pytest
import torch
from alphafold2_cases import BUILDERS
from alphafold2_published import ROOT, SMALL, published, resized
from openfold_layout import block_arrays
from trunk_cases import Golden

from anfinsen.common.errors import WeightsError
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config, alphafold2_config
from anfinsen.weights.published.alphafold2_official import official, official_config, unstacked
from anfinsen.weights.published.alphafold2_official_trunk import evoformer_block
from anfinsen.weights.published.files import read_arrays
from anfinsen.weights.published.rules import Rule, converted_state, load_converted

KINDS = ["monomer", "monomer_no_templates", "ptm", "multimer_v2", "multimer_v3"]


def small_config(kind):
    return resized(official_config(published(kind), kind))


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


def test_the_file_says_which_model_it_is(kind):
    config = official_config(published(kind), kind)
    expected = {
        "monomer": alphafold2_config("monomer"),
        "monomer_no_templates": AlphaFold2Config(templates=False),
        "ptm": alphafold2_config("ptm"),
        "multimer_v2": dataclasses.replace(alphafold2_config("multimer"), msa_rows=252, extra_rows=1152),
        "multimer_v3": alphafold2_config("multimer"),
    }
    assert config == expected[kind]


def test_every_published_array_is_used_and_every_parameter_filled(kind):
    """At the published sizes; meta tensors have shapes and no numbers."""
    arrays = {name: torch.empty(shape, device="meta") for name, shape in published(kind).items()}
    found = official(arrays, kind)
    with torch.device("meta"):
        model = AlphaFold2(found.config)
    converted_state(model, found.tensors, found.rules, kind)
    elements = sum(array.numel() for array in arrays.values())
    filled = sum(parameter.numel() for parameter in model.parameters())
    # The multimer's nine biases of the template features are one here.
    assert elements - filled == (8 * 64 if kind.startswith("multimer") else 0)
    assert elements / 1e6 == pytest.approx(93.2, abs=0.5)


@pytest.mark.parametrize("change", ["missing", "left over", "shape", "depth"])
def test_a_file_that_does_not_fit_is_refused(kind, change):
    arrays = {name: torch.zeros(shape) for name, shape in published(kind, SMALL).items()}
    with torch.device("meta"):
        model = AlphaFold2(small_config(kind))
    name = f"{ROOT}evoformer/evoformer_iteration/msa_transition/transition1//weights"
    if change == "missing":
        del arrays[name]
        message = "has no tensor .*transition1"
    elif change == "left over":
        arrays[ROOT + "evoformer/another//weights"] = torch.zeros(3)
        message = "holds 1 tensors that this model does not use: .*another"
    elif change == "shape":
        arrays[name] = torch.zeros(2, 16, 32)
        message = "has shape .32, 16., expected .64, 16."
    else:
        arrays[name] = torch.zeros(3, 16, 64)
        message = "expected 2 blocks"
    with pytest.raises(WeightsError, match=message):
        found = official(arrays, kind)
        converted_state(model, found.tensors, found.rules, kind)


def test_numbers_arrive_unchanged(kind, tmp_path):
    """Through a file; every number is in the model exactly once."""
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal(shape, np.float32) for name, shape in published(kind, SMALL).items()}
    np.savez(tmp_path / "params.npz", **arrays)
    found = official(read_arrays(tmp_path / "params.npz"), kind)
    assert found.config == small_config(kind)
    model = AlphaFold2(found.config)
    load_converted(model, found.tensors, found.rules, kind)
    summed = [name for name in arrays if "template_pair_embedding" in name and name.endswith("bias")]
    expected = np.concatenate([array.ravel() for name, array in arrays.items() if name not in summed])
    found = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    if summed:
        total = found.pop("trunk.templates.features.bias")
        np.testing.assert_allclose(total, sum(arrays[name] for name in summed), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.sort(np.concatenate([a.ravel() for a in found.values()])), np.sort(expected))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / "params.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"params\.npz cannot be read as an archive of arrays"):
        read_arrays(path)


def test_other_archives_are_refused():
    with pytest.raises(WeightsError, match="other holds no AlphaFold 2 parameters"):
        official_config({"evoformer//weights": (3,)}, "other")


# ---- OpenFold's golden files in DeepMind's layout: the same outputs

BLOCKS = [
    "evoformer_block_monomer",
    "extra_msa_block_monomer",
    "evoformer_block_multimer_v3",
    "extra_msa_block_multimer_v3",
]


def largest_error(file, module, run, dtype):
    inputs = {key: value.to(dtype) for key, value in file.tensors["input"].items()}
    kind = "output64" if dtype == torch.float64 else "output"
    with torch.no_grad():
        made = run(module.eval().to(dtype), inputs)
    errors = []
    for name, expected in file.tensors[kind].items():
        keep = file.tensors["valid"][name].bool()
        errors.append(((made[name] - expected)[keep].abs().max() / expected[keep].abs().max()).item())
    return max(errors)


@pytest.mark.parametrize("name", BLOCKS)
def test_converted_blocks_give_the_golden_outputs(name, shared):
    file = Golden(shared / "parity" / "openfold" / f"{name}.safetensors")
    module, _, run = BUILDERS[name](file)
    arrays = block_arrays(file.tensors["param"], heads=2)
    fused, extra = "v3" in name, name.startswith("extra")
    rules = evoformer_block("block", extra=extra, fused=fused)
    load_converted(module, {f"block/{key}": array for key, array in arrays.items()}, rules, name)
    dtype = torch.float32 if extra else torch.float64
    assert largest_error(file, module, run, dtype) < (5e-6 if extra else 1e-9)


def test_the_converted_stack_gives_the_golden_output(shared):
    file = Golden(shared / "parity" / "openfold" / "evoformer_stack_monomer.safetensors")
    module, _, run = BUILDERS["evoformer_stack_monomer"](file)
    param = file.tensors["param"]
    blocks = [
        block_arrays({key.removeprefix(f"blocks.{i}."): v for key, v in param.items() if f"blocks.{i}." in key}, 2)
        for i in range(2)
    ]
    arrays = {f"evoformer_iteration/{key}": torch.stack([block[key] for block in blocks]) for key in blocks[0]}
    source = unstacked(arrays, {"evoformer_iteration": 2}, "stack")
    source |= {f"single.{kind}": param[f"linear.{kind}"] for kind in ("weight", "bias")}
    rules = [Rule(f"single.{kind}", (f"single.{kind}",)) for kind in ("weight", "bias")]
    for i in range(2):
        rules += evoformer_block(f"evoformer_iteration.{i}", f"stack.blocks.{i}.", extra=False, fused=False)
    load_converted(module, source, rules, "stack")
    assert largest_error(file, module, run, torch.float64) < 1e-9


def test_a_block_that_stands_beside_its_stack_is_refused():
    arrays = {"evoformer_iteration/x//bias": torch.zeros(2, 3), "evoformer_iteration.0/x//bias": torch.zeros(3)}
    for order in (list(arrays), list(reversed(arrays))):
        with pytest.raises(WeightsError, match=r"'evoformer_iteration\.0/x//bias' twice"):
            unstacked({name: arrays[name] for name in order}, {"evoformer_iteration": 2}, "file")
