"""AlphaFold 1 on jobs: all atoms of one protein chain, in order, with confidences; anything else is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from anfinsen.chemistry import ComponentLibrary
from anfinsen.common.errors import JobError
from anfinsen.inference import PredictOptions, make_predictor
from anfinsen.inference.alphafold1 import AlphaFold1Predictor
from anfinsen.jobs import Job
from anfinsen.models.alphafold1 import (
    AlphaFold1,
    AlphaFold1Config,
    FoldingConfig,
    Potential,
    RealisationConfig,
    Stage,
    TermWeights,
    TilingConfig,
    Tower,
    backbone_of_torsions,
    confidence_signals,
    expected_lddt,
    fold,
    lddt_between,
    native_maps,
    place_side_chains,
)
from anfinsen.weights.alphafold1 import save_alphafold1

SEQUENCE = "MKWGPLRACDEFHIYNSTQV"
TINY = AlphaFold1Config(c_pair_in=8, towers=(Tower(1, 8),), crop=24, torsions=12, dihedrals=8, angles=6)
FAST = RealisationConfig(
    tiling=TilingConfig(stride=24, ensemble=1),
    folding=FoldingConfig(starts=2, stages=(Stage(6, 2, TermWeights()),), rounds=0),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_alphafold1(AlphaFold1(TINY), path, {"preset": "tiny"})
    return path


def _job(*entities, seeds=(1,)) -> Job:
    return Job(name="one", seeds=seeds, entities=entities)


def _protein(sequence: str = SEQUENCE, **more):
    return {"kind": "protein", "ids": ("A",), "sequence": sequence} | more


def test_prediction_has_every_atom_and_confidence(weights):
    predictor = AlphaFold1Predictor(PredictOptions(weights=weights, samples=2, device="cpu"), config=FAST)
    msa = f">q\n{SEQUENCE}\n>a\n{SEQUENCE[::-1]}\n>b\n{SEQUENCE[:10]}{'-' * 10}\n"
    prediction = predictor.predict(_job(_protein(unpaired_msa=msa)))
    (result,) = prediction.seeds
    count = len(prediction.structure.atoms)
    assert result.coordinates.shape == (2, count, 3)
    assert np.isfinite(result.coordinates).all()
    assert result.contact_probs.shape == (20, 20)
    scores = [c.ranking_score for c in result.confidences]
    assert scores == sorted(scores, reverse=True)
    for confidence in result.confidences:
        assert ((confidence.atom_plddt >= 0) & (confidence.atom_plddt <= 100)).all()
        assert 0 <= confidence.ptm <= 1
    # Atoms of one residue share its confidence, and lie near each other.
    table = prediction.structure.atoms
    for residue in range(20):
        mine = table.residue == residue
        assert np.ptp(result.confidences[0].atom_plddt[mine]) == 0
        assert np.linalg.norm(result.coordinates[0][mine] - result.coordinates[0][mine][0], axis=1).max() < 11.0
    assert not [note for note in prediction.notes if "co-evolution" in note]
    again = predictor.predict(_job(_protein(unpaired_msa=msa)))
    np.testing.assert_array_equal(again.seeds[0].coordinates, result.coordinates)


def test_a_single_sequence_is_folded_with_a_warning(weights):
    predictor = AlphaFold1Predictor(PredictOptions(weights=weights, samples=1, device="cpu"), config=FAST)
    prediction = predictor.predict(_job(_protein(SEQUENCE[:8]), seeds=(1, 2)))
    assert [note for note in prediction.notes if "co-evolution" in note]
    assert [seed.seed for seed in prediction.seeds] == [1, 2]
    first, second = (seed.folding for seed in prediction.seeds)
    np.testing.assert_array_equal(first.distogram, second.distogram)
    assert first.cb.shape == second.cb.shape == (1, 8, 3)


def test_an_alignment_without_couplings_is_warned_about(weights):
    predictor = AlphaFold1Predictor(PredictOptions(weights=weights, samples=1, device="cpu"), config=FAST)
    gaps = "-" * (len(SEQUENCE) - 3)
    msa = f">q\n{SEQUENCE}\n>a\n{SEQUENCE[:3]}{gaps}\n>b\n{gaps}{SEQUENCE[-3:]}\n"
    (note,) = [n for n in predictor.predict(_job(_protein(unpaired_msa=msa))).notes if "co-evolution" in n]
    assert note.startswith("None of the alignment's 3 rows but the query covers enough")


def test_options_that_this_model_does_not_know_are_named(weights):
    options = PredictOptions(weights=weights, samples=50, recycles=7, steps=3, samples_at_once=2, device="cpu")
    prediction = AlphaFold1Predictor(options, config=FAST).predict(_job(_protein(SEQUENCE[:8])))
    said = " ".join(prediction.notes)
    assert f"keeps the {len(prediction.seeds[0].coordinates)} best of the structures" in said
    for name in ("recycles", "steps of a diffusion", "structures at once"):
        assert f"knows no number of {name}" in said


def test_unknown_residues_are_told(weights):
    predictor = AlphaFold1Predictor(PredictOptions(weights=weights, device="cpu"), config=FAST)
    notes = predictor.predict(_job(_protein("GSWXMXTA"))).notes
    assert any(note.startswith("2 of the 8 residues are unknown (X)") for note in notes)
    assert not any("unknown" in note for note in predictor.predict(_job(_protein("GSWKMDTA"))).notes)


def test_weights_decide_the_predictor(weights):
    assert isinstance(make_predictor(PredictOptions(weights=weights, device="cpu")), AlphaFold1Predictor)
    named = make_predictor(PredictOptions(model="alphafold1-mini:random", device="cpu"))
    assert isinstance(named, AlphaFold1Predictor) and named.weights.preset == "mini"
    assert not isinstance(
        make_predictor(PredictOptions(model="alphafold3-mini:random", device="cpu")), AlphaFold1Predictor
    )


def test_anything_but_one_protein_chain_is_refused(weights):
    predictor = AlphaFold1Predictor(PredictOptions(weights=weights, device="cpu"), config=FAST)
    two = _job(_protein(), {"kind": "rna", "ids": ("B",), "sequence": "ACGU"})
    for job in (two, _job(_protein("MK"))):
        with pytest.raises(JobError, match="AlphaFold 1"):
            predictor.predict(job)


def test_side_chains_are_ideal_and_keep_their_hand():
    library = ComponentLibrary()
    names = ("MET", "TRP", "PRO", "GLY", "ILE", "THR", "ARG", "PHE")
    phi, psi = torch.full((1, 8), -1.1), torch.full((1, 8), -0.7)
    atoms = backbone_of_torsions(phi, psi).atoms[0].double().numpy()
    components = [library.get(name) for name in names]
    placed = place_side_chains(atoms, components)
    for number, (residue, component) in enumerate(zip(placed, components, strict=True)):
        assert residue.known.all()
        expected = {str(n) for n, gone in zip(component.atom_names, component.leaving, strict=True) if not gone}
        assert set(residue.names) == expected | ({"OXT"} if number == 7 else set())
        place = dict(zip(residue.names, residue.coordinates, strict=True))
        np.testing.assert_allclose(place["CA"], atoms[number, 1])
        ideal = dict(zip(map(str, component.atom_names), component.ideal, strict=True))
        for first, second in component.bonds:
            pair = [str(component.atom_names[i]) for i in (first, second)]
            if all(name in place for name in pair):
                length = np.linalg.norm(place[pair[0]] - place[pair[1]])
                assert length == pytest.approx(np.linalg.norm(ideal[pair[0]] - ideal[pair[1]]), abs=0.12), pair
        if component.code in ("ILE", "THR"):
            branch = "CG1" if component.code == "ILE" else "OG1"
            signs = [
                np.sign(np.dot(np.cross(p["CA"] - p["CB"], p[branch] - p["CB"]), p["CG2"] - p["CB"]))
                for p in (place, ideal)
            ]
            assert signs[0] == signs[1]


def test_side_chains_turn_away_from_a_clash():
    component = ComponentLibrary().get("LEU")
    phi, psi = torch.full((1, 3), -1.1), torch.full((1, 3), -0.7)
    atoms = backbone_of_torsions(phi, psi).atoms[0].double().numpy()
    free = place_side_chains(atoms[1:2], [component])[0]
    at = free.coordinates[free.names.index("CD1")]
    # A stranger on the very place of CD1.
    blocked = np.stack([atoms[1], atoms[1] - atoms[1, 1] + at])
    moved = place_side_chains(blocked, [component, ComponentLibrary().get("GLY")])[0]
    assert np.linalg.norm(moved.coordinates[moved.names.index("CD1")] - at) > 1.0
    cb = moved.names.index("CB")
    np.testing.assert_allclose(moved.coordinates[cb], free.coordinates[cb])
    assert np.linalg.norm(moved.coordinates[cb] - atoms[1, 4]) < 0.15


def test_confidence_signals_follow_the_truth():
    generator = torch.Generator().manual_seed(0)
    native = backbone_of_torsions(torch.full((1, 24), -1.0), torch.full((1, 24), -0.8))
    maps = native_maps(native, orientation=False)
    assert expected_lddt(maps, native.cb[0]).min() > 0.75
    worse = native.cb[0] + 3 * torch.randn(24, 3, generator=generator)
    assert expected_lddt(maps, worse).mean() < 0.5
    torch.testing.assert_close(lddt_between(native.ca[0], native.ca[0]), torch.ones(24))
    stages = (Stage(10, 2, TermWeights()),)
    found = fold(maps, Potential(maps), generator, dataclasses.replace(FAST.folding, stages=stages))
    signals = confidence_signals(maps, found, 1)
    assert signals.shape == (24, 6) and torch.isfinite(signals).all()
