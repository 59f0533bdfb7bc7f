"""Reading mmCIF, BinaryCIF and PDB: what must be there, what is chosen, and that every choice is told."""

import gzip

import numpy as np
import pytest
from tiny_files import (
    TINY_PDB,
    inter_bonds,
    names,
    noted,
    pdb,
    pdb_line,
    peptide,
    read,
    residue_lines,
    to_binary_cif,
    to_mmcif,
)

from anfinsen.chemistry import BondOrder, ChainKind, read_structure


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


@pytest.mark.parametrize(("occupancies", "chosen"), [((0.6, 0.4), 1.0), ((0.4, 0.6), 2.0)])
def test_first_alternative_without_a_letter(occupancies, chosen):
    lines = peptide("A", ("GLY", "SER", "ALA"))
    at = next(n for n, line in enumerate(lines) if " OG " in line)
    first, second = (
        pdb_line(40 + k, "OG", "SER", "A", 2, (1.0 + k, 4.0, 651.0), alt=" B"[k], occupancy=value)
        for k, value in enumerate(occupancies)
    )
    structure = read(pdb([*lines[:at], first, second, *lines[at + 1 :]]))
    assert structure.atoms.coordinates[structure.atoms.name == "OG"].tolist() == [[chosen, 4.0, 651.0]]


def unnamed(lines):
    return [line[:21] + " " + line[22:] for line in lines]


def test_chains_without_a_name_get_letters():
    zinc = pdb_line(80, "ZN", "ZN", " ", 101, (5.0, 6.0, 655.0), het=True)
    first, second = unnamed(peptide("A")), unnamed(peptide("B", serial=40))
    structure = read(pdb([*peptide("A", serial=100), "TER", *first, "TER", *second, "TER", zinc]))
    assert [(chain.author_id, str(chain.kind), chain.sequence) for chain in structure.chains] == [
        ("A", "protein", "GSAC"), ("B", "protein", "GSAC"), ("C", "protein", "GSAC"), ("D", "ligand", ""),
    ]  # fmt: skip
    assert noted(structure, "without a name in the file were called B, C, D")
    assert len(inter_bonds(structure)) == 9


def test_a_chain_without_a_name_keeps_its_records():
    lines = [line for line in TINY_PDB.splitlines() if line]
    cut = [line[:11] + " " + line[12:] if line.startswith("SEQRES") else line for line in lines]
    cut = [line[:21] + " " + line[22:] if line.startswith(("ATOM", "HETATM", "TER")) else line for line in cut]
    link = "LINK         SG  CYS     4                ZN    ZN   101     1555   1555  2.30"
    cut.insert(cut.index(next(line for line in cut if line.startswith("CRYST1"))), link)
    structure = read("\n".join(cut) + "\n")
    assert structure.chains[0].sequence == "GSACGA"
    assert (3, "SG", 6, "ZN") in inter_bonds(structure)


def test_ligands_before_the_polymer_of_their_chain():
    zinc = pdb_line(1, "ZN", "ZN", "A", 1, (5.0, 6.0, 600.0), het=True)
    structure = read(pdb([zinc, *peptide("A", first=20, serial=2), "TER"]))
    assert [chain.kind.value for chain in structure.chains] == ["protein", "ligand"]
    assert structure.chains[0].sequence == "GSAC"


def test_ligands_among_the_residues_of_a_polymer():
    zinc = pdb_line(80, "ZN", "ZN", "A", 5, (5.0, 6.0, 600.0), het=True)
    rows = to_mmcif(pdb([*peptide(), "TER", zinc])).replace(" Ax1 ", " Axp ").replace("non-polymer", "polymer")
    structure = read(rows)
    assert [chain.kind.value for chain in structure.chains] == ["protein", "ligand"]
