"""Predictions written as ModelCIF and read back: the same chains, atoms, charges, bonds with orders, and hands."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from anfinsen.chemistry import (
    AtomRef,
    BondSpec,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    assemble,
    cip_labels,
    component_from_molblock,
    component_from_smiles,
    components_from_mmcif,
    structure_from_bytes,
    to_rdkit,
)
from anfinsen.chemistry.structure import BondOrder
from anfinsen.common.errors import NonFiniteError
from anfinsen.reports.mmcif import ModelSource, prediction_mmcif

SOURCE = ModelSource("0.1.0", weights="test", settings={"steps": "20"})
PROTEIN, DNA, RNA, LIGAND = ChainKind.PROTEIN, ChainKind.DNA, ChainKind.RNA, ChainKind.LIGAND


def samples():
    """The samples that the chemistry tests share."""
    path = Path(__file__).parents[1] / "chemistry" / "chemistry_samples.py"
    spec = importlib.util.spec_from_file_location("chemistry_samples_for_reports", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def library():
    return ComponentLibrary()


def positions(structure, library):
    """Coordinates with each component's own geometry, components 30 Å apart; for want of any, random ones."""
    generator = np.random.default_rng(7)
    out = generator.normal(size=(len(structure.atoms), 3)) * 5
    for row in range(len(structure.residues)):
        component = library.get(str(structure.residues.name[row]))
        place = component.ideal if component.ideal is not None else component.model
        atoms = np.flatnonzero(structure.atoms.residue == row)
        if place is not None:
            index = {name: n for n, name in enumerate(component.atom_names.tolist())}
            out[atoms] = place[[index[name] for name in structure.atoms.name[atoms].tolist()]]
        out[atoms] += 30.0 * np.array([row % 20, row // 20, 0])
    return out


def round_trip(structure, library, coordinates=None):
    """Write and read; everything must come back. Returns the structure and library read."""
    coordinates = positions(structure, library) if coordinates is None else coordinates
    plddt = np.linspace(0, 100, len(structure.atoms))
    text = prediction_mmcif(structure, library, coordinates, plddt, name="a job", source=SOURCE, scores={"pTM": 0.5})
    back, back_library = structure_from_bytes(text, "prediction.cif")
    assert back.chains == structure.chains
    for field in ("chain", "name", "number"):
        np.testing.assert_array_equal(getattr(back.residues, field), getattr(structure.residues, field))
    for field in ("residue", "name", "element", "charge"):
        np.testing.assert_array_equal(getattr(back.atoms, field), getattr(structure.atoms, field))
    for field in ("atoms", "order", "is_inter"):
        np.testing.assert_array_equal(getattr(back.bonds, field), getattr(structure.bonds, field))
    assert back.atoms.resolved.all()
    np.testing.assert_allclose(back.atoms.coordinates, coordinates, atol=5.1e-4)
    np.testing.assert_allclose(back.atoms.b_factor, plddt, atol=5.1e-3)
    for code in set(structure.residues.name.tolist()):
        assert_same_component(back_library.get(code), library.get(code))
    return back, back_library


def assert_same_component(back, component):
    for field in ("atom_names", "elements", "charges", "stereo", "bonds", "orders", "bond_stereo", "hydrogens"):
        np.testing.assert_array_equal(getattr(back, field), getattr(component, field), err_msg=component.code + field)
    for field in ("code", "name", "type", "one_letter", "parent", "smiles"):
        assert getattr(back, field) == getattr(component, field)


def labels_in_space(component, coordinates):
    """CIP labels that RDKit sees in 3D."""
    molecule = Chem.RWMol(to_rdkit(component))
    conformer = Chem.Conformer(len(component))
    for row, position in enumerate(coordinates.tolist()):
        conformer.SetAtomPosition(row, position)
    molecule.RemoveAllConformers()
    molecule.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(molecule)
    return cip_labels(molecule)


def ligands(components):
    return [ChainSpec(f"L{n}", n, 1, LIGAND, (component.code,)) for n, component in enumerate(components, start=1)]


def test_300_ccd_components(library):
    components = samples().sample(library, 300)
    assert len(components) >= 290
    compared = 0
    for start in range(0, len(components), 30):
        part = components[start : start + 30]
        structure = assemble("ligands", ligands(part), [], library)
        coordinates = positions(structure, library)
        back, back_library = round_trip(structure, library, coordinates)
        assert not back_library.extra  # the dictionary's components are recognised, not redefined
        for row, component in enumerate(part):
            atoms = structure.atoms.residue == row
            if component.ideal is not None and len(component) > 1 and atoms.sum() == len(component):
                before = labels_in_space(component, coordinates[atoms] - coordinates[atoms].mean(axis=0))
                found = back.atoms.coordinates[atoms]
                assert labels_in_space(component, found - found.mean(axis=0)) == before, component.code
                compared += 1
    assert compared > 250


def test_50_smiles(library):
    components = [component_from_smiles(smiles, f"LIG{n}") for n, smiles in enumerate(samples().SMILES[:50])]
    assert len(components) == 50
    own = library.with_components(components)
    structure = assemble("smiles", ligands(components), [], own)
    _, back_library = round_trip(structure, own)
    for component in components:
        back = back_library.get(component.code)
        assert cip_labels(to_rdkit(back)) == cip_labels(to_rdkit(component))
        # Even without the SMILES line, the tables alone give the same molecule.
        tables_only = Chem.MolToSmiles(to_rdkit(replace(back, smiles="")))
        assert tables_only == Chem.MolToSmiles(to_rdkit(replace(component, smiles="")))
    assert back_library.get("LIG0").smiles == components[0].smiles


def test_a_component_that_shares_a_code_with_the_dictionary(library):
    assert "LIG" in library
    mine = component_from_smiles("C[C@@H](O)C#N", "LIG")
    own = library.with_components([mine])
    back, back_library = round_trip(assemble("clash", ligands([mine]), [], own), own)
    assert any("differs from the dictionary" in note for note in back.notes)
    assert back_library.get("LIG").atom_names.tolist() == mine.atom_names.tolist()


def test_sdf_ligand_keeps_its_bonds_and_charges(library):
    molecule = Chem.AddHs(Chem.MolFromSmiles("C[N+](C)(C)C[C@H](O)CC(=O)[O-]"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    component = component_from_molblock(Chem.MolToMolBlock(molecule), "CRN")
    own = library.with_components([replace(component, molblock="")])
    structure = assemble("sdf", ligands([component]), [], own)
    back, _ = round_trip(structure, own)
    assert sorted(back.atoms.charge.tolist())[:: len(back.atoms) - 1] == [-1, 1]


def complex_of_everything(library):
    """Disulfide, phosphoserine, glycans, DNA, RNA with pseudouridine, ions, a cyclic peptide, covalent ligands."""
    peptide = ("MET", "CYS", "ASN", "GLY", "SEP", "CYS", "HIS", "LYS")
    glycan = ("NAG", "NAG", "BMA", "MAN", "MAN")
    chains = [
        ChainSpec("A", 1, 1, PROTEIN, peptide),
        ChainSpec("B", 1, 2, PROTEIN, peptide),
        ChainSpec("C", 2, 1, DNA, ("DA", "DC", "5CM", "DT")),
        ChainSpec("D", 3, 1, RNA, ("A", "PSU", "G", "C")),
        ChainSpec("E", 4, 1, LIGAND, glycan),
        ChainSpec("F", 4, 2, LIGAND, glycan),
        ChainSpec("G", 5, 1, LIGAND, ("ZN",)),
        ChainSpec("H", 6, 1, LIGAND, ("MG",)),
        ChainSpec("I", 7, 1, PROTEIN, ("GLY", "ALA", "PRO", "VAL", "DAL"), True),
        ChainSpec("J", 8, 1, LIGAND, ("HEM",)),
        ChainSpec("K", 9, 1, LIGAND, ("WAR1",)),
        ChainSpec("L", 9, 2, LIGAND, ("WAR1",)),
    ]
    ref = AtomRef
    bonds = [
        BondSpec(ref("A", 2, "SG"), ref("A", 6, "SG")),
        BondSpec(ref("A", 7, "NE2"), ref("J", 1, "FE")),
        BondSpec(ref("B", 7, "NE2"), ref("G", 1, "ZN")),
        BondSpec(ref("B", 2, "SG"), ref("K", 1, _warhead(library))),
    ]
    for protein, sugar in (("A", "E"), ("B", "F")):
        bonds.append(BondSpec(ref(protein, 3, "ND2"), ref(sugar, 1, "C1")))
        for first, atom, second in ((1, "O4", 2), (2, "O4", 3), (3, "O3", 4), (3, "O6", 5)):
            bonds.append(BondSpec(ref(sugar, first, atom), ref(sugar, second, "C1")))
    return assemble("everything", chains, bonds, library)


def _warhead(library):
    component = library.get("WAR1")
    return next(
        str(name)
        for name, element, hydrogens in zip(component.atom_names, component.elements, component.hydrogens, strict=True)
        if element == 6 and hydrogens == 3
    )


@pytest.fixture(scope="module")
def everything(library):
    own = library.with_components([component_from_smiles("CC(=O)Nc1ccc(cc1)[C@H](F)Cl", "WAR1")])
    return complex_of_everything(own), own


def test_complex_of_everything(everything):
    structure, library = everything
    back, _ = round_trip(structure, library)
    orders = back.bonds.order[back.bonds.is_inter].tolist()
    assert orders.count(BondOrder.COORDINATION) == 2
    assert back.chains[8].cyclic
    assert [chain.symmetry_id for chain in back.chains[:2]] == [1, 2]


def test_cross_links_come_back(library):
    chains = [
        ChainSpec("A", 1, 1, PROTEIN, ("LYS", "ASP", "CYS", "CYS", "GLY")),
        ChainSpec("B", 2, 1, PROTEIN, ("ASN", "LYS")),
    ]
    bonds = [
        BondSpec(AtomRef("A", 1, "NZ"), AtomRef("A", 2, "CG")),
        BondSpec(AtomRef("A", 3, "SG"), AtomRef("A", 4, "SG")),
        BondSpec(AtomRef("A", 5, "C"), AtomRef("B", 2, "NZ")),
    ]
    back, _ = round_trip(assemble("links", chains, bonds, library), library)
    assert not back.atoms.charge.any()


def parted(library, chains, bonds):
    """Write ligands of several components, read the file, and check what must come back; return what was read."""
    structure = assemble("parts", chains, bonds, library)
    place, plddt = positions(structure, library), np.full(len(structure.atoms), 50.0)
    text = prediction_mmcif(structure, library, place, plddt, name="parts", source=SOURCE)
    back, _ = structure_from_bytes(text, "parts.cif")
    np.testing.assert_array_equal(back.residues.name, structure.residues.name)
    for field in ("residue", "name", "element", "charge"):
        np.testing.assert_array_equal(getattr(back.atoms, field), getattr(structure.atoms, field))
    for field in ("atoms", "order", "is_inter"):
        np.testing.assert_array_equal(getattr(back.bonds, field), getattr(structure.bonds, field))
    # The chain and component numbers of the job are the authors' ones.
    author = [back.chains[chain].author_id for chain in back.residues.chain.tolist()]
    assert author == [structure.chains[chain].chain_id for chain in structure.residues.chain.tolist()]
    assert back.residues.author_number.tolist() == [str(number) for number in structure.residues.number.tolist()]
    return back, gemmi.make_structure_from_block(gemmi.cif.read_string(text)[0])


def test_a_ligand_of_several_parts_that_are_no_sugars_becomes_non_polymers(library):
    chains = [
        ChainSpec("A", 1, 1, PROTEIN, ("GLY", "ALA")),
        ChainSpec("X", 2, 1, LIGAND, ("ATP", "MG", "MG")),
        ChainSpec("Y", 2, 2, LIGAND, ("ATP", "MG", "MG")),
        ChainSpec("B", 3, 1, LIGAND, ("ATP",)),
    ]
    bonds = [BondSpec(AtomRef(x, 1, "O1G"), AtomRef(x, 2, "MG")) for x in "XY"]
    back, file = parted(library, chains, bonds)
    assert [chain.chain_id for chain in back.chains] == ["A", "X", "X-2", "X-3", "Y", "Y-2", "Y-3", "B"]
    assert [chain.entity_id for chain in back.chains] == [1, 2, 3, 3, 2, 3, 3, 2]
    assert [chain.symmetry_id for chain in back.chains] == [1, 1, 1, 2, 2, 3, 4, 3]
    assert [entity.entity_type for entity in file.entities] == [
        gemmi.EntityType.Polymer, gemmi.EntityType.NonPolymer, gemmi.EntityType.NonPolymer,
    ]  # fmt: skip


def test_sugars_stay_a_branched_chain_beside_what_they_are_bonded_to(library):
    glycolipid = ("OLA", "NAG", "NAG", "BMA", "GOL", "FUC")
    bonds = [
        BondSpec(AtomRef("L", 1, "C1"), AtomRef("L", 2, "O1")),
        BondSpec(AtomRef("L", 2, "O4"), AtomRef("L", 3, "C1")),
        BondSpec(AtomRef("L", 3, "O4"), AtomRef("L", 4, "C1")),
        # A sugar that something stands before is not of the same stretch.
        BondSpec(AtomRef("L", 2, "O6"), AtomRef("L", 6, "C1")),
    ]
    back, file = parted(library, [ChainSpec("L", 1, 1, LIGAND, glycolipid)], bonds)
    assert [chain.chain_id for chain in back.chains] == ["L", "L-2", "L-5", "L-6"]
    assert back.residues.chain.tolist() == [0, 1, 1, 1, 2, 3]
    kinds = [entity.entity_type for entity in file.entities]
    assert [kind == gemmi.EntityType.Branched for kind in kinds] == [False, True, False, False]


def test_sugars_without_bonds_are_no_oligosaccharide(library):
    chains = [ChainSpec(name, 1, n, LIGAND, ("NAG", "NAG")) for n, name in enumerate("EF", start=1)]
    back, _ = parted(library, chains, [BondSpec(AtomRef("E", 1, "O4"), AtomRef("E", 2, "C1"))])
    assert [chain.chain_id for chain in back.chains] == ["E", "F", "F-2"]
    assert [chain.entity_id for chain in back.chains] == [1, 2, 2]


def test_equal_predictions_are_equal_files(everything):
    structure, library = everything
    place = positions(structure, library)
    plddt = np.full(len(structure.atoms), 50.0)
    first, second = (prediction_mmcif(structure, library, place, plddt, name="x", source=SOURCE) for _ in range(2))
    assert first == second


def test_writing_what_was_read_changes_nothing(everything):
    structure, library = everything
    place = np.round(positions(structure, library), 3)
    plddt = np.full(len(structure.atoms), 50.0)
    text = prediction_mmcif(structure, library, place, plddt, name="x", source=SOURCE)
    back, back_library = structure_from_bytes(text, "x.cif")
    again = prediction_mmcif(back, back_library, back.atoms.coordinates, back.atoms.b_factor, name="x", source=SOURCE)
    assert again == text


def test_values_that_are_not_finite_are_refused(everything):
    structure, library = everything
    place = positions(structure, library)
    plddt = np.full(len(structure.atoms), 50.0)
    broken = place.copy()
    broken[3, 1] = np.nan
    with pytest.raises(NonFiniteError, match="1 coordinates value that"):
        prediction_mmcif(structure, library, broken, plddt, name="x", source=SOURCE)
    with pytest.raises(NonFiniteError, match="pLDDT"):
        prediction_mmcif(structure, library, place, plddt * np.inf, name="x", source=SOURCE)
    with pytest.raises(NonFiniteError, match="pTM"):
        prediction_mmcif(structure, library, place, plddt, name="x", source=SOURCE, scores={"pTM": float("nan")})


def test_user_components_of_the_ccd_format_come_back(library):
    text = """data_XX9
_chem_comp.id XX9
_chem_comp.name 'a made-up acid'
_chem_comp.type NON-POLYMER
loop_
_chem_comp_atom.comp_id
_chem_comp_atom.atom_id
_chem_comp_atom.type_symbol
_chem_comp_atom.charge
_chem_comp_atom.pdbx_leaving_atom_flag
XX9 C1 C 0 N
XX9 "O'" O 0 N
XX9 'O"2' O -1 N
XX9 N1* N 0 N
loop_
_chem_comp_bond.comp_id
_chem_comp_bond.atom_id_1
_chem_comp_bond.atom_id_2
_chem_comp_bond.value_order
XX9 C1 "O'" DOUB
XX9 C1 'O"2' SING
XX9 C1 N1* SING
"""
    (component,) = components_from_mmcif(text)
    own = library.with_components([component])
    round_trip(assemble("odd names", ligands([component]), [], own), own)
