"""Weights files of AlphaFold 2: what is saved comes back, and other families' files are told apart."""

import pytest
import torch
from alphafold2_published import SMALL_CONFIG

from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.models.alphafold2 import PRESETS, AlphaFold2
from anfinsen.weights import ALPHAFOLD2_BUNDLED, load_model, save_model, store
from anfinsen.weights.alphafold1 import is_alphafold1
from anfinsen.weights.alphafold2 import is_alphafold2, load_alphafold2, save_alphafold2
from tiny_model import tiny_model


@pytest.fixture(scope="module")
def model():
    return AlphaFold2(SMALL_CONFIG)


def test_files_say_what_they_are(model, tmp_path):
    path = tmp_path / "two.safetensors"
    save_alphafold2(model, path, {"preset": "small", "steps": "7"})
    again, info = load_alphafold2(str(path))
    assert again.config == SMALL_CONFIG and not again.training
    assert (info.name, info.preset, info.metadata) == ("two", "small", {"preset": "small", "steps": "7"})
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert is_alphafold2(str(path)) and not is_alphafold1(str(path))
    with pytest.raises(WeightsError, match="holds no AlphaFold 3: its model is 'alphafold2'"):
        load_model(str(path))


def test_other_families_files_are_refused(tmp_path):
    path = tmp_path / "three.safetensors"
    save_model(tiny_model(), path, {})
    assert not is_alphafold2(str(path)) and not is_alphafold2(str(tmp_path))
    with pytest.raises(WeightsError, match="holds no AlphaFold 2: its model is 'alphafold3'"):
        load_alphafold2(str(path))


def test_matrices_may_be_stored_in_bfloat16(model, tmp_path):
    save_alphafold2(model, tmp_path / "whole.safetensors", {})
    save_alphafold2(model, tmp_path / "half.safetensors", {}, bf16=True)
    again, _ = load_alphafold2(str(tmp_path / "half.safetensors"))
    assert (tmp_path / "half.safetensors").stat().st_size < 0.8 * (tmp_path / "whole.safetensors").stat().st_size
    for name, value in again.state_dict().items():
        expected = model.state_dict()[name]
        torch.testing.assert_close(
            value, expected.bfloat16().float() if expected.ndim > 1 else expected, atol=0, rtol=0
        )


def test_names(monkeypatch):
    model, info = load_alphafold2("alphafold2-mini:random")
    assert model.config == PRESETS["mini"] and info.preset == "mini" and info.path == ""
    assert is_alphafold2("alphafold2-mini") and is_alphafold2("alphafold2-ptm:random")
    assert not is_alphafold2("alphafold3-mini")
    with pytest.raises(ConfigError, match="alphafold2-PRESET:random with one of monomer, ptm, multimer, mini"):
        load_alphafold2("alphafold2-huge:random")
    with pytest.raises(ConfigError, match=r"Unknown model .alphafold2-huge.*alphafold2-monomer:random"):
        load_alphafold2("alphafold2-huge")
    monkeypatch.setitem(ALPHAFOLD2_BUNDLED, "alphafold2-mini", "absent.safetensors")
    assert "alphafold2-mini" not in store.model_names()
    with pytest.raises(WeightsError, match=r"has no weights of .alphafold2-mini.*anfinsen train alphafold2"):
        load_alphafold2("alphafold2-mini")
