"""Batches: what is done is skipped, results are whole or absent, one bad job does not stop the rest."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest
from fake_model import install

from anfinsen.common.errors import JobError, OutputError
from anfinsen.inference import (
    Fingerprint,
    PredictOptions,
    fingerprint,
    job_files,
    prepare_output,
    read_requests,
    run_jobs,
    run_record,
    settings_file,
)
from anfinsen.inference.alphafold3 import AlphaFold3Predictor
from anfinsen.inference.predictor import versions
from anfinsen.inference.runner import free_name, whole_folder
from anfinsen.jobs import load_jobs_with_notes
from anfinsen.reports import write_results

YAML = "name: {name}\nchains:\n  - protein: {sequence}\n    id: A\n"


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.yaml").write_text(YAML.format(name=name, sequence="GSWK"))
    return folder


def _write(prediction, folder: Path, run: Fingerprint) -> None:
    (folder / "result.txt").write_text(prediction.job.name)
    settings_file(folder).write_text(json.dumps(run_record(prediction, run)))


def _run(jobs: Path, out: Path, write=_write, *, overwrite=False, **options):
    predictor = AlphaFold3Predictor(PredictOptions(**({"samples": 1, "steps": 1} | options)))
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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 2}, "it differs in steps (1 then, 2 now):"),
        ({"samples": 2, "recycles": 3}, "it differs in samples (1 then, 2 now), recycles (1 then, 3 now):"),
        ({"seeds": (9, 8)}, "it differs in seeds (1 then, 9, 8 now):"),
    ],
)
def test_other_settings_are_refused_and_replaced_on_request(monkeypatch, jobs, tmp_path, change, named):
    install(monkeypatch)
    out = tmp_path / "out"
    _run(jobs, out)
    outcomes = _run(jobs, out, **change)
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "--overwrite" in outcomes[0].message
    assert named in outcomes[0].message
    assert {outcome.status for outcome in _run(jobs, out, overwrite=True, **change)} == {"done"}
    assert _left(out) == {"one", "two", "three"}


def test_other_weights_and_other_jobs_have_other_fingerprints(monkeypatch, jobs):
    requests, _ = read_requests(job_files([jobs]))
    install(monkeypatch, sha256="a" * 64)
    first = AlphaFold3Predictor(PredictOptions())
    install(monkeypatch, sha256="b" * 64)
    second = AlphaFold3Predictor(PredictOptions())
    prints = {fingerprint(request.job, predictor) for request in requests for predictor in (first, second)}
    assert len(prints) == 6
    assert fingerprint(requests[0].job, first) in prints


def test_another_version_of_the_program_is_another_run(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    out = tmp_path / "out"
    _run(jobs, out)
    known = versions()
    monkeypatch.setattr("anfinsen.inference.record.versions", lambda: known | {"anfinsen": "99.0"})
    outcomes = _run(jobs, out)
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert f"it differs in version ({known['anfinsen']} then, 99.0 now)" in outcomes[0].message


def test_what_changed_is_named(monkeypatch, jobs, tmp_path):
    install(monkeypatch, sha256="a" * 64)
    out = tmp_path / "out"
    _run(jobs, out)
    (jobs / "one.yaml").write_text(YAML.format(name="one", sequence="GSWG"))
    assert "it differs in the job:" in _run(jobs, out)[0].message
    install(monkeypatch, sha256="b" * 64)
    assert "it differs in the job, the weights:" in _run(jobs, out)[0].message


def test_a_record_of_an_earlier_form_is_of_another_version(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    old = tmp_path / "out" / "one"
    old.mkdir(parents=True)
    settings_file(old).write_text(json.dumps({"format": "anfinsen-run-1", "fingerprint": "c" * 64}))
    outcome = _run(jobs, tmp_path / "out")[0]
    assert "it differs in the version of anfinsen" in outcome.message
    assert _run(jobs, tmp_path / "out", overwrite=True)[0].status == "done"


def test_how_many_are_drawn_at_once_does_not_make_another_run(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    _run(jobs, tmp_path / "out", samples_at_once=1)
    assert {outcome.status for outcome in _run(jobs, tmp_path / "out")} == {"skipped"}


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


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    with whole_folder(link) as folder:
        (folder / "new.txt").write_text("new")
    assert link.is_symlink() and _left(real) == {"new.txt"}


def test_names_of_folders_are_cut_by_bytes():
    name = free_name("星" * 100, set())
    assert len(name.encode()) <= 120 and name.startswith("星" * 37) and free_name("a" * 120, set()) == "a" * 120
    assert free_name("星" * 100, set()) != free_name("星" * 101, set())


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


def _break(monkeypatch, name: str, error: BaseException) -> None:
    """Let the job called ``name`` end in ``error``."""
    predict = AlphaFold3Predictor.predict

    def broken(self, job, notes=()):
        if job.name == name:
            raise error
        return predict(self, job, notes)

    monkeypatch.setattr(AlphaFold3Predictor, "predict", broken)


def test_a_bug_stops_its_job_alone_and_leaves_its_traceback(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    out = tmp_path / "out"
    _break(monkeypatch, "one", ZeroDivisionError("by zero,\nin two lines \ud800"))
    outcomes = {outcome.name: outcome for outcome in _run(jobs, out)}
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "one": "failed", "three": "done", "two": "done",
    }  # fmt: skip
    assert outcomes["one"].is_bug
    assert "bug in anfinsen" in outcomes["one"].message
    assert str(out / "one.error.log") in outcomes["one"].message
    assert "ZeroDivisionError: by zero, in two lines" in outcomes["one"].message
    assert _left(out) == {"one.error.log", "two", "three"}
    log = (out / "one.error.log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: by zero,\nin two lines \\ud800" in log
    # Once the job succeeds, its log is gone.
    monkeypatch.undo()
    install(monkeypatch)
    assert {outcome.status for outcome in _run(jobs, out)} == {"done", "skipped"}
    assert _left(out) == {"one", "two", "three"}


def test_a_bug_is_reported_even_where_its_log_cannot_be_written(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    (tmp_path / "out" / "one.error.log").mkdir(parents=True)
    _break(monkeypatch, "one", ZeroDivisionError("by zero"))
    outcome = _run(jobs, tmp_path / "out")[0]
    assert outcome.is_bug
    assert "--debug" in outcome.message


def test_ctrl_c_is_no_bug(monkeypatch, jobs, tmp_path):
    install(monkeypatch)
    _break(monkeypatch, "one", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        _run(jobs, tmp_path / "out")
    assert _left(tmp_path / "out") == set()


def test_a_bug_while_reading_one_file_spares_the_others(monkeypatch, jobs):
    def broken(path):
        if path.stem == "one":
            raise IndexError("out of range")
        return load(path)

    load = load_jobs_with_notes
    monkeypatch.setattr("anfinsen.inference.runner.load_jobs_with_notes", broken)
    requests, failed = read_requests(job_files([jobs]))
    assert [request.folder for request in requests] == ["three", "two"]
    assert [outcome.is_bug for outcome in failed] == [True]


@pytest.mark.parametrize(
    "name",
    ["long " * 40, "x" * 200, "A" + "蛋" * 199, "ß" * 150 + "end", "a/b\\c:d*e?f", "..hidden..", "CON." + "y" * 196],
)
def test_names_of_files_stay_short(monkeypatch, tmp_path, name):
    install(monkeypatch)
    folder = tmp_path / "jobs"
    folder.mkdir()
    for number in range(11):
        # The same name eleven times, with different ends beyond what is kept.
        text = json.dumps({"name": name.strip(), "chains": [{"protein": "G" * (number + 1)}]})
        (folder / f"{number:02}.json").write_text(text)
    requests, failed = read_requests(job_files([folder]))
    assert not failed
    assert len({request.folder.lower() for request in requests}) == 11
    out = tmp_path / "out"
    prepare_output(out)
    predictor = AlphaFold3Predictor(PredictOptions(samples=1, steps=1, seeds=(2**32 - 1,)))
    (outcome,) = run_jobs(requests[-1:], predictor, out, write_results)
    assert outcome.status == "done", outcome.message
    for path in out.rglob("*"):
        # Room for the largest sample number, and 143 bytes where files are encrypted by eCryptfs are no promise.
        assert len(path.name.encode()) <= 200, path.name
        assert path.name.isascii()


def test_long_names_that_differ_at_their_ends_keep_different_folders(tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.json").write_text(
            json.dumps({"name": "n" * 190 + str(number), "chains": [{"protein": "G"}]})
        )
    folders = [request.folder for request in read_requests(job_files([tmp_path]))[0]]
    assert len(set(folders)) == 2
    assert not any(folder.endswith("-2") for folder in folders)
    # The same name has the same folder in every run, or nothing would be skipped.
    assert folders == [request.folder for request in read_requests(job_files([tmp_path]))[0]]
