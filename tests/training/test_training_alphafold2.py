"""Training AlphaFold 2: examples against their sources, losses against their parts, runs that go on alike."""

import copy
import dataclasses
import os
import shutil

import numpy as np
import pytest
import torch

from anfinsen.chemistry import rigid_groups
from anfinsen.common.errors import ConfigError, InputError, WeightsError
from anfinsen.features.alphafold2_msa import AlphaFold2MsaConfig
from anfinsen.geometry import ResidueTables
from anfinsen.losses.alphafold2 import AlphaFold2LossConfig, distogram_loss
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config
from anfinsen.training.alphafold2_data import AlphaFold2DataConfig, AlphaFold2Dataset, pseudo_beta
from anfinsen.training.alphafold2_mixture import AlphaFold2Mixture
from anfinsen.training.alphafold2_proteins import ProteinStore
from anfinsen.training.alphafold2_recipe import RECIPES, AlphaFold2Recipe, AlphaFold2Stage
from anfinsen.training.alphafold2_step import AlphaFold2StepSettings, alphafold2_example_loss
from anfinsen.training.alphafold2_train import AlphaFold2Trainer, train_alphafold2
from anfinsen.training.chain_store import a3m_row_starts
from anfinsen.training.evolution_cache import EvolutionCache, EvolutionConfig
from anfinsen.training.options import TrainOptions
from anfinsen.training.stages import scaled
from anfinsen.weights.alphafold2 import save_alphafold2

MSA = AlphaFold2MsaConfig(clusters=6, extra=5, extra_query=True)
DATA = AlphaFold2DataConfig(crop=24, structures=0.5, aligned=1.0, msa=MSA)
TINY = AlphaFold2Config(
    templates=False, predicts_pae=True, pair_couplings=True, c_m=16, c_z=16, c_s=16, c_e=8, evoformer_blocks=1,
    extra_blocks=1, heads_msa=2, heads_pair=2, c_outer=4, c_triangle=8, layers=2, heads_points=2, c_torsions=8,
    torsion_blocks=1, c_plddt=8, dropout_msa=0.0, dropout_pair=0.0, dropout_structure=0.1, extra_query=True,
)  # fmt: skip
SEED_1 = EvolutionConfig(seed=1)
EVERYTHING = AlphaFold2LossConfig(resolved=0.01, violation=1.0, pae=0.1)


def recipe(**changes: object) -> AlphaFold2Recipe:
    stage = AlphaFold2Stage(20, DATA, recycles=1)
    return dataclasses.replace(AlphaFold2Recipe((stage,), examples=2, warmup=1, learning_rate=3e-3, ema=0.9), **changes)


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    folder = tmp_path_factory.mktemp("data")
    for name in ("chains", "msas"):
        (folder / name).symlink_to(shared / "data" / name)
    some = folder / "structures"
    (some / "single").mkdir(parents=True)
    for name in ("single/1CYO.pdb.gz", "single/1PIN.pdb.gz"):
        (some / name).symlink_to(shared / "data" / "structures" / name)
    # Preparing the couplings of all validation chains would take minutes: only of the three with the shortest text.
    AlphaFold2Dataset(folder, "validation", cache, DATA, couplings=False)
    found = AlphaFold2Dataset(folder, "validation", cache, DATA, couplings=False)
    short = np.flatnonzero(found.store.lengths < 90)
    chosen = [int(i) for i in short[np.argsort([len(found.store.a3m(int(i))) for i in short])][:3]]
    assert list(found.cache.prepare(chosen)) == chosen
    found._couplings = True
    found._groups = {True: (np.array(chosen), type(found._groups[True][1])(found.store.clusters[chosen]))}
    found.chosen, found.folder, found.kept = chosen, folder, cache
    return found


def tables() -> ResidueTables:
    return ResidueTables.of(rigid_groups().arrays(), torch.zeros(()))


def test_a_whole_chain_shows_its_rows_and_its_backbone(dataset):
    index = dataset.chosen[0]
    record = dataset.store.record(index)
    example = dataset.whole(index, np.random.default_rng(0))
    assert example.batch.aatype.tolist() == record.restype.tolist()
    np.testing.assert_allclose(example.target.atoms[:, :4], record.backbone, atol=1e-5)
    glycine = record.restype == 7
    assert (example.target.atom_mask[:, 4].numpy() == ~glycine).all() and not bool(
        example.target.atom_mask[:, 5:].any()
    )
    # CB of an L-amino acid, 1.53 Å from CA.
    bond = (example.target.atoms[:, 4] - example.target.atoms[:, 1]).norm(dim=-1)[~torch.from_numpy(glycine)]
    assert float((bond - 1.53).abs().max()) < 0.1
    atoms, known = pseudo_beta(example.target)
    assert bool(known.all()) and torch.equal(atoms[glycine], example.target.atoms[glycine, 1])
    assert example.batch.pair_couplings.shape == (len(record.restype),) * 2 + (5,)
    assert bool((example.batch.pair_couplings[..., 0] == 1).all())
    assert not example.side_chains


def test_crops_show_what_the_whole_shows_there(dataset):
    kinds = set()
    for seed in range(12):
        example = dataset.example(np.random.default_rng(seed))
        n = len(example.batch.aatype)
        assert n <= DATA.crop and example.batch.msa.shape[1] == n and len(example.batch.extra_msa) >= 1
        exists = tables().atom_mask[example.batch.aatype]
        assert not bool((example.target.atom_mask & ~exists).any())
        kinds.add(example.side_chains)
        if example.side_chains:
            # Nearly every atom of these two sharp structures is there.
            assert float((example.target.atom_mask & exists).sum() / exists.sum()) > 0.8
            assert float(example.batch.pair_couplings.abs().max()) == 0.0
    assert kinds == {True, False}


def test_a_stored_profile_stands_for_the_cluster_of_the_query(dataset):
    dataset.config = dataclasses.replace(DATA, structures=0.0, single=0.0, profile=1.0)
    example = dataset.example(np.random.default_rng(1))
    dataset.config = DATA
    profile = example.batch.cluster_profile
    assert len(profile) == 1 and float(profile[..., 20:].abs().max()) == 0.0
    np.testing.assert_allclose(profile.sum(-1), 1.0, atol=1e-5)
    record = dataset.store.record(dataset.chosen[0])
    assert profile.shape[1] <= DATA.crop and record.profile.shape[1] == 20


def test_proteins_are_read_once(dataset, tmp_path):
    kept = dataset.kept / "proteins.safetensors"
    again = ProteinStore(dataset.folder / "structures", kept)
    assert len(again) == len(dataset.proteins) == 2
    for first, second in zip(dataset.proteins.chains, again.chains, strict=True):
        np.testing.assert_allclose(first.atoms, second.atoms, atol=1e-4)
        np.testing.assert_array_equal(first.mask, second.mask)
    # Other files, or the same ones written anew, are read again, whatever is kept.
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(dataset.folder / "structures" / "single" / "1PIN.pdb.gz", one)
    other = tmp_path / "kept.safetensors"
    shutil.copy(kept, other)
    assert len(ProteinStore(one, other)) == 1
    before = other.stat().st_mtime_ns
    assert len(ProteinStore(one, other)) == 1 and other.stat().st_mtime_ns == before
    os.utime(one / "1PIN.pdb.gz", (1.0, 1.0))
    assert len(ProteinStore(one, other)) == 1 and other.stat().st_mtime_ns > before
    kept = tmp_path / "broken.safetensors"
    kept.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="delete it"):
        ProteinStore(dataset.folder / "structures", kept)
    with pytest.raises(InputError, match=r"holds no chains/train\.parquet"):
        AlphaFold2Dataset(tmp_path, "train", tmp_path, DATA, couplings=False)


def test_couplings_are_made_anew_for_another_alignment(dataset, monkeypatch, tmp_path):
    cache = dataset.cache
    index = max(dataset.chosen, key=lambda i: len(cache.store.a3m(i)))
    assert index not in cache.missing()
    text = cache.store.a3m(index)
    spans = a3m_row_starts(text)
    first_rows = text[: spans[len(spans) // 2 - 1][1] + 1]
    other = EvolutionCache(cache.store, tmp_path)
    shutil.copy(cache.path(index), other.path(index))
    assert list(other.prepare([index])) == [index]
    whole = other.view(index, 0).evolution.depth
    monkeypatch.setattr(cache.store, "a3m", lambda _: first_rows)
    assert index in other.missing()
    assert list(other.prepare([index])) == [index]
    assert other.view(index, 0).evolution.depth == len(spans) // 2 < whole
    monkeypatch.undo()
    assert index in other.missing() and index in EvolutionCache(cache.store, cache.folder, SEED_1).missing()


def test_the_loss_is_the_published_sum_of_its_parts(dataset):
    torch.manual_seed(0)
    model = AlphaFold2(TINY).eval()
    example = next(e for s in range(9) if (e := dataset.example(np.random.default_rng(s))).side_chains)
    stage = AlphaFold2Stage(1, DATA, EVERYTHING)
    loss = alphafold2_example_loss(model, example, AlphaFold2StepSettings(stage, recycles=1, clamped=True))
    weights = {name: getattr(EVERYTHING, name) for name in loss.terms if name != "total"}
    assert set(weights) == {
        "backbone_fape", "side_chain_fape", "chi", "angle_norm", "distogram", "masked_msa", "plddt", "resolved",
        "violation", "pae",
    }  # fmt: skip
    expected = sum(weight * float(loss.terms[name]) for name, weight in weights.items())
    assert float(loss.total.detach()) == pytest.approx(expected * len(example.batch.aatype) ** 0.5, rel=1e-5)
    # Heads begin with zeros: as good as guessing.
    assert float(loss.terms["plddt"]) == pytest.approx(np.log(50), rel=1e-5)
    assert float(loss.terms["resolved"]) == pytest.approx(np.log(2), rel=1e-5)
    with torch.no_grad():
        output = model(example.batch, recycles=1)
        atoms, known = pseudo_beta(example.target)
        again = distogram_loss(output.logits.distogram, atoms, known)
    assert float(loss.terms["distogram"]) == pytest.approx(float(again), rel=1e-5)


def test_a_chain_without_side_chains_asks_for_none(dataset):
    model = AlphaFold2(TINY).eval()
    example = dataset.whole(dataset.chosen[0], np.random.default_rng(0))
    stage = AlphaFold2Stage(1, DATA, EVERYTHING)
    loss = alphafold2_example_loss(model, example, AlphaFold2StepSettings(stage, recycles=0, clamped=False))
    assert "resolved" not in loss.terms and float(loss.terms["chi"]) == 0.0


@pytest.mark.parametrize("part", ["trunk", "structure", "confidence"])
def test_a_stage_trains_its_part_alone(dataset, part):
    losses = AlphaFold2LossConfig(plddt=1.0, pae=1.0)
    trainer = AlphaFold2Trainer(TINY, recipe(stages=(AlphaFold2Stage(5, DATA, losses, train=part),)), seed=0)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for step in range(2):
        terms = trainer.step(lambda i, step=step: dataset.example(np.random.default_rng([i, step])))
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    allowed = {
        "trunk": ("trunk.", "heads.distogram", "heads.masked_msa"),
        "structure": ("structure.",),
        "confidence": ("heads.plddt", "heads.pae", "heads.resolved"),
    }[part]
    assert changed and all(name.startswith(allowed) for name in changed)
    assert ("plddt" in terms) == (part == "confidence") and ("distogram" in terms) == (part == "trunk")


def test_a_run_learns_and_goes_on_with_the_same_numbers(dataset, tmp_path):
    def draw(trainer):
        step = trainer.steps_done
        return lambda i: dataset.example(np.random.default_rng([i, step % 2]))

    plan = recipe(clip_example=0.0, clip=1.0, matrix_rate=1.0)
    straight, broken = (AlphaFold2Trainer(TINY, plan, seed=3) for _ in range(2))
    losses = [straight.step(draw(straight))["total"] for _ in range(9)]
    assert losses[8] < losses[0] and losses[7] < losses[1]
    for _ in range(3):
        broken.step(draw(broken))
    broken.save(tmp_path, {"preset": "tiny"})
    again = AlphaFold2Trainer(TINY, plan, seed=3)
    assert again.resume(tmp_path)
    for number in range(3, 5):
        assert again.step(draw(again))["total"] == losses[number]
    with pytest.raises(WeightsError, match="recipe"):
        AlphaFold2Trainer(TINY, recipe(), seed=3).resume(tmp_path)
    scores = straight.validate([dataset.whole(dataset.chosen[0], np.random.default_rng(0))])
    assert 0 <= scores["lddt"] <= 1 and 0 < scores["tm"] <= 1


def test_a_multimer_is_not_trained_on_single_chains(tmp_path):
    multimer = AlphaFold2(dataclasses.replace(TINY, architecture="multimer", pair_couplings=False, extra_query=False))
    save_alphafold2(multimer, tmp_path / "multimer.safetensors", {})
    options = TrainOptions(tmp_path, tmp_path / "out", preset="mini", start=str(tmp_path / "multimer.safetensors"))
    with pytest.raises(ConfigError, match="are those of a multimer"):
        train_alphafold2(options)
    assert not (tmp_path / "out").exists()


def test_each_example_is_clipped_alone(dataset):
    """With a limit far below any gradient, every example has the same length, so their mean is no longer than it."""
    trainer = AlphaFold2Trainer(TINY, recipe(clip_example=1e-3), seed=0)
    norm = trainer.step(lambda i: dataset.example(np.random.default_rng(i)))["gradient_norm"]
    assert 2e-4 < norm <= 1.001e-3
    other = AlphaFold2Trainer(TINY, recipe(clip_example=0.0), seed=0)
    assert other.step(lambda i: dataset.example(np.random.default_rng(i)))["gradient_norm"] > 10 * norm


def test_recipes_follow_the_supplement():
    published = RECIPES["ptm"]
    assert published.examples * published.stages[0].steps == 10_000_000
    assert published.rate_at(0) == pytest.approx(1e-6) and published.rate_at(5000) == 1e-3
    assert published.stages[1].losses.violation == 1.0 and published.stage_at(published.steps + 9).data.crop == 384
    mini = RECIPES["mini"]
    assert scaled(mini, 100).steps == 100 and [s.train for s in mini.stages] == [
        "trunk", "structure", "all", "all", "confidence"
    ]  # fmt: skip
    assert mini.begins_stage(0) and mini.begins_stage(900) and not mini.begins_stage(901)
    with pytest.raises(ConfigError, match="no more workers"):
        from anfinsen.training.workers import Workers

        AlphaFold2Trainer(TINY, recipe(), seed=0, workers=Workers(0, 3))


def test_predicted_chains_have_their_share_and_no_say_in_confidence(dataset):
    known, distilled = copy.copy(dataset), copy.copy(dataset)
    drawn: list[str] = []
    for name, data in (("known", known), ("distilled", distilled)):
        data.example = lambda rng, name=name: drawn.append(name) or dataset.whole(dataset.chosen[0], rng)
    mixture = AlphaFold2Mixture(known, [distilled], [0.3])
    examples = []
    for train in ("all", "confidence"):
        mixture.show(AlphaFold2Stage(1, DATA, train=train))
        examples += [mixture.example(np.random.default_rng([7, seed])) for seed in range(60)]
    assert [each.predicted for each in examples] == [name == "distilled" for name in drawn]
    predicted = next(each for each in examples if each.predicted)
    settings = AlphaFold2StepSettings(AlphaFold2Stage(1, DATA, EVERYTHING), recycles=0, clamped=True)
    model = AlphaFold2(TINY).eval()
    of_predicted, of_known = (
        alphafold2_example_loss(model, each, settings).terms.keys()
        for each in (predicted, dataclasses.replace(predicted, predicted=False))
    )
    assert of_known - of_predicted == {"plddt", "pae"} and "backbone_fape" in of_predicted
    assert 8 <= drawn[:60].count("distilled") <= 30 and set(drawn[60:]) == {"known"}
    assert known.config.structures == DATA.structures and distilled.config.structures == 0.0
    with pytest.raises(ConfigError, match="less than 1"):
        AlphaFold2Mixture(known, [distilled], [1.0])


def test_residues_that_are_not_confident_are_not_learnt(dataset, monkeypatch):
    index = dataset.chosen[0]
    record = dataset.store.record(index)
    doubtful = np.arange(len(record.restype)) % 3 > 0
    monkeypatch.setattr(dataset.store, "record", lambda _: dataclasses.replace(record, resolved=doubtful))
    target = dataset.whole(index, np.random.default_rng(0)).target
    assert (target.atom_mask[:, :4].all(-1).numpy() == doubtful).all()
    assert not bool(target.atom_mask[~doubtful].any())
