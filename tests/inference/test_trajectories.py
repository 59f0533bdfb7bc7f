"""AlphaFold 3's recorded way from noise: it changes nothing, and what is kept is what the network saw and gave."""

import base64
import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from anfinsen.common.errors import ConfigError
from anfinsen.diffusion import ALPHAFOLD3_SAMPLER, alphafold3_sigmas
from anfinsen.geometry import superpose
from anfinsen.inference import PredictOptions, make_predictor, predict
from anfinsen.inference.trajectories import MAX_FRAMES, record_trajectory
from anfinsen.jobs import Job, Ligand, Polymer
from anfinsen.reports.image import bundled_trajectory
from anfinsen.weights.store import bundled_path

JOB = Job(
    name="tiny",
    seeds=(3,),
    entities=(Polymer(kind="protein", ids=("A",), sequence="GSWK"), Ligand(ids=("L",), ccd_codes=("EDO",))),
)
STEPS = 6
OPTIONS = PredictOptions(model="alphafold3-mini:random", samples=1, steps=STEPS, recycles=0, device="cpu")


@pytest.fixture(scope="module")
def recorded():
    return record_trajectory(make_predictor(OPTIONS), JOB)


def test_recording_changes_nothing(recorded):
    assert recorded[1].seeds[0].coordinates.tobytes() == predict(JOB, OPTIONS).seeds[0].coordinates.tobytes()


def test_frames_are_the_steps_of_the_sampler(recorded):
    trajectory, prediction = recorded
    levels = alphafold3_sigmas(STEPS)
    raised = [float(now) * (1 + ALPHAFOLD3_SAMPLER.churn(float(now), float(after))) for now, after in pairwise(levels)]
    assert trajectory.step == (*range(STEPS), STEPS)
    assert trajectory.sigma == pytest.approx([*raised, 0.0], rel=1e-5)
    points = np.asarray(prediction.tokens.center_atom)
    final = prediction.seeds[0].coordinates[0][points]
    assert np.allclose(trajectory.clean[-1], final - final.mean(0), atol=1e-4)
    # Noise of unit spread is what the first frame is made of.
    noise = (trajectory.noisy[0] - trajectory.clean[0]) / trajectory.sigma[0]
    assert 0.5 < noise.std() < 1.6
    # No motion as a whole would lay an estimate nearer to the end.
    for clean in trajectory.clean[:-1]:
        rotation, shift = superpose(torch.as_tensor(clean), torch.as_tensor(trajectory.clean[-1]))
        assert torch.allclose(rotation, torch.eye(3, dtype=rotation.dtype), atol=1e-5)
        assert float(shift.abs().max()) < 1e-4


def test_points_and_links_are_residues_and_bonds(recorded):
    trajectory, _ = recorded
    assert trajectory.names[:4] == ("A GLY 1", "A SER 2", "A TRP 3", "A LYS 4")
    assert set(trajectory.names[4:]) == {f"L EDO 1 {atom}" for atom in ("C1", "O1", "C2", "O2")}
    assert trajectory.polymer == (True,) * 4 + (False,) * 4
    named = {tuple(sorted(trajectory.names[point][-2:] for point in pair)) for pair in trajectory.links.tolist()[3:]}
    assert trajectory.links.tolist()[:3] == [[0, 1], [1, 2], [2, 3]]
    assert named == {("C1", "O1"), ("C1", "C2"), ("C2", "O2")}


def test_record_keeps_positions_to_what_can_be_drawn(recorded):
    trajectory, _ = recorded
    record = json.loads(json.dumps(trajectory.record(), allow_nan=False))
    shape = (len(record["step"]), len(record["names"]), 3)
    clean = np.frombuffer(base64.b64decode(record["clean"]), "<i2").reshape(shape) * record["clean_unit"]
    noise = np.frombuffer(base64.b64decode(record["noise"]), np.int8).reshape(shape) * record["noise_unit"]
    assert np.abs(clean - trajectory.clean).max() <= 0.51 * record["clean_unit"]
    sigma = np.asarray(record["sigma"])[:, None, None]
    error = np.abs(clean + sigma * noise - trajectory.noisy) / np.sqrt(1 + (sigma / record["sigma_data"]) ** 2)
    assert error.max() < 0.4  # Å as drawn


def test_only_alphafold3_has_a_trajectory():
    predictor = make_predictor(PredictOptions(model="alphafold1-mini:random", device="cpu"))
    with pytest.raises(ConfigError, match="Only AlphaFold 3 diffuses atoms"):
        record_trajectory(predictor, JOB)


def test_the_bundled_recording_is_of_the_bundled_weights():
    record = bundled_trajectory()
    path = bundled_path("alphafold3-mini.safetensors")
    message = "record it again: python scripts/record_trajectory.py (the weights have changed)"
    assert record["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), message
    assert len(json.dumps(record, separators=(",", ":"))) <= 60_000
    frames, points = len(record["step"]), len(record["names"])
    assert frames <= MAX_FRAMES
    assert len(base64.b64decode(record["clean"])) == 2 * frames * points * 3
    assert len(base64.b64decode(record["noise"])) == frames * points * 3
    assert max(record["links"]) < points == len(record["chain"]) == len(record["element"]) == len(record["polymer"])
    assert record["sigma"] == sorted(record["sigma"], reverse=True)
