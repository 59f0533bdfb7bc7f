"""`load_jobs`: one file in, validated jobs out; the dialect is recognised by content, never by the file's ending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import ChemistryError, InputError, JobError
from ..common.text import shown
from .files import MAX_JOB_BYTES, read_text
from .job import Job
from .markup import parse_json, parse_yaml
from .read_alphafold3 import read_alphafold3
from .read_alphafoldserver import read_alphafoldserver
from .read_anfinsen import read_anfinsen
from .read_boltz import read_boltz
from .read_fasta import read_fasta
from .reading import Reading

MAX_JOBS = 10_000
"""Most jobs in one file of the server's list dialect."""


@dataclass(frozen=True)
class LoadedJobs:
    """The jobs of one file.

    Attributes:
        jobs: in the order of the file.
        notes: what was inferred or changed while reading, one sentence each, to be shown to the user.
        dialect: "anfinsen", "alphafold3", "alphafoldserver", "boltz" or "fasta".
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    dialect: str


def load_jobs(path: Path | str) -> tuple[Job, ...]:
    """Return the jobs of the file at ``path`` (see :func:`load_jobs_with_notes`)."""
    return load_jobs_with_notes(path).jobs


def load_jobs_with_notes(path: Path | str) -> LoadedJobs:
    """Return the jobs of the file at ``path``, its dialect, and what was inferred while reading.

    The file may be this package's YAML, AlphaFold 3 JSON, an AlphaFold Server list, Boltz YAML or FASTA, plain or
    compressed with gzip or xz.

    Raises:
        JobError: the file cannot be read, or a job in it is not valid.
        ChemistryError: a component, SMILES, SDF block or bond of a job is not valid.
    """
    path = Path(path)
    text = read_text(path, "Job file", MAX_JOB_BYTES)
    reading = Reading(path)
    where = f"Job file {shown(str(path), 200)}"
    if not text.strip():
        raise JobError(f"{where} is empty: write a job into it (see docs/jobs.md).")
    try:
        dialect, jobs = _read(text, reading)
    except InputError as error:
        kind = ChemistryError if isinstance(error, ChemistryError) else JobError
        raise kind(f"{where}: {error}") from error
    return LoadedJobs(jobs, tuple(reading.notes), dialect)


def _read(text: str, reading: Reading) -> tuple[str, tuple[Job, ...]]:
    start = text.lstrip()[:1]
    if start in {">", ";"}:
        return "fasta", (read_fasta(text, reading),)
    if start in {"{", "["}:
        return _read_json(parse_json(text, "the file"), reading)
    _refuse_structures(text)
    value = parse_yaml(text, "the file")
    if not isinstance(value, dict):
        found = "nothing" if value is None else shown(value)
        raise JobError(
            f"the file holds {found}, not a job: expected YAML with the key chains, AlphaFold 3 JSON, or FASTA "
            "whose records begin with '>'."
        )
    return _read_mapping(value, reading, "job")


def _read_mapping(value: dict[str, Any], reading: Reading, where: str) -> tuple[str, tuple[Job, ...]]:
    if "dialect" in value:
        dialect = value["dialect"]
        reader = _BY_NAME.get(dialect) if isinstance(dialect, str) else None
        if reader is None:
            raise JobError(f"{where} has the dialect {shown(dialect)}: expected alphafold3 or alphafoldserver.")
        return dialect, (reader(value, reading, where),)
    if "chains" in value:
        return "anfinsen", (read_anfinsen(value, reading, where),)
    if "modelSeeds" in value or "bondedAtomPairs" in value or "userCCD" in value:
        raise JobError(f"{where} lacks the key 'dialect': expected alphafold3, with a version of 1 to 4.")
    if "sequences" in value:
        return "boltz", (read_boltz(value, reading, where),)
    raise JobError(
        f"{where} has neither the key chains (this program's jobs) nor sequences (AlphaFold 3, Boltz); its keys are "
        f"{shown(sorted(map(str, value)))}."
    )


def _read_json(value: Any, reading: Reading) -> tuple[str, tuple[Job, ...]]:
    if isinstance(value, dict):
        return _read_mapping(value, reading, "job")
    if not value or len(value) > MAX_JOBS:
        raise JobError(f"the file is a list of {len(value)} jobs: expected 1 to {MAX_JOBS}.")
    jobs = []
    for index, item in enumerate(value):
        where = f"jobs[{index}]"
        named = isinstance(item, dict) and "dialect" in item
        jobs.append(_read_mapping(item, reading, where)[1][0] if named else read_alphafoldserver(item, reading, where))
    return "alphafoldserver", tuple(jobs)


def _refuse_structures(text: str) -> None:
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith(("data_", "HEADER ", "ATOM  ", "HETATM", "REMARK ", "CRYST1", "# STOCKHOLM", "LOCUS ")):
        raise JobError(
            f"the file begins with {shown(first, 30)}, like a structure, alignment or sequence-database file: expected "
            "a job (YAML, JSON or FASTA)."
        )


_BY_NAME: dict[str, Callable[[Any, Reading, str], Job]] = {
    "alphafold3": read_alphafold3,
    "alphafoldserver": read_alphafoldserver,
}
