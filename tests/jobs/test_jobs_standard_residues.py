"""A job's own components may repeat a standard residue, and may not change one."""

import numpy as np
import pytest

from anfinsen.chemistry import Component, ComponentLibrary, element_symbol
from anfinsen.chemistry.structure import BondOrder
from anfinsen.common.errors import ChemistryError
from anfinsen.jobs import Job, Ligand, Polymer, job_structure

WORDS = {BondOrder.SINGLE: "SING", BondOrder.DOUBLE: "DOUB"}


def ccd_text(component: Component, code: str, swap: dict[str, str] | None = None) -> str:
    """The component as a user would give it, without hydrogens, flags and coordinates; ``swap`` changes elements."""
    symbols = {
        name: (swap or {}).get(name, element_symbol(int(number)))
        for name, number in zip(component.atom_names.tolist(), component.elements, strict=True)
    }
    names = component.atom_names.tolist()
    lines = [f"data_{code}", f"_chem_comp.id {code}", "_chem_comp.type 'L-PEPTIDE LINKING'", "loop_"]
    lines += [f"_chem_comp_atom.{item}" for item in ("comp_id", "atom_id", "type_symbol", "charge")]
    rows = zip(names, component.charges.tolist(), strict=True)
    # Another order than the dictionary's.
    lines += [f'{code} "{name}" {symbols[name]} {charge}' for name, charge in reversed(list(rows))]
    lines += ["loop_"]
    lines += [f"_chem_comp_bond.{item}" for item in ("comp_id", "atom_id_1", "atom_id_2", "value_order")]
    for (first, second), order in zip(component.bonds.tolist(), component.orders.tolist(), strict=True):
        lines.append(f'{code} "{names[second]}" "{names[first]}" {WORDS[BondOrder(order)]}')
    return "\n".join(lines) + "\n"


def job(text: str, *ligands: str) -> Job:
    entities = (Polymer(kind="protein", ids=("A",), sequence="GAG"),)
    return Job(
        name="x",
        entities=(*entities, *(Ligand(ids=("L",), ccd_codes=(code,)) for code in ligands)),
        user_components=text,
    )


@pytest.mark.parametrize(
    ("code", "swap"), [("ALA", {"CB": "N"}), ("A", {"C8": "N"}), ("DT", {"C7": "O"}), ("UNK", {"CB": "N"})]
)
def test_a_changed_standard_residue_is_refused(code, swap):
    with pytest.raises(ChemistryError, match=rf"redefine {code}, a standard residue"):
        job(ccd_text(ComponentLibrary().get(code), code, swap))


def test_another_molecule_under_the_name_of_a_standard_residue_is_refused():
    with pytest.raises(ChemistryError, match="redefine GLY"):
        job(ccd_text(ComponentLibrary().get("ALA"), "GLY"))


@pytest.mark.parametrize("code", ["ALA", "TRP", "ARG", "G", "DC"])
def test_a_repeated_standard_residue_is_the_dictionarys_own(code):
    dictionary = ComponentLibrary()
    structure, library = job_structure(job(ccd_text(dictionary.get(code), code)))
    assert library.get(code) is dictionary.get(code)
    plain, _ = job_structure(Job(name="x", entities=(Polymer(kind="protein", ids=("A",), sequence="GAG"),)))
    np.testing.assert_array_equal(structure.atoms.name, plain.atoms.name)


def test_other_components_of_the_dictionary_may_be_changed():
    given = ccd_text(ComponentLibrary().get("GOL"), "GOL", {"O2": "S"})
    structure, _ = job_structure(job(given, "GOL"))
    assert 16 in structure.atoms.element.tolist()
