"""AlphaFold 1's parts of the report: the prediction's own numbers, in a page that loads nothing; and the files."""

import base64
import dataclasses
import gzip
import json
import re

import numpy as np
import pytest
from made_prediction import made_prediction

from anfinsen.inference import Fingerprint, FoldingRecord
from anfinsen.jobs import Job, Polymer
from anfinsen.reports import model_cif, report_html, write_results
from anfinsen.reports.folding import folding_data, kept_share
from anfinsen.reports.report_data import sample_label

LENGTH, SAMPLES, POOL, STEPS, FRAMES = 40, 2, 3, 25, 6
PARTS = ("player", "play", "frame", "energy", "distogram-plot", "realised-plot", "contacts-plot", "energy-plot")


def _record(seed: int) -> FoldingRecord:
    rng = np.random.default_rng(seed)
    distogram = rng.random((LENGTH, LENGTH, 64)).astype(np.float32) ** 8
    distogram = distogram + distogram.transpose(1, 0, 2)
    walk = np.cumsum(rng.normal(size=(FRAMES, LENGTH, 3)), axis=1).astype(np.float32)
    return FoldingRecord(
        distogram=(distogram / distogram.sum(-1, keepdims=True)).astype(np.float32),
        bin_edges=np.linspace(2, 22, 65, dtype=np.float32),
        cb=np.stack([walk[-1] + sample for sample in range(SAMPLES)]) * np.float32(2.5),
        energy=np.array([-30.25, -20.5, -1.0], dtype=np.float32),
        terms={"distance": np.arange(POOL, dtype=np.float32), "bond": np.full(POOL, 7.5, dtype=np.float32)},
        origin=("scaled", "pool", "mirror"),
        handedness=np.array([1.0, 0.0, -0.5], dtype=np.float32),
        trace=np.linspace(100, seed, STEPS, dtype=np.float32),
        snapshots=40 * walk,
        snapshot_steps=np.arange(0, STEPS, 4)[-FRAMES:],
    )


def _folded(name: str = "fold"):
    sequence = ("GSWKYEAFLR" * 4)[:LENGTH]
    job = Job(name=name, seeds=(1, 7), entities=(Polymer(kind="protein", ids=("A",), sequence=sequence),))
    made = made_prediction(job, samples=SAMPLES)
    rng = np.random.default_rng(5)
    seeds = []
    for each in made.seeds:
        contacts = rng.random((LENGTH, LENGTH)).astype(np.float32)
        folding = _record(each.seed)
        seeds.append(dataclasses.replace(each, contact_probs=(contacts + contacts.T) / 2, folding=folding))
    settings = dataclasses.replace(made.settings, recycles=0, steps=0)
    return dataclasses.replace(made, seeds=tuple(seeds), settings=settings)


@pytest.fixture(scope="module")
def prediction():
    return _folded()


@pytest.fixture(scope="module")
def page(prediction) -> str:
    return report_html(prediction, {sample_label(r): model_cif(prediction, r) for r in prediction.ranking})


def _data(page: str):
    packed = re.search(r'id="data-report">([^<]*)<', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))["folding"]


def _map(text: str, scale: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(LENGTH, LENGTH) / scale


def test_numbers_of_the_page_are_those_of_the_prediction(prediction, page):
    data = _data(page)
    assert (data["size"], data["step"], data["residues"]) == (LENGTH, 1, LENGTH)
    assert len(data["samples"]) == len(prediction.ranking) == 4
    assert {seed["seed"] for seed in data["seeds"]} == {1, 7}
    for ranked, sample in zip(prediction.ranking, data["samples"], strict=True):
        record, seed = prediction.seeds[ranked.index].folding, data["seeds"][sample["seed"]]
        assert (seed["seed"], sample["sample"]) == (ranked.seed, ranked.sample)
        expected, realised = _map(seed["expected"], data["scale"]), _map(sample["realised"], data["scale"])
        np.testing.assert_allclose(expected, record.expected_distance, atol=0.0626)
        np.testing.assert_allclose(_map(seed["spread"], data["scale"]), record.spread, atol=0.0626)
        cb = record.cb[ranked.sample]
        distance = np.linalg.norm(cb[:, None] - cb[None], axis=-1)
        np.testing.assert_allclose(realised, np.minimum(distance, 255 / 8), atol=0.0626)
        probability = prediction.seeds[ranked.index].contact_probs
        np.testing.assert_allclose(_map(seed["contacts"], 255), probability, atol=0.002)
        for each in (expected, realised, _map(seed["contacts"], 255)):
            np.testing.assert_array_equal(each, each.T)
        pairs = {tuple(pair) for pair in np.array(sample["touching"]).reshape(-1, 2).tolist()}
        near = {(i, j) for i in range(LENGTH) for j in range(i + 1, LENGTH) if distance[i, j] < 8}
        assert pairs == near and near
        np.testing.assert_allclose(seed["trace"], record.trace, atol=0.0051)
        # Frames are differences of whole tenths of an ångström; errors of rounding do not add up.
        frames = np.cumsum(np.array(seed["frames"]), axis=0).reshape(FRAMES, LENGTH, 3) / data["frameScale"]
        np.testing.assert_allclose(frames, record.snapshots, atol=0.0501)
        assert seed["frameSteps"] == record.snapshot_steps.tolist()


def test_the_share_of_kept_contacts_by_hand():
    probability, distance = np.zeros((26, 26)), np.full((26, 26), 20.0)
    # Three long-range pairs, all among the 26 likeliest; one of them touches.
    distance[1, 25] = distance[0, 5] = 7.9
    assert kept_share(probability, distance) == pytest.approx(1 / 3, abs=1e-4)
    assert kept_share(probability[:24, :24], distance[:24, :24]) is None


def test_the_page_is_whole_and_loads_nothing(prediction, page):
    for name in PARTS:
        assert f'id="{name}"' in page, name
    visible = re.sub(r'<script type="application/octet-stream".*?</script>', "", page, flags=re.DOTALL)
    assert "http://" not in visible and "https://" not in visible and "@import" not in visible
    assert "@@" not in visible and "%POOL%" not in visible
    assert "function foldingParts(" in visible
    for text in (
        "-30.2",
        "mirror image of the best",
        "sample 0 (chosen)",
        "not kept",
        "25%",
        "Expected error of distances",
    ):
        assert text in visible, text
    assert "Diffusion steps" not in visible


def test_other_models_have_none_of_it():
    other = made_prediction()
    assert folding_data(other, other.ranking) is None
    text = report_html(other, {sample_label(ranked): "data_x" for ranked in other.ranking})
    assert not [name for name in PARTS if f'id="{name}"' in text]
    assert "function foldingParts(" not in text
    assert "Predicted aligned error" in text and "Diffusion steps" in text


def test_the_animation_is_small():
    rng = np.random.default_rng(0)
    frames = 60
    # Noise of 2 Å between frames is more than a descent has.
    walk = np.cumsum(2 * rng.normal(size=(frames, LENGTH, 3)), axis=0).astype(np.float32)
    base = _folded()
    record = dataclasses.replace(base.seeds[0].folding, snapshots=walk, snapshot_steps=np.arange(frames))
    one = dataclasses.replace(base, seeds=(dataclasses.replace(base.seeds[0], folding=record),))
    data = folding_data(one, one.ranking)
    packed = base64.b64encode(gzip.compress(json.dumps(data["seeds"][0]["frames"]).encode()))
    assert len(packed) < 100_000 * LENGTH / 150  # 100 kB at 150 residues


def test_files(prediction, tmp_path):
    run = Fingerprint("0", (1, 7), "0", SAMPLES, 0, 0, "0")
    folders = [tmp_path / each / "fold" for each in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
        write_results(prediction, folder, run)
    for result in prediction.seeds:
        stem = f"seed-{result.seed}"
        files = [f"{stem}_{kind}/fold_{stem}_{kind}.npz" for kind in ("distogram", "folding")]
        record = result.folding
        with np.load(folders[0] / files[0], allow_pickle=False) as found:
            assert set(found) == {"distogram", "bin_edges"}
            assert found["distogram"].dtype == np.float16
            np.testing.assert_allclose(found["distogram"], record.distogram, atol=5e-4)
            np.testing.assert_array_equal(found["bin_edges"], record.bin_edges)
        with np.load(folders[0] / files[1], allow_pickle=False) as found:
            np.testing.assert_array_equal(found["snapshots"], record.snapshots)
            np.testing.assert_array_equal(found["energy_bond"], record.terms["bond"])
            assert tuple(found["origin"]) == record.origin
        for file in files:
            first, second = ((folder / file).read_bytes() for folder in folders)
            assert first == second
    assert "diffusion steps" not in (folders[0] / "fold_model.cif").read_text()
