"""The estimate grows with the job, refuses early, and its advice holds."""

import re
from itertools import pairwise

import pytest
import torch

from anfinsen.common.errors import MemoryLimitError
from anfinsen.inference import Size, estimate
from anfinsen.inference.memory import check_memory, samples_at_once
from anfinsen.models.alphafold3 import PRESETS

CPU = torch.device("cpu")


def _size(tokens: int, rows: int = 128) -> Size:
    return Size(tokens, 8 * tokens, rows)


def _estimate(size, preset="mini", samples=5, at_once=5):
    config = PRESETS[preset]
    return estimate(size, config, samples=samples, at_once=at_once, recycles=1, steps=20, device=CPU)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_more_tokens_need_more_of_everything(preset):
    sizes = [_estimate(_size(tokens), preset) for tokens in (32, 128, 512, 2048)]
    assert all(a.bytes < b.bytes and a.seconds < b.seconds for a, b in pairwise(sizes))


def test_more_samples_need_more_time_and_more_at_once_more_memory():
    assert _estimate(_size(512), samples=10).seconds > _estimate(_size(512), samples=5).seconds
    large = _size(8000)
    assert _estimate(large, at_once=50).bytes > _estimate(large, at_once=1).bytes


def test_full_preset_passes_512_tokens_in_24_gib():
    assert _estimate(_size(512, 1024), "full", at_once=1).bytes < 24 * 2**30


def test_groups_depend_on_the_job_alone():
    config = PRESETS["full"]
    groups = [samples_at_once(_size(tokens), config) for tokens in (64, 512, 4096)]
    assert groups == sorted(groups, reverse=True)
    assert groups[-1] >= 1


def test_what_does_not_fit_is_refused_and_the_advice_fits(monkeypatch):
    config, free = PRESETS["full"], 6 * 2**30
    monkeypatch.setattr("anfinsen.inference.memory.available_bytes", lambda device: free)
    check_memory(_size(100), config, 1, CPU)
    with pytest.raises(MemoryLimitError, match=r"About [0-9]+ tokens would fit") as caught:
        check_memory(_size(3000), config, 1, CPU)
    fit = int(re.search(r"About (\d+) tokens", str(caught.value))[1])
    check_memory(_size(fit), config, 1, CPU)
    with pytest.raises(MemoryLimitError):
        check_memory(_size(fit + 20), config, 1, CPU)


def test_fewer_samples_at_once_are_proposed_where_that_is_enough(monkeypatch):
    config, size = PRESETS["mini"], _size(1500)
    one, many = (_estimate(size, at_once=count).bytes for count in (1, 400))
    monkeypatch.setattr("anfinsen.inference.memory.available_bytes", lambda device: (one + many) // 2)
    with pytest.raises(MemoryLimitError, match="--at-once") as caught:
        check_memory(size, config, 400, CPU)
    check_memory(size, config, int(re.search(r"--at-once (\d+)", str(caught.value))[1]), CPU)
