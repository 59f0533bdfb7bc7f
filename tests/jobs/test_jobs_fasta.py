"""FASTA jobs: headers of three programs, kinds inferred and said."""

import pytest

from anfinsen.jobs import load_jobs, load_jobs_with_notes


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "body", "kind", "note"),
    [
        (">x", "GATTACA", "dna", "read as DNA"),
        (">x", "GAUUACA", "rna", "read as RNA"),
        (">x", "GACGACN", "dna", "could also be RNA or protein"),
        (">x", "GAUTACA", "protein", "read as protein"),
        (">sp|P00698|LYSC_CHICK Lysozyme C", "KVFGRC", "protein", "read as protein"),
        (">x|protein", "GATTACA", "protein", None),
        (">x|DNA", "gattaca", "dna", "small letters"),
        (">protein|name=pepsin", "GATTACA*", "protein", "stop sign"),
        (">rna|name=hammer", "GACGAC", "rna", None),
    ],
)
def test_fasta_kinds(tmp_path, header, body, kind, note):
    loaded = load_jobs_with_notes(write(tmp_path, "a.fasta", f"{header}\n{body[:4]}\n{body[4:]}\n"))
    assert loaded.jobs[0].entities[0].kind == kind
    about = [text for text in loaded.notes if "is chain" not in text]
    assert (note in " ".join(about)) if note else not about


def test_fasta_ids_and_ligands(tmp_path):
    write(tmp_path, "m.a3m", ">q\nACDE\n")
    text = ";comment\n>B|protein|m.a3m\nACDE\n>a long name|protein|empty\nAC\n>L1|ligand\nCCO\n"
    text += ">B|ccd\nNAG,NAG\n>ligand|name=q\nC\n"
    job = load_jobs(write(tmp_path, "a.fasta", text))[0]
    assert [entity.ids for entity in job.entities] == [("A",), ("C",), ("L1",), ("D",), ("q",)]
    assert job.entities[0].unpaired_msa == ">q\nACDE\n"
    assert job.entities[1].description == "a long name"
    assert job.entities[3].ccd_codes == ("NAG", "NAG")
