"""Training the image networks: order of the data, runs that go on to the same bits, networks that belong together."""

import json
import os
import re

import numpy as np
import pytest
import torch
from image_cases import RECIPE, TINY, add_tiny_presets, make_folder, options
from kept_notes import Notes

import anfinsen.training.images.data as data_module
from anfinsen.cli.app import run as run_command
from anfinsen.common.errors import ConfigError, InputError, OutputError, WeightsError
from anfinsen.common.optimisation import step
from anfinsen.common.progress import Silent
from anfinsen.common.seeding import torch_generator
from anfinsen.images.clip import Clip
from anfinsen.images.dalle2 import DECODER_PRESETS, PRIOR_PRESETS
from anfinsen.images.tokenizer import Tokenizer
from anfinsen.training.images.build import gather
from anfinsen.training.images.data import Batches, read_captions, read_images
from anfinsen.training.images.features import FeatureStore
from anfinsen.training.images.muon import FilterMuon
from anfinsen.training.images.objectives import mean_scores
from anfinsen.training.images.options import DropOptions, NoiseOptions
from anfinsen.training.images.recipe import RECIPES, ImageRecipe
from anfinsen.training.images.train import ImageTrainer, image_optimizers, train_images
from anfinsen.training.run import CHECKPOINT, WEIGHTS
from anfinsen.weights.images import CLIP, IMAGE_FAMILIES, tokenizer_of

UNDER = {
    "dalle2-prior": "clip",
    "dalle2-decoder": "clip",
    "dalle2-upsampler": "clip",
    "dalle1-transformer": "dvae",
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    pytest.importorskip("tensorboard")
    add_tiny_presets(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def under(folder, tmp_path_factory):
    """Weights of the networks that others stand on."""
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_presets(patch)
        out = tmp_path_factory.mktemp("under")
        return {
            name: str(train_images(options(network, folder, out / name)))
            for name, network in (("clip", "clip"), ("dvae", "dalle1-dvae"))
        }


def _on(network, under):
    return {UNDER[network]: under[UNDER[network]]} if network in UNDER else {}


def _tensors(network, path):
    return IMAGE_FAMILIES[network].load(str(path), "cpu")[0].state_dict()


class Interrupting(Silent):
    """Progress that interrupts training after some steps, as Ctrl-C does."""

    def __init__(self, steps):
        self.left, self.training = steps, False

    def stage(self, name, total):
        self.training = name == "training"

    def advance(self, steps=1):
        self.left -= steps if self.training else 0
        if self.training and steps and self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("network", TINY)
def test_ctrl_c_leaves_a_run_that_goes_on_to_the_same_bits(network, folder, under, tmp_path):
    whole = train_images(options(network, folder, tmp_path / "whole", **_on(network, under)))
    parts = options(network, folder, tmp_path / "parts", **_on(network, under))
    with pytest.raises(KeyboardInterrupt):
        train_images(parts, Interrupting(2))
    info = IMAGE_FAMILIES[network].load(str(tmp_path / "parts" / WEIGHTS), "cpu")[1]
    assert info.metadata["steps"] == "2" and info.metadata["pictures_seen"] == "12"
    expected, found = _tensors(network, whole), _tensors(network, train_images(parts))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    about = IMAGE_FAMILIES[network].load(str(whole), "cpu")[1].metadata
    assert about["steps"] == "4" and len(about["data"]) == 64 and float(about["cpu_seconds"]) >= 0
    assert not [file for file in (tmp_path / "parts").iterdir() if file.suffix == ".tmp"]


def test_cpu_seconds_add_up_over_the_parts_of_a_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("anfinsen.training.images.train._spent", lambda path: 5000.0)
    run = options("clip", folder, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_images(run, Interrupting(1))
    first = float(CLIP.load(str(tmp_path / WEIGHTS), "cpu")[1].metadata["cpu_seconds"])
    train_images(run)
    assert first < 1000 and float(CLIP.load(str(tmp_path / WEIGHTS), "cpu")[1].metadata["cpu_seconds"]) >= 5000


@pytest.mark.parametrize("network", TINY)
def test_a_run_begins_with_other_weights_and_says_so(network, folder, under, tmp_path):
    first = train_images(options(network, folder, tmp_path / "first", **_on(network, under)))
    # Without steps to speak of, what comes out is what went in.
    run = options(network, folder, tmp_path / "second", start=str(first), steps=1, **_on(network, under))
    still = ImageRecipe(steps=1, batch=6, learning_rate=0.0)
    second = train_images(run, recipe=still)
    expected, found = _tensors(network, first), _tensors(network, second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    family = IMAGE_FAMILIES[network]
    before, after = (family.load(str(path), "cpu")[1] for path in (first, second))
    assert after.metadata["start"] == before.sha256
    assert (before.metadata["pictures_seen"], after.metadata["pictures_seen"]) == ("24", "30")
    assert float(after.metadata["cpu_seconds"]) >= float(before.metadata["cpu_seconds"])
    # The same run with another beginning is another run.
    with pytest.raises(WeightsError, match="another"):
        train_images(options(network, folder, tmp_path / "second", **_on(network, under)), recipe=still)


def test_a_run_begins_with_weights_that_fit(folder, under, tmp_path):
    first = train_images(options("dalle2-decoder", folder, tmp_path / "first", clip=under["clip"]))
    other = train_images(options("clip", folder, tmp_path / "clip", seed=1))
    with pytest.raises(WeightsError, match="not of the sizes of preset 'mini': name their preset with --preset"):
        train_images(options("clip", folder, tmp_path / "out", preset="mini", start=str(other)))
    with pytest.raises(WeightsError, match="dalle2-decoder"):
        train_images(options("clip", folder, tmp_path / "out", start=str(first)))
    assert not (tmp_path / "out").exists()
    # Noise levels may be others, and so may CLIP, which is said: that is what going on is for.
    notes = Notes()
    moved = train_images(
        options("dalle2-decoder", folder, tmp_path / "moved", clip=str(other), start=str(first), steps=1), notes
    )
    expected = CLIP.load(str(other), "cpu")[1].sha256
    assert IMAGE_FAMILIES["dalle2-decoder"].load(str(moved), "cpu")[1].metadata["clip"] == expected
    assert any(f"another clip (SHA-256 {_clip_of(first)[:12]}, now {expected[:12]})" in note for note in notes.said)
    levels = NoiseOptions(mean=1.0)
    last = train_images(
        options("dalle2-decoder", folder, tmp_path / "more", clip=under["clip"], start=str(first), noise=levels)
    )
    assert IMAGE_FAMILIES["dalle2-decoder"].load(str(last), "cpu")[0].config.diffusion.noise_mean == 1.0


def _clip_of(path):
    return IMAGE_FAMILIES["dalle2-decoder"].load(str(path), "cpu")[1].metadata["clip"]


def test_a_checkpoint_belongs_to_its_data_and_its_clip(folder, under, tmp_path):
    train_images(options("dalle2-prior", folder, tmp_path / "out", clip=under["clip"]))
    other = make_folder(tmp_path / "other")
    (other / "about.json").write_text('{"seed": 1}')
    with pytest.raises(WeightsError, match="another 'data'"):
        train_images(options("dalle2-prior", other, tmp_path / "out", clip=under["clip"]))
    second = train_images(options("clip", folder, tmp_path / "clip", seed=1))
    with pytest.raises(WeightsError, match="another 'clip'"):
        train_images(options("dalle2-prior", folder, tmp_path / "out", clip=str(second)))
    with pytest.raises(WeightsError, match="another 'config'"):
        noise = NoiseOptions("log-normal", 0.5)
        train_images(options("dalle2-prior", folder, tmp_path / "out", clip=under["clip"], noise=noise))
    train_images(options("dalle2-decoder", folder, tmp_path / "decoder", clip=under["clip"]))
    with pytest.raises(WeightsError, match="another 'conditions_dropped'"):
        drop = DropOptions(both=0.5)
        train_images(options("dalle2-decoder", folder, tmp_path / "decoder", clip=under["clip"], drop=drop))


def test_the_decoder_does_without_its_conditions_as_often_as_it_is_told(folder, under, tmp_path):
    """One share is followed whatever the others are: what is dropped is seen where the network is asked."""
    chosen = options("dalle2-decoder", folder, tmp_path, clip=under["clip"], drop=DropOptions(0.9, 0.0, 0.0))
    parts = gather(chosen, torch.device("cpu"), Silent())
    assert parts.sources["conditions_dropped"] == "embedding 0.9, caption 0, both 0"
    seen = []
    true = type(parts.model).network

    def network(self, image, text, drop_embedding, drop_text):
        seen.append((drop_embedding.float().mean().item(), drop_text.float().mean().item()))
        return true(self, image, text, drop_embedding, drop_text)

    rows = torch.arange(8).repeat(16)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(type(parts.model), "network", network)
        for step in range(4):
            parts.objective.loss(rows, 0.0, torch_generator(0, "step", step))
    embedding, caption = (sum(each) / len(seen) for each in zip(*seen, strict=True))
    assert embedding == pytest.approx(0.9, abs=0.06)
    assert caption == 0.0


def test_a_network_learns(folder, under, tmp_path):
    """The discrete VAE and the decoder know pictures better after some steps than before."""
    recipe = RECIPE.scaled(60)
    for network in ("dalle1-dvae", "dalle2-decoder"):
        parts = gather(options(network, folder, tmp_path, **_on(network, under)), torch.device("cpu"), Silent())
        trainer = ImageTrainer(parts.model, recipe, 0)
        batches = Batches(parts.train.scenes, len(parts.train), 1, recipe.batch, 0)
        losses = [trainer.step(parts.objective, batches)["loss"] for _ in range(25)]
        assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8]), network


def test_scores_are_the_averaged_weights(folder, tmp_path):
    parts = gather(options("clip", folder, tmp_path), torch.device("cpu"), Silent())
    trainer = ImageTrainer(parts.model, RECIPE, 0)
    batches = Batches(parts.train.scenes, len(parts.train), 1, RECIPE.batch, 0)
    for _ in range(3):
        trainer.step(parts.objective, batches)
    found = trainer.validate(parts.scoring, 5)
    parts.model.load_state_dict({**parts.model.state_dict(), **trainer.ema.shadow})
    with torch.no_grad():
        expected = parts.scoring.scores(torch.arange(5), torch.Generator())
    assert found == pytest.approx(expected)
    assert set(found) == {"loss", "caption_recall", "picture_recall"}


def test_optimisers_move_every_weight_once():
    model = Clip(TINY["clip"][1])
    adam, muon, filters = image_optimizers(model, RECIPE)
    moved = [p for optimizer in (adam, muon, filters) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, moved)) == sorted(map(id, model.parameters()))
    assert all(p.ndim == 2 for group in muon.param_groups for p in group["params"])
    assert all(p.ndim == 4 for group in filters.param_groups for p in group["params"])
    words = model.text.words.weight
    assert any(p is words for group in adam.param_groups for p in group["params"])


def test_filters_move_as_matrices_do():
    generator = torch_generator(0)
    filters = torch.nn.Parameter(torch.randn(8, 4, 3, 3, generator=generator))
    matrix = torch.nn.Parameter(filters.detach().reshape(8, 36).clone())
    ours = FilterMuon([filters], scale=2.0, weight_decay=0.1)
    theirs = torch.optim.Muon([matrix], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for number in range(4):
        if number == 2:  # as a run that goes on does: momentum comes from a file
            state = {key: value.clone() for key, value in ours.state[filters].items()}
            ours = FilterMuon([filters], scale=2.0, weight_decay=0.1)
            ours.state[filters] = state
        matrix.grad = torch.randn(8, 36, generator=generator)
        filters.grad = matrix.grad.clone().view(8, 4, 3, 3)
        step((ours,), 0.01)
        theirs.step()
        assert torch.equal(filters.detach().flatten(1), matrix.detach()), number


def test_every_picture_comes_once_a_round_and_siblings_stay_together():
    batches = Batches(scenes=20, total=27, emoji_repeats=1, batch=8, seed=3)
    assert batches.epoch == 28  # an odd emoji goes with picture 0
    rows = torch.cat([batches.at(step) for step in range(14)])  # 112 rows are four rounds
    for number in range(4):
        one = rows[28 * number : 28 * (number + 1)]
        assert sorted(one.tolist()) == [0, *range(27)]
        pairs = one.reshape(-1, 2)
        scenes = pairs[pairs[:, 0] < 20]
        assert torch.equal(scenes[:, 0] + 1, scenes[:, 1]) and (scenes[:, 0] % 2 == 0).all()
    assert not torch.equal(rows[:26], rows[26:52])
    # Any step can be asked for first, as a run that goes on does.
    assert torch.equal(Batches(20, 27, 1, 8, 3).at(9), rows[72:80])
    often = Batches(scenes=20, total=26, emoji_repeats=3, batch=38, seed=3).at(0)
    assert (often >= 20).sum() == 18


def test_a_folder_is_read_in_order(folder):
    captions = read_captions(folder)
    data = read_images(folder, "train", Tokenizer.train(captions))
    assert len(data) == 13 and data.scenes == 10 and data.captions == tuple(captions)
    expected = np.load(folder / "train-images.npy")[4].transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(data.pictures(torch.tensor([4]))[0].numpy(), expected, atol=1e-6)
    means = expected.reshape(3, 32, 2, 32, 2).mean((2, 4))
    np.testing.assert_allclose(data.small(torch.tensor([4]))[0].numpy(), means, atol=1e-6)
    first = {caption: number for number, caption in reversed(list(enumerate(captions)))}
    for row, caption in enumerate(captions):
        assert data.groups[row] == data.groups[first[caption]]
    assert data.groups.unique().tolist() == list(range(len(set(captions))))


def test_features_are_clips_and_are_computed_once(folder, under, tmp_path, monkeypatch):
    clip, info = CLIP.load(under["clip"], "cpu")
    data = read_images(folder, "train", tokenizer_of(info))
    store = FeatureStore(tmp_path, torch.device("cpu"), False, Silent())
    features = store.clip(clip, info.sha256, data)
    rows = torch.tensor([11, 0, 3])
    with torch.no_grad():
        images = clip.encode_image(data.pictures(rows))
        expected = clip.encode_text(data.ids[rows], data.mask[rows])
    found = features.text(rows)
    torch.testing.assert_close(features.images[rows], images, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.embedding, expected.embedding, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.encodings, expected.encodings, atol=0.02, rtol=0.01)
    assert torch.equal(found.mask, expected.mask)
    monkeypatch.setattr(FeatureStore, "_clip", None)  # a second time nothing is computed
    assert torch.equal(store.clip(clip, info.sha256, data).images, features.images)


def test_data_that_changed_are_other_data(tmp_path):
    folder = make_folder(tmp_path / "pictures")
    tokenizer = Tokenizer.train(read_captions(folder))
    before = {split: read_images(folder, split, tokenizer).digest for split in ("train", "validation")}
    pictures = np.load(folder / "validation-images.npy")
    np.save(folder / "validation-images.npy", 255 - pictures)
    data_module._dataset.cache_clear()
    after = {split: read_images(folder, split, tokenizer).digest for split in ("train", "validation")}
    assert before["train"] == after["train"] and before["validation"] != after["validation"]


def test_damaged_features_are_made_again_once_deleted(folder, under, tmp_path):
    run = options("dalle2-prior", folder, tmp_path / "out", clip=under["clip"], steps=1)
    train_images(run)
    for path in run.features.glob("clip-*"):
        path.write_bytes(b"junk")
    again = options("dalle2-prior", folder, tmp_path / "more", clip=under["clip"], steps=1, cache=run.features)
    with pytest.raises(InputError, match="delete it, and it is made again"):
        train_images(again)
    for path in run.features.glob("clip-*"):
        path.unlink()
    train_images(again)


@pytest.mark.parametrize(("scenes", "emoji"), [(0, 3), (4, 0), (3, 2)])
def test_any_mixture_of_pictures_can_be_learnt(scenes, emoji):
    batches = Batches(scenes, scenes + emoji, emoji_repeats=1, batch=2, seed=0)
    rows = torch.cat([batches.at(step) for step in range(batches.epoch // 2)])
    assert set(rows.tolist()) == set(range(scenes + emoji))


def test_one_picture_is_nothing_to_tell_apart():
    with pytest.raises(InputError, match="has 1 picture: expected two at least"):
        Batches(0, 1, emoji_repeats=1, batch=2, seed=0)


def test_captions_that_are_too_long_name_their_split(tmp_path):
    folder = make_folder(tmp_path / "pictures", scenes=4, emoji=2)
    lines = (folder / "train.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {"caption": "circle " * 40})
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"split train, cannot be used\. The caption .* 24 are the most"):
        train_images(options("clip", folder, tmp_path / "out"))


def _no_about(folder):
    (folder / "about.json").unlink()


def _bad_about(folder):
    (folder / "about.json").write_text("{")


def _no_pictures(folder):
    (folder / "train-images.npy").unlink()


def _short_pictures(folder):
    path = folder / "validation-images.npy"
    path.write_bytes(path.read_bytes()[:-5000])


def _bad_line(folder):
    with (folder / "train.jsonl").open("a") as file:
        file.write("{}\n")


@pytest.mark.parametrize("damage", [_no_about, _bad_about, _no_pictures, _short_pictures, _bad_line])
def test_broken_folders_are_refused(damage, tmp_path, capsys):
    folder = make_folder(tmp_path / "pictures", scenes=4, emoji=2)
    damage(folder)
    with pytest.raises(InputError):
        train_images(options("clip", folder, tmp_path / "out"))
    arguments = ["train", "clip", str(folder), "--out", str(tmp_path / "out"), "--preset", "tiny", "--threads", "1"]
    assert run_command(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and str(folder) in said
    assert not (tmp_path / "out").exists()


def test_networks_that_do_not_fit_are_refused(folder, under, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(WeightsError, match=r"embeddings of 12 and encodings of 16 .* wants 128"):
        train_images(options("dalle2-prior", folder, out, clip=under["clip"], preset="mini"))
    with pytest.raises(WeightsError, match="16 codes"):
        train_images(options("dalle1-transformer", folder, out, dvae=under["dvae"], preset="mini"))
    with pytest.raises(WeightsError, match="holds no CLIP"):
        train_images(options("dalle2-decoder", folder, out, clip=under["dvae"]))
    with pytest.raises(WeightsError, match="hold no tokenizer"):
        train_images(options("dalle2-decoder", folder, out, clip="clip-tiny:random"))
    with pytest.raises(ConfigError, match="Unknown preset 'huge'"):
        train_images(options("clip", folder, out, preset="huge"))
    with pytest.raises(ConfigError, match="noise 'pink' is unknown"):
        train_images(options("dalle2-decoder", folder, out, clip=under["clip"], noise=NoiseOptions("pink")))
    assert not out.exists()


def test_several_workers_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        train_images(options("clip", folder, tmp_path / "out"))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (NoiseOptions("cosine", mean=1.0), "--noise-mean is for log-normal .* are cosine"),
        (NoiseOptions("linear", std=1.0), "--noise-std is for log-normal .* are linear"),
        (NoiseOptions(mean=float("nan")), "--noise-mean is nan: expected -10 to 10"),
    ],
)
def test_levels_that_cannot_be_are_refused(noise, message):
    with pytest.raises(ConfigError, match=message):
        noise.applied(DECODER_PRESETS["mini"])


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ({"embedding": 1.0}, "--drop-embedding is 1.0"),
        ({"caption": -0.1}, "--drop-caption is -0.1"),
        ({"both": float("nan")}, "--drop-both is nan"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, name):
    with pytest.raises(ConfigError, match=f"{name}: expected 0 or more, and less than 1"):
        DropOptions(**shares)


def test_only_the_decoder_drops_conditions_as_told(folder, tmp_path):
    with pytest.raises(ConfigError, match="for dalle2-decoder, not for dalle2-prior"):
        options("dalle2-prior", folder, tmp_path, drop=DropOptions(both=0.5))


def test_the_prior_has_no_mean_of_levels():
    with pytest.raises(ConfigError, match="give --noise log-normal"):
        NoiseOptions(std=1.0).applied(PRIOR_PRESETS["mini"])


def test_an_output_that_is_a_file_is_refused(folder, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match=r"Cannot write .*out"):
        train_images(options("clip", folder, tmp_path / "out", steps=1))
    assert (tmp_path / "out").read_text() == "mine"


def test_the_noise_of_a_run_is_kept_with_its_weights(folder, under, tmp_path):
    noise = NoiseOptions("log-normal", -0.4, 1.0)
    path = train_images(options("dalle2-decoder", folder, tmp_path, clip=under["clip"], noise=noise, steps=1))
    diffusion = IMAGE_FAMILIES["dalle2-decoder"].load(str(path), "cpu")[0].config.diffusion
    assert (diffusion.noise, diffusion.noise_mean, diffusion.noise_std) == ("log-normal", -0.4, 1.0)


@pytest.mark.parametrize("network", TINY)
def test_commands_train(network, folder, under, tmp_path, capsys):
    arguments = ["train", network, str(folder), "--out", str(tmp_path), "--preset", "tiny", "--steps", "1"]
    arguments += ["--device", "cpu", "--threads", "1", "--seed", "2", "--bf16"]
    for name, path in _on(network, under).items():
        arguments += [f"--{name}", path, "--cache", str(tmp_path / "features")]
    assert run_command(arguments) == 0, capsys.readouterr().err
    model, info = IMAGE_FAMILIES[network].load(str(tmp_path / WEIGHTS), "cpu")
    assert model.config == TINY[network][1] and info.metadata["seed"] == "2"
    assert (tmp_path / CHECKPOINT).is_file()
    capsys.readouterr()
    assert run_command(["weights", "show", str(tmp_path / WEIGHTS)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"pictures seen +6\n", shown) and "tokenizer" not in shown
    if network in ("clip", "dalle1-transformer"):
        assert tokenizer_of(info).vocabulary_size == len(json.loads(info.metadata["tokenizer"])["model"]["vocab"])


def test_recipes_rise_and_fall():
    for presets in RECIPES.values():
        for recipe in (presets["mini"], presets["small"]):
            steps, highest = recipe.steps, recipe.learning_rate
            first, warm, *falling = (recipe.rate_at(n) for n in (0, recipe.warmup, steps // 2, steps - 1))
            assert first == pytest.approx(highest / recipe.warmup, rel=1e-3)
            assert 0.95 * highest < warm <= highest
            assert falling[0] == pytest.approx(highest * (1 + recipe.final_fraction) / 2, rel=0.01)
            assert falling[1] == pytest.approx(recipe.final_fraction * highest, rel=0.01)


def test_scores_of_batches_count_by_their_pictures():
    assert mean_scores([(3, {"a": 1.0}), (1, {"a": 5.0})]) == {"a": 2.0}
