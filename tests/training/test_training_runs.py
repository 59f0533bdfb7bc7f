"""`train` from a folder of files to a weights file; and several workers that make one step together."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import anfinsen.models.alphafold3.presets as presets
from anfinsen.common.errors import ConfigError, InputError, WeightsError
from anfinsen.losses import LossConfig
from anfinsen.training import RECIPES, Recipe, Stage, TrainOptions, train
from anfinsen.training.run import CHECKPOINT, CURVES, WEIGHTS
from anfinsen.weights import load_model
from tiny_model import TINY

FILES = ("mixed/2n0n_M1.pdb.gz", "mixed/1AS5.cif.gz")
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def tiny(monkeypatch):
    """A preset called "tiny" with a recipe of five steps."""
    pytest.importorskip("tensorboard")
    stage = Stage(steps=3, crop=24, diffusion_batch=2, losses=LossConfig(), rollout=0, msa_rows=2)
    last = dataclasses.replace(
        stage, steps=2, train="confidence", rollout=1, losses=LossConfig(confidence=1.0, pae=1.0)
    )
    monkeypatch.setitem(presets.PRESETS, "tiny", TINY)
    monkeypatch.setitem(
        RECIPES, "tiny", Recipe(stages=(stage, last), examples_per_step=2, warmup=2, recycles=1, rollout_steps=2)
    )


@pytest.fixture
def folder(shared, tmp_path):
    """A folder of two structure files, nothing else."""
    target = tmp_path / "structures"
    target.mkdir()
    for name in FILES:
        shutil.copy(shared / "data" / "structures" / name, target)
    return target


class Recorder:
    """Progress that remembers, and can interrupt."""

    def __init__(self, stop_after=None):
        self.stages, self.notes, self.steps, self.stop_after = [], [], 0, stop_after

    def stage(self, name, total):
        self.stages.append((name, total))

    def advance(self, steps=1):
        if self.stages[-1][0] == "training":
            self.steps += steps
            if self.stop_after is not None and self.steps >= self.stop_after:
                raise KeyboardInterrupt

    def note(self, message):
        self.notes.append(message)


def _options(folder, out, **changes):
    return TrainOptions(**({"data": folder, "out": out, "preset": "tiny", "device": "cpu", "bf16": False} | changes))


def _tensors(path):
    return load_model(str(path))[0].state_dict()


def _same(first, second):
    first, second = _tensors(first), _tensors(second)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_of_files_becomes_weights(tiny, folder, tmp_path):
    recorder = Recorder()
    path = train(_options(folder, tmp_path / "out"), recorder)
    assert path == tmp_path / "out" / WEIGHTS
    model, info = load_model(str(path))
    assert model.config == TINY
    assert info.preset == "tiny" and info.metadata["steps"] == "5"
    assert recorder.stages == [("reading structures", 2), ("training", 5)] and recorder.steps == 5
    assert any((tmp_path / "out" / CURVES).iterdir())
    # A finished run has nothing left to do and says so by giving the same file.
    before = path.read_bytes()
    train(_options(folder, tmp_path / "out"), again := Recorder())
    assert path.read_bytes() == before and "Going on from step 5" in again.notes[0]


def test_ctrl_c_leaves_a_checkpoint_and_the_run_goes_on_to_the_same_bits(tiny, folder, tmp_path):
    whole = train(_options(folder, tmp_path / "whole"))
    for stop in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            train(_options(folder, tmp_path / "parts"), Recorder(stop_after=stop))
        assert (tmp_path / "parts" / CHECKPOINT).exists()
        assert load_model(str(tmp_path / "parts" / WEIGHTS))[1].metadata["steps"] == str(stop)
    assert _same(train(_options(folder, tmp_path / "parts")), whole)
    assert not [file for file in (tmp_path / "parts").iterdir() if file.suffix == ".tmp"]


def test_ctrl_c_before_the_first_step_leaves_nothing(tiny, folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(_options(folder, tmp_path / "out"), Recorder(stop_after=0))
    assert not (tmp_path / "out" / CHECKPOINT).exists()


def test_a_time_limit_stops_a_run_that_can_go_on(tiny, folder, tmp_path):
    train(_options(folder, tmp_path / "out", minutes=1e-9), recorder := Recorder())
    assert "Stopped after 1 of 5 steps" in recorder.notes[-1]
    train(_options(folder, tmp_path / "out"))
    assert load_model(str(tmp_path / "out" / WEIGHTS))[1].metadata["steps"] == "5"


def test_bf16_training_runs(tiny, folder, tmp_path):
    path = train(_options(folder, tmp_path / "out", bf16=True, steps=4))
    assert load_model(str(path))[1].metadata["steps"] == "4"


def test_what_cannot_be_trained_is_refused(tiny, folder, tmp_path):
    with pytest.raises(ConfigError, match="'huge'"):
        train(_options(folder, tmp_path / "out", preset="huge"))
    with pytest.raises(ConfigError, match="'abacus'"):
        train(_options(folder, tmp_path / "out", device="abacus"))
    with pytest.raises(InputError, match="does not exist"):
        train(_options(tmp_path / "nowhere", tmp_path / "out"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="No structure"):
        train(_options(empty, tmp_path / "out"))
    train(_options(folder, tmp_path / "out", steps=2))
    with pytest.raises(WeightsError, match="another 'seed'"):
        train(_options(folder, tmp_path / "out", steps=2, seed=1))
    for change in (
        {"distilled": (tmp_path / "made",)},
        {"distilled": (tmp_path / "made",), "distilled_weights": (0.5,)},
    ):
        with pytest.raises(WeightsError, match="another 'distilled'"):
            train(_options(folder, tmp_path / "out", steps=2, **change))


# ---- several workers

_WORKER = """
import sys, torch
sys.path[:0] = [{tests!r}, {here!r}]
torch.set_num_threads(1)
from anfinsen.training.workers import joined_workers
from test_training_loop import ENTITIES, RECIPE
from anfinsen.nn.batch import Labels
from anfinsen.training import Trainer
from tiny_model import TINY, batch_of
examples = []
for number, entities in enumerate(ENTITIES):
    batch = batch_of(*entities)
    x = batch.ref_pos + 4.0 * batch.atom_to_token[:, None]
    examples.append((batch, Labels(x, torch.ones(len(x), dtype=torch.bool), torch.zeros(0, 2, dtype=torch.long))))
with joined_workers(torch.device("cpu")) as workers:
    trainer = Trainer(TINY, RECIPE, 0, workers=workers)
    terms = [trainer.step(lambda index: examples[index]) for _ in range(RECIPE.steps)]
    # What each worker's own examples left behind is taken from the leader.
    own = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.BatchNorm2d(2)).to(memory_format=torch.channels_last)
    for value in own.state_dict().values():
        value.fill_(workers.rank + 1)
    workers.follow(own)
    assert all((value == 1).all() for value in own.state_dict().values())
    assert workers.agree(workers.leads) and not workers.agree(not workers.leads)
    if workers.leads:
        torch.save((dict(trainer.model.state_dict()), terms, workers.count), {out!r})
"""


def test_two_workers_make_the_same_steps_as_one(tmp_path):
    """Weights and reported numbers agree after steps with and without roll-outs, and in the confidence stage."""
    results = []
    for count in (1, 2):
        out = tmp_path / f"{count}.pt"
        script = tmp_path / f"worker{count}.py"
        script.write_text(_WORKER.format(tests=str(TESTS), here=str(Path(__file__).parent), out=str(out)))
        command = [sys.executable, str(script)]
        if count > 1:
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            command = [*torchrun, str(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        results.append(torch.load(out))
    (one, terms, count_one), (two, terms_two, count_two) = results
    assert (count_one, count_two) == (1, 2)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0)
    for first, second in zip(terms, terms_two, strict=True):
        assert first.keys() == second.keys()
        assert all(first[key] == pytest.approx(second[key], rel=1e-4, abs=1e-6) for key in first)
