"""What every reader of a dialect shares: where it reads, what it noted, and the parts jobs are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import JobError
from ..common.text import shown
from .fields import Fields, atom_triple
from .files import MAX_PART_BYTES, read_text, resolve
from .job import AtomAddress, JobBond, TemplateAlignment

_MOLBLOCK_END = re.compile(r"^M  END[^\n]*$", re.MULTILINE)


@dataclass
class Reading:
    """One job file being read.

    Attributes:
        path: the job file; relative paths in it are relative to its folder.
        notes: what was inferred or changed, one sentence each, for the user to see.
    """

    path: Path
    notes: list[str] = field(default_factory=list)

    @property
    def default_name(self) -> str:
        """The file's name without its endings, for jobs that give no name."""
        name = self.path.name
        for ending in (".gz", ".xz"):
            name = name.removesuffix(ending)
        return Path(name).stem or "job"

    def note(self, sentence: str) -> None:
        """Remember ``sentence`` for the user."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def file(self, reference: str, what: str) -> str:
        """Return the text of a file that the job refers to.

        Raises:
            JobError: it cannot be read, or is empty.
        """
        path = resolve(reference, self.path.parent)
        text = read_text(path, what, MAX_PART_BYTES)
        if not text.strip():
            raise JobError(f"{what} {shown(str(path), 200)} is empty.")
        return text

    def sequence(self, text: str, where: str) -> str:
        """Return a sequence without blanks and in capitals; capitalising is noted."""
        letters = "".join(text.split())
        capitals = letters.upper() if letters.isascii() else letters
        if capitals != letters:
            self.note(f"{where}: small letters in the sequence were read as capitals.")
        return capitals


def text_or_file(fields: Fields, key: str, path_key: str, reading: Reading, what: str) -> str | None:
    """Return the text under ``key``, or of the file under ``path_key``; None where neither stands.

    Raises:
        JobError: both stand, or the file cannot be read.
    """
    if path_key in fields:
        if key in fields and fields.text(key):
            raise JobError(f"{fields.where} has both {key} and {path_key}: give one of them.")
        return reading.file(fields.text(path_key, expected="a path"), what)
    return fields.optional_text(key)


def index_template(value: Any, where: str, reading: Reading) -> TemplateAlignment:
    """Return a template written as AlphaFold 3 does: mmCIF text or path, and two lists of 0-based indices."""
    fields = Fields(value, where, ("mmcif", "mmcifPath", "queryIndices", "templateIndices"))
    mmcif = text_or_file(fields, "mmcif", "mmcifPath", reading, "Template file")
    if mmcif is None:
        raise fields.wrong("mmcif", "mmCIF text, or a path under mmcifPath")
    return TemplateAlignment(
        mmcif=mmcif,
        query_indices=fields.integers("queryIndices"),
        template_indices=fields.integers("templateIndices"),
    )


def bond_of_pair(value: Any, where: str) -> JobBond:
    """Return a bond written as a list of two atoms, each [chain id, residue number, atom name]."""
    if not isinstance(value, list) or len(value) != 2:
        raise JobError(f"{where} is {shown(value)}: expected a list of two atoms.")
    return JobBond(first=address(value[0], f"{where}[0]"), second=address(value[1], f"{where}[1]"))


def address(value: Any, where: str) -> AtomAddress:
    """Return the atom written as [chain id, residue number, atom name]."""
    chain, residue, atom = atom_triple(value, where)
    return AtomAddress(chain=chain, residue=residue, atom=atom)


def molblock_of(text: str, where: str) -> str:
    """Return the one MOL record of an SDF or MOL file, up to and with its "M  END" line.

    Raises:
        JobError: there is no record, or more than one.
    """
    ends = list(_MOLBLOCK_END.finditer(text))
    if len(ends) != 1:
        raise JobError(
            f"{where} holds {len(ends)} molecules ('M  END' lines): give a MOL or SDF file with exactly one."
        )
    return text[: ends[0].end()] + "\n"
