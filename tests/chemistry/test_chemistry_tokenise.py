"""Tokens and atoms: the counts of supplement 2.6, types of table 5, frames of 4.3.2, and invariances."""

from dataclasses import replace

import numpy as np
import pytest
from chemistry_samples import hands, sample

from anfinsen.chemistry import (
    AtomRef,
    BondSpec,
    ChainKind,
    ChainSpec,
    ComponentLibrary,
    Structure,
    assemble,
    reference_conformer,
    tokenise,
)
from anfinsen.chemistry.polymers import COMPONENT_OF_LETTER
from anfinsen.chemistry.tokens import RESTYPES

PROTEIN, DNA, RNA, LIGAND = ChainKind.PROTEIN, ChainKind.DNA, ChainKind.RNA, ChainKind.LIGAND


@pytest.fixture(scope="module")
def library() -> ComponentLibrary:
    return ComponentLibrary()


def codes(kind: ChainKind, sequence: str) -> tuple[str, ...]:
    return tuple(COMPONENT_OF_LETTER[kind][letter] for letter in sequence)


CHAINS = (
    ChainSpec("A", 1, 1, PROTEIN, ("MSE", *codes(PROTEIN, "CXGNW"), "SEP")),
    ChainSpec("B", 2, 1, DNA, ("DA", "5CM", "DT")),
    ChainSpec("C", 3, 1, RNA, ("G", "PSU", "C", "N")),
    ChainSpec("D", 4, 1, LIGAND, ("NAG", "NAG")),
    ChainSpec("E", 5, 1, LIGAND, ("ATP",)),
    ChainSpec("F", 6, 1, LIGAND, ("MG",)),
    ChainSpec("G", 6, 2, LIGAND, ("MG",)),
    ChainSpec("H", 7, 1, LIGAND, ("CO2",)),
)
BONDS = (
    BondSpec(AtomRef("A", 5, "ND2"), AtomRef("D", 1, "C1")),
    BondSpec(AtomRef("D", 1, "O4"), AtomRef("D", 2, "C1")),
)


@pytest.fixture(scope="module")
def complex_(library) -> Structure:
    return assemble("everything", CHAINS, BONDS, library)


@pytest.fixture(scope="module")
def tokenised(complex_, library):
    return tokenise(complex_, library, 1)


def test_token_counts(tokenised, complex_):
    tokens, atoms = tokenised
    # 5 standard residues of A, MSE 8, SEP 11; B 2 + 20; C 3 + 20; sugars 14 + 14; ATP 31; 2 ions; CO2 3.
    assert np.bincount(tokens.chain).tolist() == [5 + 8 + 11, 2 + 20, 3 + 20, 28, 31, 1, 1, 3]
    assert len(atoms) == len(complex_.atoms)
    assert tokens.is_standard.sum() == 5 + 2 + 3
    assert (tokens.atom_count[~tokens.is_standard] == 1).all()
    np.testing.assert_array_equal(tokens.atom_start, np.concatenate([[0], np.cumsum(tokens.atom_count)[:-1]]))
    np.testing.assert_array_equal(atoms.token, np.repeat(np.arange(len(tokens)), tokens.atom_count))
    np.testing.assert_array_equal(complex_.atoms.residue[tokens.atom_start], tokens.residue)


def test_types(tokenised, complex_):
    tokens, _ = tokenised
    by_residue = {}
    for residue, restype in zip(tokens.residue.tolist(), tokens.restype.tolist(), strict=True):
        by_residue.setdefault(residue, set()).add(RESTYPES[restype])
    found = [by_residue[r] for r in range(len(complex_.residues))]
    expected = ["MET", "CYS", "UNK", "GLY", "ASN", "TRP", "SER", "DA", "DC", "DT", "G", "U", "C", "N"] + ["UNK"] * 6
    assert found == [{name} for name in expected]
    assert sorted(set(zip(tokens.chain.tolist(), tokens.kind.tolist(), strict=True))) == [
        (0, 0), (1, 2), (2, 1), (3, 3), (4, 3), (5, 3), (6, 3), (7, 3),
    ]  # fmt: skip
    assert tokens.asym_id[-1] == 8
    assert tokens.entity_id[tokens.chain == 6].tolist() == [6]
    assert tokens.sym_id[tokens.chain == 6].tolist() == [2]
    assert tokens.residue_index[tokens.chain == 3].tolist() == [1] * 14 + [2] * 14


def test_named_atoms(tokenised, complex_):
    tokens, _ = tokenised
    name = complex_.atoms.name
    standard = np.flatnonzero(tokens.is_standard)
    centres = ["CA"] * 5 + ["C1'"] * 5
    distogram = ["CB", "CB", "CA", "CB", "CB", "C4", "C2", "C4", "C2", "C1'"]
    assert name[tokens.center_atom[standard]].tolist() == centres
    assert name[tokens.distogram_atom[standard]].tolist() == distogram
    assert name[tokens.frame_atoms[standard]].tolist() == [["N", "CA", "C"]] * 5 + [["C1'", "C3'", "C4'"]] * 5
    single = ~tokens.is_standard
    np.testing.assert_array_equal(tokens.center_atom[single], tokens.atom_start[single])
    np.testing.assert_array_equal(tokens.distogram_atom[single], tokens.atom_start[single])


def test_frames_of_single_atoms(tokenised, complex_):
    """Two nearest atoms of the same component, none for ions and for the straight carbon dioxide."""
    tokens, atoms = tokenised
    assert (tokens.frame_atoms[np.isin(tokens.chain, (5, 6, 7))] == -1).all()
    checked = 0
    for token in np.flatnonzero(~tokens.is_standard & (tokens.frame_atoms[:, 0] >= 0)):
        first, here, second = tokens.frame_atoms[token]
        assert here == tokens.atom_start[token]
        mates = np.flatnonzero(complex_.atoms.residue == tokens.residue[token])
        mates = mates[mates != here]
        distances = np.linalg.norm(atoms.ref_pos[mates] - atoms.ref_pos[here], axis=1)
        assert mates[np.argsort(distances)[:2]].tolist() == [first, second]
        arms = atoms.ref_pos[[first, second]] - atoms.ref_pos[here]
        cosine = arms[0] @ arms[1] / np.prod(np.linalg.norm(arms, axis=1))
        assert abs(np.degrees(np.arccos(cosine)) - 90) < 65.001
        checked += 1
    assert checked > 80


def test_reference_features(tokenised, complex_, library):
    tokens, atoms = tokenised
    assert atoms.ref_mask.all()
    np.testing.assert_array_equal(atoms.ref_space_uid, complex_.atoms.residue)
    letters = ["".join(chr(c + 32) for c in row).rstrip() for row in atoms.ref_atom_name_chars.tolist()]
    assert letters == complex_.atoms.name.tolist()
    assert atoms.ref_atom_name_chars.max() < 64
    assert atoms.ref_charge[tokens.atom_start[tokens.chain == 5]].tolist() == [2]
    assert atoms.ref_element.max() == 34
    # Positions are the conformer, turned and moved.
    for residue, name in enumerate(complex_.residues.name.tolist()):
        component = library.get(name)
        mine = complex_.atoms.residue == residue
        rows = [component.atom_names.tolist().index(atom) for atom in complex_.atoms.name[mine].tolist()]
        conformer = reference_conformer(component, 1).coordinates[rows]
        moved = atoms.ref_pos[mine]
        np.testing.assert_allclose(
            np.linalg.norm(moved[:, None] - moved[None], axis=-1),
            np.linalg.norm(conformer[:, None] - conformer[None], axis=-1),
            atol=1e-9,
        )
        if len(rows) == len(component):
            assert hands(component, moved) == hands(component, conformer)
    two = [complex_.atoms.residue == residue for residue in (14, 15)]
    assert np.abs(atoms.ref_pos[two[0]] - atoms.ref_pos[two[1]]).max() > 0.1


def test_the_same_seed_gives_the_same_bits(complex_, library, tokenised):
    _, atoms = tokenised
    np.testing.assert_array_equal(atoms.ref_pos, tokenise(complex_, library, 1)[1].ref_pos)
    assert np.abs(atoms.ref_pos - tokenise(complex_, library, 2)[1].ref_pos).max() > 0.1


def test_the_order_of_chains_does_not_matter(library, tokenised, complex_):
    other = assemble("everything", CHAINS[::-1], BONDS, library)
    _, atoms = tokenise(other, library, 1)

    def positions(structure: Structure, reference) -> dict:
        chains = [structure.chains[c].chain_id for c in structure.atom_chain.tolist()]
        numbers = structure.residues.number[structure.atoms.residue].tolist()
        keys = zip(chains, numbers, structure.atoms.name.tolist(), strict=True)
        return dict(zip(keys, reference.ref_pos.tolist(), strict=True))

    assert positions(other, atoms) == positions(complex_, tokenised[1])


def without(structure: Structure, gone: set[str]) -> Structure:
    """The structure as a file with missing atoms may give it."""
    kept = ~np.isin(structure.atoms.name, list(gone))
    place = np.cumsum(kept) - 1
    there = kept[structure.bonds.atoms].all(axis=1)
    bonds = replace(
        structure.bonds,
        atoms=place[structure.bonds.atoms[there]],
        order=structure.bonds.order[there],
        is_inter=structure.bonds.is_inter[there],
    )
    atoms = replace(structure.atoms, **{key: value[kept] for key, value in vars(structure.atoms).items()})
    return replace(structure, atoms=atoms, bonds=bonds)


def test_missing_atoms(library):
    whole = assemble("x", [ChainSpec("A", 1, 1, PROTEIN, ("ALA", "GLY", "SER"))], [], library)
    tokens, _ = tokenise(without(whole, {"CB"}), library, 1)
    np.testing.assert_array_equal(tokens.distogram_atom, tokens.center_atom)
    tokens, _ = tokenise(without(whole, {"C"}), library, 1)
    assert (tokens.frame_atoms == -1).all()
    tokens, atoms = tokenise(without(whole, {"N", "CA", "C", "O", "OXT"}), library, 1)
    assert tokens.residue.tolist() == [0, 2]  # glycine has no atom left, so no token
    np.testing.assert_array_equal(tokens.center_atom, tokens.atom_start)
    assert len(atoms.conformer_source) == 3


def test_atoms_that_the_component_does_not_list(library):
    structure = assemble("x", [ChainSpec("A", 1, 1, LIGAND, ("GOL",))], [], library)
    names = structure.atoms.name.copy()
    names[2] = "XX"
    odd = replace(structure, atoms=replace(structure.atoms, name=names))
    tokens, atoms = tokenise(odd, library, 1)
    assert atoms.ref_mask.tolist() == [True, True, False, True, True, True]
    assert (atoms.ref_pos[2] == 0).all()
    assert (tokens.frame_atoms[2] == -1).all()
    assert 2 not in tokens.frame_atoms


def test_any_component_as_a_ligand(library):
    """Atoms, elements, charges and bonds of 150 components come through assembly and tokenisation unchanged."""
    for component in sample(library, 150, max_atoms=25):
        structure = assemble("x", [ChainSpec("L", 1, 1, LIGAND, (component.code,))], [], library)
        tokens, atoms = tokenise(structure, library, 1)
        assert len(tokens) == len(atoms) == len(component)
        assert structure.atoms.name.tolist() == component.atom_names.tolist()
        np.testing.assert_array_equal(atoms.ref_element, component.elements)
        np.testing.assert_array_equal(atoms.ref_charge, component.charges)
        ours = dict(zip(map(tuple, structure.bonds.atoms.tolist()), structure.bonds.order.tolist(), strict=True))
        theirs = zip(np.sort(component.bonds, axis=1).tolist(), component.orders.tolist(), strict=True)
        assert ours == {tuple(pair): order for pair, order in theirs}
