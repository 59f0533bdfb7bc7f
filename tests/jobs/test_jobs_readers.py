"""Every dialect, read as its documentation says."""

import gzip
import json
import lzma
from pathlib import Path

import pytest
from pydantic import ValidationError

from anfinsen.common.errors import AnfinsenError, JobError
from anfinsen.jobs import (
    AtomAddress,
    Job,
    Ligand,
    Modification,
    Polymer,
    generated_chain_id,
    job_json,
    job_structure,
    load_jobs,
    load_jobs_with_notes,
)

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "dialect", "chains"),
    [
        ("lysozyme.yaml", "anfinsen", ["AB"]),
        ("everything.yaml", "anfinsen", ["ABPDERCSTFGHIJ"]),
        ("alphafold3.json", "alphafold3", ["ABCEFGHIZ"]),
        ("alphafoldserver.json", "alphafoldserver", ["ABCDEFGHIJ", "ABC"]),
        ("boltz.yaml", "boltz", ["ABCDE"]),
        ("complex.fasta", "fasta", ["ALMB"]),
    ],
)
def test_examples_load_assemble_and_come_back_equal(tmp_path, name, dialect, chains):
    loaded = load_jobs_with_notes(EXAMPLES / name)
    assert loaded.dialect == dialect
    assert all(note.endswith(".") and "\n" not in note for note in loaded.notes)
    for job, ids in zip(loaded.jobs, chains, strict=True):
        structure, _ = job_structure(job)
        assert [chain.chain_id for chain in structure.chains] == list(ids)
        again = load_jobs(write(tmp_path, "again.json", job_json(job)))
        assert again == (job,)
        assert job_json(again[0]) == job_json(job)


def test_own_yaml_in_full(tmp_path):
    job = load_jobs(EXAMPLES / "everything.yaml")[0]
    glycoprotein, peptide, dna, rna, oxide, smiles, sdf, ion, glycan = job.entities
    assert job.seeds == (7,)
    assert glycoprotein.ids == ("A", "B")
    assert glycoprotein.modifications == (Modification(position=9, code="SEP"),)
    assert glycoprotein.unpaired_msa == ""
    assert peptide.cyclic
    assert dna.ids == ("D", "E")
    assert rna.kind == "rna"
    assert oxide.ccd_codes == ("NO",)
    assert smiles.smiles == "CC(=O)Oc1ccccc1C(=O)O"
    assert sdf.molblock.endswith("M  END\n")
    assert ion.ids == ("F", "G", "H")
    assert glycan.ids == ("I", "J")
    assert glycan.ccd_codes == ("NAG", "FUC", "NAG", "BMA", "MAN", "MAN")
    bonds = {(str(bond.first), str(bond.second)) for bond in job.bonds}
    assert bonds == {("P:1:SG", "P:7:SG")} | {
        pair
        for chain, name in (("A", "I"), ("B", "J"))
        for pair in (
            (f"{chain}:5:ND2", f"{name}:1:C1"),
            (f"{name}:1:O6", f"{name}:2:C1"),
            (f"{name}:1:O4", f"{name}:3:C1"),
            (f"{name}:3:O4", f"{name}:4:C1"),
            (f"{name}:4:O3", f"{name}:5:C1"),
            (f"{name}:4:O6", f"{name}:6:C1"),
        )
    }


def test_structure_of_a_job_has_its_bonds_copies_and_entities():
    job = load_jobs(EXAMPLES / "everything.yaml")[0]
    structure, library = job_structure(job)
    chains = {chain.chain_id: chain for chain in structure.chains}
    assert (chains["A"].entity_id, chains["A"].symmetry_id) == (1, 1)
    assert (chains["B"].entity_id, chains["B"].symmetry_id) == (1, 2)
    assert chains["P"].cyclic
    assert chains["S"].entity_id != chains["T"].entity_id
    assert "LIG-S" in library
    assert "LIG-T" in library
    names = [
        f"{structure.chains[structure.residues.chain[r]].chain_id}:{structure.residues.number[r]}:{name}"
        for r, name in zip(structure.atoms.residue, structure.atoms.name, strict=True)
    ]
    bonds = {frozenset((names[i], names[j])) for i, j in structure.bonds.atoms}
    for bond in job.bonds:
        assert frozenset((str(bond.first), str(bond.second))) in bonds
    assert frozenset(("P:7:C", "P:1:N")) in bonds
    # The oxygens that leave when a glycan is linked are gone.
    assert not {"I:1:O1", "I:2:O1", "J:6:O1"} & set(names)


def test_one_smiles_in_two_entities_is_one_entity_with_two_copies():
    job = Job(name="two", entities=(Ligand(ids=("A",), smiles="CCO"), Ligand(ids=("B",), smiles="CCO")))
    structure, _ = job_structure(job)
    assert [(chain.entity_id, chain.symmetry_id) for chain in structure.chains] == [(1, 1), (1, 2)]


def test_generated_ids_follow_alphafold3():
    names = [generated_chain_id(index) for index in range(26 * 27 + 1)]
    assert names[:3] + names[25:29] + names[51:54] == ["A", "B", "C", "Z", "AA", "BA", "CA", "ZA", "AB", "BB"]
    assert names[-2:] == ["ZZ", "AAA"]
    assert len(set(names)) == len(names)


def test_generated_ids_avoid_given_ones(tmp_path):
    path = write(
        tmp_path,
        "a.yaml",
        "chains:\n - ion: MG\n - {ion: ZN, id: A}\n - {ion: CA, copies: 2}\n - {ion: K, id: [C, 7]}\n",
    )
    assert [entity.ids for entity in load_jobs(path)[0].entities] == [("B",), ("A",), ("D", "E"), ("C", "7")]


def test_words_of_yaml_stay_words(tmp_path):
    text = "name: 2024-01-01\nchains:\n- {ligand: NO, id: ON}\n- {ligand: 004, id: 1}\n"
    text += "- {ligand: [144, 1PE], id: Y}\n- {ion: NA}\n"
    job = load_jobs(write(tmp_path, "a.yaml", text))[0]
    assert job.name == "2024-01-01"
    assert [entity.ccd_codes for entity in job.entities] == [("NO",), ("004",), ("144", "1PE"), ("NA",)]
    assert [entity.ids for entity in job.entities[:3]] == [("ON",), ("1",), ("Y",)]


def test_addresses_that_yaml_1_1_reads_as_base_60(tmp_path):
    text = "chains:\n- {protein: CAAC, id: 1}\nbonds:\n- [1:1:SG, [1, 4, SG]]\n"
    bond = load_jobs(write(tmp_path, "a.yaml", text))[0].bonds[0]
    assert (str(bond.first), str(bond.second)) == ("1:1:SG", "1:4:SG")


def test_tabs_bom_crlf_comments_and_any_ending(tmp_path):
    text = "\ufeffname: tabs\t\r\nchains:\t# the chains\r\n\t- protein: acdef\r\n\t  id: A\r\n"
    loaded = load_jobs_with_notes(write(tmp_path, "job.txt", text))
    assert loaded.jobs[0].entities[0].sequence == "ACDEF"
    assert "small letters" in loaded.notes[0]


def test_compressed_files_and_paths_relative_to_the_job(tmp_path, monkeypatch):
    folder = tmp_path / "deep"
    (folder / "msas").mkdir(parents=True)
    (folder / "msas" / "a.a3m.gz").write_bytes(gzip.compress(b">q\nACDE\n>h\nA-DE\n"))
    (folder / "job.gz").write_bytes(gzip.compress(b"chains:\n- {protein: ACDE, msa: msas/a.a3m.gz}\n"))
    (folder / "job.xz").write_bytes(lzma.compress(b"chains:\n- {protein: ACDE, msa: msas/a.a3m.gz}\n"))
    monkeypatch.chdir(tmp_path)
    first, second = load_jobs("deep/job.gz")[0], load_jobs("deep/job.xz")[0]
    assert first == second
    assert first.name == "job"
    assert first.entities[0].unpaired_msa == ">q\nACDE\n>h\nA-DE\n"


def test_own_dialect_as_json_and_with_an_msa_inside(tmp_path):
    content = {"chains": [{"protein": "ACDE", "msa": ">q\nACDE\n", "paired_msa": "none"}], "name": "json"}
    job = load_jobs(write(tmp_path, "a.json", json.dumps(content)))[0]
    assert job.entities[0].unpaired_msa == ">q\nACDE\n"
    assert job.entities[0].paired_msa == ""


def test_templates_of_both_dialects(tmp_path):
    write(tmp_path, "t.cif", "data_t\n_entry.id t\n")
    own = write(
        tmp_path, "a.yaml", "chains:\n- protein: ACDEF\n  templates: [{file: t.cif, query: '1-3, 5', template: 4-7}]\n"
    )
    template = {"mmcifPath": "t.cif", "queryIndices": [0, 1, 2, 4], "templateIndices": [3, 4, 5, 6]}
    content = {
        "name": "a",
        "modelSeeds": [1],
        "dialect": "alphafold3",
        "version": 2,
        "sequences": [{"protein": {"id": "A", "sequence": "ACDEF", "templates": [template]}}],
    }
    theirs = write(tmp_path, "a.json", json.dumps(content))
    assert load_jobs(own) == load_jobs(theirs)
    content["sequences"][0]["protein"]["templates"] = None
    assert load_jobs(write(tmp_path, "b.json", json.dumps(content)))[0].entities[0].templates is None
    none = write(tmp_path, "c.yaml", "chains:\n- {protein: ACDEF, templates: none}\n")
    assert load_jobs(none)[0].entities[0].templates == ()


def test_msa_fields_of_alphafold3_keep_null_and_empty_apart(tmp_path):
    content = {
        "name": "a",
        "modelSeeds": [1],
        "dialect": "alphafold3",
        "version": 1,
        "sequences": [
            {"protein": {"id": "A", "sequence": "AC", "unpairedMsa": None, "pairedMsa": ""}},
            {"rna": {"id": "B", "sequence": "AC", "unpairedMsa": ">q\nAC\n"}},
        ],
    }
    protein, rna = load_jobs(write(tmp_path, "a.json", json.dumps(content)))[0].entities
    assert (protein.unpaired_msa, protein.paired_msa) == (None, "")
    assert rna.unpaired_msa == ">q\nAC\n"


USER_CCD = """data_MY-LIG
_chem_comp.id MY-LIG
_chem_comp.name 'ethanol by hand'
_chem_comp.type non-polymer
_chem_comp.formula 'C2 H6 O'
_chem_comp.mon_nstd_parent_comp_id ?
_chem_comp.pdbx_synonyms ?
_chem_comp.formula_weight 46.07
loop_
_chem_comp_atom.comp_id
_chem_comp_atom.atom_id
_chem_comp_atom.type_symbol
_chem_comp_atom.charge
_chem_comp_atom.pdbx_leaving_atom_flag
_chem_comp_atom.pdbx_model_Cartn_x_ideal
_chem_comp_atom.pdbx_model_Cartn_y_ideal
_chem_comp_atom.pdbx_model_Cartn_z_ideal
MY-LIG CA C 0 N 0.0 0.0 0.0
MY-LIG CB C 0 N 1.5 0.0 0.0
MY-LIG OX O 0 N 2.0 1.3 0.0
loop_
_chem_comp_bond.atom_id_1
_chem_comp_bond.atom_id_2
_chem_comp_bond.value_order
_chem_comp_bond.pdbx_aromatic_flag
CA CB SING N
CB OX SING N
"""


def test_user_components_from_text_and_file(tmp_path):
    write(tmp_path, "my.cif", USER_CCD)
    content = {
        "name": "a",
        "modelSeeds": [1],
        "dialect": "alphafold3",
        "version": 3,
        "userCCDPath": "my.cif",
        "sequences": [{"protein": {"id": "A", "sequence": "AC"}}, {"ligand": {"id": "L", "ccdCodes": ["MY-LIG"]}}],
        "bondedAtomPairs": [[["A", 2, "SG"], ["L", 1, "CA"]]],
    }
    by_path = load_jobs(write(tmp_path, "a.json", json.dumps(content)))
    content["userCCD"] = USER_CCD
    del content["userCCDPath"]
    content["version"] = 1
    assert load_jobs(write(tmp_path, "b.json", json.dumps(content))) == by_path
    own = "name: a\ncomponents: my.cif\nchains: [{protein: AC}, {ligand: MY-LIG, id: L}]\nbonds: [[A:2:SG, L:1:CA]]\n"
    assert load_jobs(write(tmp_path, "c.yaml", own)) == by_path
    structure, library = job_structure(by_path[0])
    assert library.get("MY-LIG").atom_names.tolist() == ["CA", "CB", "OX"]
    assert len(structure.residues) == 3


def test_server_chain_order_templates_and_glycans():
    first, second = load_jobs(EXAMPLES / "alphafoldserver.json")
    protein, reacher, dna, rna, ligand, ion, glycan = first.entities
    assert first.seeds == (1593933729, 4273)
    assert protein.ids == ("A", "B")
    assert protein.templates is None
    assert reacher.templates == ()
    assert (dna.ids, rna.ids, ligand.ids, ion.ids) == (("D",), ("E",), ("F",), ("G", "H")) or reacher.ids == ("C",)
    assert ligand.ccd_codes == ("ATP",)
    assert glycan.ids == ("I", "J")
    assert {str(bond.first) for bond in first.bonds} == {"A:8:ND2", "B:8:ND2", "I:1:O4", "I:1:O6", "J:1:O4", "J:1:O6"}
    assert second.seeds == (1,)


@pytest.mark.parametrize(
    ("glycan", "links"),
    [
        ("NAG", []),
        ("NAG(NAG(MAN(MAN(MAN))))", ["1:O4-2", "2:O4-3", "3:O2-4", "4:O2-5"]),
        (
            "NAG(NAG(MAN(MAN(MAN)(MAN(MAN)(MAN)))))",
            ["1:O4-2", "2:O4-3", "3:O2-4", "4:O3-5", "4:O6-6", "6:O3-7", "6:O6-8"],
        ),
        ("NAG(FUC)(NAG)", ["1:O6-2", "1:O4-3"]),
        ("NAG(3-1 FUC)(4-1 NAG)", ["1:O3-2", "1:O4-3"]),
        ("NAG(4-1 NAG)(FUC)", ["1:O4-2", "1:O6-3"]),
        ("NAG(FUC)(6-1 NAG)", ["1:O3-2", "1:O6-3"]),
    ],
)
def test_glycan_links(tmp_path, glycan, links):
    path = write(tmp_path, "a.yaml", f"chains: [{{protein: ANAT, glycans: {{2: '{glycan}'}}}}]\n")
    job = load_jobs(path)[0]
    found = [f"{bond.first.residue}:{bond.first.atom}-{bond.second.residue}" for bond in job.bonds[1:]]
    assert sorted(found) == sorted(links)
    job_structure(job)


def test_a_sialic_acid_links_through_c2(tmp_path):
    path = write(tmp_path, "a.yaml", "chains: [{protein: ANAT, glycans: {4: NGA(GAL(SIA))}}]\n")
    job = load_jobs(path)[0]
    assert [str(bond.first) for bond in job.bonds[:1]] == ["A:4:OG1"]
    assert job.bonds[-1].second == AtomAddress(chain="B", residue=3, atom="C2")
    job_structure(job)


def test_boltz_bond_and_msa(tmp_path):
    write(tmp_path, "seq.a3m", ">q\nMC\n")
    text = "sequences:\n- protein: {id: A, sequence: MC, msa: ./seq.a3m, cyclic: false}\n"
    job = load_jobs(write(tmp_path, "mine.yaml", text))[0]
    assert job.name == "mine"
    assert job.entities[0].unpaired_msa == ">q\nMC\n"
    boltz = load_jobs(EXAMPLES / "boltz.yaml")[0]
    assert str(boltz.bonds[0].first) == "A:29:SG"
    assert boltz.entities[0].unpaired_msa == ""


def test_each_field_only_in_versions_that_have_it(tmp_path):
    write(tmp_path, "m.a3m", ">q\nAC\n")
    write(tmp_path, "my.cif", USER_CCD)
    additions = {
        2: lambda job: job["sequences"][0]["protein"].update(unpairedMsaPath="m.a3m"),
        3: lambda job: job.update(userCCDPath="my.cif"),
        4: lambda job: job["sequences"][0]["protein"].update(description="x"),
    }
    for since, add in additions.items():
        for version in (1, 2, 3, 4):
            content = {
                "name": "a",
                "modelSeeds": [1],
                "dialect": "alphafold3",
                "version": version,
                "sequences": [{"protein": {"id": "A", "sequence": "AC"}}],
            }
            add(content)
            path = write(tmp_path, "a.json", json.dumps(content))
            if version >= since:
                load_jobs(path)
            else:
                with pytest.raises(JobError, match=f"was added in version {since} of the dialect"):
                    load_jobs(path)


def test_selenocysteine_and_pyrrolysine_are_themselves():
    structure, _ = job_structure(Job(name="U", entities=(Polymer(kind="protein", ids=("A",), sequence="AUOX"),)))
    assert structure.residues.name.tolist() == ["ALA", "SEC", "PYL", "UNK"]


def test_file_name_is_safe():
    def named(name):
        return Job(name=name, entities=(Ligand(ids=("A",), ccd_codes=("MG",)),)).file_name

    assert named(" Lysozyme / 2 Å ") == "Lysozyme__2_"
    assert named("../../etc") == "etc" or "/" not in named("../../etc")
    for bad in ("", "..", "Å", "a\nb", "x" * 201):
        with pytest.raises(AnfinsenError):
            named(bad)


def test_other_seeds_are_checked():
    job = load_jobs(EXAMPLES / "lysozyme.yaml")[0]
    assert job.with_seeds((5,)).seeds == (5,)
    assert job.with_seeds((5,)).entities == job.entities
    with pytest.raises(JobError, match="out of range"):
        job.with_seeds((-1,))


def test_a_job_is_frozen_and_hashable():
    job = load_jobs(EXAMPLES / "lysozyme.yaml")[0]
    with pytest.raises(ValidationError):
        job.name = "other"
    assert hash(job) == hash(load_jobs(EXAMPLES / "lysozyme.yaml")[0])
