"""Options of a training run that every model's training takes."""

from types import SimpleNamespace

import pytest

import anfinsen.training.alphafold1_train as alphafold1
import anfinsen.training.alphafold2_train as alphafold2
import anfinsen.training.images.train as images
import anfinsen.training.loop as alphafold3
from anfinsen.training.images.options import ImageTrainOptions
from anfinsen.training.options import TrainOptions


class _Begun(Exception):
    """A training has come as far as its trainer."""


@pytest.mark.parametrize("rate", [0.0, 0.00321])
@pytest.mark.parametrize(
    ("module", "trainer", "train", "recipe"),
    [
        (alphafold1, "AlphaFold1Trainer", alphafold1.train_alphafold1, alphafold1.RECIPES["mini"]),
        (alphafold2, "AlphaFold2Trainer", alphafold2.train_alphafold2, alphafold2.RECIPES["mini"]),
        (alphafold3, "Trainer", alphafold3.train, alphafold3.RECIPES["mini"]),
        (images, "ImageTrainer", images.train_images, images.RECIPES["clip"]["mini"]),
    ],
    ids=["alphafold1", "alphafold2", "alphafold3", "images"],
)
def test_the_learning_rate_scales_the_schedule_of_every_model(
    module, trainer, train, recipe, rate, tmp_path, monkeypatch
):
    seen = []

    def begin(_, chosen, *_more, **_named):
        seen.append(chosen)
        raise _Begun

    monkeypatch.setattr(module, trainer, begin)
    options = TrainOptions(data=tmp_path, out=tmp_path, device="cpu", learning_rate=rate)
    if module is images:
        monkeypatch.setattr(images, "gather", lambda *_: SimpleNamespace(model=None, sources={}))
        options = ImageTrainOptions("clip", options)
    with pytest.raises(_Begun):
        train(options)
    factor = rate / recipe.learning_rate if rate else 1.0
    for step in (0, recipe.warmup // 2, recipe.warmup + 1):
        assert seen[0].rate_at(step) == pytest.approx(factor * recipe.rate_at(step))
