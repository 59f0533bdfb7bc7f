"""Sequences without a known structure: from FASTA files, job files and alignments, one chain each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from anfinsen.alignments.records import a3m_records
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import ConfigError, InputError, JobError
from anfinsen.jobs import Job, Polymer, load_jobs
from anfinsen.jobs.files import MAX_JOB_BYTES, MAX_PART_BYTES, read_text

from .families import read_family
from .runner import COMPRESSED_SUFFIXES, JOB_SUFFIXES, Outcome, failure, free_name

ALIGNMENT_SUFFIXES = (".a3m", ".a2m", ".sto", ".stockholm")
STANDARD = frozenset("ACDEFGHIKLMNPQRSTVWY")
SHORTEST = 16  # residues; the shortest peptide with anything to learn beside its neighbours
_MAX_NAME = 60  # letters of a chain's name, which also names its data block
_CHAIN = "A"


@dataclass(frozen=True)
class KnownPart:
    """What is resolved of a chain of L residues: where CA is (Å; 0 where it is not known), and of which residues."""

    ca: Float[np.ndarray, "L 3"]
    resolved: Bool[np.ndarray, "L"]


@dataclass(frozen=True)
class Unlabelled:
    """One protein sequence to predict, alone: its name, the job, where it was read, and what is known of its structure.

    ``known`` is None for unlabelled sequences; cross-distillation compares with it.
    """

    name: str
    job: Job
    source: Path
    known: KnownPart | None = None

    @property
    def sequence(self) -> str:
        """One letter per residue."""
        return _polymer(self.job).sequence

    @property
    def alignment(self) -> str:
        """Text of its alignment; empty where there is none."""
        return _polymer(self.job).unpaired_msa or ""


def single_chain(name: str, sequence: str, alignment: str | None = None) -> Job:
    """Return the job of one protein chain alone.

    Raises:
        JobError: the sequence is short, or has other letters than those of the 20 amino acids.
    """
    odd = sorted(set(sequence) - STANDARD)
    if odd:
        raise JobError(
            f"Sequence {name!r} holds {', '.join(map(repr, odd[:5]))}: distillation takes the 20 standard amino acids "
            "in capital letters only (an alignment's file must end in .a3m)."
        )
    if len(sequence) < SHORTEST:
        raise JobError(f"Sequence {name!r} has {len(sequence)} residues: distillation takes {SHORTEST} or more.")
    chain = Polymer(kind="protein", ids=(_CHAIN,), sequence=sequence, unpaired_msa=alignment)
    return Job(name=name, entities=(chain,))


def read_unlabelled(
    paths: Sequence[Path], longest: int | None = None
) -> tuple[tuple[Unlabelled, ...], tuple[Outcome, ...], int]:
    """Return the sequences that ``paths`` mean, each once; what cannot be used; and how many are too long.

    A file that ends in .a3m, .a2m, .sto or .stockholm is the alignment of its first row; FASTA holds one sequence per
    record; any other job file gives each of its proteins, alone, with its alignment. Folders stand for such files. Of a
    sequence that is given again and again, the first name and the first alignment count.

    Raises:
        ConfigError: no chain can be so short as ``longest``.
        JobError: a path does not exist, or a folder holds no such files.
    """
    if longest is not None and longest < SHORTEST:
        raise ConfigError(
            f"Chains of at most {longest} residues are asked for: distillation takes {SHORTEST} residues or more."
        )
    found: dict[str, Unlabelled] = {}
    failed: list[Outcome] = []
    taken: set[str] = set()
    too_long = 0
    for file in _files(paths):
        for entry in _entries(file):
            if isinstance(entry, Outcome):
                failed.append(entry)
                continue
            label, sequence, alignment = entry
            if longest is not None and len(sequence) > longest:
                too_long += 1
                continue
            if (known := found.get(sequence)) is not None:
                if alignment and not known.alignment:
                    found[sequence] = replace(known, job=single_chain(known.name, sequence, alignment))
                continue
            name = chain_name(label, taken)
            try:
                job = single_chain(name, sequence, alignment)
            except InputError as error:
                failed.append(failure(f"{file}: {label}", error))
                continue
            taken.add(name.lower())
            found[sequence] = Unlabelled(name, job, file)
    return tuple(found.values()), tuple(failed), too_long


def chain_name(label: str, taken: set[str]) -> str:
    """Return a name for files and data blocks from the first word of ``label``, other than those ``taken``."""
    word = (label.split() or ["chain"])[0]
    word = re.sub(r"[^A-Za-z0-9_.+-]", "_", word.removesuffix("|protein")).strip("._-+") or "chain"
    if len(word) > _MAX_NAME:
        word = f"{word[: _MAX_NAME - 9]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return free_name(word, taken)


def _entries(file: Path) -> Iterator[tuple[str, str, str | None] | Outcome]:
    """Label, sequence and alignment of every protein of a file, or why it cannot be used."""
    try:
        if _ends(file, ALIGNMENT_SUFFIXES):
            query, _ = read_family(file, ChainKind.PROTEIN)
            yield _stem(file), query, read_text(file, "Alignment", MAX_PART_BYTES)
            return
        text = read_text(file, "Sequence file", MAX_JOB_BYTES)
        if text.lstrip().startswith(">"):
            for description, letters in a3m_records(text, f"Sequence file {str(file)!r}"):
                yield description, letters.removesuffix("*"), None
            return
        for job in load_jobs(file):
            proteins = [entity for entity in job.entities if isinstance(entity, Polymer) and entity.kind == "protein"]
            if not proteins:
                raise JobError(f"Job {job.name!r} of {str(file)!r} has no protein: only proteins are distilled.")
            for entity in proteins:
                label = job.file_name if len(proteins) == 1 else f"{job.file_name}_{entity.ids[0]}"
                if entity.modifications:
                    yield failure(
                        f"{file}: {label}",
                        JobError(
                            f"Chain {entity.ids[0]} of job {job.name!r} has modified residues: distillation takes the "
                            "20 standard amino acids only; leave the chain, or its modifications, out."
                        ),
                    )
                    continue
                yield label, entity.sequence, entity.unpaired_msa
    except Exception as error:
        yield failure(str(file), error)


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    suffixes = (*ALIGNMENT_SUFFIXES, *JOB_SUFFIXES)
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise JobError(f"Sequence file {str(path)!r} does not exist: check the path.")
        inside = (
            sorted(child for child in path.iterdir() if child.is_file() and _ends(child, suffixes))
            if (path.is_dir())
            else [path]
        )
        if not inside:
            raise JobError(
                f"Folder {str(path)!r} holds no sequences: expected files that end in {', '.join(suffixes)} (also "
                "compressed with gzip or xz)."
            )
        for file in inside:
            files.setdefault(file.resolve(), file)
    return tuple(files.values())


def _ends(path: Path, suffixes: tuple[str, ...]) -> bool:
    return not path.name.startswith(".") and _uncompressed(path).lower().endswith(suffixes)


def _stem(path: Path) -> str:
    return Path(_uncompressed(path)).stem


def _uncompressed(path: Path) -> str:
    name = path.name
    for suffix in COMPRESSED_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _polymer(job: Job) -> Polymer:
    chain = job.entities[0]
    assert isinstance(chain, Polymer)  # `single_chain` makes nothing else
    return chain
