"""`job_schema`: the JSON Schema of this package's own YAML, for editors that check and complete while one types."""

from __future__ import annotations

from typing import Any

from ..common.seeding import MAX_SEED
from .chain_ids import MAX_CHAIN_ID
from .job import LETTERS, MAX_CHAINS, MAX_NAME, MAX_SEEDS
from .read_anfinsen import COMMON_KEYS, LIGANDS, POLYMER_KEYS, POLYMERS, TEMPLATE_KEYS

_CODE = {"type": ["string", "integer"], "description": "A component code of the Chemical Component Dictionary."}
_CHAIN_ID = {"type": "string", "pattern": f"^[A-Za-z0-9]{{1,{MAX_CHAIN_ID}}}$"}
_SEED = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
_PATH = {"type": "string", "description": "A path, relative to the job file; gzip and xz are read."}
_POSITIONS = {"type": ["string", "integer"], "description": 'Positions counted from 1, such as "1-50, 60".'}
_ATOM = {
    "oneOf": [
        {"type": "string", "pattern": r"^[^:]+:[0-9]+:[^:]+$", "description": "chain:residue:atom, such as A:6:SG"},
        {"type": "array", "prefixItems": [{}, {"type": "integer"}, {}], "minItems": 3, "maxItems": 3},
    ]
}


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of this package's own dialect.

    It checks keys, types and ranges; that letters fit the polymer, atoms exist and files can be read is checked when
    the job is loaded.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Anfinsen job",
        "description": "One complex of proteins, nucleic acids, ligands and ions whose structure is to be predicted.",
        "type": "object",
        "additionalProperties": False,
        "required": ["chains"],
        "properties": {
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_NAME,
                "description": "Default: the file's name.",
            },
            "seeds": _one_or_list(_SEED, "Random seeds; one run of the trunk each. Default: 1.", MAX_SEEDS),
            "chains": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_CHAINS,
                "items": {"oneOf": [_chain(kind) for kind in (*POLYMERS, *LIGANDS)]},
            },
            "bonds": {
                "type": "array",
                "description": "Covalent bonds between any two atoms.",
                "items": {"type": "array", "items": _ATOM, "minItems": 2, "maxItems": 2},
            },
            "components": _one_or_list(_PATH, "mmCIF files with components that the dictionary lacks."),
        },
    }


def _chain(kind: str) -> dict[str, Any]:
    properties = {kind: _content(kind)} | {key: _property(key) for key in (*COMMON_KEYS, *POLYMER_KEYS.get(kind, ()))}
    return {"type": "object", "additionalProperties": False, "required": [kind], "properties": properties}


def _content(kind: str) -> dict[str, Any]:
    if kind in POLYMERS:
        letters = LETTERS[kind] + LETTERS[kind].lower()
        return {
            "type": "string",
            "pattern": rf"^[{letters}\s]+$",
            "description": f"The {kind} sequence, one letter each.",
        }
    return {
        "ligand": _one_or_list(_CODE, "A ligand by its component code, or several linked components."),
        "ion": _CODE,
        "smiles": {"type": "string", "description": "A ligand by its SMILES."},
        "sdf": _PATH,
    }[kind]


def _property(key: str) -> dict[str, Any]:
    by_position = {"type": "object", "propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": _CODE}
    alignment = "An alignment (a3m, Stockholm, aligned FASTA): a path, or the text itself; none for none."
    template = {
        "type": "object",
        "additionalProperties": False,
        "required": list(TEMPLATE_KEYS),
        "properties": {"file": _PATH, "query": _POSITIONS, "template": _POSITIONS},
    }
    return {
        "id": _one_or_list(_CHAIN_ID, "The chain's name, or one name per copy. Default: A, B, …"),
        "copies": {"type": "integer", "minimum": 1, "maximum": MAX_CHAINS},
        "description": {"type": "string"},
        "msa": {"type": "string", "description": alignment},
        "paired_msa": {"type": "string", "description": f"Rows that are paired across chains. {alignment}"},
        "modifications": by_position | {"description": "Modified residues: {position: component code}."},
        "glycans": by_position | {"description": "Glycans: {position: tree}, such as {73: NAG(NAG(BMA))}."},
        "templates": {"oneOf": [{"const": "none"}, {"type": "array", "items": template}]},
        "cyclic": {"type": "boolean", "description": "Whether the last residue is bonded to the first."},
    }[key]


def _one_or_list(item: dict[str, Any], description: str, most: int | None = None) -> dict[str, Any]:
    many: dict[str, Any] = {"type": "array", "items": item, "minItems": 1}
    if most is not None:
        many["maxItems"] = most
    return {"description": description, "oneOf": [item, many]}
