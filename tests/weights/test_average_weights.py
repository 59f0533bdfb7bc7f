"""The average of two weights files is between them, is one network, and is refused of two."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.weights.tensors import read_tensors, write_tensors

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
METADATA = {"format": "anfinsen-weights-1", "config": "{}", "steps": "1"}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    yield importlib.import_module("average_weights")
    del sys.modules["average_weights"]


def _write(path, value, **changes):
    tensors = {"w": torch.full((2, 2), value, dtype=torch.bfloat16), "b": torch.full((2,), value), "n": torch.tensor(3)}
    write_tensors(path, tensors, METADATA | changes)
    return path


def test_the_average_is_between_the_two(script, tmp_path):
    first, second = _write(tmp_path / "a", 1.0), _write(tmp_path / "b", 3.0, steps="2")
    script.main([str(first), str(second), str(tmp_path / "out"), "--share", "0.25"])
    found = read_tensors(tmp_path / "out")
    assert found.tensors["w"].dtype == torch.bfloat16
    assert bool((found.tensors["w"] == 1.5).all() and (found.tensors["b"] == 1.5).all())
    assert int(found.tensors["n"]) == 3
    assert found.metadata["steps"] == "2"
    hashes = [read_tensors(path).sha256 for path in (first, second)]
    assert found.metadata["averaged"] == f"0.75 of {hashes[0]}, 0.25 of {hashes[1]}"
    for share, file in ((0.0, first), (1.0, second)):
        ends = script.averaged(read_tensors(first), read_tensors(second), share)
        assert all(torch.equal(ends[name], tensor) for name, tensor in read_tensors(file).tensors.items())


def test_files_of_two_networks_are_refused(script, tmp_path):
    first, other = _write(tmp_path / "a", 1.0), _write(tmp_path / "b", 3.0, config='{"width": 2}')
    with pytest.raises(WeightsError, match="another 'config'"):
        script.averaged(read_tensors(first), read_tensors(other), 0.5)
    write_tensors(tmp_path / "c", {"w": torch.zeros(3)}, METADATA)
    with pytest.raises(WeightsError, match="other tensors"):
        script.averaged(read_tensors(first), read_tensors(tmp_path / "c"), 0.5)
    with pytest.raises(ConfigError, match=r"--share is 1\.5"):
        script.averaged(read_tensors(first), read_tensors(first), 1.5)
