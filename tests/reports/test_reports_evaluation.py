"""The page and the files of an evaluation: self-contained, honest about what it leaves out, structures laid right."""

import base64
import dataclasses
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import gemmi
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anfinsen.chemistry import read_structure
from anfinsen.common.errors import NonFiniteError, OutputError
from anfinsen.inference.evaluation_files import Comparison, PredictedFile
from anfinsen.inference.evaluation_run import run_evaluations
from anfinsen.jobs import Job, Ligand, Polymer, job_structure
from anfinsen.reports import evaluation_structures
from anfinsen.reports.evaluation import check_target, evaluation_json, write_evaluation
from anfinsen.reports.evaluation_html import evaluation_html
from anfinsen.reports.evaluation_structures import drawn_cif, overlays
from anfinsen.reports.evaluation_summary import Summary

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "2aee_A.pdb"
LENGTH = 32  # residues of it: enough for every score, and quick
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)> @@DATA@@'
NOISE = {"a": 0.2, "b": 0.8, "c": 1.6, "d": 2.4}  # Å, by entry: a is the best, d the worst


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.loads, self.text, self.blocks = [], set(), [], [], {}
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.ids.add(named.get("id"))
        self.loads += [value for key, value in attributes if key in {"src", "href", "srcset", "action"} and value]
        assert not [key for key in named if key.startswith("on")], "no inline handlers"
        self._open = named.get("id") if tag == "script" else None

    def handle_data(self, data):
        if self._open:
            self.blocks[self._open] = self.blocks.get(self._open, "") + data
        self.text.append(data)

    def unpacked(self, name: str) -> str:
        return gzip.decompress(base64.b64decode(self.blocks[name])).decode()


def short(target: Path, *, noise: float = 0.0, seed: int = 0, turned: bool = False) -> Path:
    rng, turn = np.random.default_rng(seed), Rotation.random(random_state=seed)
    structure = gemmi.read_structure(str(EXAMPLE))
    del structure[0][0][LENGTH:]
    for residue in structure[0][0]:
        for atom in residue:
            place = np.array(atom.pos.tolist()) + noise * rng.normal(size=3)
            atom.pos = gemmi.Position(*(turn.apply(place) + 7 if turned else place))
            atom.b_iso = 90 - residue.seqid.num / 2
    structure.write_pdb(str(target))
    return target


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    reference = short(folder / "true.pdb")
    tasks = []
    for entry, noise in NOISE.items():
        for number, (model, more) in enumerate(((EVIL, 0.0), ("other", 0.3))):
            made = short(folder / f"{entry}{number}.pdb", noise=noise + more, seed=len(tasks) + 1, turned=True)
            tasks.append(Comparison(model, PredictedFile(entry, made), reference, "good" if noise < 1 else "bad"))
    return tuple(run_evaluations(tasks))


@pytest.fixture(scope="module")
def page(judged) -> tuple[str, Page]:
    text = evaluation_html(Summary.of(judged))
    return text, Page(text)


def places(cif: str) -> np.ndarray:
    block = gemmi.cif.read_string(cif).sole_block()
    rows = block.find("_atom_site.", ["label_atom_id", "Cartn_x", "Cartn_y", "Cartn_z"])
    return np.array([[float(value) for value in list(row)[1:]] for row in rows if row.str(0) == "CA"])


def test_nothing_is_loaded_from_elsewhere_and_names_are_only_text(page):
    text, parsed = page
    assert all(load.startswith(("#", "data:")) for load in parsed.loads), parsed.loads
    visible = re.sub(r'<script type="application/octet-stream".*?</script>', "", text, flags=re.DOTALL)
    assert "https://" not in visible.replace("http://www.w3.org", "")
    assert parsed.tags.count("script") == 6
    assert "img" not in parsed.tags
    assert any(EVIL in part for part in parsed.text)
    for name in ("means", "structures", "entry", "viewer", "legend", "scores", "pairs", "classes", "calibration"):
        assert name in parsed.ids, name


def test_models_lie_on_the_reference(judged, page):
    _, parsed = page
    entries = json.loads(parsed.unpacked("data-structures"))
    assert [entry["name"] for entry in entries] == ["a", "b", "c", "d"]
    assert [entry["kind"] for entry in entries] == ["good", "good", "bad", "bad"]
    scores = {(each.comparison.model, each.comparison.name): each.evaluation.scores for each in judged}
    true = read_structure(judged[0].comparison.reference).atoms
    for entry in entries:
        reference = places(entry["reference"])
        np.testing.assert_allclose(reference, true.coordinates[true.name == "CA"], atol=0.006)
        for model in entry["models"]:
            found = scores[model["model"], entry["name"]]
            assert (model["tm"], model["lddt"]) == pytest.approx((found["tm_score"], found["lddt"]), abs=1e-5)
            assert model["by"] == "TM-align"
            assert model["tmAlign"] is not None
            distance = np.linalg.norm(places(model["cif"]) - reference, axis=1)
            assert np.median(distance) < 0.5 + 2 * NOISE[entry["name"]]
    assert "var molstar" in parsed.unpacked("data-viewer")


def test_the_best_and_the_worst_stay_when_not_all_fit(judged, monkeypatch):
    summary = Summary.of(judged)
    every = overlays(summary)
    assert (len(every.entries), every.available, every.notes) == (4, 4, ())
    monkeypatch.setattr(evaluation_structures, "MAX_ENTRIES", 3)
    some = overlays(summary)
    assert [entry["name"] for entry in some.entries] == ["a", "b", "d"]
    assert some.notes == (
        "This page shows the structures of 3 of 4 entries, the best and the worst before those between; more would "
        "not fit.",
    )
    entry = every.entries[0]
    size = sum(len(evaluation_structures.packed(t)) for t in (entry["reference"], *(m["cif"] for m in entry["models"])))
    monkeypatch.setattr(evaluation_structures, "MAX_BYTES", int(2.5 * size))
    assert [entry["name"] for entry in overlays(summary).entries] == ["a", "d"]
    monkeypatch.setattr(evaluation_structures, "MAX_BYTES", 10)
    text = evaluation_html(summary)
    assert "0 of 4 entries" in text
    assert "data-viewer" not in Page(text).blocks
    assert "viewer" not in Page(text).ids


def test_a_file_that_is_gone_is_said(judged, tmp_path):
    first = judged[0]
    lost = dataclasses.replace(first.comparison.predicted, structure=tmp_path / "gone.pdb")
    missing = dataclasses.replace(first, comparison=dataclasses.replace(first.comparison, predicted=lost))
    (note,) = overlays(Summary.of([missing])).notes
    assert note.startswith("a cannot be shown. ")
    assert "gone.pdb" in note


def test_what_is_drawn_of_each_kind_of_molecule():
    entities = (
        Polymer(kind="protein", ids=("A",), sequence="GWK"),
        Polymer(kind="rna", ids=("R",), sequence="AC"),
        Ligand(ids=("L2",), ccd_codes=("GOL",)),
    )
    structure, _ = job_structure(Job(name="made", seeds=(1,), entities=entities))
    x = np.random.default_rng(0).normal(size=(len(structure.atoms), 3)) * 9
    resolved = np.arange(len(x)) != 1
    atoms = dataclasses.replace(structure.atoms, coordinates=x, resolved=resolved)
    structure = dataclasses.replace(structure, atoms=atoms)
    drawn = gemmi.make_structure_from_block(gemmi.cif.read_string(drawn_cif(structure)).sole_block())
    names = {chain.name: [atom.name for residue in chain for atom in residue] for chain in drawn[0]}
    hidden = str(atoms.name[1])
    kept = ["N", "CA", "C", "O"] * 3
    kept.remove(hidden)
    assert sorted(names["A"]) == sorted(kept)
    for number, chain in ((1, "R"), (2, "L2")):
        assert names[chain] == [str(name) for name in atoms.name[structure.atom_chain == number]]
    assert [entity.entity_type.name for entity in drawn.entities] == ["Polymer", "Polymer", "NonPolymer"]


def test_the_record_tells_how_models_were_laid(judged):
    record = json.loads(evaluation_json(Summary.of(judged)))
    motion = record["entries"][0]["superposition"]
    assert motion["by"] == "TM-align"
    rotation = np.array(motion["rotation"])
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4)
    none = dataclasses.replace(judged[0], evaluation=dataclasses.replace(judged[0].evaluation, superposition=None))
    assert json.loads(evaluation_json(Summary.of([none])))["entries"][0]["superposition"] is None
    assert overlays(Summary.of([none])).available == 0


def test_means_count_only_entries_that_every_model_has(judged):
    summary = Summary.of(judged[:-1])  # the last model lacks d
    common = summary.common("lddt")
    assert {len(values) for values in common.values()} == {3}
    assert len(summary.values("lddt")[EVIL]) == 4
    assert summary.classes == ("bad", "good")
    assert summary.common("lddt", "bad")["other"] == [judged[5].evaluation.scores["lddt"]]
    calibration = summary.calibration("other")
    assert calibration is not None
    assert calibration["residues"] == 3 * LENGTH == sum(row["residues"] for row in calibration["bins"])


def test_numbers_that_are_not_finite_are_never_written(judged, tmp_path):
    broken = dataclasses.replace(judged[0].evaluation, scores={"lddt": float("nan")})
    with pytest.raises(NonFiniteError, match="nothing is written"):
        write_evaluation([dataclasses.replace(judged[0], evaluation=broken)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_evaluations_are_replaced(judged, tmp_path):
    target = tmp_path / "out"
    check_target(target, overwrite=False)
    write_evaluation(judged[:1], target)
    assert {path.name for path in target.iterdir()} == {
        "evaluation.html", "evaluation.csv", "evaluation.json", "chains.csv", "calibration.csv",
    }  # fmt: skip
    check_target(target, overwrite=True)
    with pytest.raises(OutputError, match="give --overwrite"):
        check_target(target, overwrite=False)
    (target / "evaluation.json").write_text("[]")
    with pytest.raises(OutputError, match="was not made by"):
        check_target(target, overwrite=True)
