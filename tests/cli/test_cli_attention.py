"""`anfinsen attention`: its files agree, the page needs no network, and what is wrong is one sentence."""

import base64
import csv
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from anfinsen.cli.app import run
from anfinsen.inference.attention_scores import RANKINGS, SCORES

QUICK = ["--steps", "1", "--recycles", "0", "--device", "cpu"]
EVIL = "</script><b>'x'"
TWO = f'name: "{EVIL}"\nchains:\n  - {{protein: GSWKLLVAAAEELLKRAG, id: A}}\n  - {{protein: KKWEDG, id: B}}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "job.yaml").write_text("name: tiny\nchains:\n  - {protein: GSWK, id: A}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attention")
    (folder / "two.yaml").write_text(TWO)
    assert run(["attention", str(folder / "two.yaml"), "--out", str(folder / "out"), "--top", "3", *QUICK]) == 0
    (made,) = (folder / "out").iterdir()
    return made


def _strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_files_agree(study):
    assert {path.name for path in study.iterdir()} == {"attention.json", "heads.csv", "maps.npz", "attention.html"}
    record = _strict((study / "attention.json").read_text())
    with (study / "heads.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(record["heads"]) == 176
    with np.load(study / "maps.npz") as arrays:
        maps = {name: arrays[name] for name in arrays.files}
    assert record["tokens"] == len(maps["tokens"]) == 24
    assert maps["tokens"][18] == "B 1 LYS"
    for row, head in zip(rows, record["heads"], strict=True):
        assert (row["layer"], int(row["head"])) == (head["layer"], head["head"])
        for score in SCORES:
            assert row[score] == ("" if head[score] is None else str(head[score]))
        weights = maps[f"maps/{head['layer']}"][head["head"]]
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-4)
        crossing = (weights[:18, 18:].sum() + weights[18:, :18].sum()) / 24
        assert head["cross_chain"] == pytest.approx(crossing, abs=1e-5)
        assert sum(head["separations"]) + crossing == pytest.approx(1, abs=1e-4)
        assert head["gate"] == pytest.approx(maps[f"gates/{head['layer']}"][head["head"]].mean(), abs=1e-5)
    by_name = {ranking["title"]: ranking for ranking in record["rankings"]}
    assert set(by_name) == {ranking.title for ranking in RANKINGS}
    first = sorted(record["heads"], key=lambda head: -head["cross_chain"])[:3]
    places = [(head["layer"], head["head"]) for head in first]
    assert [(head["layer"], head["head"]) for head in by_name["Other chains"]["heads"]] == places


def test_the_page_needs_no_network_and_is_safe(study):
    text = (study / "attention.html").read_text()
    without_namespace = text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in without_namespace
    assert "https://" not in without_namespace
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=\"(?!data:)", text)
    assert EVIL not in text
    packed = re.search(r'id="data-attention">([^<]+)<', text).group(1)
    data = _strict(gzip.decompress(base64.b64decode(packed)).decode())
    assert len(data["heads"]) == 176
    assert data["borders"] == [0.75]
    for head in data["heads"]:
        picture = head["map"]
        shades = np.frombuffer(base64.b64decode(picture["bytes"]), dtype=np.uint8)
        assert len(shades) == picture["size"] ** 2 == 24**2
        assert shades.max() == 255
    for ranking in data["rankings"]:
        assert len(ranking["heads"]) <= 3


def test_options_reach_the_run(here, capsys):
    arguments = [
        "attention",
        "job.yaml",
        "--model",
        "alphafold2-mini",
        "--seed",
        "7",
        "--recycles",
        "0",
        "--out",
        "out",
    ]
    assert run([*arguments, "--device", "cpu"]) == 0
    record = _strict((here / "out" / "tiny" / "attention.json").read_text())
    assert (record["seed"], record["recycles"], record["model"]) == (7, 0, "alphafold2-mini")
    # Four residues: no pair is 6 apart, and that is said instead of NaN.
    assert record["contact_share"] is None
    assert "cannot be compared with contacts" in capsys.readouterr().err
    assert {head["contact_auc"] for head in record["heads"]} == {None}


REFUSED = {
    "no such job": (["none.yaml"], "none.yaml"),
    "no heads": (["job.yaml", "--top", "0"], "--top is 0"),
    "negative seed": (["job.yaml", "--seed", "-1"], "seed"),
    "no attention": (["job.yaml", "--model", "alphafold1-mini"], "has no attention"),
    "no such model": (["job.yaml", "--model", "gpt"], "gpt"),
    "no such structure": (["job.yaml", "--structure", "none.cif"], "none.cif"),
    "not a structure": (["job.yaml", "--structure", "job.yaml"], "job.yaml"),
    "several jobs": (["several.json"], "holds 2 jobs"),
    "another's folder": (["job.yaml", "--out", "taken"], "was not made by `anfinsen attention`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_one_sentence(name, here, capsys):
    one = {"modelSeeds": [1], "sequences": [{"proteinChain": {"sequence": "GSWK", "count": 1}}]}
    (here / "several.json").write_text(json.dumps([{"name": "a", **one}, {"name": "b", **one}]))
    (here / "taken" / "tiny").mkdir(parents=True)
    (here / "taken" / "tiny" / "mine.txt").write_text("mine")
    arguments, saying = REFUSED[name]
    assert run(["attention", *arguments, *QUICK]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("anfinsen: ")]
    assert len(lines) == 1
    assert saying in lines[0]
    assert not (here / "attention").exists()
    assert [path.name for path in (here / "taken" / "tiny").iterdir()] == ["mine.txt"]


def test_an_earlier_study_is_not_replaced_unasked(here, capsys):
    folder = here / "attention" / "tiny"
    folder.mkdir(parents=True)
    (folder / "attention.json").write_text('{"format": "anfinsen-attention-1"}')
    assert run(["attention", "job.yaml", *QUICK]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["attention", "job.yaml", "--overwrite", *QUICK]) == 0
    assert (folder / "maps.npz").exists()
