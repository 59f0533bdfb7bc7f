"""AlphaFold Server's JSON: a list of jobs, dialect ``alphafoldserver`` version 1 (server/README.md of AlphaFold)."""

from __future__ import annotations

import datetime
from typing import Any

from ..common.errors import JobError
from ..common.text import shown
from .chain_ids import ChainIds
from .fields import Fields
from .glycans import GlycanSite, attach_glycan
from .job import MAX_CHAINS, Entity, Job, JobBond, Ligand, Modification, Polymer
from .reading import Reading

_KINDS = {"proteinChain": "protein", "dnaSequence": "dna", "rnaSequence": "rna", "ligand": "ligand", "ion": "ion"}
_KEYS: dict[str, tuple[str, ...]] = {
    "protein": ("sequence", "count", "glycans", "modifications", "useStructureTemplate", "maxTemplateDate"),
    "dna": ("sequence", "count", "modifications"),
    "rna": ("sequence", "count", "modifications"),
    "ligand": ("ligand", "count"),
    "ion": ("ion", "count"),
}


def read_alphafoldserver(value: Any, reading: Reading, where: str) -> Job:
    """Return the job of one item of the list.

    Chains are called A, B, …, Z, AA, BA, … in the order of the sequences and their copies; glycans follow.

    Raises:
        JobError: an unknown key, or a value that is not as the dialect says.
    """
    fields = Fields(value, where, ("name", "modelSeeds", "sequences", "dialect", "version"))
    if fields.raw("version") not in (None, 1) or isinstance(fields.raw("version"), bool):
        raise fields.wrong("version", "1, or none")
    if not fields.items("sequences", "a list of chains", required=True):
        raise fields.wrong("sequences", "at least one chain")
    ids = ChainIds(())
    glycans: list[tuple[Fields, Polymer]] = []
    entities = list(fields.each("sequences", lambda item, place: _entity(item, place, ids, reading, glycans)))
    bonds: list[JobBond] = []
    for glycan, polymer in glycans:
        made, links = _glycan(glycan, polymer, ids, reading)
        entities.append(made)
        bonds.extend(links)
    name = fields.text("name", expected="the job's name")
    seeds = fields.seeds("modelSeeds")
    if not seeds:
        seeds = (1,)
        reading.note(f"Job {shown(name)}: no seeds are given (the server would draw one); seed 1 is used.")
    return Job(name=name, seeds=seeds, entities=tuple(entities), bonds=tuple(bonds))


def _entity(value: Any, where: str, ids: ChainIds, reading: Reading, glycans: list[tuple[Fields, Polymer]]) -> Entity:
    key = Fields(value, where, tuple(_KINDS)).one_of(_KINDS)
    kind = _KINDS[key]
    fields = Fields(value[key], f"{where}.{key}", _KEYS[kind])
    count = fields.integer("count", default=1, minimum=1)
    if count > MAX_CHAINS:
        raise fields.wrong("count", f"at most {MAX_CHAINS}")
    names = ids.take(count)
    if kind in ("ligand", "ion"):
        code = fields.text(
            kind, expected="a component code, such as CCD_ATP" if kind == "ligand" else "an ion, such as MG"
        )
        return Ligand(ids=names, ccd_codes=(code.removeprefix("CCD_"),))
    position = "ptmPosition" if kind == "protein" else "basePosition"
    polymer = Polymer(
        kind=kind,  # type: ignore[arg-type]  # one of the three, as the table above says
        ids=names,
        sequence=reading.sequence(fields.text("sequence", expected="the sequence"), fields.where),
        modifications=fields.each("modifications", lambda item, place: _modification(item, place, position)),
        templates=None if kind != "protein" or fields.flag("useStructureTemplate", default=True) else (),
    )
    if kind == "protein":
        _check_date(fields, reading)
        carriers = fields.each("glycans", lambda item, place: Fields(item, place, ("residues", "position")))
        glycans.extend((carrier, polymer) for carrier in carriers)
    return polymer


def _modification(value: Any, where: str, position: str) -> Modification:
    code = "ptmType" if position == "ptmPosition" else "modificationType"
    fields = Fields(value, where, (code, position))
    text = fields.text(code, expected="a component code, such as CCD_SEP")
    return Modification(position=fields.integer(position, minimum=1), code=text.removeprefix("CCD_"))


def _glycan(fields: Fields, polymer: Polymer, ids: ChainIds, reading: Reading) -> tuple[Ligand, tuple[JobBond, ...]]:
    position = fields.integer("position", minimum=1)
    if position > len(polymer.sequence):
        raise fields.wrong("position", f"at most {len(polymer.sequence)}, the length of the chain")
    if any(modification.position == position for modification in polymer.modifications):
        raise JobError(f"{fields.where} attaches a glycan to the modified residue {position}: it cannot carry one.")
    text = fields.text("residues", expected="a glycan, such as NAG(NAG)(BMA)")
    letter = polymer.sequence[position - 1]
    return attach_glycan(GlycanSite(text, polymer.ids, position, letter, fields.where), ids, reading)


def _check_date(fields: Fields, reading: Reading) -> None:
    date = fields.optional_text("maxTemplateDate", "a date, such as 2018-01-20")
    if date is None:
        return
    try:
        datetime.date.fromisoformat(date)
    except ValueError as error:
        raise fields.wrong("maxTemplateDate", "a date, such as 2018-01-20") from error
    reading.note(
        f"{fields.where}: maxTemplateDate {date} is not kept with the job; give it as --template-date where templates "
        "are searched for (--templates)."
    )
