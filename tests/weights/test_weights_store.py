"""Weights files: what is saved comes back, and a broken file is refused in one sentence."""

import dataclasses
import hashlib
import json

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import anfinsen.weights.tensors
from anfinsen.common.config import to_mapping
from anfinsen.common.errors import ConfigError, OutputError, WeightsError
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.weights import load_model, save_model
from anfinsen.weights.store import FORMAT
from tiny_model import TINY, batch_of, tiny_model

METADATA = {"preset": "tiny", "seed": "7", "steps": "12"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model and its file."""
    model = tiny_model()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(model, path, METADATA)
    return model, path


def _contents(path):
    with safe_open(path, framework="pt") as handle:
        return {key: handle.get_tensor(key) for key in handle.keys()}, dict(handle.metadata())  # noqa: SIM118 (a handle is no mapping)


def _rewritten(saved, folder, tensors=None, **metadata):
    """A copy of the good file with some of it changed; None removes."""
    values, header = _contents(saved[1])
    values |= tensors or {}
    header |= metadata
    path = folder / "broken.safetensors"
    save_file(
        {key: value for key, value in values.items() if value is not None},
        path,
        {key: value for key, value in header.items() if value is not None},
    )
    return path


def _outputs(model):
    batch = batch_of({"kind": "protein", "ids": ("A",), "sequence": "GSAK"})
    x = torch.arange(len(batch.atom_mask) * 3).reshape(1, -1, 3).float()
    with torch.no_grad():
        trunk = model.trunk(batch, recycles=1)
        cache = model.diffusion.precompute(batch, trunk.s_inputs, trunk.single, trunk.pair)
        return (
            trunk.pair,
            model.diffusion(x, torch.tensor([3.0]), batch, cache),
            model.confidence(batch, trunk, x).plddt,
        )


def _one_sentence(error, path):
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text and len(text) < 800
    return text


# ---- good files


def test_float32_weights_come_back_bit_for_bit(saved):
    model, path = saved
    loaded, info = load_model(str(path))
    assert loaded.config == model.config
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    for found, expected in zip(_outputs(loaded), _outputs(model), strict=True):
        assert torch.equal(found, expected)
    assert info.name == "tiny" and info.path == str(path) and info.preset == "tiny"
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.metadata == METADATA


def test_bf16_weights_are_half_as_large_and_close(saved, tmp_path):
    model, path = saved
    small = tmp_path / "small.safetensors"
    save_model(model, small, METADATA, bf16=True)
    assert small.stat().st_size < 0.75 * path.stat().st_size
    loaded, _ = load_model(str(small))
    for name, value in loaded.state_dict().items():
        assert value.dtype == model.state_dict()[name].dtype, name
        torch.testing.assert_close(value, model.state_dict()[name], atol=0, rtol=2**-8)
        if value.ndim < 2:
            assert torch.equal(value, model.state_dict()[name]), name
    for found, expected in zip(_outputs(loaded), _outputs(model), strict=True):
        assert (found - expected).norm() < 0.05 * expected.norm()
        assert not torch.equal(found, expected)


def test_the_configuration_travels_with_the_weights(tmp_path):
    config = dataclasses.replace(TINY, c_z=12, variants=dataclasses.replace(TINY.variants, ending_bias="ki"))
    path = tmp_path / "other.safetensors"
    save_model(AlphaFold3(config), path, {})
    assert load_model(str(path))[0].config == config


def test_random_models_are_always_the_same_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, info = load_model("alphafold3-mini:random")
    assert torch.equal(torch.get_rng_state(), before)
    second, _ = load_model("alphafold3-mini:random")
    assert info.path == info.sha256 == "" and info.preset == "mini"
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)


# ---- broken files


def test_files_that_are_no_weights(saved, tmp_path):
    whole = saved[1].read_bytes()
    contents = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "cut in the header": whole[:20],
        "garbage": bytes(range(256)) * 8,
        "text": b"these are no weights\n" * 50,
        "html": b"<html><body>404 Not Found</body></html>",
    }
    for name, data in contents.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="not a whole safetensors file") as error:
            load_model(str(path))
        _one_sentence(error, path)


def test_missing_files_and_folders(tmp_path):
    missing = tmp_path / "none.safetensors"
    with pytest.raises(WeightsError, match="Cannot read") as error:
        load_model(str(missing))
    _one_sentence(error, missing)
    with pytest.raises(WeightsError, match="Cannot read"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["alphafold3", "alphafold3-full", "alphafold2-mini", "alphafold3-tiny:random", "", "a:random"]
)
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(ConfigError, match="mini"):
        load_model(name)


@pytest.mark.parametrize("name", ["a:random", "ALPHAFOLD2-mini:random", "alphafold9-mini:random"])
def test_names_of_no_family_are_answered_with_all_names(name):
    with pytest.raises(ConfigError, match=rf"Unknown model '{name}': expected one of .*alphafold2-mini:random"):
        load_model(name)


def test_models_of_another_family_are_not_called_unknown():
    with pytest.raises(ConfigError, match="Model 'alphafold1-mini' is no AlphaFold 3: expected one of alphafold3-mini"):
        load_model("alphafold1-mini")


def test_other_formats_are_named(saved, tmp_path):
    for given, shown in ((None, "not named"), ("pt", "'pt'"), ("anfinsen-weights-9", "'anfinsen-weights-9'")):
        path = _rewritten(saved, tmp_path, format=given)
        with pytest.raises(WeightsError, match=shown) as error:
            load_model(str(path))
        assert FORMAT in _one_sentence(error, path)


def test_tensors_that_do_not_fit(saved, tmp_path):
    name = "trunk_module.single_init.weight"
    value = saved[0].state_dict()[name]
    infinite = value.clone()
    infinite[0, 0] = float("inf")
    cases = {
        "1 tensors are missing": {name: None},
        "1 unknown": {"another.weight": torch.zeros(2)},
        r"shape \(17, \d+\), expected \(16": {name: torch.zeros(17, value.shape[1])},
        "non-finite": {name: torch.full_like(value, float("nan"))},
        "holds non-finite": {name: infinite},
    }
    for message, tensors in cases.items():
        path = _rewritten(saved, tmp_path, tensors)
        with pytest.raises(WeightsError, match=message) as error:
            load_model(str(path))
        _one_sentence(error, path)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "{",
        "[]",
        "3",
        '{"c_s": "wide"}',
        '{"c_ss": 3}',
        json.dumps(to_mapping(TINY) | {"c_s": 17}),
        json.dumps(to_mapping(TINY) | {"sampler": None}),
    ],
)
def test_unusable_configurations(saved, tmp_path, config):
    path = _rewritten(saved, tmp_path, config=config)
    with pytest.raises(WeightsError, match="no usable model configuration") as error:
        load_model(str(path))
    _one_sentence(error, path)


# ---- writing


def test_damaged_models_are_not_saved(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.trunk_module.bonds.weight[0, 0] = float("nan")
    with pytest.raises(WeightsError, match=r"trunk_module\.bonds\.weight.*not written"):
        save_model(model, tmp_path / "a.safetensors", {})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_target_leaves_nothing_behind(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        save_model(tiny_model(), blocker / "a.safetensors", {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert blocker.read_text() == "x"


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    """What the library reports as its own error (a full disk, say) is an OutputError, and the old file stays."""

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr(anfinsen.weights.tensors, "save_file", full)
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="No space left"):
        save_model(tiny_model(), path, {})
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
