"""Training AlphaFold 1: labels against their definitions, views read back, runs that go on with the same numbers."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from kept_notes import Notes
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from anfinsen.cli.app import run as run_command
from anfinsen.common.errors import ConfigError, InputError, WeightsError
from anfinsen.geometry import pairwise_distances
from anfinsen.losses.alphafold1 import IGNORED, AlphaFold1LossConfig, alphafold1_loss
from anfinsen.models.alphafold1 import (
    PRESETS,
    SEPARATION_CLASSES,
    AlphaFold1,
    AlphaFold1Config,
    Calibration,
    FoldingConfig,
    RealisationConfig,
    ReferenceDistribution,
    Stage,
    TermWeights,
    TilingConfig,
    Tower,
    cut,
    distance_centres,
    native_maps,
    separation_class,
)
from anfinsen.training import alphafold1_train
from anfinsen.training.alphafold1_data import AlphaFold1DataConfig, AlphaFold1Dataset, collate, crop_targets
from anfinsen.training.alphafold1_finish import calibrate, map_scores, reference_counts, validation_chains
from anfinsen.training.alphafold1_train import (
    RECIPES,
    AlphaFold1Recipe,
    AlphaFold1Trainer,
    cropped,
    extends,
    grown,
    train_alphafold1,
)
from anfinsen.training.chain_store import a3m_row_starts
from anfinsen.training.evolution_cache import EvolutionCache, EvolutionConfig, view_of
from anfinsen.training.options import TrainOptions
from anfinsen.training.workers import Workers
from anfinsen.weights.alphafold1 import is_alphafold1, load_alphafold1, save_alphafold1

TINY = AlphaFold1Config(c_single_in=92, c_pair_in=8, towers=(Tower(1, 8),), crop=24, torsions=12, dihedrals=8, angles=6)
RECIPE = AlphaFold1Recipe(steps=20, crops=2, micro_batch=1, warmup=1, learning_rate=1e-2, calibration=0)


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    config = AlphaFold1DataConfig(evolution=EvolutionConfig(thinned=1), overhang=4)
    found = AlphaFold1Dataset(shared / "data", "validation", tmp_path_factory.mktemp("cache"), TINY, config)
    # The shallowest alignments of short chains are the quickest to prepare.
    short = np.flatnonzero(found.store.lengths < 90)
    chosen = [int(i) for i in short[np.argsort([len(found.store.a3m(int(i))) for i in short])][:3]]
    assert list(found.cache.prepare(chosen)) == chosen
    found.draw = lambda rng: chosen[int(rng.integers(len(chosen)))]
    found.chosen = chosen
    return found


def test_views_are_read_back_as_they_were_made(dataset):
    index = dataset.chosen[0]
    assert index not in dataset.cache.missing()
    depth = len(a3m_row_starts(dataset.store.a3m(index)))
    expected = view_of(dataset.cache.rows(index, 0))
    found, thinned = dataset.cache.view(index, 0), dataset.cache.view(index, 1)
    assert found.evolution.depth == depth and 2 <= thinned.evolution.depth <= depth
    np.testing.assert_allclose(found.evolution.frequencies, expected.evolution.frequencies, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3 * np.abs(expected.scores).max())
    np.testing.assert_array_equal(dataset.cache.rows(index, 1).restypes, dataset.cache.rows(index, 1).restypes)
    assert found.classes is None
    with pytest.raises(InputError, match="cannot be read"):
        dataset.cache.view(dataset.cache.missing()[0], 0)


def test_class_couplings_are_read_back_as_they_were_made(dataset, shared, tmp_path):
    network, config = (
        replace(TINY, c_pair_in=PRESETS["mini"].c_pair_in),
        replace(dataset.config, single=0.0, profile=0.0),
    )
    other = AlphaFold1Dataset(shared / "data", "validation", tmp_path, network, config)
    index = dataset.chosen[0]
    assert list(other.cache.prepare([index])) == [index]
    expected = view_of(other.cache.rows(index, 0), classes=True).classes
    # A byte holds steps of 1/16.
    np.testing.assert_allclose(other.cache.view(index, 0).classes, expected, atol=1 / 32 + 1e-6)
    length = len(expected)
    assert other.features(index).pair.shape == (length, length, network.c_pair_in)
    assert not other.profile_features(index).pair[..., TINY.c_pair_in :].any()
    # A file of another configuration is made anew, even if it holds more than is asked for.
    assert index in EvolutionCache(other.store, other.cache.folder, dataset.config.evolution).missing()
    # Files from before files said what they hold are made anew where classes are read, and only there.
    save_file(load_file(dataset.cache.path(index)), other.cache.path(index))
    assert index in other.cache.missing()
    assert index not in EvolutionCache(other.store, other.cache.folder, dataset.config.evolution).missing()


def test_caches_from_before_there_were_classes_stay_good(dataset, tmp_path):
    index = dataset.chosen[0]
    path = dataset.cache.path(index)
    with safe_open(path, framework="numpy") as handle:
        (made_from,) = handle.metadata().values()
    assert made_from.endswith(" EvolutionConfig(thinned=1, seed=0)")
    with_classes = EvolutionCache(dataset.store, dataset.cache.folder, replace(dataset.cache.config, classes=True))
    assert index not in dataset.cache.missing() and index in with_classes.missing()


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("channels", [8, PRESETS["mini"].c_pair_in])
def test_a_network_that_reads_more_or_is_deeper_begins_as_it_was(dataset, channels, groups):
    larger = replace(TINY, c_pair_in=channels, towers=(Tower(groups, 8),))
    assert extends(larger, TINY) == (larger != TINY)
    assert not extends(TINY, larger)
    torch.manual_seed(0)
    small, large = AlphaFold1(TINY).eval(), AlphaFold1(larger).eval()
    for block in small.blocks:
        torch.nn.init.normal_(block.up.weight)
    large.load_state_dict(grown(small.state_dict(), large))
    crops, _ = dataset.example(np.random.default_rng(0))
    unread = torch.randn(*crops.pair.shape[:3], channels - TINY.c_pair_in)
    more = replace(crops, pair=torch.cat([crops.pair, unread], dim=-1))
    with torch.no_grad():
        expected = small(crops).distogram
        torch.testing.assert_close(large(more).distogram, expected)
        large.blocks[-1].up.bias += 1
        assert (large(more).distogram - expected).abs().max() > 0.1


def test_other_networks_do_not_begin_from_each_other():
    for other in (
        replace(TINY, separations=TINY.separations + 1, c_pair_in=44),
        replace(TINY, crop=32),
        replace(TINY, towers=(Tower(2, 16),)),
        replace(TINY, towers=(Tower(1, 8), Tower(1, 8))),
    ):
        assert not extends(other, TINY)
    # Blocks are named by their places, and here those of the second tower would have others.
    two = replace(TINY, towers=(Tower(1, 8), Tower(1, 16)))
    assert not extends(replace(two, towers=(Tower(2, 8), Tower(1, 16))), two)
    assert extends(replace(two, towers=(Tower(1, 8), Tower(2, 16))), two)


def test_larger_crops_are_fewer():
    recipe = replace(RECIPE, crops=16, micro_batch=8)
    assert cropped(recipe, 64, 64) is recipe
    assert [(r.crops, r.micro_batch) for r in (cropped(recipe, 64, side) for side in (128, 200, 2048, 32))] == [
        (8, 4),
        (5, 2),
        (1, 1),
        (32, 16),
    ]
    with pytest.raises(ConfigError, match="'crop' is 3: expected 8 or more, or 0"):
        cropped(recipe, 64, 3)


QUICK = RealisationConfig(
    tiling=TilingConfig(stride=24, ensemble=1),
    folding=FoldingConfig(starts=2, stages=(Stage(3, 2, TermWeights()),), rounds=0),
)


def test_calibration_is_the_same_however_many_workers_fold(dataset, monkeypatch):
    torch.manual_seed(0)
    alone = AlphaFold1(TINY)
    before = alone.calibration.tm_weights.clone()
    scores = calibrate(alone, dataset, dataset.chosen, 0, QUICK)
    assert 0 < scores["tm_score"] < 0.5 and 0 < scores["lddt"] < 0.7  # nothing is learnt yet
    assert not torch.equal(alone.calibration.tm_weights, before)

    # Two threads stand for two processes.
    rank, folded, both = threading.local(), [[], []], threading.Barrier(2)

    def all_gather_object(parts, mine):
        folded[rank.number] = mine
        both.wait(60)
        parts[:] = folded

    def work(number):
        rank.number = number
        model = AlphaFold1(TINY)
        model.load_state_dict({**alone.state_dict(), "calibration.tm_weights": before})
        return model, calibrate(model, dataset, dataset.chosen, 0, QUICK, workers=Workers(number, 2))

    monkeypatch.setattr("anfinsen.training.workers.dist.all_gather_object", all_gather_object)
    with ThreadPoolExecutor(2) as pool:
        for model, found in pool.map(work, range(2)):
            assert found == pytest.approx(scores, rel=1e-4)
            torch.testing.assert_close(model.calibration.tm_weights, alone.calibration.tm_weights, rtol=1e-3, atol=1e-3)
    assert [len(part) for part in folded] == [2, 1]


def test_targets_are_the_bins_of_the_truth(dataset):
    index = dataset.chosen[1]
    truth, features = dataset.truth(index), dataset.features(index)
    length = len(features.single)
    corner = (length - 20, -5)
    crops = cut(features.single, features.pair, [corner], TINY.crop)
    found = crop_targets(truth, crops, corner, TINY)
    distance = pairwise_distances(truth.backbone.cb[0])
    centres = distance_centres(TINY.distances)
    for i, j in ((0, 5), (3, 9), (19, 23), (7, 20)):
        row, column = corner[0] + i, corner[1] + j
        expected = int((centres - distance[row, column]).abs().argmin())
        assert int(found.distance[0, i, j]) == expected
    assert (found.distance[0, 20:] == IGNORED).all() and (found.distance[0, :, :5] == IGNORED).all()
    far = found.distance[0] > int(14.5 / (20 / 64))
    assert (found.omega[0][far] == IGNORED).all()
    assert int(found.rows.torsion[0, 19]) == IGNORED  # the chain's last residue
    assert int(found.columns.torsion[0, 5]) == IGNORED  # its first
    b = truth.backbone
    phi = math.degrees(math.atan2(*_dihedral(b.c[0, 3], b.n[0, 4], b.ca[0, 4], b.c[0, 4])))
    assert int(found.columns.torsion[0, 9]) // TINY.torsions == int((phi + 180) // 30)
    assert 0 <= int(found.rows.secondary_structure[0, 0]) < 8


def _dihedral(a, b, c, d):
    """Sine and cosine by the textbook."""
    u, v, w = b - a, c - b, d - c
    first, second = torch.linalg.cross(u, v), torch.linalg.cross(v, w)
    return v.norm() * (u @ second), first @ second


def test_crops_reach_every_residue_and_beyond_the_ends(dataset):
    rng = np.random.default_rng(0)
    corners = {dataset._corner(50, rng) for _ in range(2000)}
    assert corners == set(range(-4, 50 - 24 + 4 + 1))
    assert {dataset._corner(10, rng) for _ in range(2000)} == set(range(-14 - 4, 4 + 1))


def test_loss_counts_only_what_is_known(dataset):
    crops, targets = collate([dataset.example(np.random.default_rng(s)) for s in range(3)])
    assert len(crops.rows) == len(targets.distance) == 3
    torch.manual_seed(0)
    model = AlphaFold1(TINY)
    with torch.no_grad():
        logits = model(crops)
    total, terms = alphafold1_loss(logits, targets, AlphaFold1LossConfig())
    weights = {"distogram": 1.0, "omega": 0.25, "theta": 0.25, "phi": 0.25}
    weights |= {"torsion": 0.1, "secondary_structure": 0.05, "accessibility": 0.05}
    assert float(total) == pytest.approx(sum(w * float(terms[n]) for n, w in weights.items()), rel=1e-5)
    # Untrained: about as good as guessing.
    assert float(terms["distogram"]) == pytest.approx(math.log(64), rel=0.2)
    known = targets.distance != IGNORED
    by_hand = -logits.distogram.log_softmax(-1)[known].gather(-1, targets.distance[known][:, None]).mean()
    assert float(terms["distogram"]) == pytest.approx(float(by_hand), rel=1e-4)


def test_a_run_learns_and_goes_on_with_the_same_numbers(dataset, tmp_path):
    def draw(trainer):
        step = trainer.steps_done
        return lambda i: dataset.example(np.random.default_rng([i, step % 2]))

    straight, broken = (AlphaFold1Trainer(TINY, RECIPE, seed=3) for _ in range(2))
    losses = [straight.step(draw(straight))["total"] for _ in range(9)]
    # Two sets of crops by turns: each is known better the next time.
    assert losses[8] < losses[0] - 0.2 and losses[7] < losses[1]
    for _ in range(3):
        broken.step(draw(broken))
    broken.save(tmp_path, {"preset": "tiny"})
    again = AlphaFold1Trainer(TINY, RECIPE, seed=3)
    assert again.resume(tmp_path)
    for number in range(3, 5):
        assert again.step(draw(again))["total"] == pytest.approx(losses[number], rel=1e-5)
    other = AlphaFold1Trainer(TINY, AlphaFold1Recipe(steps=21, crops=2), seed=3)
    with pytest.raises(WeightsError, match="recipe"):
        other.resume(tmp_path)


def test_a_run_begins_with_other_weights(dataset, tmp_path):
    first, second = AlphaFold1Trainer(TINY, RECIPE, seed=3), AlphaFold1Trainer(TINY, RECIPE, seed=4)
    first.step(lambda i: dataset.example(np.random.default_rng(i)))
    second.begin_from(first.model.state_dict(), "abc")
    for name, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
        assert name not in second.ema.shadow or torch.equal(second.ema.shadow[name], value), name
    second.step(lambda i: dataset.example(np.random.default_rng(i)))
    second.save(tmp_path, {"preset": "tiny"})
    # The same run with another beginning is another run.
    with pytest.raises(WeightsError, match="start"):
        AlphaFold1Trainer(TINY, RECIPE, seed=4).resume(tmp_path)


def test_a_beginning_that_is_missing_or_another_models_is_refused(tmp_path, capsys):
    command = ["train", "alphafold1", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--from"]
    for start, said in ((str(tmp_path / "none.safetensors"), "none.safetensors"), ("alphafold3-mini", "alphafold3")):
        assert run_command([*command, start]) == 2
        error = capsys.readouterr().err.strip()
        assert said in error and error.count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_without_validation_alignments_a_run_ends_uncalibrated(dataset, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(alphafold1_train, "validation_chains", lambda *_: [])
    monkeypatch.setattr(alphafold1_train, "alphafold1_config", lambda _: TINY)
    monkeypatch.setattr(alphafold1_train, "prepare_together", lambda *_: None)
    monkeypatch.setattr(alphafold1_train, "reference_counts", lambda *_, **__: torch.ones(6, 40, 64))
    monkeypatch.setattr(alphafold1_train, "AlphaFold1Dataset", lambda *_: dataset)
    notes = Notes()
    options = TrainOptions(data=tmp_path, out=tmp_path / "out", preset="mini", device="cpu", bf16=False)
    path = train_alphafold1(options, notes, replace(RECIPE, steps=1, calibration=3))
    assert load_alphafold1(str(path))[0].config == TINY
    assert [note for note in notes.said if "the confidence is not calibrated" in note]
    # Fine-tuning on larger crops, and again on those of the weights begun from.
    recipe = replace(RECIPE, steps=1)
    for number, (start, crop) in enumerate(((path, 48), (tmp_path / "0" / "weights.safetensors", 0))):
        options = replace(options, out=tmp_path / str(number), start=str(start), crop=crop)
        found = load_alphafold1(str(train_alphafold1(options, notes, recipe)))
        assert found[0].config == replace(TINY, crop=48)
        assert found[1].preset == ""


@pytest.mark.parametrize(("channel", "count"), [("c_pair_in", 9), ("c_single_in", 91)])
def test_networks_that_read_what_there_is_not_are_refused(channel, count, tmp_path):
    path = tmp_path / "other.safetensors"
    save_alphafold1(AlphaFold1(replace(TINY, **{channel: count})), path, {"preset": "tiny"})
    with pytest.raises(WeightsError, match=f"{count} channels of .*: expected"):
        load_alphafold1(str(path))


def test_weights_files_say_what_they_are(tmp_path):
    torch.manual_seed(0)
    model = AlphaFold1(TINY).eval()
    model.calibration.lddt_weights.fill_(0.5)
    path = tmp_path / "weights.safetensors"
    save_alphafold1(model, path, {"preset": "tiny", "steps": "7"})
    again, info = load_alphafold1(str(path))
    assert again.config == TINY and info.preset == "tiny" and info.metadata["steps"] == "7"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    assert is_alphafold1(str(path)) and is_alphafold1("alphafold1-mini")
    assert not is_alphafold1("alphafold3-mini") and not is_alphafold1(str(tmp_path))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_alphafold1(str(path))
    assert load_alphafold1("alphafold1-mini:random")[0].config == PRESETS["mini"]
    with torch.no_grad():
        model.norm.weight.fill_(math.nan)
    with pytest.raises(WeightsError, match="non-finite"):
        save_alphafold1(model, tmp_path / "bad.safetensors", {})
    assert not (tmp_path / "bad.safetensors").exists()


def test_reference_state_is_the_counts(dataset):
    counts = reference_counts(dataset.store, 64, chains=6)
    reference = ReferenceDistribution(64)
    torch.testing.assert_close(reference.maps(30).sum(-1), torch.ones(30, 30))
    reference.fit(counts)
    assert int(separation_class(torch.tensor(10_000))) == SEPARATION_CLASSES - 1
    maps = reference.maps(100)
    torch.testing.assert_close(maps.sum(-1), torch.ones(100, 100))
    centres = distance_centres(64)
    mean = maps @ centres
    # Neighbours are 5 to 6 Å apart; farther along the chain, farther in space.
    assert 4.5 < float(mean[10, 11]) < 6.5
    assert mean[10, 11] < mean[10, 14] < mean[10, 30]


def test_calibration_finds_the_weights_that_made_the_scores():
    generator = torch.Generator().manual_seed(0)
    calibration = Calibration()
    untouched = calibration(torch.full((5, 6), 0.5))
    assert untouched.plddt.tolist() == pytest.approx([50.0] * 5)
    signals = [torch.rand(80, 6, generator=generator) for _ in range(40)]
    true = torch.tensor([2.0, 1.0, -1.0, 0.5, 0.0, 0.3, -1.0])
    lddt = [torch.sigmoid(part @ true[:6] + true[6]) for part in signals]
    tm = torch.stack([torch.sigmoid(part.mean(0) @ true[:6] + true[6]) for part in signals])
    calibration.fit(signals, lddt, tm)
    found = calibration(signals[0])
    torch.testing.assert_close(found.plddt, 100 * lddt[0], atol=1.5, rtol=0)
    assert found.tm_score == pytest.approx(float(tm[0]), abs=0.05)


def test_native_maps_have_perfect_contacts(dataset):
    truth = dataset.truth(dataset.chosen[2])
    scores = map_scores(native_maps(truth.backbone, orientation=False), truth.backbone.cb[0])
    assert scores.fifth == 1.0 and scores.cross_entropy < 2.5
    blind = native_maps(truth.backbone, orientation=False)
    blind.distogram.fill_(1 / 64)
    assert map_scores(blind, truth.backbone.cb[0]).cross_entropy == pytest.approx(math.log(64), rel=1e-3)


def test_validation_chains_are_the_same_every_time(dataset):
    chains = validation_chains(dataset, 5, 150, seed=0)
    assert len(chains) == 5 and chains == validation_chains(dataset, 5, 150, seed=0)
    assert (dataset.store.lengths[chains] <= 150).all()


@pytest.mark.parametrize("name", list(RECIPES))
def test_learning_rates_rise_and_fall(name):
    recipe = RECIPES[name]
    rates = [recipe.rate_at(step) for step in (0, recipe.warmup, recipe.steps // 2, recipe.steps)]
    assert rates[0] < rates[1] > rates[2] > rates[3] > 0
    assert max(rates) <= recipe.learning_rate
