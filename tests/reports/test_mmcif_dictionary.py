"""ModelCIF files against the dictionary and against other programs.

`modelcif_extract.json` holds, for the categories that we write and those that the dictionary demands, the items,
mandatory flags, allowed values, types and parent links of mmcif_ma.dic 1.4.2, with the categories of branched
entities from mmcif_pdbx.dic 5.362 (both CC0, as shipped in Debian's libcifpp-data 5.0.7.1).
"""

import io
import json
from pathlib import Path

import biotite.structure.io.pdbx as pdbx
import gemmi
import ihm.dictionary
import modelcif.reader
import numpy as np
import pytest

from anfinsen.chemistry import (
    AtomRef,
    BondSpec,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    assemble,
    component_from_smiles,
)
from anfinsen.reports.mmcif import ModelSource, prediction_mmcif

PROTEIN, LIGAND = ChainKind.PROTEIN, ChainKind.LIGAND


@pytest.fixture(scope="module")
def structure_and_library():
    library = ComponentLibrary().with_components([component_from_smiles("C[C@H](N)C(=O)OC", "my_lig")])
    chains = [
        ChainSpec("A", 1, 1, PROTEIN, ("MET", "CYS", "ASN", "SEP", "CYS", "HIS")),
        ChainSpec("B", 1, 2, PROTEIN, ("MET", "CYS", "ASN", "SEP", "CYS", "HIS")),
        ChainSpec("C", 2, 1, ChainKind.DNA, ("DA", "DC")),
        ChainSpec("D", 3, 1, ChainKind.RNA, ("A", "PSU")),
        ChainSpec("E", 4, 1, LIGAND, ("NAG", "NAG")),
        ChainSpec("F", 5, 1, LIGAND, ("ZN",)),
        ChainSpec("G", 6, 1, LIGAND, ("my_lig",)),
        ChainSpec("AA", 7, 1, PROTEIN, ("GLY", "ALA", "VAL"), True),
    ]
    bonds = [
        BondSpec(AtomRef("A", 2, "SG"), AtomRef("A", 5, "SG")),
        BondSpec(AtomRef("A", 3, "ND2"), AtomRef("E", 1, "C1")),
        BondSpec(AtomRef("E", 1, "O4"), AtomRef("E", 2, "C1")),
        BondSpec(AtomRef("B", 6, "NE2"), AtomRef("F", 1, "ZN")),
    ]
    return assemble("dictionary", chains, bonds, library), library


@pytest.fixture(scope="module")
def text(structure_and_library):
    structure, library = structure_and_library
    size = len(structure.atoms)
    source = ModelSource(
        "0.1.0", location="https://example.org", weights="mini", settings={"steps": "200", "seed": "1"}
    )
    return prediction_mmcif(
        structure,
        library,
        np.arange(3.0 * size).reshape(size, 3) / 7,
        np.linspace(0, 100, size),
        name="a job's name",
        source=source,
        scores={"pTM": 0.8, "ipTM": 0.7, "ranking_score": 0.72},
    )


def dictionary():
    extract = json.loads((Path(__file__).parent / "modelcif_extract.json").read_text())
    types = {name: ihm.dictionary.ItemType(name, *rest) for name, rest in extract["types"].items()}
    result = ihm.dictionary.Dictionary()
    for name, content in extract["categories"].items():
        category = ihm.dictionary.Category()
        category.name, category.mandatory = name, content["mandatory"]
        for key, item in content["keywords"].items():
            keyword = ihm.dictionary.Keyword()
            keyword.name, keyword.mandatory = key, item.get("mandatory", False)
            keyword.item_type = types.get(item.get("type"))
            if "values" in item:
                keyword.enumeration = ihm.dictionary._KeywordEnumeration()
                keyword.enumeration.case_sensitive = not item.get("any_case", False)
                for value in item["values"]:
                    keyword.enumeration.add(value)
            category.keywords[key] = keyword
        result.categories[name] = category
    result.linked_items = extract["links"]
    return result


def test_the_dictionary_accepts_the_file(text):
    dictionary().validate(io.StringIO(text))


def test_the_dictionary_accepts_parted_ligands():
    library = ComponentLibrary()
    chains = [
        ChainSpec("A", 1, 1, PROTEIN, ("GLY", "LYS")),
        ChainSpec("L", 2, 1, LIGAND, ("OLA", "NAG", "NAG")),
        ChainSpec("X", 3, 1, LIGAND, ("ATP", "MG")),
    ]
    bonds = [
        BondSpec(AtomRef("L", 1, "C1"), AtomRef("L", 2, "O1")),
        BondSpec(AtomRef("L", 2, "O4"), AtomRef("L", 3, "C1")),
    ]
    structure = assemble("parts", chains, bonds, library)
    size = len(structure.atoms)
    text = prediction_mmcif(
        structure,
        library,
        np.arange(3.0 * size).reshape(size, 3) / 7,
        np.linspace(0, 100, size),
        name="parts",
        source=ModelSource("0.1.0"),
    )
    dictionary().validate(io.StringIO(text))
    (system,) = modelcif.reader.read(io.StringIO(text))
    assert [asym.id for asym in system.asym_units] == ["A", "L", "L-2", "X", "X-2"]
    assert [entity.is_branched() for entity in system.entities] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_ma_model_list.model_id", "_ma_model_list.model_idd"),
        ("'Ab initio model'", "'Ab ovo model'"),
        ("_pdbx_entity_nonpoly.ma_model_mode", "_pdbx_entity_nonpoly.ma_model_mood"),
        ("disulf1 disulf A", "disulf1 disulf ZZ"),
    ],
)
def test_the_dictionary_would_refuse_a_wrong_file(text, old, new):
    assert old in text
    with pytest.raises(ihm.dictionary.ValidatorError):
        dictionary().validate(io.StringIO(text.replace(old, new)))


def test_gemmi_reads_the_same_molecules(text, structure_and_library):
    structure, _ = structure_and_library
    document = gemmi.cif.read_string(text)
    document.check_for_missing_values()
    found = gemmi.make_structure_from_block(document[0])
    found.merge_chain_parts()
    model = found[0]
    assert sum(len(residue) for chain in model for residue in chain) == len(structure.atoms)
    assert {str(link.type) for link in found.connections} == {
        "ConnectionType.Disulf",
        "ConnectionType.Covale",
        "ConnectionType.MetalC",
    }
    types = {entity.name: entity.entity_type for entity in found.entities}
    assert [types[str(n)] for n in range(1, 8)] == [gemmi.EntityType.Polymer] * 3 + [
        gemmi.EntityType.Branched,
        gemmi.EntityType.NonPolymer,
        gemmi.EntityType.NonPolymer,
        gemmi.EntityType.Polymer,
    ]
    charges = [atom.charge for chain in model for residue in chain for atom in residue]
    assert sorted(charges) == sorted(structure.atoms.charge.tolist())


def test_biotite_reads_the_same_atoms_and_bonds(text, structure_and_library):
    structure, _ = structure_and_library
    file = pdbx.CIFFile.read(io.StringIO(text))
    atoms = pdbx.get_structure(file, model=1, include_bonds=True, extra_fields=["charge", "b_factor"])
    assert atoms.array_length() == len(structure.atoms)
    np.testing.assert_array_equal(atoms.atom_name, structure.atoms.name)
    np.testing.assert_array_equal(atoms.charge, structure.atoms.charge)
    np.testing.assert_allclose(atoms.b_factor, np.linspace(0, 100, len(structure.atoms)), atol=5.1e-3)
    pairs = {tuple(sorted(bond[:2])) for bond in atoms.bonds.as_array().tolist()}
    assert pairs == {tuple(pair) for pair in structure.bonds.atoms.tolist()}


def test_python_modelcif_reads_entities_scores_and_software(text):
    (system,) = modelcif.reader.read(io.StringIO(text))
    assert [len(entity.sequence) for entity in system.entities] == [6, 2, 2, 2, 1, 1, 3]
    assert len(system.asym_units) == 8
    ((model,),) = system.model_groups
    scores = {type(metric).__name__: metric.value for metric in model.qa_metrics if not hasattr(metric, "residue")}
    assert scores["pTM"] == 0.8
    assert scores["ipTM"] == 0.7
    assert scores["ranking_score"] == 0.72
    local = [metric for metric in model.qa_metrics if hasattr(metric, "residue")]
    assert len(local) == 6 + 6 + 2 + 2 + 2 + 1 + 1 + 3
    assert system.software[0].name == "Anfinsen"
    assert all(0 <= metric.value <= 100 for metric in local)
