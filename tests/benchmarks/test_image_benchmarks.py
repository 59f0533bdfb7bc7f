"""The image benchmarks: what they count is right, and they go on where they stopped; on tiny random networks."""

import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny_pictures
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.common.seeding import numpy_generator
from anfinsen.images.captions import caption
from anfinsen.images.datasets import Captioned, ImageTextDataset, from_bytes, write_split
from anfinsen.images.rendering import render
from anfinsen.images.scenes import COLOURS, SHAPES, Group, Scene, sample_scene, sibling

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = ("scores", "arms", "tables", "noise")
PAIRS = 6


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        modules = {name: importlib.import_module(f"images_{name}") for name in NAMES}
        arms = modules["arms"]
        whole = arms.pipeline

        def brief(model, files):
            pipe = whole(model, files)
            if model == arms.DALLE2:
                pipe.options = replace(pipe.options, prior_steps=2, upsampler_steps=1)
            return pipe

        patch.setattr(arms, "pipeline", brief)
        yield SimpleNamespace(main=importlib.import_module("images"), **modules)
        for name in ("images", *(f"images_{name}" for name in NAMES)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pairs of scenes in each split."""
    folder, rng = tmp_path_factory.mktemp("data"), numpy_generator(0, "benchmark")
    for split in ("train", "validation", "test", "heldout"):
        first = [sample_scene(rng, held_out=split == "heldout") for _ in range(2 * PAIRS)]
        scenes = [scene for each in first for scene in (each, sibling(each, rng)[0])]
        pictures = np.stack([render(scene, rng) for scene in scenes])
        write_split(folder, split, pictures, [Captioned(caption(scene), "scenes", scene) for scene in scenes])
    (folder / "about.json").write_text('{"seed": 0}')
    return folder


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    splits = [ImageTextDataset(data, split) for split in ("test", "heldout")]
    with pytest.MonkeyPatch.context() as patch:
        # so that the tokenizer knows their words, and those of every alternative
        groups = [
            caption(Scene((Group(s, c, size, n),)))
            for s in SHAPES
            for c in COLOURS
            for size in (None, "small", "large")
            for n in (1, 2, 3, 4)
        ]
        patch.setattr(tiny_pictures, "CAPTIONS", [text for each in splits for text in each.captions] + groups)
        paths = tiny_pictures.write_tiny(tmp_path_factory.mktemp("weights"))
    return [text for name, path in paths.items() for text in ("--weights", f"{name}={path}")]


@pytest.fixture
def setting(bench, data, weights):
    return bench.arms.Setting(data, bench.arms.files_of(weights[1::2]), steps=2)


def _run(bench, data, weights, folder, *more):
    bench.main.main(
        [
            str(data),
            "--results",
            str(folder),
            "--limit",
            "2",
            "--sweep",
            "2",
            "--edits",
            "2",
            "--steps",
            "2",
            *weights,
            *more,
        ]
    )


@pytest.fixture
def short(bench, monkeypatch):
    """Sweeps of two numbers each."""
    for module in (bench.arms, bench.tables):
        monkeypatch.setattr(module, "STEPS", (2, 3))
    monkeypatch.setattr(bench.arms, "GUIDANCES", (1.0, 2.0))
    monkeypatch.setattr(bench.scores, "WAY", 3)
    monkeypatch.setattr(bench.tables, "RESAMPLES", 50)


def test_everything_runs_is_written_and_is_not_done_twice(bench, data, weights, short, tmp_path, monkeypatch, capsys):
    page, plot, folder = tmp_path / "page.md", tmp_path / "plot.svg", tmp_path / "results"
    page.write_text("Before\n<!-- images: begin -->\n<!-- images: end -->\nAfter\n")
    pytest.importorskip("matplotlib")
    _run(bench, data, weights, folder, "--write", str(page), "--plot", str(plot))
    text, picture = page.read_text(), plot.read_text()
    told = capsys.readouterr()
    assert told.out.strip() in text
    for each in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in each.splitlines()}) == 1
    for words in (
        "CLIP: recall",
        "zero-shot",
        "DALL·E 1 re-ranked",
        "without prior",
        "What they cost",
        "#### Guidance",
    ):
        assert words in text
    assert "<svg" in picture
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["arm"] for row in rows}) == 1 + 16 + 2 + 8 + 3
    assert all(len(row["attributes"]["all"]) == row["n"] for row in rows if "n" in row)

    # A second run, after the last line was cut off, does that arm only.
    whole = (folder / "records.jsonl").read_text()
    (folder / "records.jsonl").write_text(whole[:-20])
    ran = []
    true = bench.main.work
    monkeypatch.setattr(bench.main, "work", lambda arm, setting: (ran.append(arm.name), true(arm, setting))[1])
    _run(bench, data, weights, folder, "--write", str(page), "--plot", str(plot))
    assert ran == [rows[-1]["arm"]]
    assert page.read_text() == text
    assert plot.read_text() == picture


def test_another_split_stands_in_every_part(bench, data, weights, short, tmp_path, capsys):
    _run(bench, data, weights, tmp_path, "--splits", "validation", "--parts", "comparison,guidance,edits")
    text = capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert {row["arm_settings"]["split"] for row in rows if "arm_settings" in row} == {"validation"}
    assert len(rows) == 8 + 2 + 3
    assert "What they cost" in text
    assert "variations of 2 validation pictures" in text
    assert "test" not in text
    with pytest.raises(ConfigError, match=r"'train'.*validation"):
        _run(bench, data, weights, tmp_path, "--splits", "test,train")
    with pytest.raises(ConfigError, match="named twice"):
        _run(bench, data, weights, tmp_path, "--splits", "test,test")


def test_other_weights_or_settings_are_drawn_anew(bench, setting, data):
    arm = bench.arms.comparison_arms(4)[1]
    other = dict(setting.files)
    key = bench.arms.key_of(arm, setting)
    assert bench.arms.key_of(replace(arm, name="another"), setting) == key
    assert bench.arms.key_of(replace(arm, guidance=2.0), setting) != key
    assert bench.arms.key_of(arm, replace(setting, seed=1)) != key
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.arms.dalle2, "VARIATION_ETA", 0.9)
        assert bench.arms.key_of(arm, setting) != key
    # real pictures are scored by the same CLIP, and depend on nothing else that is drawn
    assert "clip" in other
    real = bench.arms.run(bench.arms.comparison_arms(4)[0], setting)[1]
    assert np.array_equal(real, ImageTextDataset(data, "test").images.permute(0, 2, 3, 1).numpy()[:8:2])


def test_real_scenes_have_all_attributes(bench, setting):
    record, _ = bench.arms.run(bench.arms.comparison_arms(PAIRS)[8], setting)
    assert record["split"] == "heldout"
    assert all(all(each) for each in record["attributes"].values())
    assert record["reference"] == 2 * PAIRS


def test_no_picture_is_compared_with_its_sibling(bench, data):
    """Siblings are two drawings from the same random numbers: as a reference they would be too near."""
    what, images = bench.arms.Prompts(data, "test", PAIRS), ImageTextDataset(data, "test").images
    drawn = {picture.numpy().tobytes() for picture in images[: 2 * PAIRS]}
    assert {picture.numpy().tobytes() for picture in what.pictures} <= drawn
    assert not drawn & {picture.numpy().tobytes() for picture in what.reference}
    assert len(bench.arms.Prompts(data, "test", 2).reference) == len(what.reference) == 2 * PAIRS


def test_pictures_of_an_arm_do_not_depend_on_how_many_are_drawn(bench, setting, monkeypatch):
    arm = bench.arms.Arm("arm", bench.arms.DALLE2, "test", 4)
    record, four = bench.arms.run(arm, setting)
    monkeypatch.setattr(bench.arms, "BATCH", 3)
    two = bench.arms.run(replace(arm, pictures=2), setting)[1]
    assert np.abs(four[:2].astype(int) - two).max() <= 2
    assert "flops" not in record
    assert record["seconds"] > 0


def test_arms_differ_in_what_they_say(bench, setting):
    drawn = {}
    for arm in bench.arms.comparison_arms(2)[1:6]:
        record, pictures = bench.arms.run(arm, setting)
        drawn[arm.name] = (record, pictures)
    first = drawn["test: DALL·E 2"][0]
    assert set(first["parameters"]) == {"dalle2-prior", "dalle2-decoder", "dalle2-upsampler"}
    assert set(drawn["test: DALL·E 2 without prior"][0]["parameters"]) == {"dalle2-decoder", "dalle2-upsampler"}
    assert first["training_seconds"] is None  # random weights tell nothing
    # Re-ranking draws several pictures for each: as many times the work.
    for model in ("DALL·E 1", "DALL·E 2"):
        one, ranked = (drawn[f"test: {model}{name}"][0] for name in ("", " re-ranked"))
        assert 3 < ranked["flops"] / one["flops"] < 4.5
        assert np.mean(ranked["clip_scores"]) >= np.mean(one["clip_scores"]) - 1e-4
    assert not np.array_equal(drawn["test: DALL·E 2"][1], drawn["test: DALL·E 2 without prior"][1])


def test_flops_are_those_of_the_matrix_products(bench):
    class Pipe:
        options = SimpleNamespace()

        def __call__(self, captions, **_):
            q = torch.ones(1, 2, 5, 8)
            torch.nn.functional.scaled_dot_product_attention(q, q, q)
            torch.nn.functional.conv2d(torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3), padding=1)
            return SimpleNamespace(images=None)

    arm = bench.arms.Arm("arm", bench.arms.DALLE1, "test", 2)
    counted = bench.arms.counted_flops(Pipe(), arm, bench.arms.Setting(Path()), "caption")
    assert counted == 2 * (2 * 2 * 5 * 5 * 8) + 2 * (64 * 4 * 27)


def test_alternatives_differ_in_one_thing(bench):
    scene = Scene((Group("star", "red", "small", 2),), position="top")
    found = bench.scores.alternatives(scene)
    counts = {name: len(others) for name, (others, _) in found.items()}
    assert counts == {"shape": 6, "colour": 7, "shape and colour": 42, "count": 4, "size": 2, "position": 9}
    for others, right in found.values():
        assert others[right] == scene
        assert len(set(map(caption, others))) == len(others)
    two = Scene((Group("star", "red"), Group("heart", "blue")), relation="left")
    assert [len(each[0]) for each in bench.scores.alternatives(two).values()] == [4]
    assert not bench.scores.alternatives(replace(two, relation=None))


class Perfect:
    """A CLIP that knows: an embedding is that of the scene's plain caption."""

    def __init__(self, captions):
        self.places = {text: index for index, text in enumerate(captions)}

    def texts(self, captions):
        for text in captions:
            self.places.setdefault(text, len(self.places))
        return torch.eye(3000)[[self.places[text] for text in captions]]


def test_perfect_clip_is_right_and_a_blind_one_is_at_chance(bench, data):
    dataset = ImageTextDataset(data, "test")
    encoder = Perfect(dataset.captions)
    images = encoder.texts(dataset.captions)
    encoder.pictures = lambda pictures: images
    record = bench.scores.clip_record(encoder, {"test": dataset})
    assert all(all(each["right"]) for each in record["zero_shot"]["test"].values())
    assert record["recall"]["test: all"]["to_caption"] == [1, 1, 1]
    assert record["recall"]["test: all"]["captions"] == len(set(dataset.captions))
    text = bench.tables.clip_tables(record)
    assert "100.0" in text
    # A blind one sees the same in every picture: no caption stands before its equals.
    encoder.pictures = lambda pictures: torch.zeros(len(pictures), 3000)
    assert bench.scores.clip_record(encoder, {"test": dataset})["recall"]["test: all"]["to_caption"][0] == 0


def test_monotony(bench):
    assert bench.scores.monotony([-1, 0, 2, 3]) == (1.0, 1.0)
    correlation, forward = bench.scores.monotony([3, 2, 1, 1.5])
    assert correlation == pytest.approx(-0.8)
    assert forward == pytest.approx(1 / 3)
    assert bench.scores.monotony([1, 1, 1]) == (0, 0)


def test_ways_lead_from_the_first_to_the_last(bench, data):
    """With a pipeline that mixes the pictures themselves, and a CLIP that is the mean colour of what is not white."""
    pictures = from_bytes(ImageTextDataset(data, "test").images[::2])  # siblings' colours may be the same

    class Pipe:
        clip = SimpleNamespace(encode_image=lambda x: torch.nn.functional.normalize(x.mean((2, 3)) - 1, dim=1))

        def interpolate(self, first, last, *, steps, **_):
            mixed = [torch.lerp(first, last, place / (steps - 1)) for place in range(steps)]
            return SimpleNamespace(images=torch.stack(mixed))

        def variation(self, picture, *, num_images, **_):
            return SimpleNamespace(images=picture.expand(num_images, -1, -1, -1))

    record = bench.scores.interpolation_record(Pipe(), pictures, 3, 0)
    assert [len(way) for way in record["ways"]] == [bench.scores.WAY] * 3
    for way in record["ways"]:
        assert bench.scores.monotony(way) == (pytest.approx(1.0), 1.0)
    scenes = ImageTextDataset(data, "test").scenes[:4:2]
    kept = bench.scores.variation_record(Pipe(), pictures[:2], scenes, 2, 0)
    assert kept["attributes"]["all"] == [[1, 1], [1, 1]]
    assert min(kept["cosines"]) > 0.999
    text = bench.tables.edit_tables({"one each, %": kept, "best": None}, record)
    assert "4 variations of 2 test pictures" in text
    assert "best" not in text


def test_intervals_are_those_of_the_mean(bench):
    rng = np.random.default_rng(0)
    values = rng.random(400) < 0.3
    low, high = bench.tables.interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bench.tables.interval([1, 1, 1]) == (1, 1)


def test_tables_know_every_sampler_and_attribute(bench):
    assert set(bench.tables.TOLD) == set(bench.tables.CALLS) == set(bench.arms.SAMPLERS)
    assert set(bench.tables.NAMES) == set(bench.scores.ATTRIBUTES)


def test_wrong_options_are_refused(bench, data, weights, tmp_path):
    with pytest.raises(ConfigError, match="Unknown part 'all'"):
        _run(bench, data, weights, tmp_path, "--parts", "all")
    with pytest.raises(ConfigError, match="expected NAME=FILE"):
        _run(bench, data, ["--weights", "nonsense=file"], tmp_path)
    with pytest.raises(ConfigError, match="a quarter of which can be drawn"):
        bench.arms.Prompts(data, "test", PAIRS + 1)
    (tmp_path / "records.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match="not a file of records"):
        bench.arms.Records(tmp_path)


def test_noise_trainings_have_equal_budgets_and_are_not_repeated(bench, data, weights, tmp_path, monkeypatch, capsys):
    """The trainer is replaced by one that hands out a random decoder: its command is checked, not its learning."""
    decoder = next(text.partition("=")[2] for text in weights if text.startswith("dalle2-decoder="))
    commands = []

    def fake(command, **_):
        commands.append(command)
        folder = Path(command[command.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(Path(decoder).read_bytes())
        return SimpleNamespace(returncode=0)

    def told(path):
        return SimpleNamespace(metadata={"steps": "3", "cpu_seconds": "60"})

    monkeypatch.setattr(bench.noise.subprocess, "run", fake)
    monkeypatch.setattr(bench.noise, "read_tensors", told)
    page = tmp_path / "page.md"
    page.write_text("<!-- images-noise: begin -->\n<!-- images-noise: end -->\n")
    call = [
        str(data),
        "--results",
        str(tmp_path / "results"),
        "--training-steps",
        "3",
        "--pictures",
        "2",
        "--steps",
        "2",
    ]
    call += [*weights, "--write", str(page)]
    bench.noise.main(call)
    text = page.read_text()
    assert text.count("log-normal, mean ") == 6
    assert "mean −1.2" in text
    assert len({noise.folder for noise in bench.noise.NOISES}) == len(bench.noise.NOISES)
    assert "cosine" in text
    assert len(commands) == len(bench.noise.NOISES)
    fixed = {tuple(word for word in command if not word.startswith("--noise")) for command in commands}
    assert len({command[command.index("--steps") + 1] for command in fixed}) == 1
    bench.noise.main(call)
    assert len(commands) == len(bench.noise.NOISES)
    # With more steps wanted it goes on, unless the minutes are over.
    assert not bench.noise.is_done(Path(decoder), bench.noise.Budget(4, 0))
    assert not bench.noise.is_done(Path(decoder), bench.noise.Budget(4, 2))
    assert bench.noise.is_done(Path(decoder), bench.noise.Budget(4, 1))
    capsys.readouterr()


def test_noise_commands_are_those_of_the_trainer(bench, data, tmp_path):
    """Every option that is given is one that `anfinsen train dalle2-decoder` has, and its values are understood."""
    from typer.testing import CliRunner

    from anfinsen.cli.app import app

    args = bench.noise.options([str(data), "--results", str(tmp_path)])
    for noise in bench.noise.NOISES:
        command = bench.noise.command(noise, args, tmp_path / "out", 1.0)
        result = CliRunner().invoke(app, [*command[3:], "--preset", "none"])
        # Refused for the preset, which is looked at after the options.
        assert "none" in str(result.exception) or "none" in result.output
