"""Batches: what is done is skipped, results are whole or absent, one bad job does not stop the rest."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest
from fake_model import FakeModel, install

from anfinsen.common.errors import JobError, OutputError
from anfinsen.inference import (
    PredictOptions,
    Predictor,
    fingerprint,
    job_files,
    prepare_output,
    read_requests,
    run_jobs,
    run_record,
    settings_file,
)
from anfinsen.inference.runner import whole_folder

YAML = "name: {name}\nchains:\n  - protein: {sequence}\n    id: A\n"


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.yaml").write_text(YAML.format(name=name, sequence="GSWK"))
    return folder


def _write(prediction, folder: Path, run: str) -> None:
    (folder / "result.txt").write_text(prediction.job.name)
    settings_file(folder).write_text(json.dumps(run_record(prediction, run)))


def _run(jobs: Path, out: Path, write=_write, *, overwrite=False, **options):
    predictor = Predictor(PredictOptions(**({"samples": 1, "steps": 1} | options)))
    requests, failed = read_requests(job_files([jobs]))
    prepare_output(out)
    return [*failed, *run_jobs(requests, predictor, out, write, overwrite=overwrite)]


def _left(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def test_a_second_run_does_nothing(monkeypatch, jobs, tmp_path):
    model = install(monkeypatch)
    assert {outcome.status for outcome in _run(jobs, tmp_path / "out")} == {"done"}
    done = len(model.calls)
    assert {outcome.status for outcome in _run(jobs, tmp_path / "out")} == {"skipped"}
    assert len(model.calls) == done
    assert _left(tmp_path / "out") == {"one", "two", "three"}


def test_an_interrupted_batch_goes_on_where_it_stopped(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    out = tmp_path / "out"

    def interrupted(prediction, folder, run):
        _write(prediction, folder, run)
        if prediction.job.name == "three":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(jobs, out, interrupted)
    assert _left(out) == {"one"}  # sorted by file name: one, three, two
    assert [outcome.status for outcome in _run(jobs, out)] == ["skipped", "done", "done"]


@pytest.mark.parametrize("change", [{"steps": 2}, {"samples": 2}, {"recycles": 3}, {"seeds": (9,)}])
def test_other_settings_are_refused_and_replaced_on_request(monkeypatch, jobs, tmp_path, change):
    install(monkeypatch)
    out = tmp_path / "out"
    _run(jobs, out)
    outcomes = _run(jobs, out, **change)
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "--overwrite" in outcomes[0].message
    assert {outcome.status for outcome in _run(jobs, out, overwrite=True, **change)} == {"done"}
    assert _left(out) == {"one", "two", "three"}


def test_other_weights_and_other_jobs_have_other_fingerprints(monkeypatch, jobs):
    requests, _ = read_requests(job_files([jobs]))
    install(monkeypatch, sha256="a" * 64)
    first = Predictor(PredictOptions())
    install(monkeypatch, sha256="b" * 64)
    second = Predictor(PredictOptions())
    prints = {fingerprint(request.job, predictor) for request in requests for predictor in (first, second)}
    assert len(prints) == 6
    assert fingerprint(requests[0].job, first) in prints


def test_a_folder_of_somebody_else_is_never_replaced(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    theirs = tmp_path / "out" / "one"
    theirs.mkdir(parents=True)
    (theirs / "thesis.txt").write_text("years of work")
    outcomes = {outcome.name: outcome for outcome in _run(jobs, tmp_path / "out", overwrite=True)}
    assert outcomes["one"].status == "failed"
    assert outcomes["two"].status == "done"
    assert (theirs / "thesis.txt").read_text() == "years of work"


def test_one_bad_job_does_not_stop_the_rest(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    (jobs / "bad.yaml").write_text(YAML.format(name="bad", sequence="G?"))
    outcomes = _run(jobs, tmp_path / "out")
    assert sorted(outcome.status for outcome in outcomes) == ["done", "done", "done", "failed"]
    assert outcomes[0].name.endswith("bad.yaml")


def test_a_full_disk_leaves_nothing(monkeypatch, jobs, tmp_path):
    install(monkeypatch)

    def full(prediction, folder, run):
        (folder / "half.txt").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    outcomes = _run(jobs, tmp_path / "out", full)
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "No space left on device" in outcomes[0].message
    assert _left(tmp_path / "out") == set()


def test_a_failed_replacement_keeps_the_old_results(tmp_path):
    target = tmp_path / "job"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with pytest.raises(OutputError), whole_folder(target) as folder:
        (folder / "new.txt").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert _left(target) == {"old.txt"}
    assert _left(tmp_path) == {"job"}


def test_an_interrupted_replacement_keeps_the_old_results(monkeypatch, tmp_path):
    target = tmp_path / "job"
    target.mkdir()
    (target / "old.txt").write_text("old")
    rename, calls = Path.rename, []

    def interrupted(self, other):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as folder:
        (folder / "new.txt").write_text("new")
    assert _left(target) == {"old.txt"}
    assert _left(tmp_path) == {"job"}


def test_what_a_dead_run_left_is_swept_away(tmp_path):
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())[:40]
    dead = tmp_path / f".job.{host}.4194304.anfinsen-tmp"  # above Linux's largest process number
    living = tmp_path / f".job.{host}.{os.getppid()}.anfinsen-tmp"
    for path in (dead, living):
        path.mkdir()
    prepare_output(tmp_path)
    assert _left(tmp_path) == {living.name}


def test_jobs_of_the_same_name_are_told_apart(jobs):
    (jobs / "copy.yaml").write_text(YAML.format(name="One", sequence="GGGG"))
    (jobs / "more.yaml").write_text(YAML.format(name="one", sequence="AAAA"))
    requests, _ = read_requests(job_files([jobs]))
    folders = [request.folder for request in requests]
    assert len({folder.lower() for folder in folders}) == len(folders) == 5


def test_names_that_systems_reserve_are_avoided(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(YAML.format(name="con", sequence="GGGG"))
    assert read_requests([path])[0][0].folder == "job-con"


def test_job_files_of_folders(jobs):
    (jobs / "notes.txt").write_text("not a job")
    (jobs / ".hidden.yaml").write_text("not a job")
    assert [file.name for file in job_files([jobs, jobs / "one.yaml"])] == ["one.yaml", "three.yaml", "two.yaml"]
    empty = jobs / "empty"
    empty.mkdir()
    with pytest.raises(JobError, match="holds no job files"):
        job_files([empty])


def test_a_bug_is_not_swallowed(monkeypatch, jobs, tmp_path):
    install(monkeypatch, FakeModel(error=RuntimeError("bug")))
    with pytest.raises(RuntimeError, match="bug"):
        _run(jobs, tmp_path / "out")
    assert _left(tmp_path / "out") == set()
