"""CLIP's picture tokens as a decoder's hidden states learn them: what is asked for, what it costs, who may ask."""

from dataclasses import replace

import pytest
import torch
from image_cases import RECIPE, TINY, add_tiny_presets, make_folder, options

from anfinsen.common.errors import WeightsError
from anfinsen.common.progress import Silent
from anfinsen.images.clip import Clip
from anfinsen.losses.images import alignment_loss
from anfinsen.training.images.alignment import PictureTokens
from anfinsen.training.images.build import gather
from anfinsen.training.images.data import Batches
from anfinsen.training.images.recipe import ALIGNMENT_WEIGHT
from anfinsen.training.images.train import ImageTrainer, train_images

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    pytest.importorskip("tensorboard")
    add_tiny_presets(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def clip(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_presets(patch)
        return str(train_images(options("clip", folder, tmp_path_factory.mktemp("clip"))))


def test_alignment_is_a_matter_of_directions_and_long_tokens_count_more():
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    assert alignment_loss(5 * tokens, tokens).item() == pytest.approx(0)
    assert alignment_loss(-tokens, tokens).item() == pytest.approx(2)
    # The second token, a quarter of all length, at a right angle to what is asked for.
    assert alignment_loss(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), tokens).item() == pytest.approx(0.25)
    assert alignment_loss(tokens, torch.zeros(1, 2, 2)).item() == pytest.approx(1)


def test_tokens_of_pictures_are_centred_at_each_place_and_of_one_spread(folder, clip):
    parts = gather(options("dalle2-decoder", folder, folder / "out", clip=clip), CPU, Silent())
    tokens: PictureTokens = parts.objective.tokens
    found = tokens.of(torch.arange(len(parts.train)))
    assert found.shape == (13, 64, 16) and not found.requires_grad
    torch.testing.assert_close(found.mean(0), torch.zeros(64, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.square().mean((0, 1)), torch.ones(16), atol=1e-4, rtol=0)
    assert torch.equal(tokens.of(torch.tensor([4, 2])), tokens.of(torch.arange(5))[[4, 2]])
    assert parts.scoring.tokens is None  # scores are those of runs without it


def test_clips_embedding_is_the_mean_of_its_tokens(folder):
    model = Clip(TINY["clip"][1])
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = model.image.project(model.image.tokens(pictures).mean(1))
    torch.testing.assert_close(model.encode_image(pictures), expected / expected.norm(dim=-1, keepdim=True))


def test_the_loss_is_denoising_and_alignment_and_training_lowers_both(folder, clip):
    parts = gather(options("dalle2-decoder", folder, folder / "out", clip=clip), CPU, Silent())
    trainer = ImageTrainer(parts.model, RECIPE.scaled(60), 0)
    batches = Batches(parts.train.scenes, len(parts.train), 1, RECIPE.batch, 0)
    terms = [trainer.step(parts.objective, batches) for _ in range(40)]
    for each in terms:
        assert each["loss"] == pytest.approx(each["denoising"] + ALIGNMENT_WEIGHT * each["alignment"], rel=1e-5)
    for name in ("denoising", "alignment"):
        first, last = (sum(each[name] for each in part) for part in (terms[:10], terms[-10:]))
        assert last < 0.9 * first, name


def test_a_clip_with_other_tokens_is_refused(folder, clip, monkeypatch):
    presets, config = TINY["dalle2-decoder"]
    monkeypatch.setitem(presets, "tiny", replace(config, c_aligned=20))
    with pytest.raises(WeightsError, match=r"64 picture tokens of 16 numbers, and preset 'tiny' .* guesses 64 of 20"):
        train_images(options("dalle2-decoder", folder, folder / "refused", clip=clip))
    monkeypatch.setitem(presets, "tiny", replace(config, unet=replace(config.unet, patch=4)))
    with pytest.raises(WeightsError, match="guesses 16 of 16"):
        train_images(options("dalle2-decoder", folder, folder / "refused", clip=clip))
    assert not (folder / "refused").exists()


def test_a_decoder_without_a_head_is_trained_without_tokens(folder, clip, monkeypatch):
    presets, config = TINY["dalle2-decoder"]
    monkeypatch.setitem(presets, "tiny", replace(config, c_aligned=0))
    parts = gather(options("dalle2-decoder", folder, folder / "out", clip=clip), CPU, Silent())
    assert parts.model.aligned is None and parts.objective.tokens is None
    loss = parts.objective.loss(torch.arange(4), 0.0, torch.Generator().manual_seed(0))
    assert loss.terms == {}
