"""What a prediction keeps of AlphaFold 1's folding agrees with its structures, and does not depend on the predictor."""

import dataclasses

import numpy as np
import pytest
import torch

from anfinsen.common.errors import NonFiniteError
from anfinsen.geometry import rotate
from anfinsen.inference import PredictOptions
from anfinsen.inference.alphafold1 import AlphaFold1Predictor
from anfinsen.inference.folding_record import MAX_SNAPSHOTS, FoldingRecord, folding_record
from anfinsen.jobs import Job
from anfinsen.models.alphafold1 import (
    AlphaFold1,
    AlphaFold1Config,
    Fold,
    FoldingConfig,
    Realisation,
    RealisationConfig,
    Stage,
    TermWeights,
    TilingConfig,
    Tower,
    backbone_of_torsions,
    native_maps,
)
from anfinsen.models.alphafold1.confidence import Confidence
from anfinsen.weights.alphafold1 import save_alphafold1

SEQUENCE = "MKWGPLRACDEF"
FIRM = TermWeights(bond=300.0)


@pytest.fixture(scope="module")
def prediction(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = AlphaFold1Config(c_pair_in=8, towers=(Tower(1, 8),), crop=24, torsions=12, dihedrals=8, angles=6)
    save_alphafold1(AlphaFold1(config), path, {"preset": "tiny"})
    # Two stages: the second with firmer bonds; then the pool, with a mirror image.
    folding = FoldingConfig(
        starts=2,
        stages=(Stage(12, 2, TermWeights(bond=0.1)), Stage(7, 2, FIRM)),
        rounds=1,
        pool=2,
        later=(Stage(5, 2, FIRM),),
        snapshot_every=3,
    )
    realisation = RealisationConfig(tiling=TilingConfig(stride=24, ensemble=1), folding=folding)
    predictor = AlphaFold1Predictor(PredictOptions(weights=path, samples=2, device="cpu"), config=realisation)
    job = Job(name="one", seeds=(3,), entities=({"kind": "protein", "ids": ("A",), "sequence": SEQUENCE},))
    return predictor.predict(job)


def test_the_record_agrees_with_the_structures(prediction):
    (seed,) = prediction.seeds
    record, length = seed.folding, len(SEQUENCE)
    assert record.distogram.shape == (length, length, 64)
    np.testing.assert_array_equal(record.distogram, record.distogram.transpose(1, 0, 2))
    np.testing.assert_allclose(record.distogram.sum(-1), 1, atol=1e-5)
    # Bins of 20/64 Å: the first 19 end below 8 Å.
    np.testing.assert_allclose(seed.contact_probs, record.distogram[..., :19].sum(-1), atol=1e-5)
    table = prediction.structure.atoms
    ca = seed.coordinates[0][table.name == "CA"]
    np.testing.assert_allclose(record.snapshots[-1], ca, atol=1e-4)
    for sample in range(2):
        cb = np.full((length, 3), np.nan)
        for row in np.flatnonzero(table.name == "CB"):
            cb[table.residue[row]] = seed.coordinates[sample][row]
        known = ~np.isnan(cb[:, 0])
        assert known.sum() == length - 1  # one glycine, whose CB is virtual
        true = np.linalg.norm(cb[known][:, None] - cb[known][None], axis=-1)
        # Side chains have their component's own CB, a little beside the ideal one.
        np.testing.assert_allclose(record.realised_distance(sample)[np.ix_(known, known)], true, atol=0.3)
    assert len(record.energy) == len(record.origin) == 4
    assert (np.diff(record.energy) >= 0).all()
    assert record.trace[-1] == pytest.approx(record.energy[0], rel=1e-5)
    assert "mirror" in record.origin
    assert np.diff(record.snapshot_steps).min() >= 1
    assert record.snapshot_steps[0] == 0 and record.snapshot_steps[-1] == len(record.trace) - 1


def _record(**changed) -> FoldingRecord:
    distogram = np.zeros((2, 2, 3), dtype=np.float32)
    distogram[0, 1] = distogram[1, 0] = (0.5, 0.0, 0.5)
    distogram[0, 0] = distogram[1, 1] = (1.0, 0.0, 0.0)
    parts = {
        "distogram": distogram,
        "bin_edges": np.array([2, 4, 6, 8], dtype=np.float32),
        "cb": np.zeros((1, 2, 3), dtype=np.float32),
        "energy": np.zeros(1, dtype=np.float32),
        "terms": {"bond": np.zeros(1, dtype=np.float32)},
        "origin": ("scaled",),
        "handedness": np.zeros(1, dtype=np.float32),
        "trace": np.array([9, 5, 4, 8, 6, 6, 7, 1], dtype=np.float32),
        "snapshots": np.zeros((1, 2, 3), dtype=np.float32),
        "snapshot_steps": np.array([7]),
    }
    return FoldingRecord(**(parts | changed))


def test_moments_and_stages_by_hand():
    record = _record()
    np.testing.assert_allclose(record.expected_distance, [[0, 5], [5, 0]])  # half 3 Å, half 7 Å
    np.testing.assert_allclose(record.spread, [[0, 2], [2, 0]])
    np.testing.assert_array_equal(record.stage_starts, [3, 6])


@pytest.mark.parametrize("name", ["distogram", "trace", "terms"])
def test_what_is_not_finite_is_refused(name):
    record = _record()
    bad = {"bond": np.array([np.inf], dtype=np.float32)}
    value = bad if name == "terms" else getattr(record, name) * np.float32("nan")
    with pytest.raises(NonFiniteError, match=name):
        dataclasses.replace(record, **{name: value})


def test_snapshots_are_few_and_lie_on_the_last_one():
    backbone = backbone_of_torsions(torch.full((1, 9), -1.0), torch.full((1, 9), -0.8))
    angle = torch.linspace(0, 3, 500)
    zero, one = torch.zeros(500), torch.ones(500)
    rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
    turned = rotate(backbone.ca.expand(500, -1, -1), torch.stack(rows, -1).reshape(500, 3, 3)) + 50.0
    energy, signals = torch.zeros(1), torch.zeros(9, 6)
    fold = Fold(backbone, energy, {"bond": energy}, ("scaled",), torch.arange(2000.0).flip(0), turned)
    found = Realisation(native_maps(backbone), fold, signals, Confidence(torch.zeros(9), 0.5))
    record = folding_record(found, 1)
    assert len(record.snapshots) == len(record.snapshot_steps) == MAX_SNAPSHOTS
    np.testing.assert_allclose(record.snapshots, np.broadcast_to(backbone.ca[0], (MAX_SNAPSHOTS, 9, 3)), atol=1e-3)
    assert record.handedness[0] == 1
    assert not len(record.stage_starts)
