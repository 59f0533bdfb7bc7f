"""Everything that users get wrong is answered by one sentence on stderr and exit code 2, with nothing half-written."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anfinsen.cli.app import run
from anfinsen.inference.alphafold3 import AlphaFold3Predictor
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.weights import load_model, save_model

JOB = "name: tiny\nchains:\n  - protein: GSW\n    id: A\n"
QUICK = ["--model", "alphafold3-mini:random", "--samples", "1", "--steps", "1", "--recycles", "0", "--device", "cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "job.yaml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    save_model(load_model("alphafold3-mini:random")[0], path, {"preset": "mini"}, bf16=True)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, saying: str, code: int = 2) -> None:
    """Check exit code, one sentence without traceback, and that no results folder is left."""
    assert run(list(arguments)) == code
    captured = capsys.readouterr()
    assert saying in captured.err, captured.err
    lines = [line for line in captured.err.splitlines() if line.startswith("anfinsen: ")]
    assert len(lines) == 1, captured.err
    assert lines[0].rstrip().endswith((".", ":")), lines[0]
    assert "Traceback" not in captured.err
    out = Path("output")
    assert not out.is_dir() or not list(out.iterdir())


OPTIONS: dict[str, tuple[list[str], str]] = {
    "no samples": (["--samples", "0"], "'samples' is 0"),
    "negative samples": (["--samples", "-3"], "'samples' is -3"),
    "samples not a number": (["--samples", "many"], "--samples"),
    "negative steps": (["--steps", "-1"], "'steps' is -1"),
    "no steps": (["--steps", "0"], "'steps' is 0"),
    "negative recycles": (["--recycles", "-2"], "'recycles' is -2"),
    "none at once": (["--at-once", "0"], "'samples_at_once' is 0"),
    "seeds not numbers": (["--seeds", "1,b"], "--seeds is '1,b'"),
    "negative seed": (["--seeds", "-1"], "--seeds"),
    "empty seeds": (["--seeds", ""], "--seeds"),
    "seed twice": (["--seeds", "4,4"], "twice"),
    "seed too large": (["--seeds", "4294967296"], "'seeds' is 4294967296"),
    "seed far too large": (["--seeds", "9" * 5000], "'seeds'"),
    "unknown device": (["--device", "abacus"], "Unknown device 'abacus'"),
    "absent device": (["--device", "cuda:99"], "not available"),
    "unknown model": (["--model", "alphafold9"], "Unknown model 'alphafold9'"),
    "unknown AlphaFold 1 model": (["--model", "alphafold1-full"], "expected one of alphafold3-mini, alphafold1-mini"),
    "unknown random model": (["--model", "alphafold3-huge:random"], "huge"),
    "random model without family": (["--model", "mini:random"], "Unknown model 'mini:random'"),
    "model and weights": (["--model", "alphafold3-mini", "--weights", "x.safetensors"], "give one"),
    "unknown option": (["--smaples", "3"], "--smaples"),
    "missing weights": (["--weights", "none.safetensors"], "none.safetensors"),
    "missing weights without ending": (["--weights", "none"], "none"),
    "weights are a folder": (["--weights", "."], "Cannot read the weights file"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options(here, capsys, case):
    options, saying = OPTIONS[case]
    refused(capsys, "predict", "job.yaml", *options, saying=saying)


@pytest.mark.parametrize(
    "case", [case for case in OPTIONS if any(word in case for word in ("samples", "seed", "model", "device"))]
)
def test_bad_options_of_inspect(here, capsys, case):
    options, saying = OPTIONS[case]
    refused(capsys, "inspect", "job.yaml", *options, saying=saying)


def _file(name: str, content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return [name]

    return make


def _empty_folder(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["empty"]


JOBS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no job": (lambda folder: [], "JOB"),
    "missing job": (lambda folder: ["absent.yaml"], "'absent.yaml' does not exist"),
    "empty folder": (_empty_folder, "holds no job files"),
    "empty file": (_file("empty.yaml", b""), "is empty"),
    "blank file": (_file("blank.yaml", b" \n\n"), "is empty"),
    "binary file": (_file("job.json", bytes(range(256))), "not"),
    "truncated gzip": (_file("job.yaml.gz", gzip.compress(JOB.encode() * 50)[:-30]), "damaged"),
    "truncated JSON": (_file("job.json", b'{"name": "x", "modelSeeds": [1'), "job.json"),
    "no chains": (_file("none.yaml", b"name: x\nchains: []\n"), "none.yaml"),
    "bad letter": (_file("letter.fasta", b">a|protein\nGSW1\n"), "'1'"),
    "structure file": (_file("model.yaml", b"data_1ABC\nloop_\n"), "structure"),
    "unknown component": (
        _file("code.yaml", b"name: x\nchains:\n  - ligand: QQQQQ\n    id: A\n"),
        "QQQQQ",
    ),
    "bad SMILES": (_file("smiles.yaml", b"name: x\nchains:\n  - ligand: {smiles: 'C1CC'}\n    id: A\n"), "C1CC"),
}


@pytest.mark.parametrize("case", JOBS)
@pytest.mark.parametrize("command", ["predict", "inspect"])
def test_bad_jobs(here, capsys, case, command):
    make, saying = JOBS[case]
    options = QUICK if command == "predict" else ["--model", "alphafold3-mini:random"]
    refused(capsys, command, *make(here), *options, saying=saying)


def _damaged(kind: str, good: Path, bad: Path) -> None:
    data = good.read_bytes()
    if kind == "garbage":
        bad.write_bytes(b"\x00\xff" * 500)
    elif kind == "empty":
        bad.write_bytes(b"")
    elif kind == "truncated":
        bad.write_bytes(data[: len(data) // 2])
    elif kind == "text":
        bad.write_text("these are no weights")
    else:
        tensors, metadata = load_file(good), _metadata(data)
        name = next(name for name, value in tensors.items() if value.dim() == 2)
        if kind == "wrong shape":
            tensors[name] = tensors[name][:-1].contiguous()
        elif kind == "missing tensor":
            del tensors[name]
        elif kind == "not finite":
            tensors[name][0, 0] = float("nan")
        elif kind == "of another program":
            metadata = {"format": "pt"}
        save_file(tensors, bad, metadata=metadata)


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


@pytest.mark.parametrize(
    "kind",
    ["garbage", "empty", "truncated", "text", "wrong shape", "missing tensor", "not finite", "of another program"],
)
def test_damaged_weights(here, capsys, weights, kind):
    _damaged(kind, weights, here / "bad.safetensors")
    refused(capsys, "predict", "job.yaml", "--weights", "bad.safetensors", saying="bad.safetensors")


def test_output_is_a_file(here, capsys):
    (here / "taken").write_text("mine")
    refused(capsys, "predict", "job.yaml", *QUICK, "--out", "taken", saying="Cannot write taken")
    assert (here / "taken").read_text() == "mine"


def test_output_below_a_file(here, capsys):
    refused(capsys, "predict", "job.yaml", *QUICK, "--out", "job.yaml/results", saying="Cannot write job.yaml/results")


def test_output_on_a_device_file(here, capsys):
    refused(capsys, "predict", "job.yaml", *QUICK, "--out", "/dev/full", saying="Cannot write /dev/full")


def test_no_permission(here, capsys, monkeypatch):
    def forbidden(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    refused(capsys, "predict", "job.yaml", *QUICK, saying="Permission denied")


def test_full_disk_while_writing(here, capsys, monkeypatch):
    whole = Path.write_text

    def full(self, text, *args, **kwargs):
        if self.name.endswith("_confidences.json"):
            whole(self, text[:10], *args, **kwargs)
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    refused(capsys, "predict", "job.yaml", *QUICK, saying="No space left on device")


def test_model_gives_nan(here, capsys, monkeypatch):
    def poisoned(self, batch, trunk, *, samples, steps, generator, on_step=None):
        return torch.full((samples, len(batch.atom_mask), 3), float("nan"))

    monkeypatch.setattr(AlphaFold3, "sample", poisoned)
    refused(capsys, "predict", "job.yaml", *QUICK, saying="non-finite coordinates")


def test_out_of_memory(here, capsys, monkeypatch):
    def greedy(self, *args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(AlphaFold3, "trunk", greedy)
    refused(capsys, "predict", "job.yaml", *QUICK, saying="ran out of memory")


def test_too_large_is_refused_before_it_is_run(here, capsys, monkeypatch):
    monkeypatch.setattr("anfinsen.inference.memory.available_bytes", lambda device: 2**20)
    refused(capsys, "predict", "job.yaml", *QUICK, saying="smaller model")


def test_results_of_other_settings(here, capsys):
    assert run(["predict", "job.yaml", *QUICK]) == 0
    before = {path: path.read_bytes() for path in Path("output").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(["predict", "job.yaml", *QUICK, "--seeds", "5"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in Path("output").rglob("*") if path.is_file()}


def test_one_bad_job_among_good_ones_is_named_at_the_end(here, capsys):
    (here / "bad.yaml").write_text("name: bad\nchains: []\n")
    assert run(["predict", "bad.yaml", "job.yaml", *QUICK]) == 2
    error = capsys.readouterr().err
    assert "1 of 2 jobs failed:" in error
    assert "bad.yaml" in error.splitlines()[-1]
    assert (here / "output" / "tiny" / "tiny_model.cif").exists()


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["predikt"], "predikt"),
        (["schema", "extra"], "extra"),
        (["train", "alphafold3"], "--data"),
        (["train", "alphafold9", "--data", "x"], "alphafold9"),
        (["train", "alphafold3", "--data", "absent", "--steps", "-1"], "'steps' is -1"),
        (["train", "alphafold3", "--data", "absent", "--preset", "giant"], "giant"),
        (["--bogus"], "--bogus"),
    ],
)
def test_other_commands(here, capsys, arguments, saying):
    refused(capsys, *arguments, saying=saying)


def test_a_bug_is_called_one(here, capsys, monkeypatch):
    def broken(self, *args, **kwargs):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(AlphaFold3, "trunk", broken)
    assert run(["predict", "job.yaml", *QUICK]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("anfinsen: This is a bug in anfinsen")
    assert "Traceback" not in captured
    log = Path("output") / "tiny.error.log"
    assert str(log) in captured
    assert "ZeroDivisionError: by zero" in log.read_text()
    assert [path.name for path in Path("output").iterdir()] == [log.name]
    assert run(["predict", "job.yaml", *QUICK, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_in_one_job_among_others(here, capsys, monkeypatch):
    def broken(self, job, notes=()):
        if job.name == "tiny":
            raise ZeroDivisionError("by zero")
        return predict(self, job, notes)

    predict = AlphaFold3Predictor.predict
    monkeypatch.setattr(AlphaFold3Predictor, "predict", broken)
    (here / "bad.yaml").write_text("name: bad\nchains: []\n")
    (here / "second.yaml").write_text(JOB.replace("tiny", "second"))
    # A bug weighs more than what the user can mend.
    assert run(["predict", "bad.yaml", "job.yaml", "second.yaml", *QUICK]) == 1
    error = capsys.readouterr().err
    assert "2 of 3 jobs failed:" in error
    assert "  tiny: This is a bug" in error
    assert (here / "output" / "second" / "second_model.cif").exists()


def test_a_bug_in_inspect(here, capsys, monkeypatch):
    def broken(options):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("anfinsen.inference.inspection.model_config", broken)
    assert run(["inspect", "job.yaml"]) == 1
    assert "bug in anfinsen" in capsys.readouterr().err


def test_debug_shows_the_traceback_of_what_a_job_got_wrong(here, capsys):
    (here / "bad.yaml").write_text("name: bad\nchains: []\n")
    assert run(["predict", "bad.yaml", *QUICK, "--debug"]) == 2
    assert "JobError" in capsys.readouterr().err


def test_interrupted(here, capsys, monkeypatch):
    def stopped(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(AlphaFold3, "trunk", stopped)
    refused(capsys, "predict", "job.yaml", *QUICK, saying="Interrupted", code=130)
