"""`anfinsen weights convert`: published files become weights files that compute the same."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from alphafold2_cases import BUILDERS, run_evoformer
from alphafold2_published import SMALL, Sizes, published, resized
from conversion import converted, random_tensors, refused, save_arrays
from openfold_layout import whole_arrays
from openfold_published import openfold_published
from parity import outputs_of, relative_errors
from test_alphafold2_parity import LIMITS, expected_outputs
from trunk_cases import Golden

from anfinsen.cli.app import run
from anfinsen.common.errors import ConfigError
from anfinsen.models.alphafold2 import alphafold2_config
from anfinsen.weights.alphafold2 import is_alphafold2
from anfinsen.weights.convert import published_model
from anfinsen.weights.published.alphafold2_openfold import openfold, todays_name
from anfinsen.weights.published.files import kind_of, read_checkpoint

KINDS = ["monomer", "monomer_no_templates", "ptm", "multimer_v2", "multimer_v3"]
GOLDEN_SIZES = Sizes(
    m=16,
    z=16,
    s=32,
    e=16,
    t=16,
    heads=2,
    pair_heads=2,
    outer=8,
    triangle=24,
    blocks=2,
    extra_blocks=1,
    template_blocks=2,
    point_heads=3,
    scalar=8,
    query_points=4,
    value_points=5,
    torsion=16,
    plddt=7,
)
# Where the parts of OpenFold's golden files stand in the whole.
GOLDEN = {
    "input_embedder": "input_embedder.",
    "recycling_embedder": "recycling_embedder.",
    "template_pair_stack": "template_embedder.template_pair_stack.",
    "template_pointwise_attention": "template_embedder.template_pointwise_att.",
    "extra_msa_block_monomer": "extra_msa_stack.blocks.0.",
    "evoformer_stack_monomer": "evoformer.",
    "structure_module_monomer": "structure_module.",
}


# ---- what is converted


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_become_a_weights_file(kind, tmp_path, capsys):
    source = save_arrays(tmp_path / "parameters.npz", random_tensors(published(kind, SMALL)))
    model, info = converted(source, tmp_path / "out.safetensors")
    preset = {"monomer_no_templates": "monomer", "multimer_v2": "multimer", "multimer_v3": "multimer"}.get(kind, kind)
    base = alphafold2_config(preset)
    if kind == "monomer_no_templates":
        # The rows that templates would take are clusters.
        base = replace(base, templates=False, msa_rows=512)
    if kind == "multimer_v2":
        base = replace(base, msa_rows=252, extra_rows=1152)
    assert model.config == resized(base)
    assert is_alphafold2(str(tmp_path / "out.safetensors"))
    assert info.metadata == {
        "preset": "",
        "source": "parameters.npz",
        "source_format": "DeepMind's arrays",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    shown = capsys.readouterr().out
    for part in ("AlphaFold 2", f"{sum(p.numel() for p in model.parameters()):,}", info.sha256, "parameters.npz"):
        assert part in shown


def v1_name(name):
    """What a tensor was called in OpenFold's first releases, as its published files have it."""
    if name.startswith("template_embedder."):
        rest = name.removeprefix("template_embedder.")
        return rest.replace("template_single_embedder", "template_angle_embedder")
    if name.startswith("structure_module.ipa."):
        return name.replace("_points.linear.", "_points.")
    if not name.startswith(("evoformer.blocks.", "extra_msa_stack.blocks.")):
        return name
    for part in ("msa_transition", "outer_product_mean"):
        name = name.replace(f".{part}.", f".core.{part}.")
    return name.replace(".pair_stack.", ".core.")


def v1_names(tensors):
    named = {v1_name(name): tensor for name, tensor in tensors.items()}
    assert len(named) == len(tensors)
    return named


def lightning(tensors):
    """A training checkpoint: the averaged parameters are what counts."""
    other = {f"model.{name}": torch.zeros_like(tensor) for name, tensor in tensors.items()}
    return {"epoch": 3, "state_dict": other, "ema": {"params": tensors, "decay": 0.999}, "optimizer_states": [{}]}


LAYOUTS = {
    "plain": lambda tensors: tensors,
    "averaged": lambda tensors: {"ema": {"params": tensors, "decay": 0.999}},
    "lightning": lightning,
    "without average": lambda tensors: {"state_dict": {f"model.{name}": x for name, x in tensors.items()}},
    "deepspeed": lambda tensors: {"module": {f"module.model.{name}": x for name, x in tensors.items()}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_openfold_and_deepmind_agree(kind, tmp_path):
    """The same numbers in both layouts become the same model."""
    tensors = random_tensors(openfold_published(kind, SMALL))
    arrays = whole_arrays(tensors, SMALL)
    assert {name: tuple(array.shape) for name, array in arrays.items()} == published(kind, SMALL)
    of_arrays, _ = converted(save_arrays(tmp_path / "a.npz", arrays), tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "b.pt")
    of_tensors, info = converted(tmp_path / "b.pt", tmp_path / "b.safetensors")
    assert of_tensors.config == of_arrays.config
    assert info.metadata["source_format"] == "OpenFold's checkpoint"
    for name, tensor in of_arrays.state_dict().items():
        assert torch.equal(of_tensors.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("plain", v1_names),
        ("averaged", v1_names),
        ("lightning", dict),
        ("without average", v1_names),
        ("deepspeed", dict),
    ],
)
def test_layouts_of_checkpoints(layout, names, tmp_path):
    """Names and wrappers of every kind lead to the same tensors; `test_openfold_and_deepmind_agree` converts them."""
    tensors = random_tensors(openfold_published("ptm", SMALL))
    torch.save(LAYOUTS[layout](names(tensors)), tmp_path / "other.ckpt")
    assert kind_of(tmp_path / "other.ckpt") == "checkpoint"
    found = openfold(read_checkpoint(tmp_path / "other.ckpt"), "other")
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found.tensors[name], tensor), name


@pytest.mark.parametrize("kind", KINDS)
def test_todays_names_stay(kind):
    names = openfold_published(kind, SMALL)
    assert [todays_name(name) for name in names] == list(names)


# ---- the golden outputs


@pytest.fixture(scope="module")
def golden_whole(shared):
    """A whole model of OpenFold's, made of its golden files; the rest is random. And the files."""
    files = {name: Golden(shared / "parity" / "openfold" / f"{name}.safetensors") for name in GOLDEN}
    shapes = openfold_published("ptm", GOLDEN_SIZES)
    tensors = random_tensors(shapes)
    for name, prefix in GOLDEN.items():
        for key, value in files[name].tensors["param"].items():
            assert shapes[prefix + key] == value.shape, key
            tensors[prefix + key] = value
        if name not in ("extra_msa_block_monomer",):
            known = {prefix + key for key in files[name].tensors["param"]}
            assert known == {key for key in shapes if key.startswith(prefix)}
    return tensors, files


@pytest.fixture(scope="module", params=["deepmind", "openfold"])
def golden_model(request, golden_whole, tmp_path_factory):
    tensors, folder = golden_whole[0], tmp_path_factory.mktemp("golden")
    if request.param == "deepmind":
        source = save_arrays(folder / "params_model_1_ptm.npz", whole_arrays(tensors, GOLDEN_SIZES))
    else:
        source = folder / "finetuning_ptm_1.pt"
        torch.save(v1_names(tensors), source)
    model, _ = converted(source, folder / "out.safetensors")
    model.structure.layers = 2  # the golden file's; weights are shared, so that no file says how many
    return model.double()


@pytest.mark.parametrize("name", GOLDEN)
def test_the_converted_whole_gives_the_golden_outputs(name, golden_model, golden_whole):
    file = golden_whole[1][name]
    trunk = golden_model.trunk
    module = {
        "input_embedder": trunk.inputs,
        "recycling_embedder": trunk.recycling,
        "template_pair_stack": trunk.templates.stack,
        "template_pointwise_attention": trunk.templates.attention,
        "extra_msa_block_monomer": trunk.extra,
        "evoformer_stack_monomer": SimpleNamespace(stack=trunk.evoformer, single=trunk.single),
        "structure_module_monomer": golden_model.structure,
    }[name]
    call = run_evoformer if name.startswith("extra") else BUILDERS[name](file)[2]
    outputs = outputs_of(module, call, file, torch.float64, False)
    # The peer cannot run the extra block in float64.
    precision = "float64" if "output64" in file.tensors else "float32"
    expected = expected_outputs(file, "output64" if precision == "float64" else "output")
    found = relative_errors(outputs, expected, file, torch.float64)
    assert max(found.values()) <= LIMITS[precision], found


# ---- names of published models


@pytest.mark.parametrize(
    ("name", "preset", "templates", "extra_rows"),
    [
        ("model_1", "monomer", True, 5120),
        ("model_2", "monomer", True, 1024),
        ("model_3", "monomer", False, 5120),
        ("model_4_ptm", "ptm", False, 5120),
        ("model_5_ptm", "ptm", False, 1024),
        ("model_1_multimer", "multimer", True, 1152),
        ("model_2_multimer_v2", "multimer", True, 1152),
        ("model_3_multimer_v3", "multimer", True, 2048),
        ("model_5_multimer_v3", "multimer", True, 1152),
    ],
)
def test_published_models(name, preset, templates, extra_rows):
    model = published_model(name)
    assert (model.preset, model.templates, model.extra_rows) == (preset, templates, extra_rows)


@pytest.mark.parametrize("name", ["", "model_6", "model_1_PTM", "model_1_multimer_v4", "1", "params_model_1"])
def test_unknown_published_models(name):
    with pytest.raises(ConfigError, match="expected model_1 to model_5"):
        published_model(name)


def test_the_name_says_how_deep_the_alignment_is(tmp_path, capsys):
    tensors = random_tensors(published("monomer_no_templates", SMALL))
    out = tmp_path / "out.safetensors"
    named = save_arrays(tmp_path / "params_model_5.npz", tensors)
    model, info = converted(named, out)
    assert model.config.extra_rows == 1024 and info.metadata["published_model"] == "model_5"
    model, info = converted(named, out, "--model", "model_4")
    assert model.config.extra_rows == 5120 and info.metadata["published_model"] == "model_4"
    assert capsys.readouterr().err == ""
    # A file that was called something else.
    renamed = save_arrays(tmp_path / "params_model_1.npz", tensors)
    model, info = converted(renamed, out)
    assert model.config.extra_rows == 5120 and "published_model" not in info.metadata
    assert "as many rows of an alignment as model 1" in capsys.readouterr().err
    out.unlink()
    wrong = "is not model_1: it holds a monomer model without templates"
    refused(capsys, renamed, out, "--model", "model_1", saying=wrong)
    refused(capsys, renamed, out, "--model", "model_3_ptm", saying="is not model_3_ptm")
    refused(capsys, renamed, out, "--model", "model_9", saying="Unknown published model 'model_9'")


# ---- anfinsen weights show


def test_show(capsys, tmp_path):
    assert run(["weights", "show", "alphafold2-mini:random"]) == 0
    shown = capsys.readouterr().out
    for part in ("AlphaFold 2", "mini", "untrained"):
        assert part in shown
    assert run(["weights", "show", "alphafold3-mini"]) == 0
    assert "AlphaFold 3" in capsys.readouterr().out
    path = save_arrays(tmp_path / "params.npz", {"w": torch.zeros(3)})
    for name, saying in (
        ("alphafold9", "Unknown model 'alphafold9'"),
        ("alphafold9:random", "Unknown model"),
        (str(path), "anfinsen weights convert"),
        (str(tmp_path / "none.safetensors"), "Cannot read"),
    ):
        assert run(["weights", "show", name]) == 2
        assert saying in capsys.readouterr().err


# ---- the published size


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ptm", "multimer_v3"])
def test_the_published_size(kind, tmp_path):
    """About 400 MB."""
    tensors = {name: torch.full(shape, 0.5) for name, shape in published(kind).items()}
    model, info = converted(save_arrays(tmp_path / f"params_model_1_{kind}.npz", tensors), tmp_path / "o.safetensors")
    preset = {"ptm": "ptm", "multimer_v3": "multimer"}[kind]
    assert model.config == alphafold2_config(preset)
    assert info.preset == preset and info.metadata["published_model"] == f"model_1_{kind}"
    with (tmp_path / "o.safetensors").open("rb") as handle:
        header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"F32"}
