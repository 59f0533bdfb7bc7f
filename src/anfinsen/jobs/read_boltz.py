"""Boltz's YAML: sequences and bond constraints; what steers Boltz alone is refused by name."""

from __future__ import annotations

from typing import Any

from ..common.errors import JobError
from ..common.text import shown
from .fields import Fields
from .job import Entity, Job, JobBond, Ligand, Modification, Polymer
from .reading import Reading, address

_KINDS = ("protein", "dna", "rna", "ligand")
_KEYS: dict[str, tuple[str, ...]] = {
    "protein": ("id", "sequence", "msa", "modifications", "cyclic"),
    "dna": ("id", "sequence", "modifications", "cyclic"),
    "rna": ("id", "sequence", "modifications", "cyclic"),
    "ligand": ("id", "smiles", "ccd"),
}
_STEERING = "this model takes no such guidance; remove the field to predict without it"
_REFUSED_TOP = {
    "templates": "Boltz matches them to chains by itself; give them with positions in this program's own YAML",
    "properties": "this model predicts no affinity; remove the field to predict the structure",
}
_REFUSED_CONSTRAINTS = {"pocket": _STEERING, "contact": _STEERING}
_REFUSED_LIGAND = {"cyclic": "a ligand is no polymer", "msa": "a ligand has no alignment"}
_REFUSED_NUCLEIC = {"msa": "Boltz reads alignments of proteins only"}


def read_boltz(value: Any, reading: Reading, where: str) -> Job:
    """Return the job of one Boltz YAML mapping, called as the file is.

    Raises:
        JobError: an unknown key, a field that cannot be honoured, or a value that is not as Boltz's format says.
    """
    fields = Fields(value, where, ("version", "sequences", "constraints"), _REFUSED_TOP)
    if fields.raw("version") not in (None, 1) or isinstance(fields.raw("version"), bool):
        raise fields.wrong("version", "1")
    if not fields.items("sequences", "a list of chains", required=True):
        raise fields.wrong("sequences", "at least one chain")
    return Job(
        name=reading.default_name,
        entities=fields.each("sequences", lambda item, place: _entity(item, place, reading)),
        bonds=fields.each("constraints", _bond),
    )


def _entity(value: Any, where: str, reading: Reading) -> Entity:
    kind = Fields(value, where, _KINDS).one_of(_KINDS)
    refused = _REFUSED_LIGAND if kind == "ligand" else _REFUSED_NUCLEIC if kind != "protein" else None
    fields = Fields(value[kind], f"{where}.{kind}", _KEYS[kind], refused)
    ids = fields.texts("id", "a chain id or a list of them")
    if not ids:
        raise fields.wrong("id", "a chain id, such as A, or a list of them")
    if kind == "ligand":
        codes = fields.texts("ccd", "a component code") if "ccd" in fields else None
        return Ligand(ids=ids, ccd_codes=codes, smiles=fields.optional_text("smiles", "a SMILES string"))
    return Polymer(
        kind=kind,  # type: ignore[arg-type]  # one_of returned one of the three
        ids=ids,
        sequence=reading.sequence(fields.text("sequence", expected="the sequence"), fields.where),
        modifications=fields.each("modifications", _modification),
        unpaired_msa=boltz_msa(fields.optional_text("msa", "a path, or empty"), reading, fields.where),
        cyclic=fields.flag("cyclic"),
    )


def boltz_msa(reference: str | None, reading: Reading, where: str) -> str | None:
    """Return the alignment that Boltz's word for it means: a file, "empty" (or 0) for none, or nothing said.

    Raises:
        JobError: the file cannot be read, or is one of Boltz's CSV alignments.
    """
    if reference is None or not reference.strip():
        return None
    if reference in ("empty", "0"):
        return ""
    if reference.lower().endswith(".csv"):
        raise JobError(
            f"{where} has the alignment {shown(reference)}, a Boltz CSV file, which is not read: give an a3m file."
        )
    return reading.file(reference, "MSA file")


def _modification(value: Any, where: str) -> Modification:
    fields = Fields(value, where, ("position", "ccd"))
    return Modification(
        position=fields.integer("position", minimum=1), code=fields.text("ccd", expected="a component code")
    )


def _bond(value: Any, where: str) -> JobBond:
    kind = Fields(value, where, ("bond",), _REFUSED_CONSTRAINTS).one_of(("bond",))
    fields = Fields(value[kind], f"{where}.bond", ("atom1", "atom2"))
    return JobBond(
        first=address(fields.raw("atom1"), f"{fields.where}.atom1"),
        second=address(fields.raw("atom2"), f"{fields.where}.atom2"),
    )
