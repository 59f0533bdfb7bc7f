"""This package's own dialect: short YAML (or the same as JSON). `docs/jobs.md` describes it with examples."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..common.errors import JobError
from ..common.text import shown
from .chain_ids import ChainIds
from .fields import Fields
from .glycans import GlycanSite, attach_glycan
from .job import MAX_CHAINS, AtomAddress, Entity, Job, JobBond, Ligand, Modification, Polymer, TemplateAlignment
from .reading import Reading, address, molblock_of

TOP_KEYS = ("name", "seeds", "chains", "bonds", "components")
POLYMERS = ("protein", "dna", "rna")
LIGANDS = ("ligand", "ion", "smiles", "sdf")
COMMON_KEYS = ("id", "copies", "description")
POLYMER_KEYS = {
    "protein": ("msa", "paired_msa", "modifications", "glycans", "templates", "cyclic"),
    "rna": ("msa", "modifications", "cyclic"),
    "dna": ("modifications", "cyclic"),
}
TEMPLATE_KEYS = ("file", "query", "template")
NO_MSA = "none"

_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


def read_anfinsen(value: Any, reading: Reading, where: str) -> Job:
    """Return the job of one mapping of this package's own dialect.

    Raises:
        JobError: an unknown key, or a value that is not as `docs/jobs.md` says.
    """
    fields = Fields(value, where, TOP_KEYS)
    items = fields.items("chains", "a list of chains", required=True)
    if not items:
        raise fields.wrong("chains", "at least one chain")
    ids = ChainIds(_given_ids(items))
    glycans: list[GlycanSite] = []
    entities = list(fields.each("chains", lambda item, place: _chain(item, place, ids, reading, glycans)))
    bonds = list(fields.each("bonds", _bond))
    for glycan in glycans:
        made, links = attach_glycan(glycan, ids, reading)
        entities.append(made)
        bonds.extend(links)
    files = fields.texts("components", "a path, or a list of paths, of mmCIF files")
    return Job(
        name=fields.text("name", default=reading.default_name),
        seeds=fields.seeds("seeds") if "seeds" in fields else (1,),
        entities=tuple(entities),
        bonds=tuple(bonds),
        user_components="\n".join(reading.file(file, "Components file") for file in files) if files else None,
    )


def _given_ids(items: Iterable[Any]) -> list[str]:
    """Every chain id written anywhere in the job, so that made-up ones avoid them."""
    found: list[str] = []
    for item in items:
        given = item.get("id") if isinstance(item, dict) else None
        found += [str(name) for name in (given if isinstance(given, list) else [given]) if name is not None]
    return found


def _chain(value: Any, where: str, ids: ChainIds, reading: Reading, glycans: list[GlycanSite]) -> Entity:
    kinds = (*POLYMERS, *LIGANDS)
    every_key = dict.fromkeys((*kinds, *COMMON_KEYS, *(key for keys in POLYMER_KEYS.values() for key in keys)))
    kind = Fields(value, where, tuple(every_key)).one_of(kinds)
    fields = Fields(value, where, (kind, *COMMON_KEYS, *POLYMER_KEYS.get(kind, ())))
    names = _ids(fields, ids)
    description = fields.text("description", default="")
    if kind not in POLYMERS:
        return _ligand(kind, fields, names, description, reading)
    sequence = reading.sequence(fields.text(kind, expected="a sequence"), f"{where}.{kind}")
    for position, text in _by_position(fields, "glycans"):
        if not 1 <= position <= len(sequence):
            raise JobError(f"{where}.glycans names position {position}: the chain has {len(sequence)} residues.")
        glycans.append(GlycanSite(text, names, position, sequence[position - 1], f"{where}.glycans[{position}]"))
    return Polymer(
        kind=kind,  # type: ignore[arg-type]  # one of the three: ligands were handled above
        ids=names,
        sequence=sequence,
        modifications=tuple(Modification(position=at, code=code) for at, code in _by_position(fields, "modifications")),
        unpaired_msa=_msa(fields, "msa", reading),
        paired_msa=_msa(fields, "paired_msa", reading),
        templates=_templates(fields, reading, len(sequence)),
        cyclic=fields.flag("cyclic"),
        description=description,
    )


def _ids(fields: Fields, ids: ChainIds) -> tuple[str, ...]:
    copies = fields.integer("copies", default=0, minimum=1) if "copies" in fields else 0
    if copies > MAX_CHAINS:
        raise JobError(f"{fields.where} asks for {copies} copies: at most {MAX_CHAINS} chains are read.")
    given = fields.texts("id", "a chain id, or a list of them")
    if given and copies and copies != len(given):
        raise JobError(
            f"{fields.where} asks for {copies} copies and names {len(given)} of them: let the numbers agree."
        )
    return given or ids.take(copies or 1)


def _ligand(kind: str, fields: Fields, names: tuple[str, ...], description: str, reading: Reading) -> Ligand:
    codes: tuple[str, ...] | None = None
    smiles = molblock = None
    if kind == "smiles":
        smiles = fields.text("smiles", expected="a SMILES string")
    elif kind == "sdf":
        reference = fields.text("sdf", expected="the path of an SDF or MOL file")
        molblock = molblock_of(reading.file(reference, "SDF file"), f"SDF file {shown(reference)}")
    else:
        codes = fields.texts(kind, "a component code, such as MG" if kind == "ion" else "component codes, such as HEM")
        if kind == "ion" and len(codes) > 1:
            # As a ligand of several components they would be one chain of parts that nothing holds together.
            raise JobError(f"{fields.where} lists {len(codes)} ions: give each an entry of its own.")
    return Ligand(ids=names, ccd_codes=codes, smiles=smiles, molblock=molblock, description=description)


def _by_position(fields: Fields, key: str) -> list[tuple[int, str]]:
    """Pairs of a mapping {position: code}."""
    value = fields.raw(key)
    if value is None:
        return []
    expected = "a mapping from position to code, such as {15: SEP}"
    if not isinstance(value, dict):
        raise fields.wrong(key, expected)
    pairs = []
    for position, code in value.items():
        word = str(position)
        if not (word.isascii() and word.isdigit() and len(word) <= 9) or not isinstance(code, str | int):
            raise fields.wrong(key, expected)
        pairs.append((int(word), str(code)))
    return pairs


def _msa(fields: Fields, key: str, reading: Reading) -> str | None:
    """The alignment's text: of a file, or standing in the job itself; "none" means single sequence."""
    value = fields.optional_text(key, "the path of an alignment, or none")
    if value is None:
        return None
    if value.strip() == NO_MSA or not value.strip():
        return ""
    if "\n" in value or value.lstrip().startswith(">"):
        return value
    return reading.file(value, "MSA file")


def _templates(fields: Fields, reading: Reading, length: int) -> tuple[TemplateAlignment, ...] | None:
    value = fields.raw("templates")
    if value is None:
        return None
    if value == NO_MSA:
        return ()
    return fields.each("templates", lambda item, place: _template(item, place, reading, length))


def _template(value: Any, where: str, reading: Reading, length: int) -> TemplateAlignment:
    fields = Fields(value, where, TEMPLATE_KEYS)
    return TemplateAlignment(
        mmcif=reading.file(fields.text("file", expected="the path of an mmCIF file"), "Template file"),
        query_indices=_positions(fields, "query", length),
        template_indices=_positions(fields, "template", 1_000_000),
    )


def _positions(fields: Fields, key: str, length: int) -> tuple[int, ...]:
    """0-based indices of 1-based ranges such as "1-50, 60"."""
    expected = 'positions counted from 1, such as "1-50, 60-64"'
    indices: list[int] = []
    for part in fields.text(key, expected=expected).split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise fields.wrong(key, expected)
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= length:
            raise fields.wrong(key, f"{expected}, each range rising and inside 1 to {length}")
        indices.extend(range(first - 1, last))
    return tuple(indices)


def _bond(value: Any, where: str) -> JobBond:
    if not isinstance(value, list) or len(value) != 2:
        raise JobError(f"{where} is {shown(value)}: expected two atoms, such as [A:6:SG, A:127:SG].")
    return JobBond(first=_atom(value[0], where), second=_atom(value[1], where))


def _atom(value: Any, where: str) -> AtomAddress:
    if isinstance(value, list):
        return address(value, where)
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) <= 9):
        raise JobError(f"{where} has the atom {shown(value)}: expected chain:residue:atom, such as A:6:SG.")
    return AtomAddress(chain=parts[0].strip(), residue=int(parts[1]), atom=parts[2].strip())
