"""AlphaFold 2 by name, from the shell."""

import json

import pytest

from anfinsen.cli.app import run

MODEL = ["--model", "alphafold2-mini:random", "--recycles", "0", "--device", "cpu"]


@pytest.fixture
def job(tmp_path):
    (tmp_path / "a.a3m").write_text(">q\nGSWKAAAAAA\n>h\nGSWKAAAAAA\n>i\nDDDDDDDDDD\n>j\nEEEEEEEEEE\n")
    path = tmp_path / "one.yaml"
    path.write_text("chains:\n  - {protein: GSWKAAAAAA, id: A, msa: a.a3m}\n")
    return path


def test_a_job_becomes_files_and_its_own_record_gives_the_same_bits(job, tmp_path, capsys):
    assert run(["predict", str(job), "--out", str(tmp_path / "out"), *MODEL]) == 0
    shown = capsys.readouterr().out
    assert "one: 1 structure" in shown
    folder = tmp_path / "out" / "one"
    settings = json.loads((folder / "one_settings.json").read_text())
    assert settings["settings"]["samples"] == 1
    assert settings["settings"]["steps"] == 0
    assert run(["predict", str(folder / "one_data.json"), "--out", str(tmp_path / "again"), *MODEL]) == 0
    (model,) = (tmp_path / "again").rglob("seed-1_sample-0/*_model.cif")
    assert model.read_bytes() == (folder / "seed-1_sample-0" / model.name).read_bytes()


def test_inspect_knows_it_and_refuses_what_it_cannot_fold(job, tmp_path, capsys):
    assert run(["inspect", str(job), *MODEL, "--samples", "2"]) == 0
    shown = capsys.readouterr().out
    for part in ("MSA rows 4", "alphafold2-mini:random on cpu (seeds 1, samples 2, recycles 0)", "GiB"):
        assert part in shown, part
    other = tmp_path / "other.yaml"
    other.write_text("chains:\n  - {protein: GSWK, id: A}\n  - {ligand: MG, id: M}\n")
    for command in ("inspect", "predict"):
        out = ["--out", str(tmp_path / "none")] if command == "predict" else []
        assert run([command, str(other), *MODEL, *out]) == 2
        assert "has ligand M: AlphaFold 2 folds protein chains only" in capsys.readouterr().err
    assert not list((tmp_path / "none").rglob("*.cif"))
