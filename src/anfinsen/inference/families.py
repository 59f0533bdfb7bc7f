"""Many alignments, one after another: what is done is skipped, one bad file does not stop the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anfinsen.alignments import Msa, read_msa
from anfinsen.alignments.couplings import CouplingConfig, Couplings, infer_couplings
from anfinsen.alignments.records import excerpt, read_rows
from anfinsen.alignments.text_files import file_lines
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError, OutputError
from anfinsen.common.files import file_sha256
from anfinsen.common.progress import Progress, Silent
from anfinsen.jobs.job import LETTERS

from .predictor import versions
from .runner import COMPRESSED_SUFFIXES, Outcome, failure, free_name, whole_folder

ALIGNMENT_SUFFIXES = (".a3m", ".a2m", ".afa", ".fasta", ".fa", ".sto", ".stockholm")
FORMAT = "anfinsen-couplings-1"
_FORMATS = "anfinsen-couplings-"  # what the records of all versions begin with


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
    """

    config: CouplingConfig
    kind: ChainKind = ChainKind.PROTEIN
    device: str = "auto"
    save_model: bool = False


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
    """Infer the couplings of the families one by one; yield what became of each, and the couplings if made now.

    A results folder made from the same alignment with the same settings and version is skipped; one made otherwise is
    left alone and the family fails, unless ``overwrite``. A folder that this command did not make is never replaced.

    Raises:
        ConfigError: the kind of chain has no couplings.
        KeyboardInterrupt: passed on; finished families are whole, the running one leaves nothing.
    """
    progress = progress or Silent()
    for request in requests:
        name, target, log = request.folder, out / request.folder, out / f"{request.folder}.error.log"
        try:
            run = _fingerprint(request.source, options)
            if target.exists() and _is_done(target, run, overwrite):
                yield Outcome(name, "skipped", target), None
                continue
            query, msa = read_family(request.source, options.kind)
            doubts = kind_doubts(query, options.kind)
            _say(progress, name, doubts)
            couplings = infer_couplings(
                msa,
                options.config,
                options.kind,
                device=options.device,
                keep=options.save_model,
                where=f"MSA file {excerpt(str(request.source), 200)}",
                progress=progress,
            )
            notes = coupling_notes(couplings)
            _say(progress, name, notes)
            with whole_folder(target) as folder:
                record = _record(name, query, couplings, run, [*doubts, *notes])
                write(FamilyResult(name, query, couplings, record), folder)
            if log.is_file():
                log.unlink()
        except Exception as error:
            yield failure(name, error, log), None
            continue
        yield Outcome(name, "done", target), couplings


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
