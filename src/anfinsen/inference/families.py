"""Many alignments, one by one or several at once: what is done is skipped, one bad file does not stop the rest."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anfinsen.alignments import Msa, read_msa
from anfinsen.alignments.couplings import CouplingConfig, Couplings, infer_couplings
from anfinsen.alignments.couplings.infer import free_bytes, needed_bytes
from anfinsen.alignments.records import excerpt, read_rows
from anfinsen.alignments.text_files import file_lines
from anfinsen.chemistry import ChainKind
from anfinsen.common.device import choose_device
from anfinsen.common.errors import AlignmentError, ConfigError, OutputError
from anfinsen.common.files import file_sha256
from anfinsen.common.progress import Progress, Silent
from anfinsen.jobs.job import LETTERS

from .predictor import versions
from .runner import COMPRESSED_SUFFIXES, Outcome, failure, free_name, whole_folder

ALIGNMENT_SUFFIXES = (".a3m", ".a2m", ".afa", ".fasta", ".fa", ".sto", ".stockholm")
FORMAT = "anfinsen-couplings-1"
_FORMATS = "anfinsen-couplings-"  # what the records of all versions begin with
_MEMORY_SHARE = 0.8  # of what is free, for families that are fitted at once


@dataclass(frozen=True)
class Family:
    """One alignment to work on: its file, and its results folder's name."""

    source: Path
    folder: str


@dataclass(frozen=True)
class FamilyOptions:
    """How couplings are inferred and written.

    Attributes:
        config: method and settings. kind: of the chains.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps". save_model: write fields and couplings too.
        workers: alignments that are worked on at once.

    Raises:
        ConfigError: there are no workers.
    """

    config: CouplingConfig
    kind: ChainKind = ChainKind.PROTEIN
    device: str = "auto"
    save_model: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"Option --workers is {self.workers}: expected 1 or more.")


@dataclass(frozen=True)
class FamilyResult:
    """One alignment's couplings, and what they were made from.

    Attributes:
        name: of the family. query: its sequence. couplings: the result.
        record: version, settings and figures, ready for JSON.
    """

    name: str
    query: str
    couplings: Couplings
    record: dict[str, Any]


WriteFamily = Callable[[FamilyResult, Path], None]
"""Writes the files of one family into a new folder."""


def alignment_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the alignment files that ``paths`` mean: files as they are, folders as the alignments in them, by name.

    Raises:
        AlignmentError: a path does not exist, or a folder holds no alignments.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise AlignmentError(f"Alignment file {str(path)!r} does not exist: check the path.")
        found = sorted(child for child in path.iterdir() if _is_alignment(child)) if path.is_dir() else [path]
        if not found:
            raise AlignmentError(
                f"Folder {str(path)!r} holds no alignments: expected files that end in {', '.join(ALIGNMENT_SUFFIXES)} "
                "(also compressed with gzip or xz)."
            )
        for file in found:
            files.setdefault(file.resolve(), file)
    return tuple(files.values())


def families(files: Sequence[Path]) -> tuple[Family, ...]:
    """Return one family per file, each with a folder name of its own."""
    taken: set[str] = set()
    result = []
    for file in files:
        folder = free_name(re.sub(r"[^\w.+-]", "_", _stem(file)), taken)
        taken.add(folder.lower())
        result.append(Family(file, folder))
    return tuple(result)


def read_family(path: Path, kind: ChainKind) -> tuple[str, Msa]:
    """Return the query's sequence and the alignment in a file whose first row is the query.

    Raises:
        AlignmentError: the file cannot be read, or is no alignment of such a chain.
    """
    where = f"MSA file {excerpt(str(path), 200)}"
    first = read_rows(file_lines(path), where, max_rows=1).first[1]
    query = re.sub(r"[-._~]", "", first).upper()
    if not query:
        raise AlignmentError(f"{where} has a first row without residues: it must be the sequence of the query.")
    return query, read_msa(path, query, kind)


def run_families(
    requests: Sequence[Family],
    options: FamilyOptions,
    out: Path,
    write: WriteFamily,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[Outcome, Couplings | None]]:
    """Infer the couplings of the families; yield what became of each, and the couplings if made now.

    A results folder made from the same alignment with the same settings and version is skipped; one made otherwise is
    left alone and the family fails, unless ``overwrite``. A folder that this command did not make is never replaced.

    With several workers, so many families are fitted at once, each with its part of the threads, as long as memory
    holds them all; they are yielded as they end, without the couplings themselves. This takes less time than one after
    another, because not all parts of a fit can use several threads.

    Raises:
        ConfigError: the kind of chain has no couplings.
        KeyboardInterrupt: passed on; finished families are whole, the running ones leave nothing. Several at once end
            at their next step; weighing rows, and mean-field DCA, are one step each.
    """
    progress = progress or Silent()
    if options.workers == 1:
        for request in requests:
            yield _run_family(request, options, out, write, overwrite, progress)
        return
    before, together = torch.get_num_threads(), _Together(progress, free_bytes(choose_device(options.device)))
    threads = max(1, before // options.workers)

    def run(request: Family) -> tuple[Outcome, Couplings | None]:
        outcome, made = _run_family(request, options, out, write, overwrite, together)
        return outcome, made and replace(made, couplings=None, fields=None)  # they would pile up

    with ThreadPoolExecutor(options.workers, "family", torch.set_num_threads, (threads,)) as pool:
        waiting: set[Future[tuple[Outcome, Couplings | None]]] = set()
        try:
            progress.stage("Alignments", len(requests))
            waiting |= {pool.submit(run, request) for request in requests}
            for done, future in enumerate(as_completed(waiting), start=1):
                waiting.discard(future)  # with its result
                yield future.result()
                progress.stage("Alignments", len(requests))
                progress.advance(done)
        finally:
            together.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            torch.set_num_threads(before)


def _run_family(
    request: Family, options: FamilyOptions, out: Path, write: WriteFamily, overwrite: bool, progress: Progress
) -> tuple[Outcome, Couplings | None]:
    name, target, log = request.folder, out / request.folder, out / f"{request.folder}.error.log"
    try:
        run = _fingerprint(request.source, options)
        if target.exists() and _is_done(target, run, overwrite):
            return Outcome(name, "skipped", target), None
        query, msa = read_family(request.source, options.kind)
        doubts = kind_doubts(query, options.kind)
        _say(progress, name, doubts)
        with _room(len(query), options, progress):
            couplings = infer_couplings(
                msa,
                options.config,
                options.kind,
                device=options.device,
                keep=options.save_model,
                where=f"MSA file {excerpt(str(request.source), 200)}",
                progress=progress,
            )
        progress.advance(0)  # several at once: not all methods have steps at which they can be stopped
        notes = coupling_notes(couplings)
        _say(progress, name, notes)
        with whole_folder(target) as folder:
            record = _record(name, query, couplings, run, [*doubts, *notes])
            write(FamilyResult(name, query, couplings, record), folder)
        if log.is_file():
            log.unlink()
    except Exception as error:
        return failure(name, error, log), None
    return Outcome(name, "done", target), couplings


class _StoppedError(BaseException):
    """The run was interrupted; nobody reads this family's result. No `Exception`: it is nobody's failure."""


class _Together:
    """What families that are fitted at once share: one voice, memory, and when to stop."""

    def __init__(self, progress: Progress, free: int) -> None:
        self._progress = progress
        self._changed = threading.Condition()
        self._running, self._free = 0, int(_MEMORY_SHARE * free)
        self._stopped = False

    def stage(self, name: str, total: int) -> None:
        """Show nothing: stages of several families would take turns."""

    def advance(self, steps: int = 1) -> None:
        """Go on only where nobody has stopped the run."""
        if self._stopped:
            raise _StoppedError

    def note(self, message: str) -> None:
        """Print one note at a time."""
        with self._changed:
            self._progress.note(message)

    def stop(self) -> None:
        """Let every running family end at its next step."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @contextmanager
    def memory(self, needed: int) -> Iterator[None]:
        """Wait until so many bytes are free. A family alone never waits: it is told itself where it does not fit."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._running or needed <= self._free)
            self.advance(0)
            self._running, self._free = self._running + 1, self._free - needed
        try:
            yield
        finally:
            with self._changed:
                self._running, self._free = self._running - 1, self._free + needed
                self._changed.notify_all()


def _room(length: int, options: FamilyOptions, progress: Progress) -> AbstractContextManager[None]:
    if not isinstance(progress, _Together):
        return nullcontext()
    states = 1 + (20 if options.kind is ChainKind.PROTEIN else 4)
    return progress.memory(needed_bytes(length * states, options.config))


def record_file(folder: Path) -> Path:
    """Return the path of the record in the results folder of one family."""
    return folder / f"{folder.name}_couplings.json"


def _fingerprint(source: Path, options: FamilyOptions) -> dict[str, Any]:
    """Everything that decides the results, ready for JSON; devices differ in the last bits only and are left out."""
    try:
        digest = file_sha256(source)
    except OSError as error:
        raise AlignmentError(
            f"MSA file {excerpt(str(source), 200)} cannot be read: {error.strerror or error}."
        ) from error
    settings = asdict(options.config)
    del settings["mean_field" if options.config.method == "potts" else "potts"]
    return {
        "alignment_sha256": digest,
        "kind": options.kind.value,
        "settings": settings,
        "model": options.save_model,
        "version": versions()["anfinsen"],
    }


def coupling_notes(couplings: Couplings) -> list[str]:
    """Return what whoever reads the ranked contacts should know of the fit, in sentences."""
    notes, length = [], len(couplings.scores)
    if not couplings.converged:
        notes.append(f"The fit had not converged after {couplings.iterations} steps: raise --iterations.")
    if couplings.effective_depth < length:
        notes.append(
            f"The alignment is shallow: its effective depth of {couplings.effective_depth:.0f} is less than the "
            f"query's {length} residues, and few of the ranked contacts will be true."
        )
    return notes


def kind_doubts(query: str, kind: ChainKind) -> list[str]:
    """Return what speaks against a query of this kind, in sentences: no protein is made of the bases' letters alone."""
    if kind is not ChainKind.PROTEIN or not set(query) <= {*LETTERS["dna"], *LETTERS["rna"]}:
        return []
    other = "rna" if "U" in query else "dna"
    return [f"The query holds the letters of bases only, but was read as a protein: give --kind {other} if it is none."]


def _say(progress: Progress, name: str, notes: Sequence[str]) -> None:
    for note in notes:
        progress.note(f"note: {name}: {note}")


def _record(name: str, query: str, couplings: Couplings, run: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "fingerprint": run,
        "name": name,
        "query": query,
        "figures": {
            "residues": len(query),
            "alignment_rows": couplings.depth,
            "fitted_rows": couplings.rows,
            "effective_depth": round(couplings.effective_depth, 2),
            "iterations": couplings.iterations,
            "converged": couplings.converged,
        },
        "versions": {package: versions()[package] for package in ("anfinsen", "torch", "numpy")},
        "notes": list(notes),
    }


def _is_done(target: Path, run: dict[str, Any], overwrite: bool) -> bool:
    try:
        record = json.loads(record_file(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    ours = isinstance(record, dict) and str(record.get("format")).startswith(_FORMATS)
    if not ours and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(
            f"{target} exists and was not made by `anfinsen couplings`: move it, rename the alignment, or choose "
            "another folder with --out."
        )
    if not ours or overwrite:
        return False
    found = record.get("fingerprint") if record else None
    # Through JSON and back, so that tuples and lists are the same.
    if found != (now := json.loads(json.dumps(run))):
        differs = [key for key in now if not isinstance(found, dict) or found.get(key) != now[key]]
        raise OutputError(
            f"{target} holds results of another run; it differs in {', '.join(differs)}: give --overwrite to replace "
            "them, or choose another folder with --out."
        )
    return True


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (*COMPRESSED_SUFFIXES, *ALIGNMENT_SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def _is_alignment(path: Path) -> bool:
    name = path.name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return path.is_file() and name.endswith(ALIGNMENT_SUFFIXES) and not name.startswith(".")
