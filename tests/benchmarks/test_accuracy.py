"""The benchmark measures what it says: against RDKit, scipy and brute force, and it goes on where it stopped."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdMolAlign
from scipy import stats

from anfinsen.chemistry import ChainKind, ComponentLibrary
from anfinsen.common.errors import ConfigError, InputError
from anfinsen.inference.evaluation_files import Predicted
from anfinsen.inference.evaluation_pair import Pair
from anfinsen.jobs import Job, Ligand, Modification, Polymer, job_structure
from anfinsen.metrics.ligands import isomorphisms

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = ("models", "scores", "tables", "runs")


@pytest.fixture(scope="module")
def accuracy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        modules = {name: importlib.import_module(f"accuracy_{name}") for name in NAMES}
        yield SimpleNamespace(main=importlib.import_module("accuracy"), **modules)
        for name in ("accuracy", *(f"accuracy_{name}" for name in NAMES)):
            del sys.modules[name]


def _complex(*entities, seed=0):
    """Every residue as its component's ideal conformer, residues of a chain 5 Å apart on a walk."""
    structure, library = job_structure(Job(name="made", seeds=(1,), entities=entities))
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(len(structure.residues), 3))
    walk = np.cumsum(5.0 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    x = walk[structure.atoms.residue]
    for row in range(len(x)):
        component = library.get(str(structure.residues.name[structure.atoms.residue[row]]))
        place = component.atom_names.tolist().index(structure.atoms.name[row])
        x[row] += component.ideal[place] - component.ideal.mean(0)
    return _at(structure, x), library


def _at(structure, x, resolved=None):
    known = np.ones(len(x), dtype=bool) if resolved is None else resolved
    atoms = dataclasses.replace(structure.atoms, coordinates=x.astype(np.float64), resolved=known)
    return dataclasses.replace(structure, atoms=atoms)


ENTITIES = (
    Polymer(kind="protein", ids=("A", "B"), sequence="GSWKYEAFLR"),
    Polymer(kind="rna", ids=("R",), sequence="ACGU"),
    Polymer(kind="dna", ids=("D", "E"), sequence="ACGT"),
    Ligand(ids=("L",), ccd_codes=("ATP",)),
    Ligand(ids=("M",), ccd_codes=("ZN",)),
)


def test_lddt_of_every_class_is_that_of_a_loop_over_pairs(accuracy):
    rng = np.random.default_rng(1)
    structure, _ = _complex(*ENTITIES)
    true, chain, residue = structure.atoms.coordinates, structure.atom_chain, structure.atoms.residue
    x = true + rng.normal(size=true.shape)
    known = rng.random(len(x)) < 0.8
    order = accuracy.scores.KINDS
    kind = [order.index(structure.chains[c].kind) for c in chain]
    kept, total = {}, {}
    apart, made = (np.linalg.norm(y[:, None] - y, axis=-1).tolist() for y in (true, x))
    for i in range(len(x)):
        for j in range(i):
            first, second = sorted((kind[i], kind[j]))
            same = residue[i] == residue[j] and order[first] is not ChainKind.LIGAND
            radius = 30.0 if first in (1, 2) and second in (1, 2) else 15.0
            wanted, found = apart[i][j], made[i][j]
            if same or wanted > radius or not (known[i] and known[j]):
                continue
            names = [order[k].value for k in (first, second)]
            name = f"intra/{names[0]}" if chain[i] == chain[j] else "inter/" + "-".join(names)
            total[name] = total.get(name, 0) + 1
            kept[name] = kept.get(name, 0) + sum(abs(found - wanted) < limit for limit in (0.5, 1, 2, 4)) / 4
    expected = {name: kept[name] / count for name, count in total.items()}
    assert len(expected) >= 10
    found = accuracy.scores.class_lddt(accuracy.scores.Placed(structure, x, known))
    assert found == pytest.approx(expected)


def test_a_complex_against_itself_and_shaken(accuracy):
    structure, library = _complex(*ENTITIES)
    perfect = accuracy.scores.all_scores(Predicted(structure, library), structure, {5, 6})
    assert perfect["lddt"] == 1
    assert set(perfect["classes"].values()) == {1.0}
    assert {group["what"] for group in perfect["groups"]} == {"ligand", "ion"}
    assert max(group["rmsd"] for group in perfect["groups"]) == pytest.approx(0, abs=1e-6)
    assert perfect["interfaces"]
    assert all(part["dockq_f1"] == pytest.approx(1.0) for part in perfect["interfaces"])
    x = structure.atoms.coordinates + np.random.default_rng(2).normal(size=structure.atoms.coordinates.shape)
    worse = accuracy.scores.all_scores(Predicted(_at(structure, x), library), structure, {5})
    assert 0.3 < worse["lddt"] < 0.9
    assert [group["what"] for group in worse["groups"]] == ["ligand"]  # the ion is not counted
    assert 0.5 < worse["groups"][0]["rmsd"] < 4
    assert json.dumps(worse, allow_nan=False)


def test_modified_residues_are_measured_in_the_frame_of_their_surroundings(accuracy):
    changed = (Modification(position=5, code="SEP"),)
    structure, library = _complex(Polymer(kind="protein", ids=("A",), sequence="GSWKSEAFLR", modifications=changed))
    own = structure.residues.name[structure.atoms.residue] == "SEP"
    x = structure.atoms.coordinates.copy()
    x[own] += (0.0, 0.0, 3.0)
    x = x[:, [1, 2, 0]] + 20.0  # a turn, and a shift
    (rmsd,) = accuracy.scores.all_scores(Predicted(_at(structure, x), library), structure, set())["groups"]
    assert rmsd == {"what": "modified residue", "rmsd": pytest.approx(3.0)}
    # Phosphate's oxygens that have changed places are none the worse; those of the backbone are.
    y = structure.atoms.coordinates.copy()
    oxygens = [int(np.flatnonzero(own & (structure.atoms.name == name))[0]) for name in ("O1P", "O2P")]
    y[oxygens] = y[oxygens[::-1]]
    known = np.ones(len(y), dtype=bool)
    assert accuracy.scores.modified_residues(accuracy.scores.Placed(structure, y, known)) == [
        pytest.approx(0, abs=1e-6)
    ]


@pytest.mark.parametrize(
    "smiles", ["Cc1ccc(cc1)C(F)(F)F", "CC(C)(C)c1ccc(O)cc1", "F[P-](F)(F)(F)(F)F", "OCC(CO)(CO)CO"]
)
def test_symmetric_atoms_are_those_of_rdkit(smiles):
    molecule = Chem.MolFromSmiles(smiles)
    rng = np.random.default_rng(3)
    places = 3.0 * rng.normal(size=(molecule.GetNumAtoms(), 3))
    matches = molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=1000)
    elements = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    bonds = np.array([(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()])
    rows = isomorphisms((elements, bonds), (elements, bonds))
    assert len(rows) == len(matches) > 1
    for match in (matches[0], matches[-1], matches[len(matches) // 2]):
        x = places[list(match)] + 0.4 * rng.normal(size=places.shape)
        both = [_with_places(molecule, where) for where in (x, places)]
        expected = rdMolAlign.CalcRMS(both[0], both[1], maxMatches=10_000)
        square = ((x[rows] - places) ** 2).sum(-1).mean(-1)
        assert np.sqrt(square.min()) == pytest.approx(expected, abs=1e-6)


def _with_places(molecule, places):
    copy = Chem.Mol(molecule)
    copy.RemoveAllConformers()
    conformer = Chem.Conformer(len(places))
    conformer.SetPositions(np.ascontiguousarray(places, dtype=float))
    copy.AddConformer(conformer)
    return copy


def test_helices_follow_residue_numbers_across_a_gap(accuracy):
    structure, library = _complex(Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR" * 3))
    number = structure.residues.number[structure.atoms.residue]
    x = structure.atoms.coordinates.copy()
    alpha = structure.atoms.name == "CA"
    x[alpha] = accuracy.scores.helix(30)
    reference = _at(structure, x, alpha & ((number < 12) | (number > 16)))
    assert accuracy.scores.helix_scores(reference) == pytest.approx({"lddt_ca": 1.0, "tm": 1.0})
    found = accuracy.scores.protein_scores(Pair(Predicted(_at(structure, x), library), reference))
    assert found == pytest.approx({"lddt_ca": 1.0, "tm": 1.0})  # CA atoms alone have no contacts
    short, _ = _complex(Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR"))
    assert accuracy.scores.helix_scores(short) == {}


def test_real_entry_scores_one_against_itself(accuracy, shared):
    path = shared / "data" / "structures" / "modified" / "1B7V.cif.gz"
    library = ComponentLibrary()
    entry = accuracy.runs.read_entry(path, library, 256)
    known = entry.reference.atoms.resolved
    predicted = Predicted(_at(entry.reference, entry.reference.atoms.coordinates, known), entry.prepared.library)
    found = accuracy.scores.all_scores(predicted, entry.reference, set(entry.counted))
    assert found["lddt_ca"] == found["tm"] == pytest.approx(1.0)
    assert set(found["classes"].values()) == {1.0}
    assert [group["what"] for group in found["groups"]] == ["linked ligand"]  # haem C, bonded to two cysteines
    assert found["groups"][0]["rmsd"] == pytest.approx(0.0, abs=1e-6)
    assert accuracy.runs.read_entry(path, library, 50) > 50


def test_known_backbones_stand_on_their_atoms(accuracy):
    structure, _ = job_structure(
        Job(name="j", seeds=(1,), entities=(Polymer(kind="protein", ids=("A",), sequence="GWK"),))
    )
    places = np.arange(36.0).reshape(12, 3)
    found = accuracy.runs.with_backbone(structure, places)
    assert found.atoms.resolved.sum() == 12
    for row, name in enumerate(("N", "CA", "C", "O")):
        np.testing.assert_array_equal(found.atoms.coordinates[found.atoms.name == name], places[row::4])


def test_bootstrap_interval_is_scipys(accuracy):
    draw = np.random.default_rng(5).normal(size=60)
    expected = stats.bootstrap((draw,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    low, high = accuracy.tables.interval([[value] for value in draw], np.mean)
    # both are random: a tenth of the width
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.1 * (expected.high - expected.low))
    # values of one entry are not independent: saying them twice makes nothing surer
    assert accuracy.tables.interval([[value, value] for value in draw], np.mean) == pytest.approx((low, high))
    assert accuracy.tables.interval([[1.0], [2.0]], np.mean) is None


def _scores(value):
    return {
        "lddt": value, "plddt": 100 * value, "seconds": 1.0, "lddt_ca": value, "tm": value,
        "contacts_l": value, "contacts_l2": value, "contacts_l5": value,
        "classes": {"intra/protein": value},
        "groups": [{"what": "ligand", "rmsd": 4 * value}],
        "interfaces": [{"kinds": "protein-dna", "dockq": value, "dockq_f1": value}],
        "residues": {"plddt": [10 * value, 20.0, 30.0], "lddt": [0.1 * value, 0.2, 0.3]},
    }  # fmt: skip


def _row(key, class_, value, **more):
    models = {"mine": _scores(value), "untrained": {**_scores(value), "lddt": 0.0}, "helix": {"tm": 0.1}, **more}
    return {"set": "s", "id": key, "class": class_, "tokens": 10, "models": models}


def test_tables_have_the_means_of_each_class(accuracy):
    rows = [_row("a", "rna", 0.2), _row("b", "rna", 0.4), _row("c", "neff >= 300", 0.9, other=_scores(0.5))]
    tables = accuracy.tables
    lines = tables.complex_table(rows).splitlines()
    assert lines[0].split(" | ")[3:6] == ["lDDT: mine", "lDDT: untrained", "lDDT: other"]
    assert [line.split(" | ")[:6] for line in lines[2:]] == [
        ["| neff >= 300", "1", "10", "0.900", "0.000", "0.500"],
        ["| rna", "2", "10", "0.300", "0.000", "–"],
        ["| all", "3", "10", "0.500", "0.000", "0.500"],
    ]
    assert "| ligand | 3 | 3 | 0.667 | 0.667 | 0.000 | 1.6 | 1.6 | 2.0 |" in tables.placement_table(rows)
    assert "| protein-dna | 3 | 3 | 0.500 | 0.500 | 0.500 | 0.667 | 0.667 | 1.000 |" in tables.interface_table(rows)
    assert "| intra/protein | 3 | 0.500 | 0.500 | 0.500 |" in tables.interaction_table(rows)
    assert "| s | mine | 3 | 9 | 1.00 |" in tables.correlation_table({"s": rows, "none": []})
    assert "| s | mine | TM | 0.000 | 0.400 |" in tables.gain_table({"s": rows}, ["untrained", "helix"])
    assert "| neff >= 300 | 1 | 0.900 | 0.900 | 0.900 | 0.900 | 0.900 | 0.900 | 0.500 |" in tables.contact_table(rows)
    proteins = tables.protein_table(rows).splitlines()
    assert proteins[0].endswith(
        "TM: helix | CPU s (median): mine | CPU s (median): untrained | CPU s (median): other |"
    )
    assert proteins[-1].split(" | ")[6:10] == ["0.500", "0.500", "0.500", "0.100"]
    left = [
        {"set": "s", "id": "x", "class": "rna", "tokens": 900},
        {"set": "s", "id": "y", "class": "rna", "refused": "duplicate atoms"},
    ]
    assert tables.left_out(left, 256).splitlines()[::2] == [
        "Left out of the s: 1 entries of more than 256 tokens (rna 1).",
        "Left out: y (duplicate atoms)",
    ]


class _Run:
    """Entries that need no network: scores are told, and what is asked for is written down."""

    def __init__(self, accuracy, monkeypatch):
        self.runs, self.models, self.asked = accuracy.runs, accuracy.models, []
        monkeypatch.setattr(self.runs, "_scores", self._scores)

    def _scores(self, entry, model, key):
        self.asked.append((key, "helix" if model is None else model.name))
        return {"tm": 0.1} if model is None else _scores(0.5)

    def __call__(self, path, settings, models, chosen, answers):
        def load(answer):
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.asked.clear()
        sources = (self.runs.Source("rna", key, lambda answer=answer: load(answer)) for key, answer in answers.items())
        results = self.runs.Results(path, settings)
        return self.runs.run("s", sources, models, results, self.runs.Chosen(*chosen))


def test_an_interrupted_run_goes_on(accuracy, tmp_path, monkeypatch):
    runs, run = accuracy.runs, _Run(accuracy, monkeypatch)
    settings = accuracy.models.Settings("test", 1, 50, 1, 0)
    path = tmp_path / "new" / "results.jsonl"
    entry = accuracy.models.Entry(SimpleNamespace(tokens=range(10)), SimpleNamespace())
    answers = {"a": entry, "large": 300, "odd": InputError("broken"), "b": entry}
    mine = accuracy.models.Model("mine", "1", False, lambda entry, key: None)
    scored, left = run(path, settings, [mine], (9, 256), answers)
    assert [r["id"] for r in scored] == ["a", "b"]
    assert [r["id"] for r in left] == ["large", "odd"]
    assert list(scored[0]["models"]) == ["helix", "mine"]
    whole = path.read_text()
    path.write_text(whole[:-20])  # cut off within the last line
    again = run(path, settings, [mine], (9, 256), answers)
    assert run.asked == [("b", "mine")]
    assert path.read_text() == whole
    assert json.dumps(again) == json.dumps((scored, left))
    # Another model joins; other weights are run anew, and only these.
    other = dataclasses.replace(mine, name="other")
    run(path, settings, [mine, other], (9, 256), answers)
    assert run.asked == [("a", "other"), ("b", "other")]
    run(path, settings, [dataclasses.replace(mine, weights="2"), other], (9, 256), answers)
    assert run.asked == [("a", "mine"), ("b", "mine")]
    run(path, settings, [other], (9, 512), answers | {"large": entry})
    assert run.asked == [("large", "helix"), ("large", "other")]
    assert [r["id"] for r in run(path, settings, [other], (1, 512), answers)[0]] == ["a"]
    with pytest.raises(ConfigError, match="other settings"):
        runs.Results(path, dataclasses.replace(settings, steps=10))
    bad = tmp_path / "other"
    for text, message in (("not json\n", "not a file of results"), ("no line", "other settings")):
        bad.write_text(text)
        with pytest.raises(ConfigError, match=message):
            runs.Results(bad, settings)
        assert bad.read_text() == text
    bad.write_text(whole[:20])  # cut off within the first line: nothing is lost by starting anew
    run(bad, settings, [], (9, 256), {"a": entry})
    assert bad.read_text() == "".join(whole.splitlines(keepends=True)[:2])


def test_tables_go_between_the_marks_of_a_page(accuracy, tmp_path):
    main, page = accuracy.main, tmp_path / "page.md"
    begin, end = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"
    page.write_text(f"# Results\n\n{begin}\nold\n{end}\n\nafter\n")
    assert main.pages.with_block(page, main.BLOCK, "new") == f"# Results\n\n{begin}\n\nnew\n\n{end}\n\nafter\n"
    for text in ("no marks", begin, end + begin, f"{begin}{begin}{end}"):
        page.write_text(text)
        with pytest.raises(InputError, match="does not have the comments"):
            main.pages.with_block(page, main.BLOCK, "new")
        assert page.read_text() == text
    with pytest.raises(InputError, match="cannot be read"):
        main.pages.with_block(tmp_path / "none.md", main.BLOCK, "new")
    assert "alphafold3-mini" in main.options(["data"]).models.split(",")
