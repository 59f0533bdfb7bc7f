"""Broken jobs: each is answered by one sentence that says what is wrong, and by nothing else."""

import gzip
import json
import os

import pytest

from anfinsen.common.errors import AnfinsenError, InputError
from anfinsen.jobs import (
    AtomAddress,
    Job,
    JobBond,
    Ligand,
    Modification,
    Polymer,
    TemplateAlignment,
    job_structure,
    load_jobs,
)


def af3(**changes):
    content = {
        "name": "a",
        "modelSeeds": [1],
        "sequences": [{"protein": {"id": "A", "sequence": "ACDE"}}],
        "dialect": "alphafold3",
        "version": 4,
    }
    content |= changes
    return json.dumps({key: value for key, value in content.items() if value is not ...})


def chain(kind="protein", **content):
    return [{kind: {"id": "A", "sequence": "ACDE"} | content}]


def server(*sequences, **changes):
    return json.dumps([{"name": "a", "modelSeeds": ["1"], "sequences": list(sequences)} | changes])


def yaml(chains, rest=""):
    return f"name: a\nchains:\n- {{{chains}}}\n{rest}"


def boltz(rest):
    return f"version: 1\nsequences:\n- protein: {{id: A, sequence: ACDE}}\n{rest}"


BROKEN = {
    # Files.
    "empty": ("", "is empty"),
    "blank": (" \n\t\n", "is empty"),
    "binary": (b"\x7fELF\x02\x01\x00\x00\xff\xfe", "is not text"),
    "NUL": (b"name: a\x00b\n", "holds NUL bytes"),
    "UTF-16": ("name: a".encode("utf-16"), "UTF-16"),
    "latin-1": ("name: Schlüssel".encode("latin-1"), "not valid UTF-8"),
    "cut gzip": (gzip.compress(b"name: a\n" * 100)[:-20], "is damaged"),
    "false gzip": (b"\x1f\x8bnot really", "is damaged"),
    "zstd": (b"\x28\xb5\x2f\xfdabcdef", "zstd"),
    "prose": ("Please fold this.\n", "not a job"),
    "structure": ("data_1ABC\n_entry.id 1ABC\n", "like a structure"),
    "PDB": ("HEADER    HYDROLASE\n", "like a structure"),
    # JSON.
    "JSON cut": ('{"name": "a", ', "not valid JSON"),
    "JSON comment": ('{"name": "a" // here\n}', "line 1, column"),
    "JSON twice": ('{"chains": [], "chains": []}', "'chains' twice"),
    "JSON NaN": ('{"chains": NaN}', "holds NaN"),
    "JSON deep": ("[" * 100_000, "levels deep"),
    "JSON deep but whole": ("[" * 500 + "]" * 500, "levels deep"),
    "JSON long number": ('{"chains": ' + "9" * 5000 + "}", "too long"),
    "JSON surrogate": ('{"chains": [], "name": "\\ud800"}', "not valid Unicode"),
    "JSON list": ("[]", "list of 0 jobs"),
    "JSON list of words": ('["a"]', "expected a mapping"),
    "JSON other": ('{"foo": 1}', "neither the key chains"),
    # YAML.
    "YAML indent": ("name: a\n chains: b\n", "not valid YAML"),
    "YAML twice": ("name: a\nname: b\nchains: []\n", "'name' is given twice"),
    "YAML alias": ("a: &x [1]\nchains: *x\n", "anchors"),
    "YAML bomb": ("a: [&b [x, x], *b]\n", "anchors"),
    "YAML tag": ("chains: !!python/object/apply:os.system ['true']\n", "is not read"),
    "YAML set": ("? [a, b]\n: c\n", "a key is not a word"),
    "YAML two documents": ("chains: []\n---\nchains: []\n", "another document"),
    "YAML deep": ("chains: " + "[" * 5000, "levels deep"),
    "YAML control": ("name: a\x07b\n", "not allowed"),
    "YAML long number": ("chains: []\nseeds: " + "9" * 5000, "too long"),
    # This package's own dialect.
    "two ions in one": ("chains: [{ion: [MG, CL]}]\n", r"lists 2 ions: give each an entry of its own"),
    "nothing": ("null\n", "the file holds nothing, not a job"),
    "no chains": ("name: a\nchains: []\n", "at least one chain"),
    "chains is a word": ("chains: protein\n", "a list of chains"),
    "unknown key": (yaml("protein: ACDE", "colour: red\n"), "unknown key 'colour'"),
    "unknown chain key": (yaml("protein: ACDE, msas: x"), "unknown key 'msas'"),
    "key of another kind": (yaml("dna: ACGT, msa: x"), "unknown key 'msa'"),
    "no kind": (yaml("id: A"), "exactly one of the keys"),
    "two kinds": (yaml("protein: ACDE, dna: ACGT"), "exactly one of the keys"),
    "bad letter": (yaml("protein: ACD3E"), "'3' at position 4"),
    "ambiguous letter": (yaml("protein: ACBE"), "'B' at position 3"),
    "RNA in DNA": (yaml("dna: GAUC"), "'U' at position 3"),
    "letters beyond ASCII": (yaml("protein: ACÅE"), "'Å' at position 3"),
    "empty sequence": (yaml("protein: ''"), "empty sequence"),
    "null sequence": (yaml("protein:"), "expected a sequence"),
    "bad id": (yaml("protein: ACDE, id: A_1"), "'A_1' must be"),
    "long id": (yaml("protein: ACDE, id: ABCDEFGHIJKLMNOPQ"), "must be 1 to 16"),
    "same id twice": (yaml("protein: ACDE, id: [A, A]"), "'A' is used twice"),
    "copies and ids": (yaml("protein: ACDE, id: [A, B], copies: 3"), "3 copies and names 2"),
    "no copies": (yaml("protein: ACDE, copies: 0"), "at least 1"),
    "many copies": (yaml("protein: ACDE, copies: 1000000000"), "at most 2000 chains"),
    "many residues": (yaml(f"protein: {'A' * 1000}, copies: 51"), "51000 residues"),
    "modification outside": (yaml("protein: ACDE, modifications: {5: SEP}"), "position 5, outside its 4 residues"),
    "modification at 0": (yaml("protein: ACDE, modifications: {0: SEP}"), "position 0"),
    "modifications as a list": (yaml("protein: ACDE, modifications: [SEP]"), "a mapping from position to code"),
    "unknown modification": (yaml("protein: ACDE, modifications: {1: QQQQQ}"), "QQQQQ"),
    "modification of another kind": (yaml("protein: ACDE, modifications: {2: 5MC}"), "no atom N"),
    "modification without neighbours": (yaml("protein: ACDE, modifications: {2: HEM}"), "cannot stand there"),
    "unknown ligand": (yaml("ligand: XXXXX"), "XXXXX"),
    "small letters in a code": (yaml("ligand: atp"), "ATP"),
    "bad code": (yaml("ligand: 'A TP'"), "'A TP' is not one"),
    "no code": (yaml("ligand: []"), "empty list of CCD codes"),
    "bad SMILES": (yaml("smiles: 'C1CC('"), "C1CC("),
    "empty SMILES": (yaml("smiles: ''"), "0 characters"),
    "impossible SMILES": (yaml("smiles: 'C(C)(C)(C)(C)C'"), "C(C)(C)(C)(C)C"),
    "missing SDF": (yaml("sdf: none.sdf"), "does not exist"),
    "SDF of nothing": (yaml("sdf: msa.a3m"), "0 molecules"),
    "SDF of two": (yaml("sdf: two.sdf"), "2 molecules"),
    "SDF cut": (yaml("sdf: cut.sdf"), "LIG-A"),
    "missing MSA": (yaml("protein: ACDE, msa: none.a3m"), "none.a3m"),
    "empty MSA": (yaml("protein: ACDE, msa: empty.a3m"), "is empty"),
    "MSA is a folder": (yaml("protein: ACDE, msa: ."), "is a folder"),
    "MSA of another sequence": (yaml("protein: ACDF, msa: msa.a3m"), "MSA of another sequence"),
    "MSA is binary": (yaml("protein: ACDE, msa: binary.a3m"), "is not text"),
    "MSA is a CSV": (yaml("protein: ACDE, msa: msa.csv"), "begins with"),
    "path with NUL": ('{"chains": [{"protein": "AC", "msa": "a\\u0000b"}]}', "NUL"),
    "path too long": (yaml(f"protein: ACDE, msa: {'a' * 5000}"), "cannot be read"),
    "template without file": (yaml("protein: ACDE, templates: [{query: 1-2, template: 1-2}]"), "lacks the key 'file'"),
    "template outside": (yaml("protein: ACDE, templates: [{file: t.cif, query: 1-5, template: 1-5}]"), "inside 1 to 4"),
    "template ranges": (yaml("protein: ACDE, templates: [{file: t.cif, query: 1-3, template: 1-2}]"), "equally long"),
    "template falls": (
        yaml("protein: ACDE, templates: [{file: t.cif, query: 3-1, template: 1-3}]"),
        "each range rising",
    ),
    "small ring": (yaml("protein: AC, cyclic: true"), "at least 3 residues"),
    "cyclic word": (yaml("protein: ACDE, cyclic: maybe"), "true or false"),
    "glycan on alanine": (yaml("protein: ACDE, glycans: {1: NAG}"), "only asparagine"),
    "glycan outside": (yaml("protein: ACDE, glycans: {9: NAG}"), "position 9"),
    "glycan notation": (yaml("protein: ACNE, glycans: {3: NAG(NAG}"), "cannot be read at character"),
    "glycan of nothing": (yaml("protein: ACNE, glycans: {3: ''}"), "cannot be read"),
    "glycan crowded": (yaml("protein: ACNE, glycans: {3: NAG(NAG)(NAG)(NAG)(NAG)}"), "no position left"),
    "bond of one": (yaml("protein: CAC", "bonds: [[A:1:SG]]\n"), "two atoms"),
    "bond to nowhere": (yaml("protein: CAC", "bonds: [[A:1:SG, B:1:C]]\n"), "names a chain that the job lacks"),
    "bond outside": (yaml("protein: CAC", "bonds: [[A:1:SG, A:4:SG]]\n"), "residues 1 to 3"),
    "bond atom": (yaml("protein: CAC", "bonds: [[A:1:SG, A:2:SG]]\n"), "is ALA"),
    "bond to itself": (yaml("protein: CAC", "bonds: [[A:1:SG, A:1:SG]]\n"), "to itself"),
    "bond twice": (yaml("protein: CAC", "bonds: [[A:1:SG, A:3:SG], [A:3:SG, A:1:SG]]\n"), "given twice"),
    "bond form": (yaml("protein: CAC", "bonds: [[A.1.SG, A.3.SG]]\n"), "chain:residue:atom"),
    "bond beyond valence": (
        "chains: [{protein: CAC, id: A}, {protein: CAC, id: B}]\nbonds: [[A:1:SG, A:3:SG], [A:1:SG, B:1:SG]]\n",
        "SG",
    ),
    "no seeds": (yaml("protein: CAC", "seeds: []\n"), "no seeds"),
    "negative seed": (yaml("protein: CAC", "seeds: -1\n"), "out of range"),
    "large seed": (yaml("protein: CAC", "seeds: 4294967296\n"), "out of range"),
    "same seed": (yaml("protein: CAC", "seeds: [3, 3]\n"), "Seed 3 is given twice"),
    "word as seed": (yaml("protein: CAC", "seeds: many\n"), "whole numbers"),
    "seed of a half": (yaml("protein: CAC", "seeds: 1.5\n"), "whole numbers"),
    "seed true": (yaml("protein: CAC", "seeds: true\n"), "whole numbers"),
    "name of two lines": ('{"name": "a\\nb", "chains": [{"protein": "AC"}]}', "must be one line"),
    "components missing": (yaml("protein: CAC", "components: my.cif\n"), "does not exist"),
    "components broken": (yaml("protein: CAC", "components: msa.a3m\n"), "mmCIF"),
    # AlphaFold 3.
    "dialect": (af3(dialect="alphafold4"), "dialect 'alphafold4'"),
    "no dialect": (af3(dialect=...), "lacks the key 'dialect'"),
    "version 5": (af3(version=5), "version 5"),
    "version as text": (af3(version="4"), "version '4'"),
    "no version": (af3(version=...), "version None"),
    "af3 unknown key": (af3(seeds=[1]), "unknown key 'seeds'"),
    "af3 no seeds": (af3(modelSeeds=[]), "at least one seed"),
    "af3 no name": (af3(name=...), "lacks the key 'name'"),
    "af3 name is a number": (af3(name=[1]), "expected the job's name"),
    "af3 no sequences": (af3(sequences=[]), "at least one chain"),
    "af3 no id": (af3(sequences=[{"protein": {"sequence": "AC"}}]), "lacks the key 'id'"),
    "af3 kind": (af3(sequences=[{"peptide": {"id": "A"}}]), "unknown key 'peptide'"),
    "af3 CCD_": (af3(sequences=chain(modifications=[{"ptmType": "CCD_SEP", "ptmPosition": 1}])), "without the prefix"),
    "af3 ptm keys": (af3(sequences=chain(modifications=[{"type": "SEP", "ptmPosition": 1}])), "unknown key 'type'"),
    "af3 both MSAs": (af3(sequences=chain(unpairedMsa=">q\nACDE", unpairedMsaPath="msa.a3m")), "give one of them"),
    "af3 path as MSA": (af3(sequences=chain(unpairedMsa="msa.a3m")), "field for paths"),
    "af3 MSA of DNA": (af3(sequences=chain("dna", sequence="ACGT", unpairedMsa="")), "unknown key 'unpairedMsa'"),
    "af3 ligand both": (af3(sequences=[{"ligand": {"id": "A", "ccdCodes": ["MG"], "smiles": "C"}}]), "give one"),
    "af3 ligand none": (af3(sequences=[{"ligand": {"id": "A"}}]), "has 0 descriptions"),
    "af3 codes as text": (af3(sequences=[{"ligand": {"id": "A", "ccdCodes": "ATP"}}]), "a list of component codes"),
    "af3 template": (
        af3(sequences=chain(templates=[{"mmcif": "data_x", "queryIndices": [0], "templateIndices": [0, 1]}])),
        "equally long",
    ),
    "af3 template index": (
        af3(sequences=chain(templates=[{"mmcif": "data_x", "queryIndices": [4], "templateIndices": [0]}])),
        "past the end",
    ),
    "af3 template empty": (
        af3(sequences=chain(templates=[{"mmcif": "", "queryIndices": [], "templateIndices": []}])),
        "is empty",
    ),
    "af3 bond of words": (
        af3(bondedAtomPairs=[[["A", "1", "SG"], ["A", 2, "SG"]]]),
        "[chain id, residue number, atom name]",
    ),
    # AlphaFold Server.
    "server key": (server({"proteinChain": {"sequence": "AC", "copies": 2}}), "unknown key 'copies'"),
    "server kind": (server({"protein": {"sequence": "AC"}}), "unknown key 'protein'"),
    "server count": (server({"proteinChain": {"sequence": "AC", "count": 0}}), "at least 1"),
    "server version": (server({"ion": {"ion": "MG"}}, version=2), "expected 1"),
    "server ion": (server({"ion": {"ion": "QQQQQ"}}), "QQQQQ"),
    "server date": (server({"proteinChain": {"sequence": "AC", "maxTemplateDate": "yesterday"}}), "a date"),
    "server glycan": (
        server({"proteinChain": {"sequence": "AC", "glycans": [{"residues": "NAG", "position": 3}]}}),
        "at most 2",
    ),
    "server seeds": (server({"ion": {"ion": "MG"}}, modelSeeds=["one"]), "whole numbers"),
    # Boltz.
    "boltz pocket": (boltz("constraints: [{pocket: {binder: A}}]\n"), "'pocket', which cannot be honoured"),
    "boltz contact": (boltz("constraints: [{contact: {}}]\n"), "'contact', which cannot be honoured"),
    "boltz templates": (boltz("templates: [{cif: a.cif}]\n"), "'templates', which cannot be honoured"),
    "boltz properties": (boltz("properties: [{affinity: {binder: A}}]\n"), "'properties', which cannot be honoured"),
    "boltz version": ("version: 2\nsequences: [{protein: {id: A, sequence: AC}}]\n", "expected 1"),
    "boltz atom": (boltz("constraints: [{bond: {atom1: [A, 1, N]}}]\n"), "atom2 is None"),
    "boltz CSV": ("sequences: [{protein: {id: A, sequence: AC, msa: a.csv}}]\n", "CSV"),
    "boltz RNA MSA": ("sequences: [{rna: {id: A, sequence: AC, msa: a.a3m}}]\n", "'msa', which cannot be honoured"),
    # FASTA.
    "FASTA empty record": (">a|protein\n>b|protein\nAC\n", "record 1 ('a|protein') is empty"),
    "FASTA kind": (">a|peptide\nAC\n", "'peptide'"),
    "FASTA letters": (">a|rna\nACGT\n", "'T' at position 4"),
    "FASTA code": (">a|ccd\nZZZZZ\n", "ZZZZZ"),
    "FASTA SMILES": (">a|ligand\nnotasmiles\n", "notasmiles"),
    "FASTA fields": (">a|rna|b|c\nAC\n", "has more after its kind"),
    "FASTA gaps": (">a|protein\nAC-DE\n", "'-' at position 3"),
    "FASTA nothing": (";only a comment\n", "0 FASTA records"),
    "FASTA glycan": (">glycan|a\nNAG\n", "is a glycan"),
}

MOL = """
  made by hand

  2  1  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0  0  0  0  0  0  0  0  0  0  0
    1.5000    0.0000    0.0000 O   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0
M  END
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "msa.a3m").write_text(">q\nACDE\n")
    (tmp_path / "msa.csv").write_text("key,sequence\n1,ACDE\n")
    (tmp_path / "empty.a3m").write_text("\n")
    (tmp_path / "binary.a3m").write_bytes(bytes(range(256)))
    (tmp_path / "two.sdf").write_text((MOL + "$$$$\n") * 2)
    (tmp_path / "cut.sdf").write_text("\n\n\n  2  1  0\nM  END\n")
    (tmp_path / "t.cif").write_text("data_t\n")
    return tmp_path


def assert_sentence(message, fragment):
    assert fragment in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 1200


@pytest.mark.parametrize(("content", "fragment"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_job(folder, content, fragment):
    path = folder / "job"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        for job in load_jobs(path):
            job_structure(job)
    assert_sentence(str(caught.value), fragment)


@pytest.mark.parametrize(
    ("name", "fragment"), [("absent", "does not exist"), (".", "is a folder"), ("pipe", "regular file")]
)
def test_broken_path(tmp_path, name, fragment):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError) as caught:
        load_jobs(tmp_path / name)
    assert_sentence(str(caught.value), fragment)


MG = Ligand(ids=("A",), ccd_codes=("MG",))


@pytest.mark.parametrize(
    ("build", "fragment"),
    [
        (lambda: Job(name="a", entities=()), "has no chains"),
        (lambda: Job(name="a", entities=(MG, MG)), "used twice"),
        (lambda: Job(name="a", entities=(MG,), seeds=("1",)), "Job field seeds.0 is '1'"),
        (lambda: Job(name="a", entities=(MG,), seed=1), "Job field seed is 1"),
        (lambda: Job(name="a"), "Job field entities"),
        (lambda: Ligand(ids=()), "has no id"),
        (
            lambda: Job(name="a", entities=(Ligand(ids=("A",), ccd_codes=("MG",), description="\ud800"),)),
            "not valid Unicode",
        ),
        (lambda: Ligand(ids=("A",), smiles="C", molblock="x"), "has 2 descriptions"),
        (lambda: Polymer(kind="protein", ids=("A",), sequence="acde"), "write A"),
        (lambda: Polymer(kind="lipid", ids=("A",), sequence="A"), "Polymer field kind is 'lipid'"),
        (lambda: Polymer(kind="dna", ids=("A",), sequence="ACG", unpaired_msa=""), "predicted without one"),
        (lambda: Polymer(kind="rna", ids=("A",), sequence="ACG", paired_msa=""), "only protein chains"),
        (lambda: Modification(position=1, code=""), "Component code ''"),
        (
            lambda: Polymer(
                kind="protein", ids=("A",), sequence="AC", modifications=(Modification(position=1, code="SEP"),) * 2
            ),
            "two modifications",
        ),
        (lambda: TemplateAlignment(mmcif="x", query_indices=(0, 0), template_indices=(1, 2)), "mapped twice"),
        (lambda: TemplateAlignment(mmcif="x", query_indices=(-1,), template_indices=(1,)), "count from 0"),
        (
            lambda: Job(
                name="a",
                entities=(MG,),
                bonds=(
                    JobBond(
                        first=AtomAddress(chain="A", residue=1, atom="MG"),
                        second=AtomAddress(chain="A", residue=0, atom="MG"),
                    ),
                ),
            ),
            "residues 1 to 1",
        ),
    ],
)
def test_broken_job_in_python(build, fragment):
    with pytest.raises(AnfinsenError) as caught:
        build()
    assert_sentence(str(caught.value), fragment)
