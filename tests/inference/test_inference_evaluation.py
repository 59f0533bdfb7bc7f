"""Evaluation: a structure against itself, references with few atoms, superpositions, contacts, and what goes wrong."""

import json
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from anfinsen.alignments import effective_depth, parse_msa
from anfinsen.chemistry import ChainKind, read_structure
from anfinsen.common.errors import InputError
from anfinsen.common.progress import Silent
from anfinsen.inference.evaluation import evaluate
from anfinsen.inference.evaluation_files import (
    STRUCTURE_SUFFIXES,
    Comparison,
    ContactProbabilities,
    PredictedFile,
    comparisons,
    entry_name,
    predicted_files,
    read_classes,
    read_predicted,
)
from anfinsen.inference.evaluation_run import run_evaluations
from anfinsen.jobs import Polymer, load_jobs_with_notes

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "2aee_A.pdb"
TURN = Rotation.from_rotvec([0.4, -1.1, 0.7])


def written(target: Path, *, noise=0.0, atoms=("N", "CA", "C", "O"), chains="A", turned=True, seed=0) -> Path:
    """The example, turned, with noise and pLDDT; copies of it lie 30 Å apart."""
    rng = np.random.default_rng(seed)
    structure = gemmi.read_structure(str(EXAMPLE))
    first = structure[0][0]
    model = gemmi.Model(1)
    for number, name in enumerate(chains):
        chain = gemmi.Chain(name)
        for index, residue in enumerate(first):
            kept = gemmi.Residue()
            kept.name, kept.seqid = residue.name, residue.seqid
            for atom in residue:
                place = np.array(atom.pos.tolist()) + [30.0 * number, 0, 0] + noise * rng.normal(size=3)
                atom.pos = gemmi.Position(*(TURN.apply(place) + 5 if turned else place))
                atom.b_iso = 90 - index / 4
                if atom.name in atoms:
                    kept.add_atom(atom)
                atom.pos = gemmi.Position(*(place - [30.0 * number, 0, 0]))
            chain.add_residue(kept)
        model.add_chain(chain)
    result = gemmi.Structure()
    result.add_model(model)
    result.write_pdb(str(target))
    return target


def judged(predicted: Path, reference: Path, **options):
    (file,) = predicted_files(predicted)
    return evaluate(read_predicted(file), read_structure(reference), **options)


def alpha(path: Path) -> np.ndarray:
    structure = read_structure(path)
    return structure.atoms.coordinates[structure.atoms.name == "CA"].astype(np.float64)


def beta_contacts() -> np.ndarray:
    """Pairs of the example whose CB, placed by the formula of trRosetta, CA for glycine, are within 8 Å."""
    structure = read_structure(EXAMPLE)
    n, ca, c = (structure.atoms.coordinates[structure.atoms.name == name].astype(float) for name in ("N", "CA", "C"))
    b, a = ca - n, c - ca
    beta = -0.58273431 * np.cross(b, a) + 0.56802827 * b - 0.54067466 * a + ca
    beta = np.where((structure.residues.name == "GLY")[:, None], ca, beta)
    return np.linalg.norm(beta[:, None] - beta, axis=-1) < 8.0


def test_the_demos_files_belong_together():
    (job,) = load_jobs_with_notes(EXAMPLE.with_suffix(".yaml")).jobs
    (entity,) = job.entities
    assert isinstance(entity, Polymer)
    assert entity.unpaired_msa
    assert read_structure(EXAMPLE).chains[0].sequence == entity.sequence
    msa = parse_msa(entity.unpaired_msa, entity.sequence, ChainKind.PROTEIN, "The demo's alignment")
    assert 300 < effective_depth(msa) <= msa.depth <= 400


def test_a_structure_against_itself(tmp_path):
    found = judged(written(tmp_path / "made.pdb"), EXAMPLE)
    for name in ("lddt", "lddt_ca", "tm_score", "tm_chain", "gdt_ts", "gdt_ha", "coverage", "contacts_l5"):
        assert found.scores[name] == pytest.approx(1, abs=1e-4), name
    assert found.scores["rmsd"] < 0.002
    # A backbone shows no hand of any residue: that is no score of 0 errors.
    assert "clashes" in found.scores and "chirality_errors" not in found.scores
    assert found.scores["plddt"] == pytest.approx(90 - 103 / 8, abs=0.01)
    (row,) = found.chains
    assert (row["lddt_ca"], row["contacts_of"]) == (1, "model")
    assert found.superposition is not None
    assert found.superposition.by == "TM-align"
    moved = alpha(tmp_path / "made.pdb") @ found.superposition.rotation.T + found.superposition.translation
    np.testing.assert_allclose(moved, alpha(EXAMPLE), atol=0.01)


def test_chains_of_a_complex_are_laid_on_the_reference_as_one_body(tmp_path):
    reference = written(tmp_path / "true.pdb", chains="AB", turned=False)
    made = written(tmp_path / "made.pdb", chains="QP", noise=0.3)
    found = judged(made, reference)
    assert {row["reference_chain"]: row["predicted_chain"] for row in found.chains} == {"A": "Q", "B": "P"}
    assert found.superposition is not None
    assert found.superposition.by == "TM-score"
    moved = alpha(made) @ found.superposition.rotation.T + found.superposition.translation
    assert np.sqrt(((moved - alpha(reference)) ** 2).sum(-1).mean()) == pytest.approx(found.scores["rmsd"], abs=0.02)


def test_without_tmtools_the_superposition_is_that_of_the_tm_score(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tmtools", None)
    found = judged(written(tmp_path / "made.pdb"), EXAMPLE)
    assert found.superposition is not None
    assert found.superposition.by == "TM-score"
    assert any("anfinsen[evaluate]" in note for note in found.notes)
    assert "tm_align" not in found.chains[0]


def test_a_reference_of_ca_atoms_has_every_score_but_contacts(tmp_path):
    reference = written(tmp_path / "true.pdb", atoms=("CA",), turned=False)
    found = judged(written(tmp_path / "made.pdb", noise=0.2), reference)
    assert found.scores["lddt"] == pytest.approx(found.scores["lddt_ca"])
    assert 0.9 < found.scores["tm_score"] < 1
    assert not [name for name in found.scores if name.startswith("contacts")]
    assert found.superposition is not None
    too_few = gemmi.read_structure(str(reference))
    del too_few[0][0][2:]
    too_few.write_pdb(str(tmp_path / "two.pdb"))
    assert judged(tmp_path / "made.pdb", tmp_path / "two.pdb").superposition is None


def test_contacts_of_backbones_are_those_of_ideal_cb_atoms(tmp_path):
    (file,) = predicted_files(written(tmp_path / "made.pdb"))
    predicted, near = read_predicted(file), beta_contacts()
    place = {("A", number): number - 1 for number in range(1, 105)}
    long_range = int(np.triu(near, 24).sum())
    for probability, expected in ((near, 1.0), (~near, 0.0)):
        contacts = ContactProbabilities(place, probability.astype(np.float64))
        given_contacts = type(predicted)(predicted.structure, predicted.library, contacts=contacts)
        (row,) = evaluate(given_contacts, read_structure(EXAMPLE), align=False).chains
        assert row["contacts_of"] == "distogram"
        assert row["contacts_l5"] == row["contacts_l2"] == expected
        # There are fewer contacts than residues; two pairs may lie on the other side of 8 Å.
        assert row["contacts_l"] == pytest.approx(expected * long_range / 104, abs=2 / 104)


def test_one_bad_comparison_does_not_stop_the_rest(tmp_path):
    made = written(tmp_path / "one.pdb", noise=0.1)
    (tmp_path / "junk.pdb").write_text("junk\n")
    files = [PredictedFile("one", made), PredictedFile("junk", tmp_path / "junk.pdb"), PredictedFile("lost", made)]
    tasks = [Comparison("m", file, None if file.name == "lost" else EXAMPLE) for file in files]
    seen: list[object] = []

    class Counting(Silent):
        def stage(self, name, total):
            seen.append((name, total))

        def advance(self, steps=1):
            seen.append(steps)

    found = list(run_evaluations(tasks, progress=Counting()))
    assert [each.evaluation is not None for each in found] == [True, False, False]
    assert found[0].outcome.status == "done"
    assert "not a structure file" in found[1].outcome.message
    assert "no reference called lost" in found[2].outcome.message
    assert seen == [("Comparing structures", 3), 1, 1, 1]


def test_plddt_is_read_only_where_it_can_be_one(tmp_path):
    path = written(tmp_path / "made.pdb")
    (file,) = predicted_files(path)
    assert read_predicted(file).plddt
    assert not read_predicted(file, plddt=False).plddt
    (reference,) = predicted_files(EXAMPLE)  # B-factors of 0
    found = read_predicted(reference)
    assert not found.plddt
    assert found.notes == ("The B-factors are all 0: they were not taken as pLDDT, which is 0 to 100.",)
    assert not len(evaluate(found, read_structure(EXAMPLE)).plddt)


BROKEN = {
    "not square": {"contact_probs": [[1.0, 0.0]], "token_chain_ids": ["A"], "token_res_ids": [1]},
    "not finite": {"contact_probs": [[float("nan")]], "token_chain_ids": ["A"], "token_res_ids": [1]},
    "no residues": {"contact_probs": [[1.0]]},
    "no numbers": {"contact_probs": [["x"]], "token_chain_ids": ["A"], "token_res_ids": [1]},
    "uneven": {"contact_probs": [[1.0]], "token_chain_ids": ["A", "A"], "token_res_ids": [1]},
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_confidences_that_cannot_be_used_are_named(tmp_path, content):
    written(tmp_path / "one_model.pdb")
    (tmp_path / "one_confidences.json").write_text(json.dumps(content))
    (file,) = predicted_files(tmp_path / "one_model.pdb")
    with pytest.raises(InputError, match=r"one_confidences\.json cannot be used"):
        read_predicted(file)


def test_entries_belong_together_by_name(tmp_path):
    for folder in ("made", "true"):
        (tmp_path / folder).mkdir()
    for name in ("One_model.pdb", "two.cif.gz", ".hidden.pdb", "notes.txt"):
        (tmp_path / "made" / name).touch()
    for name in ("ONE.ent", "three.pdb"):
        (tmp_path / "true" / name).touch()
    classes = tmp_path / "classes.csv"
    classes.write_bytes("\ufeffentry,class,more\none, easy ,x\n\n".encode())
    assert read_classes(classes) == {"one": "easy"}
    found = comparisons([("m", tmp_path / "made")], [tmp_path / "true"], classes)
    assert [(each.name, each.reference and each.reference.name, each.kind) for each in found] == [
        ("One", "ONE.ent", "easy"), ("two", None, ""),
    ]  # fmt: skip
    only = comparisons([("m", tmp_path / "made")], [tmp_path / "true" / "three.pdb"])
    assert {each.reference.name for each in only if each.reference} == {"three.pdb"}


def test_names_in_other_letters_are_one_entry_and_one_name_is_one_prediction(tmp_path):
    for folder, name in (
        ("a", "one.pdb"),
        ("b", "ONE.pdb"),
        ("c", "one.pdb"),
        ("c", "One_model.pdb"),
        ("d", "one.pdb"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    both = comparisons([("a", tmp_path / "a"), ("b", tmp_path / "b")], [tmp_path / "d"])
    assert [each.name for each in both] == ["one", "one"]
    with pytest.raises(InputError, match=r"One_model\.pdb and .*one\.pdb have the same name"):
        comparisons([("c", tmp_path / "c")], [tmp_path / "d"])


def test_what_lies_beside_a_result_is_judged_too(tmp_path):
    for name in ("one_model.pdb", "one_summary_confidences.json", "never.pdb"):
        (tmp_path / name).touch()
    assert [file.name for file in predicted_files(tmp_path)] == ["never", "one"]
    (tmp_path / "seed-1_sample-0").mkdir()
    for name in ("x_model.pdb", "x_summary_confidences.json"):
        (tmp_path / "seed-1_sample-0" / name).touch()
    assert [file.name for file in predicted_files(tmp_path)] == ["never", "one"]
    (tmp_path / "one_settings.json").touch()  # a results folder: the other is what the user keeps there
    assert [file.name for file in predicted_files(tmp_path)] == ["one"]
    assert [file.sample for file in predicted_files(tmp_path, every_sample=True)] == ["seed-1_sample-0"]


def test_what_was_chosen_on_reading_is_said_of_both_sides(tmp_path):
    two = gemmi.read_structure(str(written(tmp_path / "made.pdb")))
    two.add_model(two[0])
    two.renumber_models()
    two.write_pdb(str(tmp_path / "two.pdb"))
    notes = judged(tmp_path / "two.pdb", tmp_path / "two.pdb", align=False).notes
    for side in ("Prediction", "Reference"):
        assert f"{side}: The file holds 2 models; model 1 was read." in notes


@given(
    st.text("abcXYZ019-_. ", min_size=1, max_size=12).filter(lambda name: name.strip(". ") == name),
    st.sampled_from(STRUCTURE_SUFFIXES),
    st.sampled_from(["", ".gz", ".GZ"]),
)
def test_entry_names_lose_their_endings(name, suffix, compressed):
    if not name.endswith("_model"):
        assert entry_name(Path(f"{name}{suffix}{compressed}")) == name
        assert entry_name(Path(f"{name}_model{suffix.upper()}{compressed}")) == name
