"""Assembling complexes: linked atoms, leaving atoms, and bonds that cannot be."""

import numpy as np
import pytest

from anfinsen.chemistry import (
    AtomRef,
    BondOrder,
    BondSpec,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    Structure,
    assemble,
    component_from_smiles,
)
from anfinsen.chemistry.polymers import COMPONENT_OF_LETTER
from anfinsen.common.errors import ChemistryError

PROTEIN, DNA, RNA, LIGAND = ChainKind.PROTEIN, ChainKind.DNA, ChainKind.RNA, ChainKind.LIGAND


@pytest.fixture(scope="module")
def library() -> ComponentLibrary:
    return ComponentLibrary()


def polymer(chain_id, kind, sequence, *, entity=1, changes=None, cyclic=False) -> ChainSpec:
    codes = [COMPONENT_OF_LETTER[kind][letter] for letter in sequence]
    for position, code in (changes or {}).items():
        codes[position - 1] = code
    return ChainSpec(chain_id, entity, 1, kind, tuple(codes), cyclic)


def ligand(chain_id, *codes, entity=2) -> ChainSpec:
    return ChainSpec(chain_id, entity, 1, LIGAND, codes)


def bond(first, second, order=BondOrder.SINGLE) -> BondSpec:
    return BondSpec(AtomRef(*first), AtomRef(*second), order)


def names(structure: Structure, residue: int) -> set[str]:
    return set(structure.atoms.name[structure.atoms.residue == residue].tolist())


def inter_bonds(structure: Structure) -> dict[frozenset, int]:
    """Bonds between residues: {(residue number, atom), (residue number, atom)} -> order."""
    atoms, found = structure.atoms, {}
    for pair, order, inter in zip(structure.bonds.atoms, structure.bonds.order, structure.bonds.is_inter, strict=True):
        if inter:
            ends = ((int(atoms.residue[a]), str(atoms.name[a])) for a in pair)
            found[frozenset(ends)] = int(order)
    return found


def check_tables(structure: Structure) -> None:
    atoms, bonds = structure.atoms, structure.bonds
    assert (np.diff(atoms.residue) >= 0).all()
    assert (np.diff(structure.residues.chain) >= 0).all()
    assert (bonds.atoms[:, 0] < bonds.atoms[:, 1]).all()
    assert len(np.unique(bonds.atoms, axis=0)) == len(bonds)
    assert bonds.atoms.max(initial=0) < len(atoms)
    assert not atoms.resolved.any()
    np.testing.assert_array_equal(atoms.residue[bonds.atoms[:, 0]] != atoms.residue[bonds.atoms[:, 1]], bonds.is_inter)


def test_a_peptide(library):
    structure = assemble("x", [polymer("A", PROTEIN, "GASP")], [], library)
    check_tables(structure)
    assert [int((structure.atoms.residue == r).sum()) for r in range(4)] == [4, 5, 6, 8]
    assert names(structure, 3) == {"N", "CA", "C", "O", "CB", "CG", "CD", "OXT"}
    assert inter_bonds(structure) == {frozenset([(r, "C"), (r + 1, "N")]): 1 for r in range(3)}
    assert structure.chains[0].sequence == "GASP"
    # A chain of n atoms without rings has n - 1 bonds; proline closes one.
    assert len(structure.bonds) == len(structure.atoms)


def test_every_standard_residue_is_one_connected_chain(library):
    sequence = "ARNDCQEGHILKMFPSTWYV"
    structure = assemble("x", [polymer("A", PROTEIN, sequence)], [], library)
    # Heavy atoms of the 20 amino acids within a chain (167), and the last OXT.
    assert len(structure.atoms) == 167 + 1
    rings = {"H": 1, "F": 1, "P": 1, "W": 2, "Y": 1}
    assert len(structure.bonds) == len(structure.atoms) - 1 + sum(
        rings[letter] for letter in sequence if letter in rings
    )


def test_nucleic_acids(library):
    chains = [polymer("A", DNA, "ACGT"), polymer("B", RNA, "ACGU", entity=2)]
    structure = assemble("x", chains, [], library)
    check_tables(structure)
    # In a chain A 21, C 19, G 22, T 20 atoms as DNA; ribose has one more; OP3 stays at the 5' end.
    assert [int((structure.atoms.residue == r).sum()) for r in range(8)] == [22, 19, 22, 20, 23, 20, 23, 20]
    expected = {frozenset([(r, "O3'"), (r + 1, "P")]): 1 for r in (0, 1, 2, 4, 5, 6)}
    assert inter_bonds(structure) == expected
    assert "OP3" in names(structure, 0)
    assert "OP3" not in names(structure, 1)
    assert [chain.sequence for chain in structure.chains] == ["ACGT", "ACGU"]


def test_modified_residues(library):
    chains = [
        polymer("A", PROTEIN, "MSKG", changes={1: "MSE", 2: "SEP"}),
        polymer("B", DNA, "ACG", entity=2, changes={2: "5CM"}),
        polymer("C", RNA, "GUAC", entity=3, changes={2: "PSU", 4: "5MC"}),
    ]
    structure = assemble("x", chains, [], library)
    check_tables(structure)
    assert [chain.sequence for chain in structure.chains] == ["MSKG", "ACG", "GUAC"]
    assert "SE" in names(structure, 0)
    assert {"P", "O1P", "O2P", "O3P"} <= names(structure, 1)
    assert not {"OXT"} & names(structure, 1)
    assert len(inter_bonds(structure)) == 3 + 2 + 3


def test_unknown_residues_have_a_backbone(library):
    chains = [polymer("A", PROTEIN, "AXA"), polymer("B", DNA, "ANA", entity=2), polymer("C", RNA, "ANA", entity=3)]
    structure = assemble("x", chains, [], library)
    assert names(structure, 1) == {"N", "CA", "C", "O", "CB"}
    assert "C1'" in names(structure, 4)
    assert not {"N9", "N1"} & (names(structure, 4) | names(structure, 7))
    assert [chain.sequence for chain in structure.chains] == ["AXA", "ANA", "ANA"]


def test_a_disulfide(library):
    structure = assemble("x", [polymer("A", PROTEIN, "CAAC")], [bond(("A", 1, "SG"), ("A", 4, "SG"))], library)
    assert inter_bonds(structure)[frozenset([(0, "SG"), (3, "SG")])] == 1
    assert structure.notes == ()


@pytest.mark.parametrize(
    ("acid", "carbon", "released"), [("D", "CG", "OD2"), ("E", "CD", "OE2"), ("N", "CG", "ND2"), ("Q", "CD", "NE2")]
)
def test_an_isopeptide_bond(library, acid, carbon, released):
    chains = [polymer("A", PROTEIN, f"G{acid}G"), polymer("B", PROTEIN, "GKG", entity=2)]
    bond = BondSpec(AtomRef("B", 2, "NZ"), AtomRef("A", 2, carbon))
    structure = assemble("x", chains, [bond], library)
    check_tables(structure)
    whole = set(library.get(str(structure.residues.name[1])).atom_names.tolist()) - {"OXT"}
    assert names(structure, 1) == whole - {released}
    assert names(structure, 4) == {"N", "CA", "C", "O", "CB", "CG", "CD", "CE", "NZ"}
    assert frozenset([(1, carbon), (4, "NZ")]) in inter_bonds(structure)
    # An amide's nitrogen, unlike lysine's own, is neutral.
    assert not structure.atoms.charge.any()
    assert any(released in note for note in structure.notes)


def test_ubiquitin_is_tied_to_lysine_by_its_last_residue(library):
    chains = [polymer("A", PROTEIN, "GG"), polymer("B", PROTEIN, "GKG", entity=2)]
    structure = assemble("x", chains, [BondSpec(AtomRef("A", 2, "C"), AtomRef("B", 2, "NZ"))], library)
    check_tables(structure)
    assert names(structure, 1) == {"N", "CA", "C", "O"}
    assert not structure.atoms.charge.any()
    free = assemble("x", chains, [], library)
    assert free.atoms.charge.tolist().count(1) == 1


def test_a_thioester_and_a_biotinylated_lysine(library):
    chains = [polymer("A", PROTEIN, "GCGEQ"), polymer("B", PROTEIN, "K", entity=2), ligand("L", "BTN", entity=3)]
    bonds = [
        BondSpec(AtomRef("A", 2, "SG"), AtomRef("A", 5, "CD")),
        BondSpec(AtomRef("B", 1, "NZ"), AtomRef("L", 1, "C11")),
    ]
    structure = assemble("x", chains, bonds, library)
    assert "NE2" not in names(structure, 4)
    assert "SG" in names(structure, 1)
    biotin = names(structure, 6)
    assert len({"O11", "O12"} & biotin) == 1


def test_an_n_glycan(library):
    chains = [polymer("A", PROTEIN, "ANST"), ligand("B", "NAG", "NAG", "BMA", "MAN", "MAN")]
    bonds = [
        bond(("A", 2, "ND2"), ("B", 1, "C1")),
        bond(("B", 1, "O4"), ("B", 2, "C1")),
        bond(("B", 2, "O4"), ("B", 3, "C1")),
        bond(("B", 3, "O3"), ("B", 4, "C1")),
        bond(("B", 3, "O6"), ("B", 5, "C1")),
    ]
    structure = assemble("x", chains, bonds, library)
    check_tables(structure)
    for residue, count in zip(range(4, 9), (14, 14, 11, 11, 11), strict=True):
        assert "O1" not in names(structure, residue)
        assert len(names(structure, residue)) == count
    assert len(inter_bonds(structure)) == 3 + 5


def test_a_free_sugar_keeps_its_leaving_atom(library):
    assert "O1" in names(assemble("x", [ligand("A", "NAG")], [], library), 0)
    # Sucrose: the bond names the leaving atom of glucose, so the other ring gives its own.
    chains = [ligand("A", "GLC", "FRU")]
    structure = assemble("x", chains, [bond(("A", 1, "O1"), ("A", 2, "C2"))], library)
    assert "O1" in names(structure, 0)
    assert "O2" not in names(structure, 1)
    assert len(structure.atoms) == 23  # C12 O11


def test_heme_and_its_iron_ligand(library):
    chains = [polymer("A", PROTEIN, "AHA"), ligand("B", "HEM")]
    structure = assemble("x", chains, [bond(("A", 2, "NE2"), ("B", 1, "FE"))], library)
    assert inter_bonds(structure)[frozenset([(1, "NE2"), (3, "FE")])] == BondOrder.COORDINATION
    assert len(names(structure, 3)) == 43
    assert structure.atoms.element[structure.atoms.name == "FE"].tolist() == [26]


def test_a_zinc_finger(library):
    chains = [polymer("A", PROTEIN, "CCHH"), ligand("B", "ZN")]
    atoms = [("A", 1, "SG"), ("A", 2, "SG"), ("A", 3, "NE2"), ("A", 4, "NE2")]
    structure = assemble("x", chains, [bond(atom, ("B", 1, "ZN")) for atom in atoms], library)
    assert sum(order == BondOrder.COORDINATION for order in inter_bonds(structure).values()) == 4
    assert structure.atoms.charge[-1] == 2


@pytest.mark.parametrize(
    ("smiles", "atom", "lowered"),
    [("C=CC(=O)NC", "C1", False), ("N#CC1CCCCC1", "C1", True), ("CC(=O)CC", "C2", True), ("O=CCC", "C1", False)],
)
def test_covalent_inhibitors(library, smiles, atom, lowered):
    """Warheads with a hydrogen give it; ketones and nitriles have their multiple bond lowered, with a note."""
    inhibitor = component_from_smiles(smiles, "INH")
    carbon = next(
        str(name)
        for row, name in enumerate(inhibitor.atom_names)
        if inhibitor.elements[row] == 6
        and (inhibitor.hydrogens[row] == 0 if lowered else inhibitor.hydrogens[row] > 0)
        and any(row in pair and order > 1 for pair, order in zip(inhibitor.bonds, inhibitor.orders, strict=True))
    )
    chains = [polymer("A", PROTEIN, "ACA"), ligand("B", "INH")]
    structure = assemble("x", chains, [bond(("A", 2, "SG"), ("B", 1, carbon))], library.with_components([inhibitor]))
    assert inter_bonds(structure)[frozenset([(1, "SG"), (3, carbon)])] == 1
    ours = structure.atoms.residue[structure.bonds.atoms].min(axis=1) == 3
    assert structure.bonds.order[ours].sum() == inhibitor.orders.sum() - lowered
    assert len(structure.notes) == lowered


def test_a_cyclic_peptide(library):
    structure = assemble("x", [polymer("A", PROTEIN, "GAGFP", cyclic=True)], [], library)
    check_tables(structure)
    assert frozenset([(4, "C"), (0, "N")]) in inter_bonds(structure)
    assert "OXT" not in structure.atoms.name
    assert structure.chains[0].cyclic
    pair = assemble("x", [polymer("A", PROTEIN, "GG", cyclic=True)], [], library)
    assert len(pair.bonds) == len(pair.atoms) == 8  # diketopiperazine


def test_a_cyclic_rna(library):
    structure = assemble("x", [polymer("A", RNA, "ACGU", cyclic=True)], [], library)
    assert frozenset([(3, "O3'"), (0, "P")]) in inter_bonds(structure)
    assert "OP3" not in structure.atoms.name


def test_a_chromophore_links_by_its_own_names(library):
    structure = assemble("x", [polymer("A", PROTEIN, "AGA", changes={2: "CRO"})], [], library)
    assert inter_bonds(structure) == {frozenset([(0, "C"), (1, "N1")]): 1, frozenset([(1, "C3"), (2, "N")]): 1}
    assert "OXT" not in names(structure, 1)


def test_caps_link(library):
    structure = assemble("x", [polymer("A", PROTEIN, "GAG", changes={1: "ACE", 3: "NH2"})], [], library)
    assert len(inter_bonds(structure)) == 2
    assert names(structure, 2) == {"N"}


def test_a_residue_that_cannot_be_linked_is_noted(library):
    structure = assemble("x", [polymer("A", PROTEIN, "AGA", changes={2: "HEM"})], [], library)
    assert inter_bonds(structure) == {}
    assert len(structure.notes) == 2
    assert "no pair of atoms" in structure.notes[0]


def test_obsolete_components_are_noted(library):
    code = next(code for code in sorted(library) if library.replaced_by(code) and len(library.get(code)))
    (note,) = assemble("x", [ligand("A", code)], [], library).notes
    assert f"{code} is obsolete" in note
    assert library.replaced_by(code) in note


@pytest.mark.parametrize(
    ("bonds", "message"),
    [
        ([bond(("Z", 1, "SG"), ("A", 2, "SG"))], "no such chain: chains are A, B"),
        ([bond(("A", 9, "SG"), ("A", 2, "SG"))], "chain A, but that chain has residues 1 to 4"),
        ([bond(("A", 0, "SG"), ("A", 2, "SG"))], "residues 1 to 4"),
        ([bond(("A", 1, "SG"), ("A", 2, "SG"))], r"'SG' of residue 1 of chain A.*\(ALA\).*it has N, CA, C, O, CB"),
        ([bond(("A", 2, "SG"), ("A", 2, "SG"))], "to itself"),
        ([bond(("A", 2, "SG"), ("A", 4, "SG")), bond(("A", 4, "SG"), ("A", 2, "SG"))], "bonded already"),
        ([bond(("A", 1, "C"), ("A", 2, "N"))], "bonded already"),
        ([bond(("A", 2, "CA"), ("A", 2, "CB"))], "bonded already"),
        ([bond(("A", 2, "O"), ("A", 4, "SG"))], "Atom O of residue 2.*valence is full"),
        ([bond(("A", 2, "C"), ("A", 4, "SG"))], "Atom C of residue 2.*valence is full"),
        ([bond(("A", 2, "SG"), ("A", 4, "SG")), bond(("A", 2, "SG"), ("B", 1, "CA"))], "Atom SG of residue 2.*valence"),
        ([bond(("A", 2, "SG"), ("A", 4, "SG"), BondOrder.DOUBLE)], "valence is full"),
        ([bond(("A", 1, "OXT"), ("B", 1, "N"))], "Atom C of residue 1.*valence is full"),
    ],
)
def test_impossible_bonds(library, bonds, message):
    chains = [polymer("A", PROTEIN, "ACAC"), ligand("B", "GLY")]
    with pytest.raises(ChemistryError, match=message) as caught:
        assemble("x", chains, bonds, library)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        ([], "has no chains"),
        ([ligand("A", "MG"), ligand("A", "ZN")], "two chains called 'A'"),
        ([ligand("A")], "has no residues"),
        ([ligand("A", "QQQQQ")], "Unknown chemical component 'QQQQQ'"),
        ([ligand("A", "UNL")], "no heavy atoms"),
        ([ChainSpec("A", 1, 1, LIGAND, ("NAG", "NAG"), cyclic=True)], "cannot be cyclic"),
        ([polymer("A", PROTEIN, "G", cyclic=True)], "cannot be cyclic"),
    ],
)
def test_impossible_chains(library, chains, message):
    with pytest.raises(ChemistryError, match=message):
        assemble("x", chains, [], library)
