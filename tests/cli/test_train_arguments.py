"""The options that all of `anfinsen train` share: every command has them, and they reach the training."""

from pathlib import Path

import pytest

from anfinsen.cli.app import run
from anfinsen.cli.train_arguments import run_training
from anfinsen.common.progress import Progress
from anfinsen.training.images.options import NETWORKS

GIVEN = {
    "--out": ("out", Path("there")),
    "--preset": ("preset", "other"),
    "--seed": ("seed", 7),
    "--device": ("device", "cpu"),
    "--threads": ("threads", 3),
    "--steps": ("steps", 11),
    "--minutes": ("minutes", 1.5),
    "--learning-rate": ("learning_rate", 0.004),
    "--from": ("start", "some.safetensors"),
    "--save-every": ("save_every", 13),
    "--validate-every": ("validate_every", 17),
}
MODELS = ("alphafold1", "alphafold2", "alphafold3")


@pytest.mark.parametrize("name", [*MODELS, *NETWORKS])
def test_shared_options_reach_every_training(name, monkeypatch):
    seen = []
    for module in ("train", "train_images"):
        monkeypatch.setattr(f"anfinsen.cli.{module}.run_training", lambda _, options: seen.append(options) or 0)
    data = ["--data", "folder"] if name in MODELS else ["folder"]
    assert run(["train", name, *data]) == 0
    arguments = [text for option, (_, value) in GIVEN.items() for text in (option, str(value))]
    assert run(["train", name, *data, *arguments, "--no-bf16"]) == 0
    plain, chosen = (options if name in MODELS else options.run for options in seen)
    assert (plain.data, plain.preset, plain.seed, plain.bf16, plain.start) == (Path("folder"), "mini", 0, True, "")
    assert {field: getattr(chosen, field) for field, _ in GIVEN.values()} == dict(GIVEN.values())
    assert chosen.bf16 is False and chosen.data == Path("folder")


@pytest.mark.parametrize("name", [*MODELS, *NETWORKS])
def test_what_is_required_or_unknown_is_said_in_a_sentence(name, capsys):
    assert run(["train", name]) == 2
    assert "data" in capsys.readouterr().err.lower()
    assert run(["train", name, "--colour", "red"]) == 2
    assert "--colour" in capsys.readouterr().err


@pytest.mark.parametrize(("rank", "speaks"), [(None, True), ("0", True), ("1", False)])
def test_only_the_first_of_several_workers_speaks(rank, speaks, monkeypatch, capsys):
    if rank is not None:
        monkeypatch.setenv("RANK", rank)

    def train(options: str, progress: Progress) -> Path:
        progress.note("Half way.")
        return Path(options)

    assert run_training(train, "weights.safetensors") == 0
    streams = capsys.readouterr()
    assert ("Half way." in streams.err, "Weights: weights.safetensors" in streams.out) == (speaks, speaks)
