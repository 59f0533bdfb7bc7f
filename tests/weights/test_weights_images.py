"""Weights of the image networks: presets and files say what they are, and belong to one CLIP or discrete VAE."""

import dataclasses
import json

import pytest
import torch

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, WeightsError
from anfinsen.images.clip import ClipConfig
from anfinsen.images.dalle1 import DiscreteVaeConfig, ImageTransformerConfig
from anfinsen.images.dalle2 import PriorConfig
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.images.transformer import TransformerConfig
from anfinsen.weights import describe
from anfinsen.weights.images import (
    CLIP,
    DALLE1_DVAE,
    DALLE1_TRANSFORMER,
    DALLE2_PRIOR,
    IMAGE_FAMILIES,
    require_clip,
    require_dvae,
    tokenizer_of,
)
from anfinsen.weights.store import BUNDLED_FILES, WeightsInfo, family_of, model_names

BLOCKS = TransformerConfig(width=16, heads=2, depth=1)
SMALL = {
    "clip": ClipConfig(text=BLOCKS, image=BLOCKS, stem=16, embedding=12),
    "dalle2-prior": PriorConfig(c_clip=12, c_text=16, transformer=BLOCKS),
    "dalle1-dvae": DiscreteVaeConfig(codes=16, channels=(16, 16)),
    "dalle1-transformer": ImageTransformerConfig(BLOCKS, codes=16),
}


def _saved(network, path, **metadata):
    family = IMAGE_FAMILIES[network]
    torch.manual_seed(0)
    model = family.build(SMALL[network])
    family.save(model, path, metadata, bf16=False)
    return model, family.load(str(path), "cpu")


@pytest.mark.parametrize("network", IMAGE_FAMILIES)
def test_presets_survive_the_file(network):
    family = IMAGE_FAMILIES[network]
    assert {"mini", "small"} <= set(family.presets)
    for config in family.presets.values():
        assert from_mapping(family.config, json.loads(json.dumps(to_mapping(config)))) == config
    assert family.bundled == {f"{network}-mini": f"{network}-mini.safetensors"} == BUNDLED_FILES[network]
    assert describe.FAMILIES[network] is family


@pytest.mark.parametrize("network", SMALL)
def test_a_file_gives_back_the_network(network, tmp_path):
    model, (again, info) = _saved(network, tmp_path / "a.safetensors", preset="tiny", steps="3")
    assert again.config == model.config and not again.training
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    assert info.preset == "tiny" and info.metadata["steps"] == "3"
    summary = describe.describe_weights(str(tmp_path / "a.safetensors"))
    assert summary.family == IMAGE_FAMILIES[network].title
    assert summary.parameters == sum(p.numel() for p in model.parameters())
    other = "clip" if network != "clip" else "dalle1-dvae"
    with pytest.raises(WeightsError, match=f"its model is '{network}', expected '{other}'"):
        IMAGE_FAMILIES[other].load(str(tmp_path / "a.safetensors"), "cpu")


def test_the_tokenizer_comes_back(tmp_path):
    tokenizer = Tokenizer.train(["two small red circles", "a blue square", "two red squares"] * 3)
    _, (_, info) = _saved("clip", tmp_path / "a.safetensors", tokenizer=tokenizer.to_json())
    for text in ("a small circle", "two blue squares"):
        assert torch.equal(tokenizer_of(info).encode(text).ids, tokenizer.encode(text).ids)
    _, (_, info) = _saved("dalle1-dvae", tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"b\.safetensors hold no tokenizer"):
        tokenizer_of(info)


def test_networks_belong_to_one_clip_and_one_dvae(tmp_path):
    _, (_, clip) = _saved("clip", tmp_path / "clip.safetensors")
    _, (_, prior) = _saved("dalle2-prior", tmp_path / "prior.safetensors", clip=clip.sha256)
    require_clip(prior, clip)
    _, (_, other) = _saved("clip", tmp_path / "other.safetensors", seed="1")
    with pytest.raises(WeightsError, match=rf"prior\.safetensors was trained with the CLIP .*{clip.sha256[:12]}, and "):
        require_clip(prior, other)
    with pytest.raises(WeightsError, match="is untrained"):
        require_clip(prior, WeightsInfo("clip-mini:random", "", "", "mini"))
    _, (_, dvae) = _saved("dalle1-dvae", tmp_path / "dvae.safetensors")
    _, (_, transformer) = _saved("dalle1-transformer", tmp_path / "t.safetensors", dvae=dvae.sha256)
    require_dvae(transformer, dvae)
    with pytest.raises(WeightsError, match="trained with the discrete VAE of SHA-256 unknown"):
        require_dvae(dataclasses.replace(transformer, metadata={}), dvae)


def test_random_networks_by_name():
    first, info = CLIP.load("clip-mini:random", "cpu")
    assert info.sha256 == "" and first.config == CLIP.presets["mini"]
    assert describe.describe_weights("dalle2-prior-mini:random").family == DALLE2_PRIOR.title
    names = model_names()
    for family in IMAGE_FAMILIES.values():
        assert f"{family.name}-small:random" in names
        assert family.owns(f"{family.name}-mini") and family_of(f"{family.name}-mini") == family.name
    with pytest.raises(ConfigError, match="expected dalle1-dvae-PRESET:random with one of mini, small"):
        DALLE1_DVAE.load("dalle1-dvae-huge:random", "cpu")
    with pytest.raises(ConfigError, match="Unknown model 'dalle2-mini:random'"):
        DALLE2_PRIOR.load("dalle2-mini:random", "cpu")


def test_a_missing_bundled_file_is_named(monkeypatch):
    monkeypatch.setitem(BUNDLED_FILES["dalle1-transformer"], "dalle1-transformer-mini", "absent.safetensors")
    with pytest.raises(WeightsError, match=r"no weights of 'dalle1-transformer-mini': .* `anfinsen train dalle1-trans"):
        DALLE1_TRANSFORMER.load("dalle1-transformer-mini", "cpu")
    with pytest.raises(ConfigError, match="'clip-mini' is no DALL·E 1 transformer"):
        DALLE1_TRANSFORMER.load("clip-mini", "cpu")
