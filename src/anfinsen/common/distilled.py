"""How a folder of distilled chains is laid out: the agreement between what writes it and what trains on it.

distilled.json            what the folder is, and which kind of distillation made it
records/NAME.json         one predicted chain, kept or not; written last, so that a chain with a record is whole
structures/NAME.cif       the kept chains, without the atoms of residues that are not to be learnt
structures/manifest.csv   the kept chains, as every folder of structures has it
alignments/NAME.a3m       what the prediction was made from, where there was an alignment
chains/, msas/            the same chains as Parquet files (backbone only)
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from .errors import InputError, OutputError
from .files import write_text

FORMAT = "anfinsen-distilled-1"
HEADER = "distilled.json"
RECORD_SUFFIX, STRUCTURE_SUFFIX, ALIGNMENT_SUFFIX = ".json", ".cif", ".a3m"
BACKBONE = ("N", "CA", "C", "O")  # order of `DistilledRecord.backbone`
COORDINATES_PER_RESIDUE = 3 * len(BACKBONE)
_FARTHEST = 10**7  # 0.01 Å

Kind = Literal["self", "cross"]
"""Unlabelled sequences (the confident residues are learnt), or sequences of partly unresolved structures."""


@dataclass(frozen=True)
class DistilledRecord:
    """One predicted chain of L residues.

    Attributes:
        name: of its files. sequence: one letter per residue.
        kept: whether it is trained on. reason: why not, one sentence; empty where it is.
        plddt: 0 to 100, mean over the atoms of each residue.
        confident: residues that may be learnt.
        backbone: 0.01 Å; N, CA, C, O of each residue, one after another, of all residues.
        gdt: GDT-TS (0 to 1) against what is resolved of the known structure; None where none is known.
        source: the file the sequence came from. model: its name. weights_sha256: of its file ("" for random weights).
        fingerprint: everything that decides the result, ready for JSON.
    """

    name: str
    sequence: str
    kept: bool
    reason: str
    plddt: tuple[float, ...]
    confident: tuple[bool, ...]
    backbone: tuple[int, ...]
    gdt: float | None
    source: str
    model: str
    weights_sha256: str
    fingerprint: dict[str, Any]

    @property
    def mean_plddt(self) -> float:
        """Mean over all residues."""
        return sum(self.plddt) / len(self.plddt)


_RECORD = TypeAdapter(DistilledRecord)


class DistilledFolder:
    """Paths and records of one folder.

    Attributes:
        path: the folder. structures, alignments: its parts that are read by others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.structures, self.alignments = path / "structures", path / "alignments"
        self._records = path / "records"

    def structure(self, name: str) -> Path:
        """Return the path of the structure of chain ``name``."""
        return self.structures / f"{name}{STRUCTURE_SUFFIX}"

    def alignment(self, name: str) -> Path:
        """Return the path of the alignment of chain ``name``."""
        return self.alignments / f"{name}{ALIGNMENT_SUFFIX}"

    def record(self, name: str) -> Path:
        """Return the path of the record of chain ``name``."""
        return self._records / f"{name}{RECORD_SUFFIX}"

    def begin(self, kind: Kind) -> None:
        """Make the folder one of distilled chains of ``kind``, or go on with one.

        Raises:
            OutputError: it holds other things, or chains of the other kind, or cannot be written.
        """
        if (self.path / HEADER).exists():
            if (found := self.kind()) != kind:
                raise OutputError(
                    f"{self.path} holds chains of {found}-distillation, and {kind}-distillation was asked for: they "
                    "are weighted differently, so choose another folder with --out."
                )
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise OutputError(
                f"{self.path} exists and was not made by `anfinsen distill`: choose another folder with --out."
            )
        write_text(self.path / HEADER, json.dumps({"format": FORMAT, "kind": kind}, indent=1) + "\n")

    def kind(self) -> Kind:
        """Return which distillation made the folder.

        Raises:
            InputError: none did.
        """
        try:
            header = json.loads((self.path / HEADER).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path} is no folder of distilled chains ({HEADER} is missing or broken): make one with "
                "`anfinsen distill`."
            ) from error
        if (
            not isinstance(header, dict)
            or header.get("format") != FORMAT
            or header.get("kind") not in ("self", "cross")
        ):
            raise InputError(
                f"{self.path / HEADER} is not of the format {FORMAT}: make the folder anew with `anfinsen distill`."
            )
        kind: Kind = header["kind"]
        return kind

    def names(self) -> tuple[str, ...]:
        """Return the names of all chains with a record, in order."""
        return tuple(sorted(path.name.removesuffix(RECORD_SUFFIX) for path in self._records.glob(f"*{RECORD_SUFFIX}")))

    def read(self, name: str) -> DistilledRecord:
        """Return the record of chain ``name``.

        Raises:
            InputError: it cannot be read.
        """
        path = self.record(name)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            marks = values.get("confident") if isinstance(values, dict) else None
            if not isinstance(marks, str) or not set(marks) <= set("01"):
                raise ValueError("no mapping, or its `confident` is no text of 0 and 1")
            values["confident"] = [mark == "1" for mark in values["confident"]]
            record = _RECORD.validate_json(json.dumps(values), strict=True)
            if record.name != name:
                raise ValueError(f"it is called {record.name!r}")
            length = len(record.sequence)
            sizes = (len(record.plddt), len(record.confident), len(record.backbone))
            if not length or sizes != (length, length, COORDINATES_PER_RESIDUE * length):
                raise ValueError(f"{length} residues with arrays of {sizes}")
            # NaN is in no range.
            if not all(0 <= value <= 100 for value in record.plddt) or not 0 <= (record.gdt or 0.0) <= 1:
                raise ValueError("a pLDDT is not between 0 and 100, or GDT-TS not between 0 and 1")
            if max(map(abs, record.backbone)) > _FARTHEST:
                raise ValueError("coordinates are too large")
        except (OSError, ValueError, RecursionError) as error:
            what = (
                "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:1])
                if isinstance(error, ValidationError)
                else f"{type(error).__name__}: {error}"
            )
            raise InputError(
                f"The record {path} cannot be read ({what}): delete it and run `anfinsen distill` again."
            ) from error
        return record

    def write(self, record: DistilledRecord) -> None:
        """Write ``record``, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        values = asdict(record) | {"confident": "".join("01"[mark] for mark in record.confident)}
        write_text(self.record(record.name), json.dumps(values, allow_nan=False) + "\n")

    def forget(self, name: str) -> None:
        """Remove all files of chain ``name``, the record first, so that it never stands for files that are gone.

        Raises:
            OutputError: a file cannot be removed.
        """
        for path in (self.record(name), self.structure(name), self.alignment(name)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"Cannot remove {path}: {error.strerror or error}. Check permissions.") from error
