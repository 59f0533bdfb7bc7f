"""Reading bonds, glycans, assemblies and components that the dictionary describes otherwise or not at all."""

import numpy as np
import pytest
from tiny_files import (
    SEQRES,
    TINY_PDB,
    inter_bonds,
    names,
    noted,
    pdb,
    pdb_line,
    peptide,
    read,
    residue_lines,
    to_mmcif,
)

from anfinsen.chemistry import BondOrder, ChainKind, ComponentLibrary, structure_from_bytes


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
