"""Many jobs, one after another: what is done is skipped, one bad job does not stop the rest, results appear whole."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from anfinsen.common.errors import AnfinsenError, JobError, OutputError
from anfinsen.common.progress import Progress, Silent
from anfinsen.jobs import Job, load_jobs_with_notes

from .prediction import Prediction
from .predictor import Predictor, versions
from .record import Fingerprint, differences, fingerprint

JOB_SUFFIXES = (".json", ".yaml", ".yml", ".fasta", ".fa", ".faa", ".fna")
COMPRESSED_SUFFIXES = (".gz", ".xz")
# Names that Windows gives to devices; a folder called so cannot be made there.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]

# Bytes of a results folder's name. Its files have names of up to 53 more, and a file system allows 255 bytes.
MAX_FOLDER = 120
_SHOWN = 300  # characters of an unexpected error in a message

WriteResults = Callable[[Prediction, Path, Fingerprint], None]
"""Writes the results of one job into a new folder (prediction, folder, what decides the run)."""


@dataclass(frozen=True)
class JobRequest:
    """One job to run: where it was read, what was inferred while reading, and its results folder's name."""

    job: Job
    source: Path
    folder: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one job (or of a job file that cannot be read).

    Attributes:
        name: of the job, or the path of the file. status: what happened.
        folder: the results. message: why it failed, one sentence. prediction: the result if it was made now.
        is_bug: whether it failed by a mistake of this program, and not by something the user can mend.
        traceback: of the failure, as text (an exception would keep the tensors of its frames alive).
    """

    name: str
    status: Literal["done", "skipped", "failed"]
    folder: Path | None = None
    message: str = ""
    prediction: Prediction | None = None
    is_bug: bool = False
    traceback: str = ""


def failure(name: str, error: Exception, log: Path | None = None) -> Outcome:
    """Return the outcome of what ended in ``error``; the traceback of a bug goes to ``log``, if that can be written.

    A bug is every exception but those that are raised on purpose.
    """
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, AnfinsenError):
        return Outcome(name, "failed", message=str(error), traceback=trace)
    where = "--debug shows where it happened"
    if log is not None:
        try:
            log.write_text(trace, encoding="utf-8", errors="backslashreplace")
            where = f"the traceback is in {log}"
        except OSError:
            pass  # the disk may be what is broken; the bug is reported all the same
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_SHOWN]
    return Outcome(
        name,
        "failed",
        message=f"This is a bug in anfinsen {versions()['anfinsen']} ({what}): please report it with the job file; "
        f"{where}.",
        is_bug=True,
        traceback=trace,
    )


def job_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the job files that ``paths`` mean: files as they are, folders as the job files in them, by name.

    Raises:
        JobError: a path does not exist, or a folder holds no job files.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise JobError(f"Job file {str(path)!r} does not exist: check the path.")
            files.append(path)
            continue
        found = sorted(child for child in path.iterdir() if child.is_file() and _is_job_file(child))
        if not found:
            raise JobError(
                f"Folder {str(path)!r} holds no job files: expected files that end in {', '.join(JOB_SUFFIXES)} "
                "(also compressed with gzip or xz)."
            )
        files.extend(found)
    unique = {file.resolve(): file for file in reversed(files)}
    return tuple(file for file in files if unique.pop(file.resolve(), None) is not None)


def read_requests(files: Sequence[Path]) -> tuple[tuple[JobRequest, ...], tuple[Outcome, ...]]:
    """Return the jobs of ``files``, each with a folder name of its own, and the files that cannot be read."""
    requests: list[JobRequest] = []
    failed: list[Outcome] = []
    taken: set[str] = set()
    for file in files:
        try:
            loaded = load_jobs_with_notes(file)
        except Exception as error:
            failed.append(failure(str(file), error))
            continue
        for job in loaded.jobs:
            folder = free_name(job.file_name, taken)
            taken.add(folder.lower())
            requests.append(JobRequest(job, file, folder, loaded.notes))
    return tuple(requests), tuple(failed)


def prepare_output(out: Path) -> None:
    """Make sure that results can be written into ``out`` before time is spent on them; sweep what dead runs left.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    with _output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        probe = out / _temporary_name("probe")
        probe.write_text("anfinsen")
        probe.unlink()


def run_jobs(
    requests: Sequence[JobRequest],
    predictor: Predictor,
    out: Path,
    write: WriteResults,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Run the jobs one by one and yield what became of each.

    A results folder that the same run made (see `Fingerprint`) is skipped; one made by others is left alone and the
    job fails, unless ``overwrite``. A folder that this program did not make is never replaced. A bug that ends one job
    leaves its traceback in ``NAME.error.log`` in ``out``, and the others go on.

    Raises:
        KeyboardInterrupt: passed on; finished jobs are whole, the running one leaves nothing.
    """
    progress = progress or Silent()
    for request in requests:
        target, log = out / request.folder, out / f"{request.folder}.error.log"
        try:
            run = fingerprint(request.job, predictor)
            if target.exists() and _is_done(target, run, overwrite):
                yield Outcome(request.job.name, "skipped", target)
                continue
            prediction = predictor.predict(request.job, request.notes)
            progress.stage("Writing results", 1)
            with whole_folder(target) as folder:
                write(prediction, folder, run)
            progress.advance()
            with suppress(OSError):
                log.unlink(missing_ok=True)
        except Exception as error:
            yield failure(request.job.name, error, log)
            continue
        yield Outcome(request.job.name, "done", target, prediction=prediction)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder, named as ``target``, that takes its place when the block succeeds.

    Raises:
        OutputError: the folder cannot be written; ``target`` is as it was.
    """
    target = target.resolve()  # through a link to a folder, which stays
    staging = target.parent / _temporary_name(target.name)
    with _output_errors(target):
        try:
            inside = staging / target.name
            inside.mkdir(parents=True)
            yield inside
            _swap(target, inside, staging / "replaced")
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _swap(target: Path, new: Path, aside: Path) -> None:
    """Put ``new`` in the place of ``target``; if that fails, or is interrupted, ``target`` is as it was."""
    try:
        if target.exists():
            target.rename(aside)
        new.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise


def _is_done(target: Path, run: Fingerprint, overwrite: bool) -> bool:
    found = differences(target, run)
    if found is None and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(
            f"{target} exists and was not made by anfinsen: move it, rename the job, or choose another "
            "folder with --out."
        )
    if found is None or overwrite:
        return False
    if found:
        raise OutputError(
            f"{target} holds results of another run; it differs in {', '.join(found)}: give --overwrite to replace "
            "them, or choose another folder with --out."
        )
    return True


def _is_job_file(path: Path) -> bool:
    name = path.name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name.endswith(JOB_SUFFIXES) and not name.startswith(".")


def free_name(name: str, taken: set[str]) -> str:
    """Return ``name``, or ``name-2``, ``name-3`` … if it is taken (file systems may not tell small letters apart).

    The end of a name of more than ``MAX_FOLDER`` bytes gives way to a hash of the whole.
    """
    name = name.rstrip(".") or "job"
    if len(os.fsencode(name)) > MAX_FOLDER:
        name = f"{_first_bytes(name, MAX_FOLDER - 9)}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    if name.lower().partition(".")[0] in _DEVICES:
        name = f"job-{name}"
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _first_bytes(name: str, count: int) -> str:
    """Return as many letters of ``name`` as take at most ``count`` bytes."""
    return os.fsencode(name)[:count].decode("utf-8", "ignore")


def _temporary_name(name: str) -> str:
    return f".{_first_bytes(name, 80)}.{_HOST}.{os.getpid()}.anfinsen-tmp"


def _sweep(out: Path) -> None:
    """Remove what runs on this machine left behind that ended without a chance to tidy up."""
    for path in out.glob(f".*.{_HOST}.*.anfinsen-tmp"):
        pid = path.name.split(".")[-2]
        if pid.isdigit() and not _alive(int(pid)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    return bool(psutil.pid_exists(pid))


@contextmanager
def _output_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write {target}: {error.strerror or error}. Choose another folder with --out, or free space and "
            "check permissions."
        ) from error
