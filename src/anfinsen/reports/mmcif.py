"""Predictions as mmCIF files that follow the ModelCIF dictionary (Vallat et al. 2023, J. Mol. Biol. 435, 168021).

The file holds everything needed to read the molecules back exactly: every component with its bonds, orders,
charges and stereo labels, every bond between residues, and the confidences. It holds no time stamp, so that equal
predictions are equal files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import gemmi
import numpy as np
from jaxtyping import Float

from ..chemistry import ComponentLibrary, Structure, element_symbol
from ..common.errors import NonFiniteError
from .mmcif_chains import file_structure
from .mmcif_components import component_categories
from .mmcif_entities import entity_categories, is_polymer_residue
from .mmcif_links import link_categories
from .mmcif_table import Categories, Columns

_DICTIONARY = {
    "dict_name": "mmcif_ma.dic",
    "dict_version": "1.4.6",
    "dict_location": "https://raw.githubusercontent.com/ihmwg/ModelCIF/master/dist/mmcif_ma.dic",
}
# Metrics that the dictionary has a type for; others are written as type "other".
_METRIC_TYPES = {"pLDDT": "pLDDT", "pTM": "pTM", "ipTM": "ipTM", "PAE": "PAE"}
_METRIC_TEXTS = {
    "pLDDT": "Predicted local distance difference test, mean over atoms, 0 to 100",
    "pTM": "Predicted TM-score of the whole complex, 0 to 1",
    "ipTM": "Predicted TM-score of the interfaces, 0 to 1",
}
_LOCAL_TEXT = "Predicted local distance difference test, mean over the atoms of a residue, 0 to 100"


@dataclass(frozen=True)
class ModelSource:
    """What made a prediction.

    Attributes:
        software, version: the program. location: where it can be had, "" for none.
        description: what kind of model it is. weights: its name.
        settings: every setting worth keeping, as text (steps, recycles, seed, …).
    """

    version: str
    software: str = "Anfinsen"
    location: str = ""
    description: str = "Structure prediction with a diffusion model (AlphaFold 3)"
    weights: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def prediction_mmcif(
    structure: Structure,
    library: ComponentLibrary,
    coordinates: Float[np.ndarray, "A 3"],
    plddt: Float[np.ndarray, "A"],
    *,
    name: str,
    source: ModelSource,
    scores: Mapping[str, float] | None = None,
) -> str:
    """Return a ModelCIF file of one predicted structure.

    Args:
        structure: the molecules, A atoms. library: knows every component of the structure.
        coordinates: Å. plddt: 0 to 100, written as B-factors.
        name: names the data block and the model. source: what made the prediction.
        scores: global scores of the complex by name ("pTM", "ipTM", "ranking_score", …).

    Raises:
        NonFiniteError: a coordinate, pLDDT value or score is NaN or infinite.
        ValueError: the arrays do not fit the structure's atoms.
    """
    if len(coordinates) != len(structure.atoms) or len(plddt) != len(structure.atoms):
        raise ValueError(
            f"{len(structure.atoms)} atoms, but {len(coordinates)} coordinates and {len(plddt)} pLDDT values"
        )
    scores = dict(scores or {})
    _check_finite(name, coordinates, plddt, scores)
    structure = file_structure(structure, library)
    document = gemmi.cif.Document()
    block = document.add_new_block(_block_name(name))
    entry = block.name
    categories: Categories = {
        "entry": {"id": [entry]},
        "audit_conform": {key: [value] for key, value in _DICTIONARY.items()},
        "struct": {
            "entry_id": [entry],
            "title": [f"Predicted structure of {name}"],
            "pdbx_model_details": [f"Predicted by {source.software} {source.version}".strip()],
            "pdbx_structure_determination_methodology": ["computational"],
        },
        **entity_categories(structure, library),
        **component_categories(structure, library),
        **link_categories(structure, library),
        **_provenance(structure, name, source),
        **_quality(structure, plddt, scores),
        "atom_type": {"symbol": _symbols(structure)},
        "atom_site": _atom_site(structure, coordinates, plddt),
    }
    for category, columns in categories.items():
        if any(len(values) for values in columns.values()):
            block.set_mmcif_category(f"_{category}.", columns)
    return str(document.as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.Pdbx)))


def _check_finite(
    name: str, coordinates: Float[np.ndarray, "A 3"], plddt: Float[np.ndarray, "A"], scores: Mapping[str, float]
) -> None:
    broken = {"coordinates": coordinates, "pLDDT": plddt, **{key: np.array(value) for key, value in scores.items()}}
    for what, values in broken.items():
        wrong = int(np.count_nonzero(~np.isfinite(values)))
        if wrong:
            raise NonFiniteError(
                f"The prediction of {name} has {wrong} {what} value{'s'[: wrong > 1]} that are not finite: nothing is "
                "written; run again with another seed or in higher precision."
            )


def _block_name(name: str) -> str:
    """A data block name has no spaces and no control characters."""
    kept = "".join(letter if letter.isascii() and letter.isprintable() and letter != " " else "_" for letter in name)
    return kept[:75] or "model"


def _symbols(structure: Structure) -> list[str]:
    return [element_symbol(int(number)).upper() for number in sorted(set(structure.atoms.element.tolist()))]


def _provenance(structure: Structure, name: str, source: ModelSource) -> Categories:
    """Software, its settings, data, the modelling step, and the model itself."""
    entities = sorted({chain.entity_id for chain in structure.chains})
    model_data = len(entities) + 1
    settings = {**({"weights": source.weights} if source.weights else {}), **source.settings}
    group = {"ordinal_id": ["1"], "group_id": ["1"], "software_id": ["1"]}
    categories: Categories = {
        "software": {
            "pdbx_ordinal": ["1"],
            "name": [source.software],
            "classification": ["model building"],
            "description": [source.description],
            "version": [source.version or None],
            "type": ["program"],
            "location": [source.location or None],
        },
        "ma_software_group": {**group, "parameter_group_id": ["1" if settings else None]},
        "ma_data": {
            "id": [str(n) for n in range(1, model_data + 1)],
            "name": [*(f"Entity {entity}" for entity in entities), "Model coordinates"],
            "content_type": [*("target" for _ in entities), "model coordinates"],
        },
        "ma_data_group": {
            "ordinal_id": [str(n) for n in range(1, model_data + 1)],
            "group_id": [*("1" for _ in entities), "2"],
            "data_id": [str(n) for n in range(1, model_data + 1)],
        },
        "ma_target_entity": {
            "entity_id": [str(entity) for entity in entities],
            "data_id": [str(n) for n in range(1, model_data)],
            "origin": ["designed" for _ in entities],
        },
        "ma_target_entity_instance": {
            "asym_id": [chain.chain_id for chain in structure.chains],
            "entity_id": [str(chain.entity_id) for chain in structure.chains],
        },
        "ma_protocol_step": {
            "ordinal_id": ["1"],
            "protocol_id": ["1"],
            "step_id": ["1"],
            "method_type": ["modeling"],
            "step_name": ["prediction"],
            "software_group_id": ["1"],
            "input_data_group_id": ["1"],
            "output_data_group_id": ["2"],
        },
        "ma_model_list": {
            "ordinal_id": ["1"],
            "model_id": ["1"],
            "model_group_id": ["1"],
            "model_name": [name],
            "model_group_name": [f"{source.software} {source.version}".strip()],
            "data_id": [str(model_data)],
            "model_type": ["Ab initio model"],
        },
    }
    if settings:
        categories["ma_software_parameter"] = {
            "parameter_id": [str(n) for n in range(1, len(settings) + 1)],
            "group_id": ["1"] * len(settings),
            "data_type": ["string"] * len(settings),
            "name": list(settings),
            "value": [str(value) for value in settings.values()],
        }
    return categories


def _quality(structure: Structure, plddt: Float[np.ndarray, "A"], scores: Mapping[str, float]) -> Categories:
    """Global scores, and pLDDT per residue."""
    named = {"pLDDT": float(plddt.mean()), **scores}
    count = np.bincount(structure.atoms.residue, minlength=len(structure.residues))
    total = np.bincount(structure.atoms.residue, weights=plddt, minlength=len(structure.residues))
    rows = np.flatnonzero(count).tolist()
    local = str(len(named) + 1)
    types = [_METRIC_TYPES.get(key, "other") for key in named]
    return {
        "ma_qa_metric": {
            "id": [str(n) for n in range(1, len(named) + 2)],
            "name": [*named, "pLDDT"],
            "description": [*(_METRIC_TEXTS.get(key, f"{key} of the complex") for key in named), _LOCAL_TEXT],
            "type": [*types, "pLDDT"],
            "mode": [*("global" for _ in named), "local"],
            "type_other_details": [
                *(key if kind == "other" else None for key, kind in zip(named, types, strict=True)),
                None,
            ],
            "software_group_id": ["1"] * (len(named) + 1),
        },
        "ma_qa_metric_global": {
            "ordinal_id": [str(n) for n in range(1, len(named) + 1)],
            "model_id": ["1"] * len(named),
            "metric_id": [str(n) for n in range(1, len(named) + 1)],
            "metric_value": [f"{value:.4f}" for value in named.values()],
        },
        "ma_qa_metric_local": {
            "ordinal_id": [str(n) for n in range(1, len(rows) + 1)],
            "model_id": ["1"] * len(rows),
            "label_asym_id": [structure.chains[int(structure.residues.chain[row])].chain_id for row in rows],
            "label_seq_id": [str(structure.residues.number[row]) for row in rows],
            "label_comp_id": [str(structure.residues.name[row]) for row in rows],
            "metric_id": [local] * len(rows),
            "metric_value": [f"{total[row] / count[row]:.2f}" for row in rows],
        },
    }


def _atom_site(structure: Structure, coordinates: Float[np.ndarray, "A 3"], plddt: Float[np.ndarray, "A"]) -> Columns:
    residues, atoms = structure.residues, structure.atoms
    size = len(atoms)
    row = atoms.residue.tolist()
    number, author_number = residues.number.tolist(), residues.author_number.tolist()
    name = residues.name.tolist()
    chain = [structure.chains[index] for index in residues.chain.tolist()]
    # Standard residues of polymers are ATOM records, all else HETATM.
    group = ["ATOM" if is_polymer_residue(structure, index) else "HETATM" for index in range(len(residues))]
    sequence: list[str | bool] = [
        str(number[index]) if chain[index].kind.is_polymer else False for index in range(len(residues))
    ]
    component = [name[index] for index in row]
    asym = [chain[index].chain_id for index in row]
    atom_names = atoms.name.tolist()
    return {
        "group_PDB": [group[index] for index in row],
        "id": [str(n) for n in range(1, size + 1)],
        "type_symbol": [element_symbol(n).upper() for n in atoms.element.tolist()],
        "label_atom_id": atom_names,
        "label_alt_id": [False] * size,
        "label_comp_id": component,
        "label_asym_id": asym,
        "label_entity_id": [str(chain[index].entity_id) for index in row],
        "label_seq_id": [sequence[index] for index in row],
        "pdbx_PDB_ins_code": [None] * size,
        "Cartn_x": [f"{value:.3f}" for value in coordinates[:, 0].tolist()],
        "Cartn_y": [f"{value:.3f}" for value in coordinates[:, 1].tolist()],
        "Cartn_z": [f"{value:.3f}" for value in coordinates[:, 2].tolist()],
        "occupancy": ["1.00"] * size,
        "B_iso_or_equiv": [f"{value:.2f}" for value in plddt.tolist()],
        "pdbx_formal_charge": [str(value) for value in atoms.charge.tolist()],
        "auth_seq_id": [author_number[index] for index in row],
        "auth_comp_id": component,
        "auth_asym_id": [chain[index].author_id for index in row],
        "auth_atom_id": atom_names,
        "pdbx_PDB_model_num": ["1"] * size,
    }
