"""`anfinsen evaluate`: layouts of predictions, models over a data set, and one sentence for what is wrong."""

import csv
import gzip
import json
import re
import shutil
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest

from anfinsen.cli.app import run
from anfinsen.inference.evaluation_files import predicted_files
from anfinsen.reports.evaluation_summary import rounded

SEQUENCE = "GSWKYEAFLRGSWKYEAFLRGSWKYEAFLR"
CODES = gemmi.expand_one_letter_sequence(SEQUENCE, gemmi.ResidueKind.AA)


def model(noise: float = 0.0, seed: int = 0, plddt=None) -> gemmi.Structure:
    """A chain of backbones on a helix of wide turns; nothing else is needed to be compared."""
    rng = np.random.default_rng(seed)
    chain = gemmi.Chain("A")
    for index, code in enumerate(CODES):
        turn = 0.6 * index
        centre = np.array([9 * np.cos(turn), 9 * np.sin(turn), 1.1 * index])
        residue = gemmi.Residue()
        residue.name, residue.seqid = code, gemmi.SeqId(index + 1, " ")
        for name, place in (
            ("N", (-1.2, 0.3, 0.0)),
            ("CA", (0.0, 0.0, 0.6)),
            ("C", (1.2, -0.3, 0.0)),
            ("O", (1.5, -1.3, 0.4)),
        ):
            atom = gemmi.Atom()
            atom.name, atom.element = name, gemmi.Element(name[0])
            atom.pos = gemmi.Position(*(centre + np.array(place) + noise * rng.normal(size=3)))
            atom.b_iso = 50 + index if plddt is None else plddt
            residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model(1))
    structure[0].add_chain(chain)
    structure.setup_entities()
    structure.assign_label_seq_id()
    return structure


def results_folder(folder: Path, name: str, noise: float) -> Path:
    """What `anfinsen predict` leaves, as far as it is read."""
    target = folder / name
    for label, extra in (("", 0.0), ("seed-1_sample-0", 0.0), ("seed-1_sample-1", 1.0)):
        place = target / label
        place.mkdir(parents=True, exist_ok=True)
        stem = f"{name}_{label}" if label else name
        model(noise + extra, 3).make_mmcif_document().write_file(str(place / f"{stem}_model.cif"))
        scores = {"ptm": 0.8, "iptm": None, "ranking_score": 0.75 - extra}
        (place / f"{stem}_summary_confidences.json").write_text(json.dumps(scores))
        n = len(SEQUENCE)
        confidences = {
            "contact_probs": np.eye(n).tolist(), "token_chain_ids": ["A"] * n, "token_res_ids": list(range(1, n + 1)),
        }  # fmt: skip
        (place / f"{stem}_confidences.json").write_text(json.dumps(confidences))
    return target


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "references").mkdir()
    for name in ("one", "two", "three"):
        model().write_pdb(str(tmp_path / "references" / f"{name.upper()}.pdb"))
    for folder, noise in (("good", 0.2), ("bad", 0.9)):
        (tmp_path / folder).mkdir()
        for seed, name in enumerate(("one", "two")):
            model(noise, seed + 1).write_pdb(str(tmp_path / folder / f"{name}.pdb"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_models_over_a_data_set(here, capsys):
    (here / "classes.csv").write_text("entry,class\none,easy\nTWO,hard\n")
    (here / "good" / "three.pdb").write_text("nothing\n")
    (here / "bad" / "four.pdb").write_bytes((here / "bad" / "one.pdb").read_bytes())
    arguments = [
        "--model",
        "mine=good",
        "--model",
        "<b>theirs=bad",
        "references",
        "--classes",
        "classes.csv",
        "--out",
        "out",
    ]
    assert run(["evaluate", *arguments]) == 2
    seen = capsys.readouterr()
    assert "4 of 6 comparisons scored; results in out" in seen.out
    assert "mine: three: three.pdb is not a structure file" in seen.err
    assert "<b>theirs: four: There is no reference called four" in seen.err

    table = rows(here / "out" / "evaluation.csv")
    assert [(row["model"], row["entry"], row["class"]) for row in table] == [
        ("mine", "one", "easy"), ("mine", "three", ""), ("mine", "two", "hard"),
        ("<b>theirs", "four", ""), ("<b>theirs", "one", "easy"), ("<b>theirs", "two", "hard"),
    ]  # fmt: skip
    assert table[1]["lddt"] == ""
    assert "not a structure file" in table[1]["error"]
    assert float(table[0]["lddt"]) > float(table[4]["lddt"]) > 0.2

    record = json.loads((here / "out" / "evaluation.json").read_text())
    assert record["format"] == "anfinsen-evaluation-1"
    assert {name: each["failed"] for name, each in record["models"].items()} == {"mine": 1, "<b>theirs": 1}
    mine = record["models"]["mine"]["scores"]
    assert mine["all"]["lddt"]["entries"] == 2
    assert mine["easy"]["lddt"]["mean"] == record["entries"][0]["scores"]["lddt"]
    assert mine["all"]["lddt"]["mean"] == pytest.approx(
        (mine["easy"]["lddt"]["mean"] + mine["hard"]["lddt"]["mean"]) / 2, abs=1e-5
    )
    assert set(mine["all"]) <= set(record["scores"])
    assert [row["residues"] for row in rows(here / "out" / "calibration.csv") if row["model"] == "mine"][5:8] == [
        "20",
        "20",
        "20",
    ]
    assert len(rows(here / "out" / "chains.csv")) == 4

    page = (here / "out" / "evaluation.html").read_text()
    assert "@@" not in page
    assert "&lt;b&gt;theirs" in page
    assert "<b>theirs" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    for heading in ("<h3>easy</h3>", "<h3>hard</h3>", "three.pdb is not a structure file"):
        assert heading in page
    assert "<strong>" in page


def test_means_side_by_side_are_of_the_same_entries(here, capsys):
    shutil.copy(here / "good" / "one.pdb", here / "good" / "three.pdb")
    (here / "bad" / "two.pdb").unlink()
    arguments = ["evaluate", "--model", "good=good", "--model", "bad=bad", "references", "--out", "out"]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    lines = {tuple(line.split()[:2]): line.split()[2:] for line in shown.splitlines() if line.strip()}
    assert lines["good", "mean"] == ["of", "1", *lines["good", "one"]]
    assert lines["bad", "mean"] == ["of", "1", *lines["bad", "one"]]
    assert "Means are over the entries that all models have" in shown
    record = json.loads((here / "out" / "evaluation.json").read_text())
    assert record["models"]["good"]["scores"]["all"]["lddt"]["entries"] == 3


def test_models_without_a_common_entry_have_no_means(here, capsys):
    (here / "bad" / "one.pdb").unlink()
    (here / "good" / "two.pdb").unlink()
    assert run(["evaluate", "--model", "good=good", "--model", "bad=bad", "references", "--out", "out"]) == 0
    shown = capsys.readouterr().out
    assert "mean of" not in shown
    assert "no entry in common" in shown


def test_the_same_run_gives_the_same_bytes_and_replaces_only_when_asked(here, capsys):
    command = ["evaluate", "good", "references", "--out", "out"]
    assert run(command) == 0
    before = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    assert run(command) == 2
    assert "give --overwrite to replace it" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0
    assert {path.name: path.read_bytes() for path in (here / "out").iterdir()} == before
    assert str(here).encode() not in b"".join(before.values())
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("mine")
    assert run([*command[:-1], "mine", "--overwrite"]) == 2
    assert "was not made by `anfinsen evaluate`" in capsys.readouterr().err
    assert [path.name for path in (here / "mine").iterdir()] == ["thesis.txt"]


def test_entries_and_references_that_nothing_uses_are_named(here, capsys):
    (here / "classes.csv").write_text("entry,class\none,easy\ntypo,hard\n")
    assert run(["evaluate", "good", "references", "--classes", "classes.csv"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "note: References without a prediction: THREE." in said
    assert "note: Entries of classes.csv without a prediction: typo." in said


def test_names_in_other_letters_share_the_page(here, capsys):
    (here / "upper").mkdir()
    (here / "upper" / "ONE.pdb").write_bytes((here / "bad" / "one.pdb").read_bytes())
    assert run(["evaluate", "--model", "a=good", "--model", "b=upper", "references", "--out", "out"]) == 0
    page = (here / "out" / "evaluation.html").read_text()
    assert 'aria-label="Table: means"' in page
    assert "Prediction: Chain" in page
    capsys.readouterr()


def test_results_folders_with_their_confidences(here, capsys):
    results_folder(here / "results", "one", 0.1)
    results_folder(here / "results", "two", 0.2)
    assert run(["evaluate", "results", "references", "--out", "a"]) == 0
    first = json.loads((here / "a" / "evaluation.json").read_text())
    assert [row["entry"] for row in first["entries"]] == ["one", "two"]
    assert first["entries"][0]["model"] == "results"
    scores = first["entries"][0]["scores"]
    assert (scores["ptm"], scores["ranking_score"]) == (0.8, 0.75)
    assert "iptm" not in scores
    # The backbones have no CB, so there are no contacts to compare but glycine's; none of these is 24 apart.
    assert scores["plddt"] == pytest.approx(50 + 14.5)
    assert run(["evaluate", "results/one", "references/ONE.pdb", "--all-samples", "--out", "b"]) == 0
    second = json.loads((here / "b" / "evaluation.json").read_text())["entries"]
    assert [row["entry"] for row in second] == ["one/seed-1_sample-0", "one/seed-1_sample-1"]
    assert second[0]["scores"]["lddt"] > second[1]["scores"]["lddt"]
    assert second[1]["scores"]["ranking_score"] == -0.25
    capsys.readouterr()


def test_one_file_is_compared_with_one_file_whatever_their_names(here, capsys):
    (here / "x.pdb.gz").write_bytes(gzip.compress((here / "good" / "one.pdb").read_bytes()))
    assert predicted_files(here / "x.pdb.gz")[0].name == "x"
    assert run(["evaluate", "x.pdb.gz", "references/TWO.pdb"]) == 0
    assert "1 of 1 comparisons scored; results in evaluation" in capsys.readouterr().out
    (row,) = rows(here / "evaluation" / "evaluation.csv")
    assert (row["entry"], row["error"]) == ("x", "")


def test_b_factors_that_are_no_plddt(here, capsys):
    for name, value in (("same", 30.0), ("share", None)):
        (here / name).mkdir()
        structure = model(0.1, 5, value)
        if value is None:
            for atom in (site.atom for site in structure[0].all()):
                atom.b_iso /= 100
        structure.write_pdb(str(here / name / "one.pdb"))
        assert run(["evaluate", name, "references", "--out", f"out-{name}"]) == 0
        (entry,) = json.loads((here / f"out-{name}" / "evaluation.json").read_text())["entries"]
        assert "plddt" not in entry["scores"]
        assert "were not taken as pLDDT" in entry["notes"][0]
    assert run(["evaluate", "good", "references", "--no-plddt", "--out", "out"]) == 0
    assert not (here / "out" / "calibration.csv").exists()
    capsys.readouterr()


def test_without_plotly_the_other_files_are_there(here, capsys, monkeypatch):
    def missing(_package, _path):
        from anfinsen.common.errors import MissingExtraError

        raise MissingExtraError("The report needs plotly: pip install 'anfinsen[report]'.")

    monkeypatch.setattr("anfinsen.reports.page.packed_library", missing)
    assert run(["evaluate", "good", "references", "--out", "out"]) == 0
    assert "evaluation.html was not written. The report needs plotly" in capsys.readouterr().err
    assert {path.name for path in (here / "out").iterdir()} == {
        "evaluation.json", "evaluation.csv", "chains.csv", "calibration.csv",
    }  # fmt: skip


WRONG = {
    "one path": (["good"], "expected predictions and at least one reference"),
    "no prediction": (["missing", "references"], "'missing' does not exist"),
    "no reference": (["good", "missing"], "'missing' does not exist"),
    "empty prediction": (["empty", "references"], "holds no predictions"),
    "empty reference": (["good", "empty"], "holds no structures"),
    "model without a name": (["references", "--model", "good"], "expected NAME=PATH"),
    "model twice": (["references", "--model", "a=good", "--model", "a=bad"], "names 'a' twice"),
    "same references": (["good", "references", "other"], "have the same name"),
    "no classes": (["good", "references", "--classes", "missing.csv"], "cannot be read as CSV"),
    "one column": (["good", "references", "--classes", "one.csv"], "has 1 column in line 2"),
    "class twice": (["good", "references", "--classes", "twice.csv"], "has entry 'ONE' twice"),
    "prediction twice": (["double", "references"], "have the same name"),
    "no entries": (["good", "references", "--classes", "none.csv"], "has no entries"),
    "all fail": (["junk", "references"], "is not a structure file"),
    "other molecule": (["glycine.pdb", "references/ONE.pdb"], "at least 70% is needed"),
    "bad confidences": (["broken", "references"], "cannot be read as JSON"),
}


@pytest.mark.parametrize(("arguments", "saying"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_gets_one_sentence_and_no_folder(here, capsys, arguments, saying):
    for folder in ("empty", "other", "junk", "double"):
        (here / folder).mkdir()
    (here / "other" / "one.pdb").write_bytes((here / "references" / "ONE.pdb").read_bytes())
    (here / "junk" / "one.pdb").write_text("junk\n")
    (here / "double" / "one.pdb").touch()
    (here / "double" / "one.cif").touch()
    (here / "twice.csv").write_text("entry,class\none,easy\nONE,hard\n")
    (here / "one.csv").write_text("entry,class\none\n")
    (here / "none.csv").write_text("entry,class\n")
    text = re.sub(r"(?m)^(ATOM.{13})[A-Z]{3}", r"\1GLY", (here / "good" / "one.pdb").read_text())
    (here / "glycine.pdb").write_text(re.sub(r"(?m)^SEQRES.*\n", "", text))
    broken = results_folder(here / "broken", "one", 0.1)
    (broken / "one_confidences.json").write_text("{")
    assert run(["evaluate", *arguments, "--out", "out"]) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1
    assert saying in message[0]
    assert message[0].startswith("anfinsen: ")
    assert not (here / "out").exists()


def test_posebusters_missing(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "posebusters", None)
    assert run(["evaluate", "good", "references", "--posebusters", "--out", "out"]) == 2
    assert "anfinsen[posebusters]" in capsys.readouterr().err
    assert not (here / "out").exists()


def test_rounded():
    assert rounded({"a": [1.234567, (np.float64(-1e-9), "x", None, 3)]}) == {"a": [1.23457, [0.0, "x", None, 3]]}
    assert str(rounded(-1e-9)) == "0.0"
