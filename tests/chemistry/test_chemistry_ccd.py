"""The CCD as we read it: against its own formulae, against biotite's reader, and for lookups that fail."""

import re
from collections import Counter

import numpy as np
import pytest
from biotite.structure.info import get_ccd
from chemistry_samples import sample

from anfinsen.chemistry import BondOrder, ComponentLibrary, cip_labels, element_symbol, to_rdkit
from anfinsen.common.errors import ChemistryError


@pytest.fixture(scope="module")
def library() -> ComponentLibrary:
    return ComponentLibrary()


@pytest.fixture(scope="module")
def formulae() -> dict[str, tuple[dict[str, int], int]]:
    """Elements and charge per code, from columns that the library does not read."""
    category = get_ccd.__wrapped__()["chem_comp"]
    codes, texts = category["id"].as_array(), category["formula"].as_array()
    charges = category["pdbx_formal_charge"].as_array()
    found = {}
    for code, text, charge in zip(codes.tolist(), texts.tolist(), charges.tolist(), strict=True):
        counts = {e.capitalize(): int(n or 1) for e, n in re.findall(r"([A-Z][a-z]?)(\d*)(?=\s|$)", text)}
        found[code] = (counts, int(charge))
    return found


def test_atoms_hydrogens_and_charges_agree_with_the_formula(library, formulae):
    components = sample(library, 300)
    assert len(components) >= 290
    wrong = []
    for component in components:
        counts = Counter(element_symbol(int(number)) for number in component.elements)
        counts["H"] += int(component.hydrogens.sum())
        expected, charge = formulae[component.code]
        expected = dict(expected)
        expected["H"] = expected.get("H", 0) + expected.pop("D", 0)
        if {k: v for k, v in counts.items() if v} != {k: v for k, v in expected.items() if v}:
            wrong.append((component.code, counts, expected))
        assert component.charges.sum() == charge, component.code
    assert wrong == []


def test_stereo_of_the_molecule_is_the_ccds(library):
    """CIP labels from our molecules against the CCD's R/S and E/Z, which another program assigned."""
    labelled = wrong = bonds = wrong_bonds = 0
    for component in sample(library, 300, stereo=True):
        molecule = to_rdkit(component)
        assert molecule.GetNumAtoms() == len(component)
        atoms, _ = cip_labels(molecule)
        for ours, theirs in zip(atoms, component.stereo, strict=True):
            labelled += theirs != "N"
            wrong += theirs != "N" and ours not in (theirs, "N")
        for (first, second), theirs in zip(component.bonds.tolist(), component.bond_stereo, strict=True):
            bond = molecule.GetBondBetweenAtoms(first, second)
            if theirs != "N" and bond.HasProp("_CIPCode"):
                bonds += 1
                wrong_bonds += bond.GetProp("_CIPCode") not in (theirs, theirs.lower())
    assert labelled > 800
    # Where labels differ, ideal and model coordinates agree with us: CIP programs differ on a few centres.
    assert wrong <= 0.01 * labelled, (wrong, labelled)
    assert wrong_bonds <= 0.02 * bonds + 1, (wrong_bonds, bonds)


def test_stereo_from_labels_alone(library):
    """Without coordinates the R and S labels give back the same molecule."""
    from dataclasses import replace

    right = total = 0
    for component in sample(library, 100, max_atoms=30, stereo=True):
        blind = replace(component, ideal=None, model=None)
        atoms, _ = cip_labels(to_rdkit(blind))
        centres = [row for row, label in enumerate(component.stereo) if label != "N"]
        total += len(centres)
        right += sum(atoms[row] == component.stereo[row] for row in centres)
    assert total > 200
    assert right >= 0.98 * total, (right, total)


@pytest.mark.parametrize(
    ("code", "atoms", "parent", "letter", "kind"),
    [
        ("ALA", 6, "", "A", "L-PEPTIDE LINKING"),
        ("MSE", 9, "MET", "M", "L-PEPTIDE LINKING"),
        ("SEP", 11, "SER", "S", "L-PEPTIDE LINKING"),
        ("PSU", 21, "U", "U", "RNA LINKING"),
        ("HEM", 43, "", "", "NON-POLYMER"),
        ("SF4", 8, "", "", "NON-POLYMER"),
        ("NAG", 15, "", "", "D-SACCHARIDE, BETA LINKING"),
        ("MG", 1, "", "", "NON-POLYMER"),
        ("HOH", 1, "", "", "NON-POLYMER"),
        ("DOD", 1, "", "", "NON-POLYMER"),
    ],
)
def test_known_components(library, code, atoms, parent, letter, kind):
    component = library.get(code)
    assert (len(component), component.parent, component.one_letter, component.type) == (atoms, parent, letter, kind)
    assert component.ideal.shape == (atoms, 3)


def test_alanine_in_full(library):
    alanine = library.get("ALA")
    assert alanine.atom_names.tolist() == ["N", "CA", "C", "O", "CB", "OXT"]
    assert alanine.hydrogens.tolist() == [2, 1, 0, 0, 3, 1]
    assert alanine.leaving.tolist() == [False] * 5 + [True]
    assert alanine.stereo.tolist() == ["N", "S", "N", "N", "N", "N"]
    bonds = {
        tuple(alanine.atom_names[pair]): int(order) for pair, order in zip(alanine.bonds, alanine.orders, strict=True)
    }
    assert bonds[("C", "O")] == BondOrder.DOUBLE
    assert sorted(bonds.values()) == [1, 1, 1, 1, 2]
    assert alanine.name == "ALANINE"
    np.testing.assert_array_equal(alanine.ideal[0], [-0.966, 0.493, 1.5])


def test_unknown_code_names_near_ones(library):
    with pytest.raises(ChemistryError, match=r"'HEMX'.*near codes are"):
        library.get("HEMX")
    with pytest.raises(ChemistryError, match="near codes are MG"):
        library.get("mg")
    assert "mg" not in library
    assert "MG" in library


def test_own_components_come_first(library):
    alanine = library.get("ALA")
    own = library.with_components([type(alanine)(**{**vars(alanine), "code": "my-1"})])
    assert "my-1" in own
    assert "my-1" not in library
    assert own.get("my-1").code == "my-1"
    assert own.get("GLY") is library.get("GLY")


def test_obsolete_components_are_known(library):
    assert library.replaced_by("ALA") is None
    assert library.replaced_by("X") is not None


def test_components_cannot_be_changed(library):
    with pytest.raises(ValueError, match="read-only"):
        library.get("ALA").charges[0] = 1


@pytest.mark.slow
def test_atoms_and_bonds_agree_with_biotite(library):
    from biotite.structure import BondType
    from biotite.structure.info import residue

    orders = {
        BondType.SINGLE: 1,
        BondType.AROMATIC_SINGLE: 1,
        BondType.DOUBLE: 2,
        BondType.AROMATIC_DOUBLE: 2,
        BondType.TRIPLE: 3,
        BondType.AROMATIC_TRIPLE: 3,
    }
    for component in sample(library, 300):
        other = residue(component.code, allow_missing_coord=True)
        other = other[~np.isin(other.element, ["H", "D"])]
        assert other.atom_name.tolist() == component.atom_names.tolist()
        assert other.charge.tolist() == component.charges.tolist()
        theirs = {(min(a, b), max(a, b), orders[BondType(o)]) for a, b, o in other.bonds.as_array().tolist()}
        ours = {
            (min(a, b), max(a, b), o)
            for (a, b), o in zip(component.bonds.tolist(), component.orders.tolist(), strict=True)
        }
        assert ours == theirs, component.code
