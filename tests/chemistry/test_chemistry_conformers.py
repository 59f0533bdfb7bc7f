"""Reference conformers: right hand, right bond lengths, the stated fallbacks, and the same numbers every time."""

from dataclasses import replace

import numpy as np
import pytest
from chemistry_samples import hands, sample
from rdkit.Chem import ChiralType

from anfinsen.chemistry import (
    ComponentLibrary,
    ConformerConfig,
    component_from_smiles,
    is_metal,
    reference_conformer,
    to_rdkit,
)
from anfinsen.chemistry.conformers import _reordered
from anfinsen.common.errors import ChemistryError


@pytest.fixture(scope="module")
def library() -> ComponentLibrary:
    return ComponentLibrary()


def check_sample(library: ComponentLibrary, count: int, max_atoms: int) -> None:
    """Hands of the conformers are those of the dictionary's coordinates, measured by signed volumes, not by CIP."""
    centres = conflicts = checked = unhanded = 0
    for component in sample(library, count, max_atoms, stereo=True):
        conformer = reference_conformer(component, 1)
        assert np.isfinite(conformer.coordinates).all()
        np.testing.assert_allclose(conformer.coordinates.mean(axis=0), 0, atol=1e-9)
        ours = hands(component, conformer.coordinates)
        given = [hands(component, xyz) for xyz in (component.ideal, component.model) if xyz is not None]
        assert given, component.code
        checked += 1
        for name, sign in ours.items():
            known = {hand[name] for hand in given if name in hand}
            centres += len(known) > 0
            conflicts += len(known) == 2
            # The dictionary labels a few atoms that have two equal neighbours (A1L9X); they have no hand to keep.
            atom = to_rdkit(component).GetAtomWithIdx(component.atom_names.tolist().index(name))
            if known and sign not in known:
                assert atom.GetChiralTag() == ChiralType.CHI_UNSPECIFIED, (component.code, name)
                unhanded += 1
    assert checked > 0.9 * count
    assert centres > count
    assert conflicts < 0.02 * centres
    assert unhanded < 0.01 * centres


def test_hands_of_300_small_components(library):
    check_sample(library, 300, max_atoms=25)


@pytest.mark.slow
def test_hands_of_300_components_of_any_size(library):
    check_sample(library, 300, max_atoms=120)


@pytest.mark.parametrize("code", ["HEM", "SF4", "FES", "CLF", "CLA", "NAG", "ATP", "5MC", "CRO", "BOR", "PO4"])
def test_cofactors_and_clusters(library, code):
    component = library.get(code)
    conformer = reference_conformer(component, 1)
    assert conformer.source in {"rdkit", "ccd-ideal", "ccd-model"}
    lengths = np.linalg.norm(np.diff(conformer.coordinates[component.bonds], axis=1)[:, 0], axis=-1)
    metal = np.array([is_metal(int(a)) or is_metal(int(b)) for a, b in component.elements[component.bonds]])
    assert lengths[~metal].min(initial=1.5) > 1.1
    assert lengths[~metal].max(initial=1.5) < 2.4
    assert lengths.max() < 3.2


@pytest.mark.parametrize("code", ["MG", "ZN", "CL", "HOH", "XE"])
def test_single_atoms_stand_at_the_origin(library, code):
    conformer = reference_conformer(library.get(code), 5)
    assert conformer.source == "single-atom"
    assert conformer.coordinates.tolist() == [[0.0, 0.0, 0.0]]


def test_the_seed_decides(library):
    tyrosine = library.get("TYR")
    first, again = reference_conformer(tyrosine, 1), reference_conformer(tyrosine, 1)
    copied = reference_conformer(replace(tyrosine, ideal=tyrosine.ideal.copy()), 1)
    other = reference_conformer(tyrosine, 2)
    assert first is again
    np.testing.assert_array_equal(first.coordinates, copied.coordinates)
    assert np.abs(first.coordinates - other.coordinates).max() > 0.1


def test_the_name_of_a_written_ligand_does_not_matter():
    first, second = (reference_conformer(component_from_smiles("CCCCCO", code), 0) for code in ("LIG-A", "LIG-B"))
    np.testing.assert_array_equal(first.coordinates, second.coordinates)


def test_components_of_one_code_are_not_confused():
    ethanol, butanol = component_from_smiles("CCO", "LIG"), component_from_smiles("CCCCO", "LIG")
    assert len(reference_conformer(ethanol, 1).coordinates) == 3
    assert len(reference_conformer(butanol, 1).coordinates) == 5


@pytest.mark.parametrize("code", ["TRP", "NAG", "ATP", "DA"])
def test_the_order_of_atoms_does_not_matter(library, code):
    component = library.get(code)
    order = np.random.default_rng(0).permutation(len(component))
    shuffled = reference_conformer(_reordered(component, order), 3).coordinates
    np.testing.assert_array_equal(shuffled, reference_conformer(component, 3).coordinates[order])


def test_fallbacks_are_taken_in_the_stated_order(library):
    component = library.get("ATP")
    never = ConformerConfig(max_atoms=1)
    ideal = reference_conformer(component, 1, never)
    assert ideal.source == "ccd-ideal"
    np.testing.assert_allclose(ideal.coordinates, component.ideal - component.ideal.mean(axis=0))
    assert reference_conformer(replace(component, ideal=None), 1, never).source == "ccd-model"
    # Nothing to fall back on: RDKit is tried although the component is large.
    assert reference_conformer(replace(component, ideal=None, model=None), 1, never).source == "rdkit"


def test_a_chain_too_long_to_embed_is_refused_at_once():
    with pytest.raises(ChemistryError, match="LIG has 201 heavy atoms and no coordinates: conformers of at most 200"):
        reference_conformer(component_from_smiles("C" * 201, "LIG"), 1)
    # Attempts get fewer as they get longer, and never none.
    counts = [ConformerConfig().last_iterations_of(atoms) for atoms in (1, 100, 150, 200, 10_000)]
    assert counts == [50, 50, 22, 12, 1]


def test_no_geometry_at_all_is_an_error(library):
    # RDKit cannot embed tetravalent carbon bonded to itself in a triangle of triple bonds.
    ring = component_from_smiles("C1CC1", "BAD")
    impossible = replace(ring, smiles="", orders=np.full(3, 3, dtype=np.uint8))
    with pytest.raises(ChemistryError, match="No conformer of component BAD"):
        reference_conformer(impossible, 1, ConformerConfig(iterations=1, random_iterations=1, last_iterations=1))


@pytest.mark.slow
def test_every_source_over_1000_components(library):
    sources = [reference_conformer(c, 1).source for c in sample(library, 1000, max_atoms=60)]
    assert sources.count("rdkit") + sources.count("single-atom") > 0.98 * len(sources)
