"""Scores of whole structures against independent programs, invariances, and structures whose faults are known."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import tmtools
from hypothesis import given, settings
from hypothesis import strategies as st
from made_structures import clean, made, renamed_chains, shaken, with_coordinates
from scipy.spatial.transform import Rotation

from anfinsen.chemistry import read_structure, read_structure_and_library
from anfinsen.common.errors import MissingExtraError, StructureError
from anfinsen.inference.evaluation import evaluate
from anfinsen.inference.evaluation_files import Predicted
from anfinsen.jobs import Ligand, Polymer
from anfinsen.metrics import (
    calibration_error,
    correspond,
    ligand_scores,
    pose_checks,
    ramachandran,
    reliability,
    stereochemistry,
    structural_alignment,
    superposed_scores,
)
from anfinsen.metrics.correspondence import aligned_residues
from anfinsen.metrics.ligands import isomorphisms
from anfinsen.metrics.ramachandran import CLASSES, ramachandran_class, ramachandran_levels
from anfinsen.metrics.stereochemistry import clashes

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "2aee_A.pdb"
PROTEIN_PROTEIN = Path("data") / "structures" / "protein_protein"


def judged(predicted: Path, reference: Path, **options):
    structure, library = read_structure_and_library(predicted)
    return evaluate(Predicted(structure, library), read_structure(reference), **options)


@pytest.fixture(scope="module")
def shaken_pair(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    shaken(clean(shared / PROTEIN_PROTEIN / "1AY7.pdb.gz", folder / "true.pdb"), folder / "made.pdb")
    return judged(folder / "made.pdb", folder / "true.pdb")


def test_lddt_is_openstructures_with_missing_residues_and_exchanged_names(shaken_pair):
    # OpenStructure 2.3.1, lDDTScorer, chain by chain: "aname=CA and cname=A" gave 0.85056.
    found = {row["reference_chain"]: row["lddt"] for row in shaken_pair.chains}
    assert found == {"A": pytest.approx(0.851739, abs=1e-4), "B": pytest.approx(0.762532, abs=1e-4)}


def test_contacts_of_interfaces_that_are_not_true_cost_f1_and_not_fnat(shaken_pair):
    (row,) = shaken_pair.interfaces
    assert row["dockq_f1"] == pytest.approx(row["dockq"] + (row["f1"] - row["fnat"]) / 3)
    both, library = made(Polymer(kind="protein", ids=("A", "B"), sequence="GSWKYEAFLRGSWKYEAFLR"), spread=6.0)
    near = Predicted(with_coordinates(both, both.atoms.coordinates * 0.3), library, plddt=False)
    (collapsed,) = evaluate(near, both, align=False).interfaces
    # What touched still does, and much more besides.
    assert collapsed["fnat"] == 1
    assert collapsed["f1"] < 0.7
    assert collapsed["dockq_f1"] < collapsed["dockq"] - 0.1


def test_dockq_counts_missing_residues_as_dockq_does(shaken_pair):
    # DockQ 2.1.3 on the same files.
    (row,) = shaken_pair.interfaces
    actual = [row[name] for name in ("dockq", "fnat", "irmsd", "lrmsd")]
    assert actual == pytest.approx([0.934, 0.925, 0.542, 0.682], abs=6e-4)


def test_tm_align_agrees_with_the_known_correspondence(shaken_pair):
    for row in shaken_pair.chains:
        # TM-align may do a little better where residues are free to slip, and skips what is far.
        assert row["tm_align"] == pytest.approx(row["tm_score"], abs=0.01)
        assert row["tm_align_residues"] <= row["residues"]
        made_row, marks, true_row = row["alignment"]
        assert len(made_row) == len(marks) == len(true_row)
        assert 0.9 < row["coverage"] < 1


# DockQ 2.1.3 found the mapping EFDBAC:ABCDEF (model:native) and these scores.
COMPLEX = {
    "A B": 0.633, "A E": 0.549, "A F": 0.610, "B D": 0.928, "B E": 0.815, "B F": 0.683, "C D": 0.814, "C E": 0.768,
    "C F": 0.784, "D E": 0.833, "D F": 0.764, "E F": 0.798,
}  # fmt: skip


def test_chain_mapping_and_interfaces_are_dockqs_in_a_protein_dna_complex(shared, tmp_path):
    source = shared / "data" / "structures" / "protein_dna" / "1BDT.pdb.gz"
    renamed_chains(clean(source, tmp_path / "true.pdb"), tmp_path / "made.pdb")
    found = judged(tmp_path / "made.pdb", tmp_path / "true.pdb", align=False)
    mapping = {row["reference_chain"]: row["predicted_chain"] for row in found.chains}
    assert mapping == dict(zip("ABCDEF", "EFDBAC", strict=True))
    assert {row["reference_chains"]: row["dockq"] for row in found.interfaces} == {
        chains: pytest.approx(score, abs=6e-4) for chains, score in COMPLEX.items()
    }


@pytest.mark.parametrize("copies", [3, 7])
def test_copies_are_mapped_whatever_they_are_called(copies):
    # 3 copies are tried one by one, 7 by superposition of pairs.
    names = "ABCDEFG"[:copies]
    true, _ = made(Polymer(kind="protein", ids=tuple(names), sequence="GSWKYEAFLR" * 2), seed=copies)
    order = np.random.default_rng(copies).permutation(copies)
    size = len(true.atoms) // copies
    blocks = true.atoms.coordinates.reshape(copies, size, 3)[order].reshape(-1, 3)
    turn = Rotation.random(random_state=1)
    found = correspond(with_coordinates(true, turn.apply(blocks) + 50), true)
    np.testing.assert_array_equal(order[found.chains], np.arange(copies))
    assert found.present.all()


def test_a_chain_is_not_mapped_to_one_that_shares_a_domain():
    """However much better the shared part would lie there."""
    domain, tails = "GSWKYEAFLRGSWKYEAFLR", ("HHHHPPPPHHHHPPPP", "CCCCQQQQCCCCQQQQ")
    entities = [
        Polymer(kind="protein", ids=(name,), sequence=domain + tail) for name, tail in zip("AB", tails, strict=True)
    ]
    true, _ = made(*entities, spread=12.0)
    shared_part = true.residues.number[true.atoms.residue] <= len(domain)
    first, second = (np.flatnonzero(shared_part & (true.atom_chain == chain)) for chain in (0, 1))
    x = true.atoms.coordinates.copy()
    x[first], x[second] = x[second].copy(), x[first].copy()
    found = correspond(with_coordinates(true, x), true)
    np.testing.assert_array_equal(found.chains, [0, 1])
    assert found.present.all()


def test_a_chain_too_few_counts_as_wrong():
    both, library = made(Polymer(kind="protein", ids=("A", "B"), sequence="GSWKYEAFLRGSWKYEAFLR"), spread=6.0)
    one, _ = made(Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLRGSWKYEAFLR"))
    x = both.atoms.coordinates[: len(one.atoms)]
    found = evaluate(Predicted(with_coordinates(one, x), library, plddt=False), both)
    assert found.scores["coverage"] == pytest.approx(0.5)
    assert found.scores["tm_score"] == pytest.approx(0.5, abs=1e-6)
    assert found.scores["lddt"] < 0.6
    assert [row["dockq"] for row in found.interfaces] == [0.0]
    assert sorted(row["tm_score"] for row in found.chains) == pytest.approx([0.0, 1.0])
    assert found.notes == ("Chains of the reference that the prediction lacks: B.",)
    assert "plddt" not in found.scores


def test_other_molecules_are_refused():
    one, _ = made(Polymer(kind="protein", ids=("A",), sequence="GGGGGGGGGG"))
    other, _ = made(Polymer(kind="protein", ids=("A",), sequence="WKYEWKYEWK"))
    with pytest.raises(StructureError, match="the closest two share 0% of aligned residues"):
        correspond(one, other)


@settings(deadline=None, max_examples=40)
@given(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=12, max_size=60), st.data())
def test_alignment_finds_residues_that_were_left_out(sequence, data):
    lost = data.draw(st.integers(3, len(sequence) - 4))
    pairs, identity = aligned_residues(sequence, sequence[:lost] + sequence[lost + 1 :], (lost,))
    assert identity == 1
    expected = [i for i in range(len(sequence)) if i != lost]
    # Of equal letters in a row, the interruption says which is missing.
    assert pairs[:, 0].tolist() == expected
    assert pairs[:, 1].tolist() == list(range(len(sequence) - 1))


def most_within(predicted, true, limits):
    """The most residues within each limit, over superpositions of all triples and quadruples, refined three times."""
    count, most = len(true), np.zeros(len(limits), dtype=int)
    for size in (3, 4):
        rows = np.array(list(itertools.combinations(range(count), size)))
        masks = np.zeros((len(rows), count))
        np.put_along_axis(masks, rows, 1.0, axis=1)
        for _ in range(4):
            weights = masks / masks.sum(1, keepdims=True)
            x, y = (part - (weights @ part)[:, None] for part in (predicted, true))
            u, _, vt = np.linalg.svd(np.einsum("kn,kni,knj->kij", weights, x, y))
            u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
            error = np.linalg.norm(x @ (u @ vt) - y, axis=-1)
            most = np.maximum(most, [(error < limit).sum(1).max() for limit in limits])
            third = np.sort(error, axis=1)[:, 2:3]
            masks = (error <= np.maximum(third, 3.0)).astype(float)
    return most


def bent(true, seed):
    rng = np.random.default_rng(seed)
    predicted = true + rng.normal(size=true.shape) * 0.8
    last = len(true) * 2 // 3
    predicted[last:] = Rotation.from_rotvec([0.0, 0.9, 0.2]).apply(predicted[last:]) + np.array([2.0, 0.0, 1.0])
    return predicted


def judge_gdt(predicted, true, missed):
    """The search is a heuristic, as LGA's is: it may miss ``missed`` residues, summed over four limits."""
    limits = (0.5, 1.0, 2.0, 4.0, 8.0)
    most = most_within(predicted, true, limits)
    found = superposed_scores(predicted, true, thorough=True)
    for value, best in ((found.gdt_ts, most[1:]), (found.gdt_ha, most[:4])):
        assert value == pytest.approx(best.sum() / (4 * len(true)), abs=missed / (4 * len(true)) + 1e-9)


def test_gdt_against_all_superpositions_of_triples():
    true = np.cumsum(np.random.default_rng(4).normal(size=(14, 3)) * 2.2, axis=0)
    judge_gdt(bent(true, 5), true, 1)


@pytest.fixture(scope="module")
def real_trace():
    structure = read_structure(EXAMPLE)
    return structure.atoms.coordinates[structure.atoms.name == "CA"].astype(np.float64)


@pytest.mark.parametrize(("seed", "missed"), [(1, 0), (2, 0), (6, 3)])
def test_gdt_of_a_real_strand_and_helix_against_all_superpositions(real_trace, seed, missed):
    true = real_trace[14:34]  # a strand, a turn and the beginning of a helix
    judge_gdt(bent(true, seed), true, missed)


@pytest.mark.parametrize("seed", [1, 2])
def test_tm_score_of_a_real_chain_is_tm_aligns_with_the_alignment_given(real_trace, seed):
    predicted, letters = bent(real_trace, seed), "A" * len(real_trace)
    expected = tmtools.tm_align(predicted, real_trace, letters, letters, alignment=[letters, letters]).tm_norm_chain2
    found = superposed_scores(predicted, real_trace, thorough=True)
    assert 0.3 < found.tm_score < 0.9
    assert found.tm_score == pytest.approx(expected, abs=0.001)


def test_structural_alignment_moves_the_prediction_onto_the_truth(real_trace):
    turned = Rotation.random(random_state=3).apply(real_trace[10:]) + 40.0
    letters = "A" * len(real_trace)
    found = structural_alignment(turned, real_trace, letters[10:], letters)
    np.testing.assert_allclose(turned @ found.rotation.T + found.translation, real_trace[10:], atol=1e-3)
    assert found.tm_score == pytest.approx(94 / 104, abs=1e-3)


def test_real_backbones_are_favoured_and_mirrored_ones_are_not(shared):
    structure, library = read_structure_and_library(shared / PROTEIN_PROTEIN / "1AY7.pdb.gz")
    good, angles = stereochemistry(structure, library), ramachandran(structure)
    assert good.chiral_centres > 150
    assert (good.chirality_errors, good.distorted_bonds) == (0, 0)
    assert good.clashes_per_1000_atoms < 5
    assert good.bond_rmsd is not None
    assert good.bond_rmsd < 0.03
    assert good.bond_outliers == 0
    assert angles.favoured is not None
    assert angles.favoured > 0.95
    assert angles.outliers == 0
    mirror = with_resolved(structure, structure.atoms.coordinates * [1.0, 1.0, -1.0])
    bad, angles = stereochemistry(mirror, library), ramachandran(mirror)
    assert bad.chirality_errors == bad.chiral_centres == good.chiral_centres
    assert bad.bond_rmsd == pytest.approx(good.bond_rmsd)
    assert bad.clashes == good.clashes
    assert angles.outliers is not None
    assert angles.outliers > 0.3


def with_resolved(structure, x):
    moved = with_coordinates(structure, x)
    moved.atoms.resolved[:] = structure.atoms.resolved
    return moved


def test_textbook_angles():
    # phi, psi in degrees: helix, strand, left-handed helix, and places that are empty but for glycine.
    angles = np.radians([(-63, -43), (-120, 130), (57, 45), (0, -90), (0, 0)])
    general = ramachandran_levels(angles, np.zeros(5, dtype=np.int64))
    assert (general[:3] > 0.02).all()
    assert (general[3:] < 0.002).all()
    glycine = ramachandran_levels(angles, np.full(5, CLASSES.index("glycine")))
    assert glycine[2] > 0.2
    # Proline's ring fixes phi near -65.
    proline = ramachandran_levels(np.radians([(-65, 145), (-120, 130)]), np.full(2, CLASSES.index("proline")))
    assert proline[0] > 0.3
    assert proline[1] < 0.02
    kinds = ramachandran_class(
        np.array(["ALA", "VAL", "LEU", "GLY", "PRO"]), np.array(["GLY", "ALA", "PRO", "PRO", "PRO"])
    )
    assert [CLASSES[kind] for kind in kinds] == [
        "general",
        "isoleucine or valine",
        "before proline",
        "glycine",
        "proline",
    ]


def test_one_displaced_atom_clashes_and_one_mirrored_centre_is_found():
    structure, library = made(Polymer(kind="protein", ids=("A",), sequence="GTGGGGGGGT"))
    spread = structure.atoms.coordinates + 20.0 * structure.atoms.residue[:, None]  # no residue near another
    apart = with_coordinates(structure, spread)
    assert len(clashes(apart)) == 0
    assert stereochemistry(apart, library).chirality_errors == 0
    x = apart.atoms.coordinates.copy()
    last = len(x) - 1
    first = int(np.flatnonzero(structure.atoms.name == "CA")[0])
    x[last] = x[first] + [0.0, 0.0, 1.6]
    assert (clashes(with_coordinates(structure, x)) == [first, last]).all(1).any()
    # Threonine's CB: its methyl and hydroxyl exchanged.
    names = structure.atoms.name.tolist()
    a, b = names.index("OG1"), names.index("CG2")
    swapped = apart.atoms.coordinates.copy()
    swapped[[a, b]] = swapped[[b, a]]
    found = stereochemistry(with_coordinates(structure, swapped), library)
    assert (found.chiral_centres, found.chirality_errors) == (4, 1)


def test_ligand_rmsd_is_spyrmsds():
    spyrmsd = pytest.importorskip("spyrmsd.rmsd")
    true, _ = made(
        Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR"), Ligand(ids=("L",), ccd_codes=("BNZ",)), spread=1.0
    )
    own = np.flatnonzero(true.atom_chain == 1)
    rng = np.random.default_rng(2)
    x = true.atoms.coordinates.copy()
    x[own] = x[own][[2, 3, 4, 5, 0, 1]] + rng.normal(size=(6, 3)) * 0.4
    made_up = with_coordinates(true, x)
    (score,) = ligand_scores(made_up, true, correspond(made_up, true))
    ring = np.zeros((6, 6), dtype=int)
    pairs = true.bonds.atoms[(true.bonds.atoms >= own[0]).all(1)] - own[0]
    ring[pairs[:, 0], pairs[:, 1]] = ring[pairs[:, 1], pairs[:, 0]] = 1
    carbon = np.full(6, 6)
    expected = spyrmsd.symmrmsd(true.atoms.coordinates[own], x[own], carbon, carbon, ring, ring, minimize=False)
    assert score.rmsd == pytest.approx(float(expected), abs=1e-9)
    assert score.rmsd < 1.2 < np.sqrt(((x[own] - true.atoms.coordinates[own]) ** 2).sum(-1).mean())
    assert score.lddt_pocket == pytest.approx(1)
    assert score.lddt_pli is not None
    assert 0.3 < score.lddt_pli < 1
    assert len(isomorphisms((carbon, pairs), (carbon, pairs))) == 12


def test_posebusters_finds_a_bent_ligand():
    pytest.importorskip("posebusters")
    whole, library = made(
        Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR"), Ligand(ids=("L",), ccd_codes=("GOL",)), spread=30.0
    )
    own = np.flatnonzero(whole.atom_chain == 1)
    good = pose_checks(whole, library, own)
    assert good is not None
    assert good["bond_lengths"]
    x = whole.atoms.coordinates.copy()
    x[own[0]] += 1.5
    bad = pose_checks(with_coordinates(whole, x), library, own)
    assert bad is not None
    assert not bad["bond_lengths"]


def test_ions_of_one_kind_go_to_the_nearest_place():
    ions = Ligand(ids=("L", "M", "N"), ccd_codes=("ZN",))
    true, _ = made(Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR"), ions, spread=8.0)
    own = np.flatnonzero(true.atom_chain > 0)
    x = true.atoms.coordinates.copy()
    x[own] = x[own][[2, 0, 1]]
    made_up = with_coordinates(true, x)
    found = ligand_scores(made_up, true, correspond(made_up, true))
    assert {(score.reference_chain, score.predicted_chain) for score in found} == {(1, 2), (2, 3), (3, 1)}
    assert max(score.rmsd for score in found) == pytest.approx(0, abs=1e-9)


def test_reliability():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, 500)
    bins = reliability(truth, truth)
    assert sum(row.count for row in bins) == 500
    assert all(row.low <= row.confidence <= row.high for row in bins)
    assert calibration_error(bins) == pytest.approx(0)
    high = np.minimum(truth + 20, 100)
    assert calibration_error(reliability(high, truth)) == pytest.approx(np.mean(high - truth), abs=1e-9)
    edge = reliability(np.array([0.0, 100.0]), np.array([10.0, 90.0]))
    assert [row.count for row in edge] == [1, *[0] * 8, 1]
    assert calibration_error(reliability(np.zeros(0), np.zeros(0))) is None


def test_missing_extras_say_how_to_install_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "tmtools", None)
    with pytest.raises(MissingExtraError, match=r"anfinsen\[evaluate\]"):
        structural_alignment(np.zeros((9, 3)), np.zeros((9, 3)), "A" * 9, "A" * 9)
    both, library = made(
        Polymer(kind="protein", ids=("A",), sequence="GSWKYEAFLR"), Ligand(ids=("L",), ccd_codes=("BNZ",)), spread=1.0
    )
    monkeypatch.setitem(sys.modules, "spyrmsd", None)
    monkeypatch.setitem(sys.modules, "posebusters", None)
    found = evaluate(Predicted(both, library, plddt=False), both)
    assert len(found.notes) == 2
    assert not found.ligands
    assert found.scores["lddt"] == 1
