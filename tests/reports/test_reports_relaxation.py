"""Relaxed predictions: which structures, what is written beside them, and what a page and a record say."""

import dataclasses
import json

import numpy as np
import pytest
from made_prediction import made_prediction

from anfinsen.chemistry import read_structure
from anfinsen.inference import Fingerprint, run_record
from anfinsen.inference.evaluation_files import predicted_files
from anfinsen.inference.relax import relaxed_prediction
from anfinsen.jobs import Job, Modification
from anfinsen.reports import model_cif, report_html, write_results
from relaxable import made, protein

pytest.importorskip("openmm")
RUN = Fingerprint(job="j", seeds=(1, 7), weights="w", samples=2, recycles=1, steps=20, version="0.1.0", relax="best")


def _prediction(*entities, noise=0.1):
    structure, library, x = made(*entities)
    x = x + noise * np.random.default_rng(0).normal(size=x.shape)
    atoms = dataclasses.replace(structure.atoms, coordinates=x, resolved=np.ones(len(x), dtype=bool))
    structure = dataclasses.replace(structure, atoms=atoms)
    job = Job(name="small", seeds=(1, 7), entities=entities)
    return made_prediction(job, structure=structure, library=library)


@pytest.fixture(scope="module")
def plain():
    return _prediction(protein("GSWKYEAF"))


@pytest.fixture(scope="module")
def best(plain):
    return relaxed_prediction(plain, "best")


def test_the_best_or_all_are_relaxed(plain, best):
    first = best.ranking[0]
    assert set(best.relaxations) == {(first.index, first.sample)}
    assert best.ranking == plain.ranking
    for ranked in plain.ranking:
        same = np.array_equal(best.coordinates(ranked), plain.coordinates(ranked))
        assert same == (ranked != first)
        assert (best.relaxation(ranked) is None) == (ranked != first)
    np.testing.assert_array_equal(best.relaxation(first).unrelaxed, plain.coordinates(first))
    assert best.seeds[0].coordinates.dtype == np.float32
    every = relaxed_prediction(plain, "all")
    assert len(every.relaxations) == 4
    np.testing.assert_array_equal(every.coordinates(first), best.coordinates(first))
    assert relaxed_prediction(plain, "none") is plain


def test_files_stand_beside_those_of_the_model(best, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    write_results(best, folder, RUN)
    first, second = best.ranking[:2]
    label = f"seed-{first.seed}_sample-{first.sample}"
    names = {path.name for path in folder.rglob("*") if "relax" in path.name}
    kinds = ("unrelaxed.cif", "relaxation.json")
    assert names == {f"{stem}_{kind}" for stem in ("small", f"small_{label}") for kind in kinds}
    relaxation = best.relaxation(first)
    for kind, wanted in (("model", relaxation.coordinates), ("unrelaxed", relaxation.unrelaxed)):
        found = read_structure(folder / f"small_{kind}.cif").atoms.coordinates
        np.testing.assert_allclose(found, wanted, atol=6e-4)
    assert "relaxation" not in (folder / "small_unrelaxed.cif").read_text()
    assert "'Amber ff14SB, OpenMM" in (folder / "small_model.cif").read_text()
    assert model_cif(best, second, unrelaxed=True) == model_cif(best, second)
    # Whoever reads the folder takes the relaxed structures.
    assert [file.structure.name for file in predicted_files(folder)] == ["small_model.cif"]
    assert all(f.structure.name.endswith("_model.cif") for f in predicted_files(folder, every_sample=True))


def test_numbers_are_told(best, tmp_path):
    record = json.loads(json.dumps(best.relaxation(best.ranking[0]).record(), allow_nan=False))
    assert record["energy_after"] < record["energy_before"]
    assert record["residues_violating_after"] == 0
    assert record["stereochemistry_after"]["bond_rmsd"] < record["stereochemistry_before"]["bond_rmsd"]
    assert 0.02 < record["rmsd"] < 1.0
    assert record["residues"] == 8
    assert best.versions["openmm"] in record["software"]
    run = run_record(best, RUN)
    assert run["fingerprint"]["relax"] == "best"
    assert "openmm" in run["versions"]
    models = {f"seed-{r.seed}_sample-{r.sample}": "" for r in best.ranking}
    page = report_html(best, models)
    assert page.count("Relaxed: seed") == 1
    assert "residues with violations" in page


def test_what_cannot_be_relaxed_is_left_with_a_note():
    plain = _prediction(protein("GSWKSEAF", modifications=(Modification(position=5, code="SEP"),)))
    found = relaxed_prediction(plain, "best")
    assert found.relaxations == {}
    np.testing.assert_array_equal(found.seeds[0].coordinates, plain.seeds[0].coordinates)
    assert found.notes[: len(plain.notes)] == plain.notes
    (note,) = found.notes[len(plain.notes) :]
    assert note.startswith("Sample 0 of seed 1 was not relaxed: relaxation left protein chain A in place: ")
    assert "SEP 5" in note
