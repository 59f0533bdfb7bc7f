"""The evaluation measures what it says: against RDKit, scipy and brute force, and it goes on where it stopped."""

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
from scipy.spatial.transform import Rotation

from anfinsen.chemistry import ComponentLibrary
from anfinsen.common.errors import ConfigError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
BACKBONE = ("N", "CA", "C", "O")


@pytest.fixture(scope="module")
def accuracy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        names = ("scores", "tables", "runs")
        modules = {name: importlib.import_module(f"accuracy_{name}") for name in names}
        yield SimpleNamespace(**modules)
        for name in names:
            del sys.modules[f"accuracy_{name}"]


def _truth(scores, parts, seed=0):
    """A complex of made-up atoms; ``parts``: kind, atoms per residue, residues, place of the middle."""
    rng = np.random.default_rng(seed)
    columns = {name: [] for name in ("kind", "chain", "residue", "number", "token", "standard", "name")}
    places, residues, tokens = [], 0, 0
    for chain, (kind, atoms, count, middle) in enumerate(parts, start=1):
        places.append(np.array(middle) + 6.0 * rng.normal(size=(atoms * count, 3)))
        for number in range(1, count + 1):
            for atom in range(atoms):
                ligand = kind == scores.LIGAND
                names = BACKBONE if kind == scores.PROTEIN else scores.NUCLEIC_BACKBONE
                row = (kind, chain, residues, number, tokens, not ligand, names[atom % len(names)])
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
                tokens += ligand
            residues += 1
            tokens += kind != scores.LIGAND
    arrays = {name: np.array(values) for name, values in columns.items()}
    total = len(arrays["kind"])
    return scores.Truth(
        coordinates=np.concatenate(places),
        resolved=rng.random(total) < 0.9,
        element=np.full(total, 6),
        bonds=np.zeros((tokens, tokens), dtype=bool),
        **arrays,
    )


def _complex(scores, seed=0):
    far = (14.0, 0.0, 0.0)
    return _truth(
        scores,
        [
            (scores.PROTEIN, 4, 12, (0.0, 0.0, 0.0)),
            (scores.PROTEIN, 4, 10, far),
            (scores.RNA, 6, 8, (0.0, 14.0, 0.0)),
            (scores.DNA, 6, 8, (0.0, 0.0, 14.0)),
            (scores.DNA, 6, 8, (9.0, 0.0, 14.0)),
            (scores.LIGAND, 7, 1, (5.0, 5.0, 0.0)),
            (scores.LIGAND, 1, 1, (5.0, 0.0, 5.0)),
        ],
        seed,
    )


def test_lddt_of_every_class_is_that_of_a_loop_over_pairs(accuracy):
    scores = accuracy.scores
    truth = _complex(scores)
    x = truth.coordinates + np.random.default_rng(1).normal(size=truth.coordinates.shape)
    kept, total = {}, {}
    for i in range(len(x)):
        for j in range(i):
            first, second = sorted((int(truth.kind[i]), int(truth.kind[j])))
            within = truth.chain[i] == truth.chain[j]
            same = truth.token[i] == truth.token[j] if first == scores.LIGAND else truth.residue[i] == truth.residue[j]
            radius = 30.0 if first in (1, 2) and second in (1, 2) else 15.0
            true, found = (np.linalg.norm(y[i] - y[j]) for y in (truth.coordinates, x))
            if same or true > radius or not (truth.resolved[i] and truth.resolved[j]):
                continue
            kinds = [scores.KINDS[kind] for kind in (first, second)]
            name = f"intra/{kinds[0]}" if within else "inter/" + "-".join(kinds)
            total[name] = total.get(name, 0) + 1
            kept[name] = kept.get(name, 0) + np.mean([abs(found - true) < limit for limit in (0.5, 1, 2, 4)])
    expected = {name: kept[name] / count for name, count in total.items()}
    assert len(expected) == 13  # a single RNA: no pair of RNA chains
    assert scores.class_lddt(x, truth) == pytest.approx(expected)


@pytest.mark.parametrize(
    "smiles", ["Cc1ccc(cc1)C(F)(F)F", "CC(C)(C)c1ccc(O)cc1", "F[P-](F)(F)(F)(F)F", "OCC(CO)(CO)CO"]
)
def test_ligand_rmsd_with_symmetric_atoms_is_rdkits(accuracy, smiles):
    molecule = Chem.MolFromSmiles(smiles)
    rng = np.random.default_rng(3)
    places = 3.0 * rng.normal(size=(molecule.GetNumAtoms(), 3))
    matches = molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=1000)
    assert len(matches) > 1
    n = len(places)
    truth = dataclasses.replace(
        _truth(accuracy.scores, [(accuracy.scores.LIGAND, n, 1, (0, 0, 0))]),
        coordinates=places,
        resolved=np.ones(n, dtype=bool),
        element=np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()]),
        bonds=Chem.GetAdjacencyMatrix(molecule).astype(bool),
    )
    for match in (matches[0], matches[-1], matches[len(matches) // 2]):
        x = places[list(match)] + 0.4 * rng.normal(size=places.shape)
        both = [_with_places(molecule, where) for where in (x, places)]
        expected = rdMolAlign.CalcRMS(both[0], both[1], maxMatches=10_000)
        assert accuracy.scores.symmetric_rmsd(x, truth, np.arange(n)) == pytest.approx(expected, abs=1e-6)


def _with_places(molecule, places):
    copy = Chem.Mol(molecule)
    copy.RemoveAllConformers()
    conformer = Chem.Conformer(len(places))
    conformer.SetPositions(np.ascontiguousarray(places, dtype=float))
    copy.AddConformer(conformer)
    return copy


def test_a_ligand_is_measured_in_the_frame_of_its_pocket(accuracy):
    scores = accuracy.scores
    truth = _complex(scores)
    ligand, ion = truth.chain == 6, truth.chain == 7
    everything = np.ones(len(ion), dtype=bool)
    truth = dataclasses.replace(truth, resolved=everything)
    x = truth.coordinates.copy()
    x[ligand] += (0.0, 0.0, 3.0)
    chain, counts = np.unique(_near(truth, ligand & truth.resolved), return_counts=True)
    # what is not in the pocket's chain may be anywhere
    x[(truth.chain != chain[counts.argmax()]) & (truth.kind != scores.LIGAND)] += 20.0
    x = Rotation.random(random_state=2).apply(x) + 5.0
    found = scores.placed_groups(x, truth, {6})
    assert [group["what"] for group in found] == ["ligand"]
    assert found[0]["rmsd"] == pytest.approx(3.0)
    assert {group["what"] for group in scores.placed_groups(truth.coordinates, truth, {6, 7})} == {"ligand", "ion"}
    linked = truth.bonds.copy()
    linked[truth.token[ligand][0], truth.token[0]] = linked[truth.token[0], truth.token[ligand][0]] = True
    linked = dataclasses.replace(truth, bonds=linked)
    assert scores.placed_groups(x, linked, {6})[0]["what"] == "linked ligand"


def _near(truth, ligand):
    polymer = (truth.kind != 3) & truth.resolved
    distance = np.linalg.norm(truth.coordinates[polymer][:, None] - truth.coordinates[ligand], axis=-1).min(1)
    return truth.chain[polymer][distance < 10.0]


def test_interfaces_of_a_collapsed_structure_are_worth_little(accuracy):
    truth = _complex(accuracy.scores)
    perfect = accuracy.scores.interfaces(truth.coordinates, truth)
    assert {part["kinds"] for part in perfect} >= {"protein-protein", "rna-dna", "dna-dna", "protein-rna"}
    assert all(part["dockq"] == part["dockq_f1"] == pytest.approx(1.0) for part in perfect)
    collapsed = accuracy.scores.interfaces(0.01 * truth.coordinates, truth)
    assert len(collapsed) == len(perfect)
    for part in collapsed:  # every native contact is there, and so is every other pair of residues
        assert part["dockq"] > 1 / 3
        assert part["dockq_f1"] < part["dockq"] - 0.1
    away = truth.coordinates + 100.0 * (truth.chain % 2)[:, None]
    parted = [part for part in accuracy.scores.interfaces(away, truth) if part["kinds"] == "protein-protein"]
    assert parted[0]["dockq"] == parted[0]["dockq_f1"]  # no contact at all: both shares are 0


def test_residues_have_the_mean_plddt_of_their_atoms(accuracy):
    truth = _complex(accuracy.scores)
    whole, true, plddt = accuracy.scores.residue_lddt(truth.coordinates, truth, truth.residue.astype(float))
    assert whole == 1.0 and np.all(true == 1.0)
    assert plddt.tolist() == pytest.approx(np.unique(truth.residue[truth.resolved]).tolist())


def test_helices_follow_residue_numbers_across_a_gap(accuracy):
    scores = accuracy.scores
    truth = _truth(scores, [(scores.PROTEIN, 4, 40, (0, 0, 0)), (scores.RNA, 6, 4, (9, 0, 0))])
    gap = (truth.kind != scores.PROTEIN) | (truth.number < 15) | (truth.number > 20)
    fields = {f.name: getattr(truth, f.name) for f in dataclasses.fields(truth)}
    truth = scores.Truth(**{name: value[gap] if name != "bonds" else value for name, value in fields.items()})
    alpha = (truth.kind == scores.PROTEIN) & (truth.name == "CA")
    x = truth.coordinates.copy()
    x[alpha] = scores.helix(40)[truth.number[alpha] - 1]
    truth = dataclasses.replace(truth, coordinates=x)
    assert scores.protein_scores(scores.with_helices(truth), truth) == pytest.approx({"lddt_ca": 1.0, "tm": 1.0})


def test_real_entry_scores_one_against_itself(accuracy, shared):
    path = shared / "data" / "structures" / "modified" / "1B7V.cif.gz"
    library = ComponentLibrary()
    batch, labels, counted = accuracy.runs.read_entry(path, library, 256)
    truth = accuracy.scores.Truth.of(batch, labels)
    x = truth.coordinates
    assert accuracy.scores.protein_scores(x, truth) == pytest.approx({"lddt_ca": 1.0, "tm": 1.0})
    assert set(accuracy.scores.class_lddt(x, truth).values()) == {1.0}
    groups = accuracy.scores.placed_groups(x, truth, counted)
    assert [group["what"] for group in groups] == ["linked ligand"]  # haem C, bonded to two cysteines
    assert groups[0]["rmsd"] == pytest.approx(0.0, abs=1e-6)
    assert accuracy.runs.read_entry(path, library, 50) > 50


def test_bootstrap_interval_is_scipys(accuracy):
    draw = np.random.default_rng(5).normal(size=60)
    expected = stats.bootstrap((draw,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    low, high = accuracy.tables.interval([[value] for value in draw], np.mean)
    # both are random: a tenth of the width
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.1 * (expected.high - expected.low))
    # values of one entry are not independent: saying them twice makes nothing surer
    assert accuracy.tables.interval([[value, value] for value in draw], np.mean) == pytest.approx((low, high))
    assert accuracy.tables.interval([[1.0], [2.0]], np.mean) is None


def _row(key, class_, value, tokens=10):
    score = {"lddt": value, "plddt": 100 * value, "seconds": 1.0, "lddt_ca": value, "tm": value}
    lists = {
        "classes": {"intra/protein": value},
        "groups": [{"what": "ligand", "rmsd": 4 * value}],
        "interfaces": [{"kinds": "protein-dna", "dockq": value, "dockq_f1": value}],
    }
    residues = {"plddt": [10 * value, 20.0, 30.0], "lddt": [0.1 * value, 0.2, 0.3]}
    models = {"trained": score | lists, "untrained": {**score, "lddt": 0.0} | lists, "helix": {"tm": 0.1}}
    return {"set": "s", "id": key, "class": class_, "tokens": tokens, "residues": residues, **models}


def test_tables_have_the_means_of_each_class(accuracy):
    rows = [_row("a", "rna", 0.2), _row("b", "rna", 0.4), _row("c", "dna", 0.9)]
    lines = accuracy.tables.complex_table(rows).splitlines()
    assert [line.split(" | ")[:4] for line in lines[2:]] == [
        ["| dna", "1", "10", "0.900"],
        ["| rna", "2", "10", "0.300"],
        ["| all", "3", "10", "0.500"],
    ]
    assert "| ligand | 3 | 3 | 0.667 | 0.667 | 1.6 | 1.6 |" in accuracy.tables.placement_table(rows)
    assert "| protein-dna | 3 | 3 | 0.500 | 0.500 | 0.667 | 0.667 |" in accuracy.tables.interface_table(rows)
    assert "| intra/protein | 3 | 0.500 |" in accuracy.tables.interaction_table(rows)
    assert "| s | 3 | 9 | 1.00 |" in accuracy.tables.correlation_table({"s": rows, "none": []})
    assert "| s | TM | 0.000 | 0.400 |" in accuracy.tables.gain_table({"s": rows})
    left = [
        {"set": "s", "id": "x", "class": "rna", "tokens": 900},
        {"set": "s", "id": "y", "class": "rna", "refused": "duplicate atoms"},
    ]
    assert accuracy.tables.left_out(left, 256).splitlines()[::2] == [
        "Left out of the s: 1 entries of more than 256 tokens (rna 1).",
        "Left out: y (duplicate atoms)",
    ]


def test_an_interrupted_run_goes_on(accuracy, tmp_path):
    runs = accuracy.runs
    settings = runs.Settings({"trained": ("m", "1")}, "test", 1, 50, 1, 0)
    path = tmp_path / "new" / "results.jsonl"
    asked = []

    def entries(answers):
        for key, answer in answers.items():

            def score(key=key, answer=answer):
                asked.append(key)
                return answer

            yield "rna", key, score

    row = {name: value for name, value in _row("a", "rna", 0.5).items() if name not in ("set", "id", "class")}
    answers = {"a": row, "large": {"tokens": 300}, "odd": {"refused": "broken"}, "b": row}
    scored, left = runs.run("s", entries(answers), runs.Results(path, settings), runs.Chosen(9, 256))
    assert [r["id"] for r in scored] == ["a", "b"] and [r["id"] for r in left] == ["large", "odd"]
    whole = path.read_text()
    path.write_text(whole[:-20])  # cut off within the last line
    asked.clear()
    again = runs.run("s", entries(answers), runs.Results(path, settings), runs.Chosen(9, 256))
    assert asked == ["b"] and path.read_text() == whole
    assert json.dumps(again) == json.dumps((scored, left))
    asked.clear()
    runs.run("s", entries(answers | {"large": row}), runs.Results(path, settings), runs.Chosen(9, 512))
    assert asked == ["large"]
    assert [r["id"] for r in runs.run("s", entries(answers), runs.Results(path, settings), runs.Chosen(1, 512))[0]] == [
        "a"
    ]
    with pytest.raises(ConfigError, match="other settings"):
        runs.Results(path, dataclasses.replace(settings, steps=10))
    other = tmp_path / "other"
    for text, message in (("not json\n", "not a file of results"), ("no line", "other settings")):
        other.write_text(text)
        with pytest.raises(ConfigError, match=message):
            runs.Results(other, settings)
        assert other.read_text() == text
    other.write_text(whole[:20])  # cut off within the first line: nothing is lost by starting anew
    runs.run("s", entries({"a": row}), runs.Results(other, settings), runs.Chosen(9, 256))
    assert other.read_text() == "".join(whole.splitlines(keepends=True)[:2])
