"""What the commands do when all is well."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import anfinsen
from anfinsen.cli.app import run

JOB = """\
name: my complex
chains:
  - protein: GSWK
    id: A
  - ligand: MG
    id: M
"""
QUICK = ["--model", "alphafold3-mini:random", "--samples", "2", "--steps", "2", "--recycles", "0", "--device", "cpu"]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_predict_writes_the_documented_files_and_its_own_job_gives_the_same_bits(job, tmp_path, capsys):
    assert run(["predict", str(job), "--out", str(tmp_path / "out"), *QUICK, "--seeds", "1,2"]) == 0
    shown = capsys.readouterr().out
    assert "my complex: 4 structures" in shown
    assert "report.html" in shown
    folder = tmp_path / "out" / "my_complex"
    first = _files(folder)
    stems = ["my_complex"]
    stems += [f"seed-{s}_sample-{n}/my_complex_seed-{s}_sample-{n}" for s in (1, 2) for n in (0, 1)]
    endings = ("model.cif", "confidences.json", "summary_confidences.json")
    expected = {f"{stem}_{ending}" for stem in stems for ending in endings}
    expected |= {"my_complex_data.json", "my_complex_ranking_scores.csv", "my_complex_settings.json", "report.html"}
    assert set(first) == expected

    data = folder / "my_complex_data.json"
    assert json.loads(data.read_text())["modelSeeds"] == [1, 2]
    assert run(["predict", str(data), "--out", str(tmp_path / "again"), *QUICK]) == 0
    again = _files(tmp_path / "again" / "my_complex")
    for name in first:
        # What was inferred while reading the first file is not inferred again; everything else is the same.
        if name not in {"report.html", "my_complex_settings.json"}:
            assert first[name] == again[name], name

    capsys.readouterr()
    assert run(["predict", str(job), "--out", str(tmp_path / "out"), *QUICK, "--seeds", "1,2"]) == 0
    assert "done already, skipped" in capsys.readouterr().out


def test_inspect_shows_chains_and_estimates(job, capsys):
    assert run(["inspect", str(job), "--model", "alphafold3-full:random"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "my complex",
        "protein",
        "ligand",
        "MG",
        "Tokens 5,",
        "atoms",
        "bonds",
        "GiB",
        "rdkit 4",
        "single-atom 1",
    ):
        assert part in shown, part


def test_inspect_shows_how_deep_an_alignment_is(tmp_path, capsys):
    # Three kinds of sequence, one of them twice.
    (tmp_path / "a.a3m").write_text(">q\nGSWKAAAAAA\n>h\nGSWKAAAAAA\n>i\nDDDDDDDDDD\n>j\nEEEEEEEEEE\n")
    path = tmp_path / "deep.yaml"
    path.write_text("chains:\n  - {protein: GSWKAAAAAA, id: [A, B], msa: a.a3m}\n  - {ligand: MG, id: M}\n")
    assert run(["inspect", str(path), "--model", "alphafold3-mini:random"]) == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line[:2] in ("A ", "B ", "M ", "ch")}
    assert lines["chain"].count("N_eff") == 1
    assert lines["A"][2:8] == ["10", "10", lines["A"][4], "4", "3.0", "0"]
    assert lines["B"][5:7] == ["4", "3.0"]
    assert "3.0" not in lines["M"]


def test_inspect_fits_a_narrow_terminal_and_names_atoms(tmp_path, capsys):
    path = tmp_path / "many.yaml"
    path.write_text(
        "chains:\n  - {protein: GSWKAAAAAA, id: A, modifications: {2: SEP}}\n  - {ion: MG, copies: 12}\n"
        "  - {smiles: CC(=O)Oc1ccccc1C(=O)O, id: [S, U]}\n"
    )
    assert run(["inspect", str(path), "--model", "alphafold3-mini:random"]) == 0
    shown = capsys.readouterr().out.splitlines()
    table = shown[: shown.index(next(line for line in shown if line.startswith("Not standard")))]
    assert len(table) == 3 + 15 and max(map(len, table)) <= 80  # one line a chain
    assert "SEP (chain A)" in shown[len(table)] and "and 4 more)" in shown[len(table)]
    assert "Atoms of chains S, U: [C1][C2](=[O1])[O2][C3]1=[C4][C5]=[C6][C7]=[C8]1[C9](=[O3])[O4]" in shown


def test_inspect_knows_alphafold1(job, tmp_path, capsys):
    (tmp_path / "a.a3m").write_text(">q\nGSWKAAAAAA\n>h\nGSWKAAAAAA\n>i\nDDDDDDDDDD\n>j\nEEEEEEEEEE\n")
    path = tmp_path / "one.yaml"
    path.write_text("chains:\n  - {protein: GSWKAAAAAA, id: A, msa: a.a3m}\n")
    arguments = ["--model", "alphafold1-mini:random", "--device", "cpu", "--seeds", "1,2"]
    assert run(["inspect", str(path), *arguments]) == 0
    shown = capsys.readouterr().out
    for part in ("3.0", "Tokens 10,", "MSA rows 4", "alphafold1-mini:random on cpu (seeds 2, samples 5)", "GiB"):
        assert part in shown, part
    assert "recycles" not in shown
    assert run(["inspect", str(job), *arguments]) == 2
    assert "AlphaFold 1 folds one protein chain alone" in capsys.readouterr().err


def test_schema_is_json(capsys):
    assert run(["schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)


def test_version_and_help(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"anfinsen {anfinsen.__version__}"
    for command in ([], ["predict"], ["inspect"], ["schema"], ["train"], ["train", "alphafold3"]):
        assert run([*command, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out


def test_starting_up_loads_nothing_heavy():
    code = (
        "import sys, anfinsen.cli.app\n"
        "assert anfinsen.cli.app.run(['--help']) == 0\n"
        "print([m for m in ('torch', 'rdkit', 'numpy', 'biotite', 'pandas') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_a_reader_that_goes_away_is_no_error():
    code = "from anfinsen.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), message) == (0, b"")


def test_public_names():
    assert set(anfinsen.__all__) <= set(dir(anfinsen))
    for name in anfinsen.__all__:
        assert getattr(anfinsen, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(anfinsen, "nonsense".lower())


def test_predict_relaxes_what_it_predicted(job, tmp_path, capsys):
    pytest.importorskip("openmm")
    assert run(["predict", str(job), "--out", str(tmp_path / "out"), *QUICK, "--relax", "best"]) == 0
    shown = capsys.readouterr()
    assert "Relaxed: seed" in shown.out
    assert "left in place: M (ligand)" in shown.err
    folder = tmp_path / "out" / "my_complex"
    settings = json.loads((folder / "my_complex_settings.json").read_text())
    assert settings["fingerprint"]["relax"] == settings["settings"]["relax"] == "best"
    assert settings["versions"]["openmm"]
    assert (folder / "my_complex_unrelaxed.cif").exists()
    # Without relaxation, it is another run.
    assert run(["predict", str(job), "--out", str(tmp_path / "out"), *QUICK]) == 2
    assert "relax (best then, none now)" in capsys.readouterr().err


def test_relaxation_without_openmm_is_refused_before_anything_is_done(job, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    assert run(["predict", str(job), "--out", str(tmp_path / "out"), *QUICK, "--relax", "all"]) == 2
    assert capsys.readouterr().err == "anfinsen: Relaxation needs OpenMM: pip install 'anfinsen[relax]'.\n"
    assert not (tmp_path / "out").exists()
