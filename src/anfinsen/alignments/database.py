"""Sequence databases: FASTA files, what they hold, and which version of them it is."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..chemistry.structure import ChainKind
from ..common.errors import AlignmentError
from .records import excerpt
from .text_files import compression, open_binary

_WHOLE = 64 * 2**20
_SAMPLES, _SAMPLE_BYTES = 64, 2**20
_LOOK, _LONGEST_LOOK = 64 * 2**10, 16 * 2**20
_BASES = frozenset("ACGTUNRYSWKMBDHVX-*")

Letters = Literal["protein", "nucleotide"]


@dataclass(frozen=True)
class Database:
    """A FASTA file of sequences to search, plain or compressed with gzip or xz; make one with :func:`open_database`.

    Attributes:
        path: of the file.
        letters: what its sequences are made of.
        version: hash that changes when the file does.
        compressed: whether it must be decompressed on the way.
    """

    path: Path
    letters: Letters
    version: str
    compressed: bool

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def where(self) -> str:
        """What messages call it."""
        return _where(self.path)

    def suits(self, kind: ChainKind) -> bool:
        """Return whether relatives of chains of ``kind`` can be found here."""
        wanted = {ChainKind.PROTEIN: "protein", ChainKind.RNA: "nucleotide", ChainKind.DNA: "nucleotide"}
        return wanted.get(kind) == self.letters


def open_database(path: Path | str) -> Database:
    """Look at a FASTA file and return it as a database.

    Raises:
        AlignmentError: the file is missing, empty, damaged, or no FASTA file.
    """
    path = Path(path)
    with open_binary(path, _where(path)) as file:
        head = file.read(_LOOK)
        if not head.strip():
            raise AlignmentError(f"{_where(path)} is empty: give a FASTA file of sequences.")
        if b"\x00" in head:
            raise AlignmentError(f"{_where(path)} is not text: it holds NUL bytes (a binary file?).")
        if head.startswith(b"\xef\xbb\xbf"):
            raise AlignmentError(f"{_where(path)} begins with a byte order mark: save it as plain text without one.")
        if not head.lstrip().startswith(b">"):
            first = head.lstrip().split(b"\n")[0].decode("ascii", "replace")
            raise AlignmentError(f"{_where(path)} begins with {excerpt(first)}: expected FASTA, records after '>'.")
        sample = _sequence(head)
        while not sample and len(head) < _LONGEST_LOOK and (more := file.read(_LOOK)):
            head += more  # headers can be long: non-redundant databases join many in one
            sample = _sequence(head)
    if not sample:
        raise AlignmentError(f"{_where(path)} holds headers and no sequences: expected FASTA, residues below each '>'.")
    return Database(path, _letters(sample), database_version(path), compression(path) != "")


def first_fault(database: Database, symbols: str) -> str:
    """Return where a FASTA file is wrong, "" where it looks right; the whole file is read.

    HMMER's own message is read from memory that it has freed, and may be any bytes; MMseqs2 takes any byte.

    Args:
        symbols: upper-case letters and signs that sequences may hold; white space is skipped.
    """
    legal = (symbols + symbols.lower()).encode("ascii") + b" \t\r\n\v\f"
    with open_binary(database.path, database.where) as file:
        for number, line in enumerate(file, 1):
            if line.startswith(b">"):
                if not line[1:2].strip():
                    return f"line {number} has no FASTA name after '>'"
                if b"\x00" in line:
                    return f"line {number} has a NUL byte in its name"
            elif wrong := line.translate(None, legal):
                return f"line {number} has the illegal character {chr(wrong[0])!a}"
    return ""


def database_version(path: Path) -> str:
    """Return a hash of the file: of its whole content up to 64 MiB, else of its size, date and 64 samples of it.

    A small database may be copied or touched and stays the same; a large one is the same while nobody writes to it.

    Raises:
        AlignmentError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        state = path.stat()
        digest.update(f"{state.st_size}\n".encode())
        with path.open("rb") as file:
            if state.st_size <= _WHOLE:
                while block := file.read(_SAMPLE_BYTES):
                    digest.update(block)
            else:
                digest.update(f"{state.st_mtime_ns}\n".encode())
                for sample in range(_SAMPLES):
                    file.seek(sample * (state.st_size - _SAMPLE_BYTES) // (_SAMPLES - 1), io.SEEK_SET)
                    digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise AlignmentError(f"{_where(path)} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def _where(path: Path) -> str:
    return f"Sequence database {excerpt(str(path), 200)}"


def _sequence(head: bytes) -> str:
    """The letters of sequences at the beginning of a FASTA file."""
    lines = head.decode("ascii", "replace").upper().splitlines()
    return "".join("".join(line for line in lines if not line.startswith(">")).split())


def _letters(letters: str) -> Letters:
    # Nine in ten: proteins are never so rich in the letters of bases, and bases may be ambiguous.
    plain = sum(letters.count(base) for base in "ACGTUN")
    return "nucleotide" if set(letters) <= _BASES and plain >= 0.9 * len(letters) else "protein"
