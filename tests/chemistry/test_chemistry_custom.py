"""Components from SMILES, SDF and mmCIF: what comes in comes out, and what cannot be modelled is refused."""

import itertools
import random
import re

import numpy as np
import pytest
from chemistry_samples import SMILES
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

from anfinsen.chemistry import (
    BondOrder,
    ComponentLibrary,
    component_from_molblock,
    component_from_smiles,
    components_from_mmcif,
    element_symbol,
    named_smiles,
    reference_conformer,
    to_rdkit,
)
from anfinsen.common.errors import ChemistryError

RDLogger.DisableLog("rdApp.*")


def canonical(text: str) -> str:
    return Chem.MolToSmiles(Chem.MolFromSmiles(text))


def rebuilt_from_tables(component) -> str:
    """The component's SMILES from atoms, charges, hydrogens, orders and stereo labels alone."""
    from dataclasses import replace

    return Chem.MolToSmiles(to_rdkit(replace(component, smiles="", model=None)))


@pytest.mark.parametrize("smiles", SMILES)
def test_smiles_survive(smiles):
    component = component_from_smiles(smiles, "LIG")
    molecule = Chem.MolFromSmiles(smiles)
    assert len(component) == molecule.GetNumAtoms()
    assert component.charges.sum() == Chem.GetFormalCharge(molecule)
    assert component.hydrogens.sum() == sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms())
    assert len(component.bonds) == molecule.GetNumBonds()
    assert len(set(component.atom_names.tolist())) == len(component)
    assert max(map(len, component.atom_names.tolist())) <= 4
    assert BondOrder.AROMATIC not in component.orders
    assert Chem.MolToSmiles(to_rdkit(component)) == canonical(smiles)
    assert rebuilt_from_tables(component) == canonical(smiles)


@pytest.mark.parametrize("smiles", SMILES)
def test_conformers_of_smiles_have_the_right_hand(smiles):
    component = component_from_smiles(smiles, "LIG")
    conformer = reference_conformer(component, 7)
    assert conformer.source == ("single-atom" if len(component) == 1 else "rdkit")
    assert conformer.mask.all()
    molecule = Chem.Mol(to_rdkit(component))
    positions = Chem.Conformer(len(component))
    for row, point in enumerate(conformer.coordinates.tolist()):
        positions.SetAtomPosition(row, point)
    molecule.AddConformer(positions)
    Chem.AssignStereochemistryFrom3D(molecule)
    for double in molecule.GetBonds():
        # Small rings and unlabelled double bonds gain a side in 3D that the text did not give.
        row = next(
            r
            for r, pair in enumerate(component.bonds.tolist())
            if {*pair} == {double.GetBeginAtomIdx(), double.GetEndAtomIdx()}
        )
        if component.bond_stereo[row] == "N":
            double.SetStereo(Chem.BondStereo.STEREONONE)
    expected = Chem.MolFromSmiles(smiles)
    labels = dict(Chem.FindMolChiralCenters(molecule, useLegacyImplementation=False))
    given = [label for _, label in Chem.FindMolChiralCenters(expected, useLegacyImplementation=False)]
    centres = [row for row, label in enumerate(component.stereo) if label != "N"]
    assert [labels[row] for row in centres] == [component.stereo[row] for row in centres]
    assert sorted(g for g in given if g in "RS") == sorted(component.stereo[centres].tolist())


@pytest.mark.parametrize("smiles", SMILES[:20])
def test_how_a_molecule_is_written_does_not_matter(smiles):
    reference = component_from_smiles(smiles, "LIG")
    molecule = Chem.MolFromSmiles(smiles)
    order = list(range(molecule.GetNumAtoms()))
    random.Random(3).shuffle(order)
    other = component_from_smiles(Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False), "LIG")
    for name in ("atom_names", "elements", "charges", "bonds", "orders", "stereo"):
        np.testing.assert_array_equal(getattr(reference, name), getattr(other, name))


@pytest.mark.parametrize("smiles", SMILES)
def test_named_smiles_say_which_atom_is_which(smiles):
    component = component_from_smiles(smiles, "LIG")
    # Read back with elements for names and numbers for atoms, the same bonds join the same names.
    rows = {name: row for row, name in enumerate(component.atom_names.tolist())}
    numbered = re.sub(
        r"\[([A-Z]+)(\d+)\]", lambda m: f"[{m[1].capitalize()}:{rows[m[1] + m[2]] + 1}]", named_smiles(component)
    )
    molecule = Chem.MolFromSmiles(numbered, sanitize=False)
    assert molecule is not None and molecule.GetNumAtoms() == len(component)
    number = [atom.GetAtomMapNum() - 1 for atom in molecule.GetAtoms()]
    assert [component.elements[row] for row in number] == [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    bonds = {
        tuple(sorted((number[b.GetBeginAtomIdx()], number[b.GetEndAtomIdx()]))): b.GetBondTypeAsDouble()
        for b in molecule.GetBonds()
        if b.GetBondType() != Chem.BondType.DATIVE
    }
    expected = {tuple(sorted(pair)) for pair in component.bonds.tolist()}
    assert {*bonds} <= expected and len(expected) - len(bonds) <= (component.orders == BondOrder.COORDINATION).sum()
    for (a, b), order in zip(component.bonds.tolist(), component.orders.tolist(), strict=True):
        if order in (1, 2, 3):
            assert bonds[min(a, b), max(a, b)] == order


def test_only_written_molecules_have_named_smiles():
    with pytest.raises(ChemistryError, match="ATP was not made from SMILES"):
        named_smiles(ComponentLibrary().get("ATP"))


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("CC(=O)Oc1ccccc1 C(=O)O", "a blank or a line break"),
        ("CC(=O)O\nc1ccccc1", "a blank or a line break"),
        ("CCO ethanol", "a blank or a line break"),
        ("C(C", "not valid SMILES"),
        ("hello", "not valid SMILES"),
        ("c1cccc1C(", "not valid SMILES"),
        ("CN(C)(C)(C)C", "valence"),
        ("c1cccc1", "[Kk]ekulize"),
        ("[Na+].[Cl-]", "2 separate molecules"),
        ("CC(=O)O.CCN.O", "3 separate molecules"),
        ("*CC", "placeholder"),
        ("[R]C", "not valid SMILES|placeholder"),
        ("[H][H]", "no heavy atoms"),
        ("[H+]", "no heavy atoms"),
        ("C~C", "no definite order"),
        ("C" * 1000, "too many atoms"),
    ],
)
def test_refused_smiles(smiles, message):
    with pytest.raises(ChemistryError, match=message) as caught:
        component_from_smiles(smiles, "LIG")
    assert str(caught.value).count("\n") == 0


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="CNOPSFclnos()[]=#+-@/\\123H%.*$ é", max_size=24))
def test_any_text_is_a_component_or_one_sentence(text):
    try:
        component = component_from_smiles(text, "LIG")
    except ChemistryError as error:
        assert "\n" not in str(error)
    else:
        assert len(component) >= 1


def test_isotopes_and_atom_maps_are_dropped():
    component = component_from_smiles("[2H]C([2H])([13CH3])[OH:7]", "LIG")
    assert component.elements.tolist().count(6) == 2
    assert component.hydrogens.sum() == 6


def molblock(smiles: str, three_d: bool = True, v3000: bool = False) -> str:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if three_d:
        AllChem.EmbedMolecule(molecule, randomSeed=1)
    else:
        molecule = Chem.RemoveHs(molecule)
        AllChem.Compute2DCoords(molecule)
    return Chem.MolToMolBlock(molecule, forceV3000=v3000)


@pytest.mark.parametrize(("three_d", "v3000"), list(itertools.product([True, False], repeat=2)))
@pytest.mark.parametrize("smiles", [SMILES[2], SMILES[5], SMILES[8], SMILES[11], SMILES[15]])
def test_molblocks_are_the_smiles(smiles, three_d, v3000):
    text = molblock(smiles, three_d, v3000)
    component = component_from_molblock(text, "LIG")
    assert Chem.MolToSmiles(to_rdkit(component)) == canonical(smiles)
    assert (component.model is not None) == three_d
    assert component.molblock == text


def test_molblock_coordinates_follow_their_atoms():
    text = molblock(SMILES[5])
    component = component_from_molblock(text, "LIG")
    source = Chem.MolFromMolBlock(text)
    match = source.GetSubstructMatch(to_rdkit(component), useChirality=True)
    there = source.GetConformer().GetPositions()
    distances = np.linalg.norm(component.model[:, None] - component.model[None], axis=-1)
    bonded = distances[component.bonds[:, 0], component.bonds[:, 1]]
    assert bonded.min() > 1.2
    assert bonded.max() < 1.7
    assert {tuple(np.round(row, 3)) for row in component.model} == {tuple(np.round(there[i], 3)) for i in match}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("$$$$\n", "is empty"),
        ("just\nsome\nwords\n", "cannot be read"),
        (molblock("CCO") + "$$$$\n" + molblock("CCN") + "$$$$\n", "holds 2 records"),
        (molblock("CC.O"), "2 separate molecules"),
        (Chem.MolToMolBlock(Chem.MolFromSmiles("*CC")), "placeholder"),
    ],
)
def test_refused_molblocks(text, message):
    with pytest.raises(ChemistryError, match=message):
        component_from_molblock(text, "LIG")


def ccd_mmcif(component, hydrogens=None) -> str:
    """The component as a CCD file; ``hydrogens`` adds explicit ones to the atoms they are counted on."""
    lines = [f"data_{component.code}", f"_chem_comp.id {component.code}", f"_chem_comp.name '{component.code} test'"]
    lines += [f"_chem_comp.type '{component.type}'", "_chem_comp.one_letter_code ?", "loop_"]
    lines += [f"_chem_comp_atom.{key}" for key in ("comp_id", "atom_id", "type_symbol", "charge")]
    lines += ["_chem_comp_atom.pdbx_leaving_atom_flag", "_chem_comp_atom.pdbx_stereo_config"]
    lines += [f"_chem_comp_atom.pdbx_model_Cartn_{axis}_ideal" for axis in "xyz"]
    extra = []
    for row, name in enumerate(component.atom_names.tolist()):
        x, y, z = component.ideal[row]
        symbol = element_symbol(int(component.elements[row])).upper()
        flag = "NY"[int(component.leaving[row])]
        lines.append(
            f'{component.code} "{name}" {symbol} {component.charges[row]} {flag} {component.stereo[row]} {x} {y} {z}'
        )
        extra += [(name, f"H{row}{k}"[:4]) for k in range(component.hydrogens[row] if hydrogens else 0)]
    lines += [f'{component.code} "{h}" H 0 N N ? ? ?' for _, h in extra]
    lines += [
        "loop_",
        *(
            f"_chem_comp_bond.{key}"
            for key in ("comp_id", "atom_id_1", "atom_id_2", "value_order", "pdbx_stereo_config")
        ),
    ]
    names = {1: "SING", 2: "DOUB", 3: "TRIP"}
    for (a, b), order, stereo in zip(component.bonds, component.orders, component.bond_stereo, strict=True):
        lines.append(
            f'{component.code} "{component.atom_names[a]}" "{component.atom_names[b]}" {names[int(order)]} {stereo}'
        )
    lines += [f'{component.code} "{a}" "{h}" SING N' for a, h in extra]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize("code", ["ALA", "NAG", "ATP", "TRP", "SEP", "DA", "STI"])
def test_mmcif_components_round_trip(code, hydrogens):
    """The same component comes back; without listed hydrogens they are counted from valence."""
    original = ComponentLibrary().get(code)
    (again,) = components_from_mmcif(ccd_mmcif(original, hydrogens))
    for name in (
        "code",
        "type",
        "atom_names",
        "elements",
        "charges",
        "leaving",
        "stereo",
        "bonds",
        "orders",
        "ideal",
        "hydrogens",
    ):
        np.testing.assert_array_equal(getattr(again, name), getattr(original, name), err_msg=name)


def test_aromatic_orders_become_kekule():
    benzene = ComponentLibrary().get("BNZ")
    text = ccd_mmcif(benzene, True).replace(" DOUB ", " AROM ")
    lines = [line.replace(" SING ", " AROM ") if line.count('"C') == 2 else line for line in text.splitlines()]
    (again,) = components_from_mmcif("\n".join(lines))
    assert sorted(again.orders.tolist()) == [1, 1, 1, 2, 2, 2]
    assert again.hydrogens.tolist() == [1] * 6


BOND = "loop_\n_chem_comp_bond.atom_id_1\n_chem_comp_bond.atom_id_2\n_chem_comp_bond.value_order\n"
WATER = "data_W1\n_chem_comp.id W1\nloop_\n_chem_comp_atom.atom_id\n_chem_comp_atom.type_symbol\nO O\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no _chem_comp.id"),
        ("data_x\n_cell.length_a 1\n", "no _chem_comp.id"),
        ("nonsense", "not valid mmCIF"),
        ("data_x\nloop_\n_a.b\n_a.c\n1 2 3\n", "not valid mmCIF"),
        ("data_x\n_chem_comp.id X1\n", "lists no atoms"),
        (WATER + WATER.replace("data_W1", "data_W2"), "more than once"),
        (WATER.replace("O O", "O Qq"), "does not exist"),
        (WATER.replace("O O", "OXYGEN O"), "1 to 4 printable"),
        (WATER.replace("O O", "O~ O"), "none of"),
        (WATER + "O2 O\n", "no bonds"),
        (
            WATER + "O O\n" + BOND + "O O SING\n",
            "twice",
        ),
        (
            WATER + "N N\n" + BOND + "O C SING\n",
            "no atom 'C'",
        ),
        (
            WATER + "N N\n" + BOND + "O N FOUR\n",
            "of order 'FOUR'",
        ),
        (WATER.replace("symbol\n", "symbol\n_chem_comp_atom.charge\n").replace("O O", "O O one"), "charge 'one'"),
        (
            WATER.replace(
                "symbol\n", "symbol\n" + "".join(f"_chem_comp_atom.model_Cartn_{a}\n" for a in "xyz")
            ).replace("O O", "O O nan 1 2"),
            "finite number",
        ),
    ],
)
def test_refused_mmcif(text, message):
    with pytest.raises(ChemistryError, match=message) as caught:
        components_from_mmcif(text)
    assert "\n" not in str(caught.value)
