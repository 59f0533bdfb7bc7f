"""What docs/images.md says of sizes and files is so."""

import re
from pathlib import Path

import pytest
import torch

from anfinsen.images.dalle2 import DECODER_PRESETS, PRIOR_PRESETS, UPSAMPLER_PRESETS
from anfinsen.images.scenes import COLOURS, HELD_OUT, SHAPES
from anfinsen.weights.images import IMAGE_FAMILIES

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "images.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sizes():
    with torch.device("meta"):
        return {
            (name, preset): sum(parameter.numel() for parameter in family.build(family.presets[preset]).parameters())
            for name, family in IMAGE_FAMILIES.items()
            for preset in ("mini", "small")
        }


def test_sizes_are_those_of_the_presets(sizes):
    told = re.findall(r"^\| `([a-z0-9-]+)` \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert [name for name, *_ in told] == list(IMAGE_FAMILIES)
    for name, mini, small in told:
        assert float(mini) == pytest.approx(sizes[name, "mini"] / 1e6, abs=0.006)
        assert float(small) == pytest.approx(sizes[name, "small"] / 1e6, abs=0.006)


def test_both_models_are_of_a_size(sizes):
    of = {
        model: sum(size for (name, preset), size in sizes.items() if name.startswith(model) and preset == "mini")
        for model in ("dalle1", "dalle2")
    }
    assert abs(of["dalle2"] / of["dalle1"] - 1) < 0.2  # as the page says
    assert 2 * sum(size for (_, preset), size in sizes.items() if preset == "mini") < 25e6  # bf16, bundled


def test_facts_of_the_page(sizes):
    assert (len(SHAPES) * len(COLOURS), len(HELD_OUT)) == (42, 7)
    for presets, levels in (
        (PRIOR_PRESETS, "cosine"),
        (DECODER_PRESETS, "log-normal"),
        (UPSAMPLER_PRESETS, "log-normal"),
    ):
        assert {presets[name].diffusion.noise for name in presets} == {levels}
        assert {presets[name].diffusion.prediction for name in presets} == {"x0"}


def test_files_of_the_page_are_there():
    named = set(re.findall(r"`((?:images|models|scripts|benchmarks|tests)/[\w/]+\.py)", PAGE))
    assert len(named) >= 9
    for name in named:
        folder = REPOSITORY / "src" / "anfinsen" if name.startswith(("images/", "models/")) else REPOSITORY
        assert (folder / name).is_file(), name
