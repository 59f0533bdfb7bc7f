"""The training loop: it learns, resumes to the same bits, freezes what it should, and fails without harm."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from anfinsen.common.errors import ConfigError, NonFiniteError, WeightsError
from anfinsen.losses import LossConfig
from anfinsen.nn.batch import Labels
from anfinsen.training import Recipe, Stage, Trainer, TrainOptions
from anfinsen.training.checkpoint import load_checkpoint
from anfinsen.training.curves import class_lddt
from anfinsen.training.ema import ExponentialMovingAverage
from anfinsen.training.loop import CHECKPOINT, WEIGHTS
from anfinsen.training.recipe import FULL, RECIPES
from anfinsen.training.stages import scaled
from anfinsen.training.workers import Workers
from anfinsen.weights import load_model
from tiny_model import TINY, batch_of

ALL = Stage(steps=4, crop=64, diffusion_batch=2, losses=LossConfig(distogram=0.5, bond=1.0), rollout=2, msa_rows=4)
CONFIDENCE = Stage(
    steps=3,
    crop=64,
    diffusion_batch=1,
    losses=LossConfig(confidence=1.0, pae=1.0),
    train="confidence",
    learning_rate=1e-3,
)
RECIPE = Recipe(
    stages=(ALL, CONFIDENCE),
    examples_per_step=2,
    learning_rate=3e-3,
    warmup=2,
    clip=1.0,
    ema=0.9,
    recycles=1,
    rollout_steps=2,
)
ENTITIES = (
    ({"kind": "protein", "ids": ("A",), "sequence": "GSK"}, {"kind": "ligand", "ids": ("B",), "smiles": "CCO"}),
    ({"kind": "rna", "ids": ("A",), "sequence": "AC"},),
)


@pytest.fixture(scope="module")
def examples():
    """Two small complexes with made-up coordinates."""
    result = []
    for number, entities in enumerate(ENTITIES):
        batch = batch_of(*entities)
        generator = torch.Generator().manual_seed(number)
        atoms = len(batch.atom_mask)
        x = batch.ref_pos + 4.0 * batch.atom_to_token[:, None] + torch.randn(atoms, 3, generator=generator)
        resolved = torch.rand(atoms, generator=generator) < 0.9
        bonds = batch.token_bonds.triu().nonzero()
        labels = Labels(x, resolved, torch.stack([batch.center_atom[i] for i in bonds.T], dim=-1))
        result.append((batch, labels))
    return result


@pytest.fixture
def draw(examples):
    return lambda index: examples[index % len(examples)]


def _trainer(recipe=RECIPE, seed=0, **options):
    return Trainer(TINY, recipe, seed, **options)


def _weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def _assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(second[name], value), name


# ---- learning


def test_a_few_steps_lower_the_loss(draw):
    stage = dataclasses.replace(ALL, steps=25, rollout=0, diffusion_batch=8)
    trainer = _trainer(dataclasses.replace(RECIPE, stages=(stage,), recycles=0))
    losses = [trainer.step(draw) for _ in range(25)]
    for name in ("total", "mse", "distogram"):
        first, last = (np.mean([step[name] for step in part]) for part in (losses[:5], losses[-5:]))
        assert last < 0.9 * first, name


def test_a_step_reports_every_term_and_the_rate(draw):
    trainer = _trainer()
    first, second = trainer.step(draw), trainer.step(draw)
    terms = {"total", "mse", "bond", "smooth_lddt", "diffusion", "distogram", "gradient_norm", "learning_rate"}
    assert set(second) == terms
    assert set(first) == terms | {"plddt", "pae", "pde", "resolved", "confidence"}  # a roll-out at every second step
    assert first["learning_rate"] == pytest.approx(1.5e-3) and trainer.steps_done == 2


def test_stages_follow_one_another_and_confidence_leaves_the_rest_alone(draw):
    trainer = _trainer()
    for _ in range(ALL.steps):
        assert trainer.stage is ALL
        trainer.step(draw)
    assert trainer.stage is CONFIDENCE
    # Confidence is learnt on top of the averaged weights.
    before = _weights(trainer) | {name: value.clone() for name, value in trainer.ema.shadow.items()}
    for _ in range(CONFIDENCE.steps):
        terms = trainer.step(draw)
        assert "mse" not in terms and terms["learning_rate"] == CONFIDENCE.learning_rate
    after = _weights(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("confidence_head.") for name in changed)
    assert trainer.stage is CONFIDENCE  # also beyond the end


def test_a_trunk_stage_lowers_the_distogram_loss_and_leaves_the_rest_alone(draw):
    stage = dataclasses.replace(ALL, steps=20, rollout=0, train="trunk")
    trainer = _trainer(dataclasses.replace(RECIPE, stages=(stage, ALL), recycles=0))
    before = _weights(trainer)
    terms = [trainer.step(draw) for _ in range(20)]
    assert set(terms[0]) == {"total", "distogram", "gradient_norm", "learning_rate"}
    assert np.mean([t["distogram"] for t in terms[-5:]]) < 0.9 * np.mean([t["distogram"] for t in terms[:5]])
    changed = {name for name, value in _weights(trainer).items() if not torch.equal(before[name], value)}
    assert {"distogram.logits.weight"} < changed
    assert all(name.startswith(("trunk_module.", "distogram.")) for name in changed)
    trainer.step(draw)
    diffusion = "diffusion.decoder.to_position.weight"
    assert not torch.equal(before[diffusion], trainer.model.state_dict()[diffusion])  # everything again


def test_the_first_stage_trains_everything(draw):
    trainer = _trainer()
    before = _weights(trainer)
    for _ in range(3):
        trainer.step(draw)
    same = [name for name, value in _weights(trainer).items() if torch.equal(before[name], value)]
    buffers = {name for name, _ in trainer.model.named_buffers()}
    # Behind zero-initialised maps gradients arrive late; templates have no data here; buffers are constant.
    late = ("templates", "recycle_norm", "confidence_head.")
    assert all(any(part in name for part in late) or name in buffers for name in same), same


# ---- schedule and average


def test_published_schedule():
    assert FULL.rate_at(0) == pytest.approx(1.8e-6)
    assert FULL.rate_at(999) == pytest.approx(1.8e-3)
    assert FULL.rate_at(49_999) == pytest.approx(1.8e-3)
    assert FULL.rate_at(50_000) == pytest.approx(1.8e-3 * 0.95)
    assert (FULL.beta1, FULL.beta2, FULL.clip, FULL.ema, FULL.examples_per_step) == (0.9, 0.95, 10.0, 0.999, 256)
    assert [stage.crop for stage in FULL.stages] == [384, 640, 768, 768]
    assert [stage.diffusion_batch for stage in FULL.stages] == [48, 32, 32, 32]
    assert [stage.losses.bond for stage in FULL.stages[:3]] == [0.0, 1.0, 1.0]


def test_a_falling_schedule_ends_at_its_fraction():
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(ALL, steps=100), CONFIDENCE), final_fraction=0.1)
    assert recipe.rate_at(50) == pytest.approx(3e-3 * 0.55)
    assert recipe.rate_at(99) == pytest.approx(3e-3 * (1 - 0.9 * 0.99))
    assert recipe.rate_at(100) == CONFIDENCE.learning_rate
    assert recipe.steps == 103


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_whole(name):
    recipe = RECIPES[name]
    assert recipe.stage_at(0) is recipe.stages[0] and recipe.stage_at(recipe.steps + 5) is recipe.stages[-1]
    starts = np.cumsum([0, *(stage.steps for stage in recipe.stages)])
    for stage, first, last in zip(recipe.stages, starts, starts[1:], strict=False):
        assert recipe.stage_at(int(first)) is stage and recipe.stage_at(int(last) - 1) is stage
    assert all(recipe.rate_at(step) > 0 for step in range(0, recipe.steps, max(1, recipe.steps // 50)))
    assert recipe.stages[-1].train == "confidence" and recipe.stages[-1].losses.pae == 1.0


def test_scaled_recipes_keep_the_stages_shares():
    for steps in (5, 26, 260):
        found = scaled(RECIPES["mini"], steps)
        assert found.steps == steps
        assert len(found.stages) == len(RECIPES["mini"].stages)
    shares = [stage.steps for stage in found.stages]
    total = RECIPES["mini"].steps
    assert shares[:2] == [round(260 * stage.steps / total) for stage in RECIPES["mini"].stages[:2]]


def test_a_run_with_two_optimisers_goes_on_with_the_same_bits(draw, tmp_path):
    recipe = dataclasses.replace(RECIPE, matrix_rate=1.0, stages=(dataclasses.replace(ALL, rollout=0),))
    whole, first, second = (_trainer(recipe) for _ in range(3))
    for _ in range(3):
        whole.step(draw)
    first.step(draw)
    first.save(tmp_path, {})
    assert second.resume(tmp_path)
    for _ in range(2):
        second.step(draw)
    assert all(torch.equal(value, _weights(second)[name]) for name, value in _weights(whole).items())


def test_average_follows_its_formula():
    module = torch.nn.Linear(1, 1, bias=False)
    module.register_buffer("count", torch.tensor(3))
    average = ExponentialMovingAverage(module, 0.6)
    expected = module.weight.item()
    for update in range(1, 12):
        with torch.no_grad():
            module.weight.fill_(float(update))
        average.update(module)
        decay = min(0.6, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
        assert average.shadow["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert "count" not in average.shadow
    with average.applied(module):
        assert module.weight.item() == pytest.approx(expected, rel=1e-6) and module.count == 3
    assert module.weight.item() == 11.0
    with pytest.raises(RuntimeError, match="stop"), average.applied(module):
        raise RuntimeError("stop")
    assert module.weight.item() == 11.0


# ---- checkpoints


def test_a_resumed_run_has_the_same_bits(draw, tmp_path):
    straight = _trainer()
    for _ in range(RECIPE.steps):
        straight.step(draw)
    stopped = _trainer()
    while stopped.steps_done < RECIPE.steps:  # stopped and started again after every second step, also between stages
        fresh = _trainer()
        assert fresh.resume(tmp_path) is (stopped.steps_done > 0)
        assert fresh.steps_done == stopped.steps_done
        for _ in range(min(2, RECIPE.steps - fresh.steps_done)):
            fresh.step(draw)
        fresh.save(tmp_path, {})
        stopped = fresh
    _assert_equal(_weights(straight), _weights(stopped))
    _assert_equal(straight.ema.shadow, stopped.ema.shadow)
    assert straight.ema.updates == stopped.ema.updates == CONFIDENCE.steps  # the average starts afresh there


def test_the_weights_file_holds_the_average(draw, tmp_path):
    trainer = _trainer()
    trainer.step(draw)
    trainer.save(tmp_path, {"preset": "tiny"})
    model, info = load_model(str(tmp_path / WEIGHTS))
    assert info.preset == "tiny" and info.metadata["steps"] == "1"
    for name, value in trainer.ema.shadow.items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=0, rtol=2**-8)


def test_a_run_with_other_settings_is_not_continued(draw, tmp_path):
    trainer = _trainer()
    trainer.step(draw)
    trainer.save(tmp_path, {})
    others = {
        "'seed'": _trainer(seed=1),
        "'recipe'": _trainer(dataclasses.replace(RECIPE, learning_rate=1e-3)),
        "'config'": Trainer(dataclasses.replace(TINY, c_m=16), RECIPE, 0),
        "'bf16'": _trainer(bf16=True),
    }
    for name, other in others.items():
        before = _weights(other)
        with pytest.raises(WeightsError, match=name):
            other.resume(tmp_path)
        assert other.steps_done == 0
        _assert_equal(before, _weights(other))


def test_fine_tuning_begins_from_given_weights_and_is_its_own_run(draw, tmp_path):
    first = _trainer()
    first.step(draw)
    first.save(tmp_path, {"preset": "tiny"})
    model, info = load_model(str(tmp_path / WEIGHTS))
    tuned = _trainer(seed=7)
    tuned.fine_tune(model, info.sha256)
    _assert_equal(model.state_dict(), _weights(tuned))
    _assert_equal({name: model.state_dict()[name] for name in tuned.ema.shadow}, tuned.ema.shadow)
    with pytest.raises(WeightsError, match="'start'"):
        same_seed = _trainer()
        same_seed.fine_tune(model, info.sha256)
        same_seed.resume(tmp_path)
    (tmp_path / "tuned").mkdir()
    tuned.step(draw)
    tuned.save(tmp_path / "tuned", {})
    again = _trainer(seed=7)
    again.fine_tune(model, info.sha256)
    assert again.resume(tmp_path / "tuned")
    _assert_equal(_weights(tuned), _weights(again))


def test_fine_tuning_can_add_couplings_to_a_network_that_read_none(draw):
    plain = _trainer().model
    tuned = Trainer(dataclasses.replace(TINY, pair_couplings=True), RECIPE, 0)
    tuned.fine_tune(plain, "")
    batch, _ = draw(0)
    n = len(batch.restype)
    coupled = dataclasses.replace(batch, pair_couplings=torch.ones(n, n, 5))
    with torch.no_grad():
        before, after = (m.eval().trunk(coupled, recycles=0).pair for m in (plain, tuned.model))
    assert torch.equal(before, after)
    for _ in range(2):  # what follows begins with zeros, so nothing reaches the trunk at the first step
        tuned.step(lambda index: (coupled, draw(0)[1]))
    assert tuned.model.trunk_module.couplings.weight.any()


def test_fine_tuning_can_let_the_confidence_head_read_rows_or_begin_anew(draw):
    plain = _trainer().model
    names = {name for name in plain.state_dict() if name.startswith("confidence_head.")}
    reading = Trainer(dataclasses.replace(TINY, confidence_row_means=True), RECIPE, 0)
    reading.fine_tune(plain, "")
    batch, labels = draw(0)
    trunk = plain.eval().trunk(batch, recycles=0)
    before, after = (m.eval().confidence(batch, trunk, labels.coordinates[None]) for m in (plain, reading.model))
    assert torch.equal(before.plddt, after.plddt) and torch.equal(before.pae, after.pae)
    fresh = _trainer(seed=3)
    random = {name: value.clone() for name, value in fresh.model.state_dict().items()}
    fresh.fine_tune(plain, "", fresh_confidence=True)
    for name, value in fresh.model.state_dict().items():
        assert torch.equal(value, (random if name in names else plain.state_dict())[name])


def test_broken_checkpoints_are_refused_in_one_sentence(draw, tmp_path):
    trainer = _trainer()
    trainer.step(draw)
    trainer.save(tmp_path, {})
    path = tmp_path / CHECKPOINT
    data = path.read_bytes()
    weights = (tmp_path / WEIGHTS).read_bytes()
    for content, message in (
        (b"", "delete it"),
        (data[: len(data) // 3], "delete it"),
        (weights, "not an anfinsen checkpoint"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message) as error:
            _trainer().resume(tmp_path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    other = _trainer()
    with pytest.raises(WeightsError, match="Cannot read"):
        load_checkpoint(tmp_path / "none", other.model, other.optimizers, other.ema, other.settings)
    assert _trainer().resume(tmp_path / "empty") is False


# ---- failures


@pytest.mark.parametrize("place", ["loss", "gradient"])
def test_non_finite_numbers_stop_training_and_change_nothing(examples, place, monkeypatch):
    trainer = _trainer()
    trainer.step(lambda index: examples[index])
    before, average = _weights(trainer), {name: value.clone() for name, value in trainer.ema.shadow.items()}

    def damaged(index):
        batch, labels = examples[index]
        value = float("nan") if index == 1 else 1.0
        return batch, dataclasses.replace(labels, coordinates=labels.coordinates * value)

    if place == "gradient":
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(NonFiniteError):
        trainer.step(damaged if place == "loss" else lambda index: examples[index])
    _assert_equal(before, _weights(trainer))
    _assert_equal(average, trainer.ema.shadow)
    assert trainer.steps_done == 1


def test_more_workers_than_examples_are_refused():
    with pytest.raises(ConfigError, match="3 workers"):
        _trainer(workers=Workers(0, 3))


def test_examples_are_shared_out_evenly():
    for count in (1, 2, 3):
        shares = [list(Workers(rank, count).share(7)) for rank in range(count)]
        assert sorted(index for share in shares for index in share) == list(range(7))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", -1), ("minutes", -0.5), ("minutes", float("nan")), ("seed", -3), ("seed", 10**30), ("threads", 10**14)]
    + [("learning_rate", wrong) for wrong in (-1e-3, float("nan"), float("inf"))],
)
def test_options_out_of_range_are_refused(tmp_path, name, value):
    with pytest.raises(ConfigError, match=name):
        TrainOptions(data=tmp_path, out=tmp_path, **{name: value})


# ---- curves


def test_class_lddt_is_the_double_loop(examples):
    batch = batch_of(
        {"kind": "protein", "ids": ("A", "B"), "sequence": "GSKV"},
        {"kind": "dna", "ids": ("C",), "sequence": "ACG"},
        {"kind": "rna", "ids": ("D",), "sequence": "AU"},
        {"kind": "ligand", "ids": ("E",), "smiles": "CCO"},
    )
    generator = torch.Generator().manual_seed(0)
    atoms = len(batch.atom_mask)
    true = 9 * torch.randn(atoms, 3, generator=generator)
    resolved = torch.rand(atoms, generator=generator) < 0.8
    labels = Labels(true, resolved, torch.zeros(0, 2, dtype=torch.long))
    x = true + torch.randn(2, atoms, 3, generator=generator)
    found = class_lddt(x, batch, labels)
    names, sums = ("protein", "rna", "dna", "ligand"), {}
    for sample in range(2):
        for i in range(len(batch.restype)):
            for j in range(len(batch.restype)):
                a, b = int(batch.center_atom[i]), int(batch.center_atom[j])
                kinds = sorted((int(batch.kind[i]), int(batch.kind[j])))
                radius = min(30.0 if kind in (1, 2) else 15.0 for kind in kinds)
                distance = math.dist(true[a].tolist(), true[b].tolist())
                if i == j or not (resolved[a] and resolved[b]) or distance >= radius:
                    continue
                error = abs(math.dist(x[sample, a].tolist(), x[sample, b].tolist()) - distance)
                score = sum(error < limit for limit in (0.5, 1, 2, 4)) / 4
                if batch.asym_id[i] != batch.asym_id[j]:
                    key = f"inter/{names[kinds[0]]}-{names[kinds[1]]}"
                elif kinds[0] == kinds[1]:
                    key = f"intra/{names[kinds[0]]}"
                sums.setdefault((key, sample), []).append(score)
    assert {key for key, _ in sums} == set(found) and len(found) == 8
    for (key, sample), scores in sums.items():
        assert found[key][sample].item() == pytest.approx(np.mean(scores), abs=1e-5), key


def test_class_lddt_of_the_truth_is_one_wherever_it_lies(examples):
    batch, labels = examples[0]
    moved = (labels.coordinates + 500.0)[None]
    assert all(value.item() == pytest.approx(1.0) for value in class_lddt(moved, batch, labels).values())


def test_validation_uses_the_average_and_is_repeatable(draw, examples):
    trainer = _trainer()
    trainer.step(draw)
    before = _weights(trainer)
    first, second = trainer.validate(examples), trainer.validate(examples)
    assert first == second and "lddt/intra/protein" in first
    assert all(0 <= value <= 1 for value in first.values())
    _assert_equal(before, _weights(trainer))
