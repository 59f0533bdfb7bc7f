"""FASTA jobs: one chain per record, in this package's, Boltz's or Chai-1's way of writing headers.

===========================  ==================================================================
``>name|protein``            also ``|rna``, ``|dna``, ``|ligand`` or ``|smiles`` (SMILES), ``|ccd``
``>A|protein|msa.a3m``       Boltz: chain id, kind, alignment ("empty" for none)
``>protein|name=lysozyme``   Chai-1: kind first
``>name``                    the kind is inferred from the letters, and the inference noted
===========================  ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from ..common.errors import JobError
from ..common.text import shown
from .chain_ids import ChainIds, is_chain_id
from .job import LETTERS, MAX_CHAINS, Entity, Job, Ligand, Polymer
from .read_boltz import boltz_msa
from .reading import Reading

KINDS = {"protein": "protein", "rna": "rna", "dna": "dna", "ligand": "ligand", "smiles": "ligand", "ccd": "ccd"}
MAX_ID_NAME = 4
"""A record's name of at most this many letters and digits becomes the chain's id; longer ones its description."""


@dataclass(frozen=True)
class _Record:
    number: int
    name: str
    kind: str
    msa: str | None
    body: str

    @property
    def where(self) -> str:
        return f"record {self.number} ({shown(self.name, 30)})"


def read_fasta(text: str, reading: Reading) -> Job:
    """Return the complex of all records of a FASTA file, called as the file is.

    Raises:
        JobError: a record is empty, or its header or letters are not as described above.
    """
    records = [_record(number, chunk, reading) for number, chunk in enumerate(_chunks(text), start=1)]
    if not records or len(records) > MAX_CHAINS:
        raise JobError(f"the file has {len(records)} FASTA records: expected 1 to {MAX_CHAINS}.")
    named = [record.name for record in records if _names_chain(record.name)]
    ids = ChainIds(named)
    entities = []
    for record in records:
        if _names_chain(record.name) and named.count(record.name) == 1:
            chain_id, description = record.name, ""
        else:
            chain_id, description = ids.take(1)[0], record.name
            reading.note(f"Record {record.number} ({shown(record.name, 30)}) is chain {chain_id}.")
        entities.append(_entity(record, chain_id, description, reading))
    return Job(name=reading.default_name, entities=tuple(entities))


def _names_chain(name: str) -> bool:
    return len(name) <= MAX_ID_NAME and is_chain_id(name)


def _chunks(text: str) -> list[str]:
    lines = [line for line in text.split("\n") if not line.startswith(";")]
    chunks = ("\n" + "\n".join(lines)).split("\n>")
    if chunks[0].strip():
        raise JobError(f"the file has text before its first FASTA record: {shown(chunks[0].strip())}.")
    return chunks[1:]


def _record(number: int, chunk: str, reading: Reading) -> _Record:
    header, _, body = chunk.partition("\n")
    body = "".join(body.split())
    parts = [part.strip() for part in header.split("|")]
    first, rest = parts[0].lower(), parts[1:]
    where = f"record {number} ({shown(header.strip(), 30)})"
    if not body:
        raise JobError(f"{where} is empty: a sequence, SMILES or CCD code must follow its header.")
    if rest and rest[0].lower() in KINDS:
        if len(rest) > 2 or (len(rest) == 2 and rest[0].lower() != "protein"):
            raise JobError(
                f"{where} has more after its kind than is understood: expected '>name|kind' or '>id|protein|MSA'."
            )
        return _Record(number, parts[0], KINDS[rest[0].lower()], rest[1] if len(rest) == 2 else None, body)
    if first in KINDS and len(rest) == 1:
        return _Record(number, rest[0].removeprefix("name="), KINDS[first], None, body)
    if first == "glycan" and rest:
        raise JobError(f"{where} is a glycan, which FASTA cannot attach: write the job as YAML with the key glycans.")
    if len(rest) == 1 and " " not in rest[0] and rest[0].isalpha() and rest[0].islower():
        raise JobError(f"{where} has the kind {shown(rest[0])}: expected protein, dna, rna, ligand or ccd.")
    kind, reason = _inferred(body)
    name = header.strip()
    reading.note(f"Record {number} ({shown(name, 30)}) states no kind: read as {kind} because {reason}.")
    return _Record(number, name, kind.lower(), None, body)


def _inferred(body: str) -> tuple[str, str]:
    """Kind of a sequence and the reason, from its letters alone."""
    letters = set(body.upper())
    if letters <= set("ACGN"):
        return "DNA", "it holds A, C, G and N only, which could also be RNA or protein (write |rna or |protein)"
    if letters <= set(LETTERS["dna"]):
        return "DNA", "all its letters are A, C, G, T or N (write |protein if it is one)"
    if letters <= set(LETTERS["rna"]):
        return "RNA", "all its letters are A, C, G, U or N"
    return "protein", "it holds letters that are not bases"


def _entity(record: _Record, chain_id: str, description: str, reading: Reading) -> Entity:
    if record.kind == "ligand":
        return Ligand(ids=(chain_id,), smiles=record.body, description=description)
    if record.kind == "ccd":
        return Ligand(ids=(chain_id,), ccd_codes=tuple(record.body.split(",")), description=description)
    body = record.body
    if record.kind == "protein" and body.endswith("*"):
        body = body[:-1]
        reading.note(f"Record {record.number}: the stop sign (*) at the end of the sequence was left out.")
    return Polymer(
        kind=record.kind,  # type: ignore[arg-type]  # the other kinds were handled above
        ids=(chain_id,),
        sequence=reading.sequence(body, record.where),
        unpaired_msa=boltz_msa(record.msa, reading, record.where),
        description=description,
    )
