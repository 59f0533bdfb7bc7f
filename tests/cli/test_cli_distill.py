"""`anfinsen distill`: a small untrained network all the way from sequences to a data set, and what is refused."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from anfinsen.cli.app import run
from anfinsen.training.chain_store import ChainStore

FASTA = ">one\nGSWKMDTAYIAKQRQISF\n>two\nMKVLAAGIVGLCAKELPWNYFH\n"
QUICK = ("--model", "alphafold3-mini:random", "--steps", "1", "--recycles", "0", "--device", "cpu")
EVERYTHING = ("--min-plddt", "0", "--min-gdt", "0")


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "many.fasta").write_text(FASTA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> int:
    return run(["distill", *arguments, *QUICK])


def kept(folder: Path) -> list[str]:
    with (folder / "structures" / "manifest.csv").open(newline="") as handle:
        return [row["file"] for row in csv.DictReader(handle)]


def test_sequences_become_a_data_set_and_a_second_run_does_nothing(here, capsys):
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    said = capsys.readouterr().out
    assert "one: kept, 18 of 18 residues" in said
    assert "out: 2 chains to train on, 0 predicted and left out." in said
    assert kept(here / "out") == ["one.cif", "two.cif"]
    # One step of an untrained network is a cloud of 2,000 Å, which 16 bits of 0.01 Å do not hold.
    assert "2 of them are too large for chains/train.parquet." in said
    assert len(ChainStore(here / "out", "train")) == 0
    times = {path: path.stat().st_mtime_ns for path in (here / "out" / "structures").glob("*.cif")}
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    assert "one: done already" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    # Other settings for the same chains are a question, not a silent mixture.
    assert command("many.fasta", "--out", "out", "--min-plddt", "1", "--min-gdt", "0") == 2
    assert "differs in min_plddt" in capsys.readouterr().err


def test_ctrl_c_leaves_what_was_finished_ready_for_training(here, capsys, monkeypatch):
    from anfinsen.inference.alphafold3 import AlphaFold3Predictor

    predict = AlphaFold3Predictor.predict

    def interrupted(self, job, notes=()):
        if job.name == "two":
            raise KeyboardInterrupt
        return predict(self, job, notes)

    with monkeypatch.context() as patch:
        patch.setattr(AlphaFold3Predictor, "predict", interrupted)
        assert command("many.fasta", "--out", "out", *EVERYTHING) == 130
    assert "give the same command again" in capsys.readouterr().err
    assert kept(here / "out") == ["one.cif"]
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    assert kept(here / "out") == ["one.cif", "two.cif"]


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda record: record | {"plddt": ["a"] * 18},
        lambda record: record | {"backbone": [10**30] * len(record["backbone"])},
        lambda record: record | {"gdt": "x"},
        lambda record: record | {"fingerprint": [1]},
        lambda record: record | {"kept": "no"},
        lambda record: record | {"confident": [1] * 18},
        lambda record: record | {"confident": 1},
        lambda record: record | {"name": "two"},
        lambda record: record | {"plddt": [float("nan")] * 18},
    ],
)
def test_a_broken_record_is_named_and_the_other_chains_are_trained_on(here, capsys, change):
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    path = here / "out" / "records" / "one.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    (here / "two.fasta").write_text(FASTA[FASTA.index(">two") :])
    capsys.readouterr()
    assert command("two.fasta", "--out", "out", *EVERYTHING) == 2
    said = capsys.readouterr()
    assert "two: done already" in said.out and "1 chains to train on" in said.out
    assert f"one: The record {Path('out/records/one.json')} cannot be read" in said.err and "bug" not in said.err
    assert kept(here / "out") == ["two.cif"]


def test_a_broken_alignment_leaves_its_chain_out(here, capsys):
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    (here / "out" / "alignments").mkdir(exist_ok=True)
    (here / "out" / "alignments" / "one.a3m").write_text(">query\nACD\n")
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 2
    assert "one: MSA file" in capsys.readouterr().err
    assert kept(here / "out") == ["two.cif"]


def test_a_chain_whose_structure_is_gone_is_made_again(here, capsys):
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    lost = here / "out" / "structures" / "one.cif"
    content = lost.read_text()
    lost.unlink()
    capsys.readouterr()
    assert command("many.fasta", "--out", "out", *EVERYTHING) == 0
    said = capsys.readouterr().out
    assert "one: kept" in said and "two: done already" in said
    assert len(lost.read_text()) == len(content)


def test_alphafold2_teaches_alphafold3_unless_another_is_named(here, shared, capsys):
    (here / "known").mkdir()
    shutil.copy(shared / "data" / "structures" / "protein_dna" / "1RPE.pdb.gz", here / "known")
    assert run(["distill", "--cross", "known", "--min-unresolved", "5", "--out", "crossed", "--recycles", "0"]) == 0
    assert json.loads((here / "crossed" / "records" / "1RPE_L.json").read_text())["model"] == "alphafold2-mini"


def test_partly_unresolved_chains_are_predicted_whole(here, shared, capsys):
    (here / "known").mkdir()
    shutil.copy(shared / "data" / "structures" / "protein_dna" / "1RPE.pdb.gz", here / "known")
    assert command("--cross", "known", "--min-unresolved", "5", "--out", "crossed", *EVERYTHING) == 0
    said = capsys.readouterr()
    assert "1RPE_L: kept, 69 of 69 residues, mean pLDDT" in said.out and "GDT-TS 0." in said.out
    assert "1 partly unresolved chains, 0 of them with an alignment." in said.err
    # The random network's structure agrees with nothing.
    assert command("--cross", "known", "--min-unresolved", "5", "--out", "strict") == 0
    assert "1RPE_L: left out. Its GDT-TS against what is resolved is 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Nothing to predict"),
        (("nothing.fasta",), "does not exist: check the path"),
        (("many.fasta", "--min-gdt", "7"), "'min_gdt' is 7.0: expected 0 to 1"),
        (("many.fasta", "--longest", "5"), "distillation takes 16 residues or more"),
        (("--cross", "many.fasta"), "is not a folder"),
        (("--cross", ".", "--min-unresolved", "2"), "expected 5 or more"),
        (("many.fasta", "--out", "."), "was not made by `anfinsen distill`"),
    ],
)
def test_bad_calls_are_one_sentence(here, capsys, arguments, message):
    assert command(*arguments) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said


def test_training_takes_the_folders_and_their_weights(here, monkeypatch):
    seen = []
    monkeypatch.setattr("anfinsen.training.train", lambda options, progress: seen.append(options) or here)
    arguments = ["--distilled", "a", "--distilled", "b", "--distilled-weight", "0.3", "--distilled-weight", "0.1"]
    assert run(["train", "alphafold3", "--data", ".", *arguments]) == 0
    assert [str(path) for path in seen[0].distilled] == ["a", "b"]
    assert seen[0].distilled_weights == (0.3, 0.1)
    assert run(["train", "alphafold3", "--data", ".", "--distilled", "a"]) == 0
    assert seen[1].distilled_weights == ()
