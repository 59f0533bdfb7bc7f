"""AlphaFold 3's own JSON: dialect ``alphafold3``, versions 1 to 4 (docs/input.md of its repository)."""

from __future__ import annotations

from typing import Any

from ..common.errors import JobError
from ..common.text import shown
from .fields import Fields
from .job import Entity, Job, Ligand, Modification, Polymer
from .reading import Reading, bond_of_pair, index_template, text_or_file

VERSIONS = (1, 2, 3, 4)
EXTENSION = "anfinsen"
"""Key of what this package can say and the dialect cannot: rings, and ligands from SDF files."""

_TOP = ("name", "modelSeeds", "sequences", "bondedAtomPairs", "userCCD", "dialect", "version")
_KINDS = ("protein", "rna", "dna", "ligand")
MODIFICATION_KEYS = {
    "protein": ("ptmType", "ptmPosition"),
    "rna": ("modificationType", "basePosition"),
    "dna": ("modificationType", "basePosition"),
}
_KEYS = {
    "protein": ("id", "sequence", "modifications", "unpairedMsa", "pairedMsa", "templates", EXTENSION),
    "rna": ("id", "sequence", "modifications", "unpairedMsa", EXTENSION),
    "dna": ("id", "sequence", "modifications", EXTENSION),
    "ligand": ("id", "ccdCodes", "smiles", EXTENSION),
}
# What each version added: (version, where, keys).
_ADDED: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (2, "protein", ("unpairedMsaPath", "pairedMsaPath")),
    (2, "rna", ("unpairedMsaPath",)),
    (2, "template", ("mmcifPath",)),
    (3, "top", ("userCCDPath",)),
    *((4, kind, ("description",)) for kind in _KINDS),
)


def read_alphafold3(value: Any, reading: Reading, where: str) -> Job:
    """Return the job of one JSON object.

    Raises:
        JobError: an unknown key, a key of a later version, or a value that is not as the dialect says.
    """
    version = value.get("version") if isinstance(value, dict) else None
    if isinstance(version, bool) or version not in VERSIONS:
        raise JobError(f"{where} has version {shown(version)}: the dialect alphafold3 has versions 1, 2, 3 and 4.")
    fields = Fields(value, where, _TOP + _added("top", version), _later("top", version))
    seeds = fields.seeds("modelSeeds")
    if not seeds:
        raise fields.wrong("modelSeeds", "at least one seed, such as [1]")
    if not fields.items("sequences", "a list of chains", required=True):
        raise fields.wrong("sequences", "at least one chain")
    return Job(
        name=fields.text("name", expected="the job's name"),
        seeds=seeds,
        entities=fields.each("sequences", lambda item, place: _entity(item, place, version, reading)),
        bonds=fields.each("bondedAtomPairs", bond_of_pair),
        user_components=text_or_file(fields, "userCCD", "userCCDPath", reading, "User CCD file") or None,
    )


def _added(place: str, version: int) -> tuple[str, ...]:
    return tuple(key for since, where, keys in _ADDED if where == place and since <= version for key in keys)


def _later(place: str, version: int) -> dict[str, str]:
    return {
        key: f"it was added in version {since} of the dialect, and this job says version {version}"
        for since, where, keys in _ADDED
        if where == place and since > version
        for key in keys
    }


def _entity(value: Any, where: str, version: int, reading: Reading) -> Entity:
    kind = Fields(value, where, _KINDS).one_of(_KINDS)
    place = f"{where}.{kind}"
    fields = Fields(value[kind], place, _KEYS[kind] + _added(kind, version), _later(kind, version))
    ids = fields.texts("id", "a chain id or a list of them")
    if not ids:
        raise fields.wrong("id", "a chain id, such as A, or a list of them")
    description = fields.text("description", default="")
    if kind == "ligand":
        return _ligand(fields, ids, description)
    own = Fields(fields.raw(EXTENSION) or {}, f"{place}.{EXTENSION}", ("cyclic",))
    return Polymer(
        kind=kind,  # type: ignore[arg-type]  # one of the three: ligands were handled above
        ids=ids,
        sequence=reading.sequence(fields.text("sequence", expected="the sequence"), place),
        modifications=fields.each("modifications", lambda item, spot: _modification(item, spot, kind)),
        unpaired_msa=text_or_file(fields, "unpairedMsa", "unpairedMsaPath", reading, "MSA file"),
        paired_msa=text_or_file(fields, "pairedMsa", "pairedMsaPath", reading, "MSA file"),
        templates=_templates(fields, version, reading),
        cyclic=own.flag("cyclic"),
        description=description,
    )


def _ligand(fields: Fields, ids: tuple[str, ...], description: str) -> Ligand:
    own = Fields(fields.raw(EXTENSION) or {}, f"{fields.where}.{EXTENSION}", ("molblock",))
    codes = fields.raw("ccdCodes")
    if codes is not None and not isinstance(codes, list):
        raise fields.wrong("ccdCodes", 'a list of component codes, such as ["ATP"]')
    return Ligand(
        ids=ids,
        ccd_codes=fields.texts("ccdCodes", "a list of component codes") if codes is not None else None,
        smiles=fields.optional_text("smiles", "a SMILES string"),
        molblock=own.optional_text("molblock", "a MOL block"),
        description=description,
    )


def _modification(value: Any, where: str, kind: str) -> Modification:
    code, position = MODIFICATION_KEYS[kind]
    fields = Fields(value, where, (code, position))
    text = fields.text(code, expected="a component code")
    if text.startswith("CCD_"):
        raise fields.wrong(code, f"a component code without the prefix CCD_, {text.removeprefix('CCD_')}")
    return Modification(position=fields.integer(position, minimum=1), code=text)


def _templates(fields: Fields, version: int, reading: Reading) -> Any:
    if fields.raw("templates") is None:
        return None
    if version < 2:
        for index, item in enumerate(fields.items("templates")):
            if isinstance(item, dict) and "mmcifPath" in item:
                reason = _later("template", version)["mmcifPath"]
                raise JobError(
                    f"{fields.where}.templates[{index}] has the field 'mmcifPath', which cannot be honoured: {reason}."
                )
    return fields.each("templates", lambda item, place: index_template(item, place, reading))
