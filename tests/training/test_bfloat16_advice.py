"""Where bfloat16 makes training slower, a run says so and how to mend it; elsewhere it says nothing."""

import pytest
import torch
from image_cases import add_tiny_presets, make_folder, options
from kept_notes import Notes

from anfinsen.common.device import bfloat16_gain
from anfinsen.training.images.train import train_images


def test_the_gain_is_a_ratio_that_leaves_random_numbers_alone():
    before = torch.get_rng_state()
    assert 0.001 < bfloat16_gain() < 1000
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("gain", "bf16", "said"), [(0.5, True, True), (0.5, False, False), (1.8, True, False)])
def test_a_run_says_where_bfloat16_is_slower(gain, bf16, said, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    add_tiny_presets(monkeypatch)
    monkeypatch.setattr("anfinsen.training.run.bfloat16_gain", lambda: gain)
    notes = Notes()
    folder = make_folder(tmp_path / "pictures")
    train_images(options("clip", folder, tmp_path / "out", bf16=bf16, steps=1), notes)
    found = [text for text in notes.said if "bfloat16" in text]
    assert bool(found) == said
    if said:
        assert "2.0 times as long as in float32" in found[0] and "--no-bf16" in found[0]
