"""`job_json`: a job written out whole, in AlphaFold 3's newest dialect, so that it can be run again."""

from __future__ import annotations

import json
from typing import Any

from .job import Job, JobBond, Polymer
from .read_alphafold3 import EXTENSION, MODIFICATION_KEYS, VERSIONS


def job_json(job: Job) -> str:
    """Return ``job`` as JSON of the dialect ``alphafold3``, with alignments, templates and components inside.

    Loading the text gives an equal job. What the dialect cannot say (cyclic chains, ligands from SDF files) stands
    under the key ``anfinsen`` of the entity, and only where it is needed: jobs without it are plain AlphaFold 3 jobs.
    """
    content: dict[str, Any] = {
        "name": job.name,
        "modelSeeds": list(job.seeds),
        "sequences": [_entity(entity) for entity in job.entities],
    }
    if job.bonds:
        content["bondedAtomPairs"] = [_bond(bond) for bond in job.bonds]
    if job.user_components is not None:
        content["userCCD"] = job.user_components
    content |= {"dialect": "alphafold3", "version": VERSIONS[-1]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _entity(entity: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"id": list(entity.ids) if len(entity.ids) > 1 else entity.ids[0]}
    if isinstance(entity, Polymer):
        content |= _polymer(entity)
    elif entity.ccd_codes is not None:
        content["ccdCodes"] = list(entity.ccd_codes)
    elif entity.smiles is not None:
        content["smiles"] = entity.smiles
    else:
        content[EXTENSION] = {"molblock": entity.molblock}
    if entity.description:
        content["description"] = entity.description
    return {entity.kind: content}


def _polymer(entity: Polymer) -> dict[str, Any]:
    code, position = MODIFICATION_KEYS[entity.kind]
    content: dict[str, Any] = {
        "sequence": entity.sequence,
        "modifications": [{code: change.code, position: change.position} for change in entity.modifications],
    }
    if entity.kind != "dna":
        content["unpairedMsa"] = entity.unpaired_msa
    if entity.kind == "protein":
        content["pairedMsa"] = entity.paired_msa
        content["templates"] = None
        if entity.templates is not None:
            content["templates"] = [
                {
                    "mmcif": template.mmcif,
                    "queryIndices": list(template.query_indices),
                    "templateIndices": list(template.template_indices),
                }
                for template in entity.templates
            ]
    if entity.cyclic:
        content[EXTENSION] = {"cyclic": True}
    return content


def _bond(bond: JobBond) -> list[list[str | int]]:
    return [[atom.chain, atom.residue, atom.atom] for atom in (bond.first, bond.second)]
