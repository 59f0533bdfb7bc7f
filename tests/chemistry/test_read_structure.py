"""Reading mmCIF, BinaryCIF and PDB: what must be there, what is chosen, and that every choice is told."""

import gzip

import numpy as np
import pytest
from tiny_files import (
    SEQRES,
    TINY_PDB,
    pdb,
    pdb_line,
    peptide,
    residue_lines,
    to_binary_cif,
    to_mmcif,
)

from anfinsen.chemistry import ChainKind, ComponentLibrary, read_structure, structure_from_bytes
from anfinsen.chemistry.structure import BondOrder

ZN = pdb_line(90, "ZN", "ZN", "A", 101, (5.0, 6.0, 655.0), het=True)


def read(content, **options):
    return structure_from_bytes(content, "test", **options)[0]


def names(structure, residue, resolved=None):
    rows = structure.atoms.residue == residue
    if resolved is not None:
        rows &= structure.atoms.resolved == resolved
    return structure.atoms.name[rows].tolist()


def inter_bonds(structure):
    """{(residue, atom, residue, atom): order} of bonds across residues."""
    found = {}
    for (a, b), order, inter in zip(
        structure.bonds.atoms.tolist(), structure.bonds.order.tolist(), structure.bonds.is_inter.tolist(), strict=True
    ):
        if inter:
            ends = [(int(structure.atoms.residue[k]), str(structure.atoms.name[k])) for k in (a, b)]
            found[(*ends[0], *ends[1])] = BondOrder(order)
    return found


def noted(structure, *words):
    return any(all(word in note for word in words) for note in structure.notes)


def same_content(first, second):
    assert first.chains == second.chains
    for table, fields in (
        ("residues", ("chain", "name", "number", "author_number", "insertion_code")),
        ("atoms", ("residue", "name", "element", "charge", "resolved", "coordinates", "b_factor", "occupancy")),
        ("bonds", ("atoms", "order", "is_inter")),
    ):
        for field in fields:
            one, other = (getattr(getattr(s, table), field) for s in (first, second))
            np.testing.assert_array_equal(one, other, err_msg=f"{table}.{field}")


def test_sequence_record_and_missing_atoms():
    structure = read(TINY_PDB)
    protein, zinc = structure.chains
    assert (protein.chain_id, protein.kind, protein.sequence) == ("A", ChainKind.PROTEIN, "GSACGA")
    assert (zinc.chain_id, zinc.author_id, zinc.kind) == ("B", "A", ChainKind.LIGAND)
    assert structure.residues.name.tolist() == ["GLY", "SER", "ALA", "CYS", "GLY", "ALA", "ZN"]
    assert structure.residues.number.tolist() == [1, 2, 3, 4, 5, 6, 1]
    assert structure.residues.author_number.tolist() == ["1", "2", "3", "4", "", "", "101"]
    # Residues 5 and 6 are not modelled: there, not resolved, without atoms that left, OXT at the very end only.
    assert names(structure, 4) == ["N", "CA", "C", "O"]
    assert names(structure, 5) == ["N", "CA", "C", "O", "CB", "OXT"]
    assert names(structure, 5, resolved=True) == []
    assert names(structure, 3) == ["N", "CA", "C", "O", "CB", "SG"]
    assert (structure.atoms.coordinates[~structure.atoms.resolved] == 0).all()
    assert structure.atoms.coordinates[structure.atoms.name == "ZN"].tolist() == [[5.0, 6.0, 655.0]]
    assert noted(structure, "1 water molecule dropped")
    assert structure.release_date == "1999-01-21"
    assert structure.resolution == 1.8
    assert structure.name == "1TNY"
    assert inter_bonds(structure) == {(k, "C", k + 1, "N"): BondOrder.SINGLE for k in range(5)}


def test_all_formats_give_the_same_structure(tmp_path):
    mmcif = to_mmcif(TINY_PDB)
    expected = read(mmcif)
    binary = to_binary_cif(mmcif)
    same_content(read(binary), expected)
    for index, content in enumerate((mmcif.encode(), binary)):
        for compressed in (False, True):
            path = tmp_path / f"misleading{index}{compressed}.pdb"
            path.write_bytes(gzip.compress(content) if compressed else content)
            same_content(read_structure(path), expected)
    from_pdb = read(gzip.compress(TINY_PDB.encode()))
    assert from_pdb.chains[0].sequence == expected.chains[0].sequence
    np.testing.assert_array_equal(from_pdb.atoms.name, expected.atoms.name)
    np.testing.assert_array_equal(from_pdb.atoms.coordinates, expected.atoms.coordinates)
    np.testing.assert_array_equal(from_pdb.bonds.atoms, expected.bonds.atoms)


def test_windows_line_ends_and_byte_order_marks():
    expected = read(TINY_PDB)
    same_content(read(TINY_PDB.replace("\n", "\r\n")), expected)
    same_content(read(b"\xef\xbb\xbf" + TINY_PDB.encode()), expected)


@pytest.mark.parametrize(("occupancies", "chosen"), [((0.4, 0.6), "B"), ((0.5, 0.5), "A"), ((0.7, 0.3), "A")])
def test_alternate_conformers(occupancies, chosen):
    lines = peptide("A", ("GLY", "SER", "ALA"))
    at = next(n for n, line in enumerate(lines) if " OG " in line)
    first, second = (
        pdb_line(40 + k, "OG", "SER", "A", 2, (1.0 + k, 4.0, 651.0), alt="AB"[k], occupancy=value)
        for k, value in enumerate(occupancies)
    )
    structure = read(pdb([*lines[:at], first, second, *lines[at + 1 :]]))
    oxygen = structure.atoms.name == "OG"
    assert structure.atoms.coordinates[oxygen][0, 0] == (1.0 if chosen == "A" else 2.0)
    assert structure.atoms.occupancy[oxygen][0] == max(occupancies)
    assert noted(structure, f"conformer {chosen} (most occupied) chosen in SER A 2")


def test_conformer_is_chosen_for_a_whole_residue():
    """Atom by atom, CB would come from A and OG from B."""
    whole = residue_lines(1, "SER", "A", 1, 0)
    a = [
        line[:16] + "A" + line[17:54] + f"{occ:6.2f}" + line[60:]
        for line, occ in zip(whole, [0.9] * 5 + [0.1], strict=True)
    ]
    b = [line[:16] + "B" + line[17:30] + f"{90.0:8.3f}" + line[38:54] + "  0.60" + line[60:] for line in whole]
    structure = read(pdb(a + b + peptide("A", ("ALA", "GLY"), first=2, serial=30, start=1)))
    assert (structure.atoms.coordinates[structure.atoms.residue == 0][:6, 0] < 90).all()


def test_insertion_codes_number_residues_apart():
    lines = residue_lines(1, "GLY", "A", 52, 0) + residue_lines(10, "ALA", "A", 52, 1, code="A")
    lines += residue_lines(20, "SER", "A", 53, 2)
    structure = read(pdb(lines))
    assert structure.residues.author_number.tolist() == ["52", "52", "53"]
    assert structure.residues.insertion_code.tolist() == ["", "A", ""]
    assert structure.residues.number.tolist() == [1, 2, 3]
    assert len(inter_bonds(structure)) == 2


def test_hydrogen_and_deuterium_are_dropped():
    extra = [
        pdb_line(60, "HA", "ALA", "A", 3, (0, 0, 0), element="H"),
        pdb_line(61, "D", "ALA", "A", 3, (0, 0, 1), element="D"),
    ]
    structure = read(pdb(peptide()[:15] + extra))
    assert 1 not in structure.atoms.element
    assert not any(name.startswith(("H", "D")) for name in structure.atoms.name.tolist())


def test_modified_residues_belong_to_the_chain():
    structure = read(pdb(peptide("A", ("GLY", "MSE", "ALA"))))
    assert len(structure.chains) == 1
    assert structure.chains[0].sequence == "GMA"
    assert structure.atoms.element[structure.atoms.name == "SE"].tolist() == [34]
    assert len(inter_bonds(structure)) == 2


def test_no_sequence_record_gaps_are_noted_and_not_bridged():
    lines = peptide("A", ("GLY", "ALA")) + peptide("A", ("SER", "ALA"), first=9, serial=30, start=8)
    structure = read(pdb(lines))
    assert structure.chains[0].sequence == "GASA"
    assert noted(structure, "no sequence record")
    assert noted(structure, "not linked between 2 and 9")
    assert list(inter_bonds(structure)) == [(0, "C", 1, "N"), (2, "C", 3, "N")]


def test_wrong_sequence_record_is_told():
    structure = read(TINY_PDB.replace("GLY SER ALA CYS GLY ALA", "TRP TRP TRP TRP TRP TRP"))
    assert structure.chains[0].sequence.startswith("GSAC")
    assert noted(structure, "does not match the atoms")


def test_atoms_win_over_single_wrong_letters_of_the_record():
    mmcif = to_mmcif(TINY_PDB)
    wrong = mmcif.replace("\nA 3 ALA", "\nA 3 VAL")
    assert wrong != mmcif
    structure = read(wrong)
    assert structure.chains[0].sequence == "GSACGA"
    assert noted(structure, "contradict the sequence record at 3 (VAL read as ALA)")


def test_microheterogeneity_is_settled_by_occupancy():
    serine = [line[:16] + "A" + line[17:54] + "  0.30" + line[60:] for line in residue_lines(10, "SER", "A", 2, 1)]
    alanine = [line[:16] + "B" + line[17:54] + "  0.70" + line[60:] for line in residue_lines(20, "ALA", "A", 2, 1)]
    text = pdb(peptide("A", ("GLY",)) + serine + alanine + peptide("A", ("GLY",), first=3, serial=40, start=2))
    for content in (text, to_mmcif(text)):
        structure = read(content)
        assert structure.residues.name.tolist() == ["GLY", "ALA", "GLY"]
        assert structure.atoms.resolved[structure.atoms.name == "CB"].all()
        assert noted(structure, "ALA chosen among")


def test_models():
    model = peptide("A", ("GLY", "ALA"))
    moved = [line[:30] + "  11.000" + line[38:] for line in model]
    text = pdb(["MODEL        1", *model, "ENDMDL", "MODEL        2", *moved, "ENDMDL"])
    assert read(text).atoms.coordinates[0, 0] == 0
    second = read(text, model=2)
    assert second.atoms.coordinates[0, 0] == 11
    assert noted(second, "2 models; model 2 was read")


def test_disulfides_recorded_and_inferred():
    sulfurs = [
        pdb_line(50, "SG", "CYS", "A", 2, (0, 0, 700)),
        pdb_line(51, "SG", "CYS", "A", 4, (0, 0, 702.05)),
    ]
    lines = [line for line in peptide("A", ("GLY", "CYS", "GLY", "CYS")) if " SG " not in line]
    text = pdb(lines[:9] + sulfurs[:1] + lines[9:] + sulfurs[1:])
    bond = {(1, "SG", 3, "SG"): BondOrder.SINGLE}
    inferred = read(text)
    assert inter_bonds(inferred).items() >= bond.items()
    assert noted(inferred, "1 disulfide bond inferred")
    told = read("SSBOND   1 CYS A    2    CYS A    4\n" + text)
    assert inter_bonds(told).items() >= bond.items()
    assert not noted(told, "inferred")


def test_metal_coordination_and_links_to_dropped_atoms():
    link = "LINK         SG  CYS A   4                ZN    ZN A 101     1555   1555  2.30"
    water = "LINK        ZN    ZN A 101                 O   HOH A 201     1555   1555  2.10"
    structure = read(TINY_PDB.replace(SEQRES, f"{SEQRES}\n{link}\n{water}"))
    assert inter_bonds(structure)[3, "SG", 6, "ZN"] == BondOrder.COORDINATION
    assert noted(structure, "1 recorded bond to atoms that were dropped")


NAG = (("C1", 0), ("C2", 1), ("C3", 2), ("C4", 3), ("C5", 4), ("C6", 5), ("C7", 6), ("C8", 7), ("N2", 8), ("O3", 9))
NAG_ATOMS = (*NAG, ("O4", 10), ("O5", 11), ("O6", 12), ("O7", 13))


def sugar(serial, number, y):
    return [
        pdb_line(serial + k, name, "NAG", "A", number, (20.0 + 1.4 * step, y, 650.0), het=True)
        for k, (name, step) in enumerate(NAG_ATOMS)
    ]


def test_linked_sugars_become_one_chain():
    link = "LINK         O4  NAG A 501                 C1  NAG A 502     1555   1555  1.40"
    text = pdb([*peptide(), "TER", *sugar(40, 501, 0.0), *sugar(60, 502, 9.0), *sugar(80, 503, 30.0)], link)
    structure = read(text)
    assert [chain.kind.value for chain in structure.chains] == ["protein", "ligand", "ligand"]
    assert [chain.entity_id for chain in structure.chains] == [1, 2, 3]
    assert structure.residues.chain.tolist() == [0] * 4 + [1, 1, 2]
    assert inter_bonds(structure)[4, "O4", 5, "C1"] == BondOrder.SINGLE
    assert "O1" not in names(structure, 5)  # left at the linkage
    assert "O1" in names(structure, 6)
    assert noted(structure, "2 linked sugars were joined")


def test_branched_entities_of_mmcif():
    link = "LINK         O4  NAG A 501                 C1  NAG A 502     1555   1555  1.40"
    document = to_mmcif(pdb([*peptide(), "TER", *sugar(40, 501, 0.0), *sugar(60, 502, 9.0)], link))
    lines = document.splitlines()
    # Two NAG chains of one entity become one branched chain; the linkage is told by the entity alone.
    lines = [line.replace(" Ax2 ", " Ax1 ") for line in lines if not line.startswith("covale")]
    text = "\n".join(lines).replace("non-polymer", "branched")
    entity = next(line.split()[0] for line in lines if "branched" in line.replace("non-polymer", "branched"))
    text += f"""
loop_
_pdbx_entity_branch_link.link_id
_pdbx_entity_branch_link.entity_id
_pdbx_entity_branch_link.entity_branch_list_num_1
_pdbx_entity_branch_link.comp_id_1
_pdbx_entity_branch_link.atom_id_1
_pdbx_entity_branch_link.entity_branch_list_num_2
_pdbx_entity_branch_link.comp_id_2
_pdbx_entity_branch_link.atom_id_2
_pdbx_entity_branch_link.value_order
1 {entity} 2 NAG C1 1 NAG O4 sing
"""
    structure = read(text)
    assert structure.residues.chain.tolist() == [0] * 4 + [1, 1]
    assert inter_bonds(structure)[4, "O4", 5, "C1"] == BondOrder.SINGLE


BIOMT = """REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000       10.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000       12.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000"""


@pytest.mark.parametrize("convert", [str, to_mmcif])
def test_assembly(convert):
    """A two-fold axis through (5, 6): the zinc on it is one atom, the chain is copied with its bonds."""
    link = "LINK         SG  CYS A   4                ZN    ZN A 101     1555   1555  2.30"
    text = convert(TINY_PDB.replace(SEQRES, f"{BIOMT}\n{SEQRES}\n{link}"))
    plain = read(text)
    assert len(plain.chains) == 2
    structure = read(text, assembly="1")
    first, zinc, second = structure.chains
    assert second.chain_id == f"{first.chain_id}-2"
    assert (first.entity_id, second.entity_id, first.symmetry_id, second.symmetry_id) == (1, 1, 1, 2)
    assert zinc.kind is ChainKind.LIGAND
    assert noted(structure, "1 copy of ligands on a symmetry element left out")
    assert noted(structure, "Assembly 1: 3 chains made from 2")
    here, there = (structure.atoms.coordinates[structure.atom_chain == k] for k in (0, 2))
    resolved = structure.atoms.resolved[structure.atom_chain == 0]
    np.testing.assert_allclose(there[resolved], here[resolved] * [-1, -1, 1] + [10, 12, 0], atol=1e-9)
    assert (there[~resolved] == 0).all()
    assert len(inter_bonds(structure)) == 5 + 5 + 1
    lengths = [
        np.linalg.norm(np.subtract(*structure.atoms.coordinates[pair]))
        for pair in structure.bonds.atoms
        if structure.atoms.resolved[pair].all() and structure.atom_chain[pair[0]] == structure.atom_chain[pair[1]]
    ]
    assert max(lengths) < 2.6


def test_assembly_asked_for_where_none_is_described():
    assert noted(read(pdb(peptide()), assembly="1"), "no assemblies")


def test_unknown_components_are_used_as_found():
    atoms = [pdb_line(70 + k, f"C{k}", "Q_7", "A", 301, (1.5 * k, 0, 600.0), het=True) for k in range(4)]
    structure, library = structure_from_bytes(pdb([*peptide(), "TER", *atoms]), "x")
    assert "Q_7" not in ComponentLibrary()
    assert noted(structure, "Component Q_7 is not in the dictionary", "as found")
    assert names(structure, 4) == ["C0", "C1", "C2", "C3"]
    assert len(library.get("Q_7").bonds) == 3


def test_unknown_residues_atoms_and_ligands():
    lines = residue_lines(1, "ALA", "A", 1, 0)
    lines += [line.replace("ALA", "UNK") for line in residue_lines(10, "ALA", "A", 2, 1)]
    lines += ["TER", pdb_line(30, "UNK", "UNX", "A", 90, (0, 0, 600), het=True, element=" X")]
    lines += [pdb_line(31 + k, f"C{k}", "UNL", "A", 91, (1.5 * k, 0, 590.0), het=True) for k in range(3)]
    structure = read(pdb(lines))
    assert structure.chains[0].sequence == "AX"
    assert structure.residues.name.tolist() == ["ALA", "UNK", "UNX", "UNL"]
    assert structure.atoms.element[structure.atoms.residue == 2].tolist() == [0]
    assert names(structure, 3) == ["C0", "C1", "C2"]


def test_old_atom_names_are_translated_and_told():
    lines = []
    for k, (old, residue) in enumerate((("O1P", "DC"), ("C5*", "DC"), ("O2P", "DG"))):
        number = 1 if residue == "DC" else 2
        lines += [pdb_line(k + 1, old, residue, "A", number, (k, 0, 0), element=old[0])]
    lines += [pdb_line(9, "P", "DG", "A", 2, (9, 0, 0)), pdb_line(8, "C2'", "DC", "A", 1, (8, 0, 0))]
    structure = read(pdb(sorted(lines, key=lambda line: line[22:26])))
    assert structure.chains[0].kind is ChainKind.DNA
    resolved = structure.atoms.name[structure.atoms.resolved].tolist()
    assert {"OP1", "C5'", "OP2", "P", "C2'"} == set(resolved)
    assert noted(structure, "O1P of DC to OP1")


def test_dna_with_names_of_before_2007():
    atoms = ("P", "C5'", "C4'", "C3'", "O3'", "C2'", "C1'")
    lines = [
        pdb_line(10 * n + k, atom, code, "A", n, (k + 10 * n, 0, 0))
        for n, code in ((1, "A"), (2, "C"), (3, "T"))
        for k, atom in enumerate(atoms)
    ]
    structure = read(pdb(lines))
    assert structure.chains[0].kind is ChainKind.DNA
    assert structure.residues.name.tolist() == ["DA", "DC", "DT"]
    assert noted(structure, "read as DNA")


def test_cyclic_chains():
    link = "LINK         C   CYS A   4                 N   GLY A   1     1555   1555  1.33"
    structure = read(pdb(peptide(), link))
    assert structure.chains[0].cyclic
    assert inter_bonds(structure)[0, "N", 3, "C"] == BondOrder.SINGLE
    assert "OXT" not in structure.atoms.name


def test_entities_group_equal_chains():
    text = pdb([*peptide("A"), "TER", *peptide("B", serial=50), "TER", *peptide("C", ("GLY", "ALA"), serial=90)])
    structure = read(text)
    assert [(chain.entity_id, chain.symmetry_id) for chain in structure.chains] == [(1, 1), (1, 2), (2, 1)]


def test_release_date_of_mmcif_is_the_first_revision():
    text = to_mmcif(TINY_PDB) + (
        "loop_\n_pdbx_audit_revision_history.ordinal\n_pdbx_audit_revision_history.revision_date\n"
        "2 2011-07-13\n1 1999-01-21\n3 2024-02-07\n"
    )
    assert read(text).release_date == "1999-01-21"
