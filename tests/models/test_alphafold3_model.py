"""The whole network: recycling, MSA rows, templates, heads, sampling, presets."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.common.seeding import torch_generator
from anfinsen.models.alphafold3 import PRESETS, AlphaFold3, AlphaFold3Config, alphafold3_config
from anfinsen.models.alphafold3.heads import MAX_ATOMS_PER_TOKEN, atom_place_in_token
from anfinsen.models.alphafold3.template_embedder import template_pair_features
from anfinsen.models.alphafold3.trunk import sample_msa
from random_batch import random_batch
from tiny_model import TINY, batch_of, pad_batch, tiny_model, with_templates

PROTEIN = {"kind": "protein", "ids": ("A", "B"), "sequence": "GSAK"}
LIGAND = {"kind": "ligand", "ids": ("C",), "smiles": "OCC(O)CO"}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def batch():
    return batch_of(PROTEIN, LIGAND)


@torch.no_grad()
def _trunk(model, batch, recycles=0, seed=0):
    return model.trunk(batch, recycles=recycles, generator=torch_generator(seed))


def _sample(model, batch, seed, samples=2):
    with torch.no_grad():
        return model.sample(batch, _trunk(model, batch), samples=samples, steps=5, generator=torch_generator(seed))


# ---- trunk


def test_recycling_feeds_the_output_back(model, batch):
    passes = []
    with torch.no_grad():
        twice = model.trunk(batch, recycles=1, on_recycle=lambda: passes.append(1))
    once = _trunk(model, batch)
    assert len(passes) == 2
    assert (twice.single - once.single).abs().max() > 1e-2
    assert (twice.pair - once.pair).abs().max() > 1e-2
    assert torch.equal(twice.s_inputs, once.s_inputs)


def test_couplings_reach_the_pair_representation_where_the_network_reads_them(batch):
    n = len(batch.restype)
    generator = torch_generator(3)
    some = torch.randn(n, n, 5, generator=generator)
    coupled = dataclasses.replace(batch, pair_couplings=some)
    reading = tiny_model(dataclasses.replace(TINY, pair_couplings=True))
    without, zeros = _trunk(reading, batch), dataclasses.replace(batch, pair_couplings=torch.zeros(n, n, 5))
    # A structure without alignments has no channels at all: the same as zeros.
    assert torch.equal(_trunk(reading, zeros).pair, without.pair)
    changed = (_trunk(reading, coupled).pair - without.pair).abs()
    assert changed.max() > 1e-2
    one = torch.zeros(n, n, 5)
    one[1, 4] = some[1, 4]
    first = reading.trunk_module.couplings(one)
    assert first[1, 4].any() and first.abs().sum() == first[1, 4].abs().sum()
    blind = tiny_model()
    assert torch.equal(_trunk(blind, coupled).pair, _trunk(blind, batch).pair)


def test_an_untrained_model_starts_without_recycling_templates_and_distogram(batch):
    """Zero-initialised: a new network is as if these parts were not there."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlphaFold3(TINY)
    assert not model.trunk_module.pair_recycle.weight.any()
    assert not model.trunk_module.single_recycle.weight.any()
    assert not model.trunk_module.templates.output.weight.any()
    assert not _trunk(model, batch).pair.isnan().any()
    assert torch.equal(
        model.distogram_logits(_trunk(model, batch)), torch.zeros(len(batch.restype), len(batch.restype), 64)
    )


def test_the_gradient_flows_through_the_last_cycle_only(batch):
    model = tiny_model()
    outputs = []
    for block in model.trunk_module.blocks:
        block.register_forward_hook(lambda module, given, result: outputs.append(result))
    trunk = model.trunk(batch, recycles=2)
    assert len(outputs) == 3
    assert [pair.requires_grad for _, pair in outputs] == [False, False, True]
    trunk.pair.square().mean().backward()
    assert model.trunk_module.pair_recycle.weight.grad.abs().max() > 0


def test_the_last_cycles_gradient_is_that_of_one_cycle_from_its_input(batch):
    """By hand: run the first cycle without gradient, then one cycle on its output."""
    model = tiny_model()
    trunk = model.trunk_module
    out = model.trunk(batch, recycles=1)
    out.pair.square().mean().backward()
    expected = {name: p.grad.clone() for name, p in trunk.named_parameters() if p.grad is not None}
    model.zero_grad()
    s_inputs = trunk.inputs(batch)
    single_init = trunk.single_init(s_inputs)
    pair_init = (
        trunk.left_init(s_inputs)[:, None]
        + trunk.right_init(s_inputs)[None, :]
        + trunk.relative_position(batch)
        + trunk.bonds(batch.token_bonds[..., None].float())
    )
    with torch.no_grad():
        zero = torch.zeros_like(single_init), torch.zeros_like(pair_init)
        single, pair = trunk._cycle(batch, s_inputs, single_init, pair_init, *zero, None)
    _, pair = trunk._cycle(batch, s_inputs, single_init, pair_init, single, pair, None)
    pair.square().mean().backward()
    for name, value in expected.items():
        torch.testing.assert_close(dict(trunk.named_parameters())[name].grad, value, atol=1e-6, rtol=1e-4)


def test_msa_samples_keep_the_query_and_are_drawn_anew():
    batch = random_batch(tokens=7)
    rows = torch.arange(30)[:, None].expand(30, 7) % 32
    batch = dataclasses.replace(
        batch,
        msa=rows,
        has_deletion=torch.zeros(30, 7),
        deletion_value=torch.zeros(30, 7),
        msa_mask=torch.ones(30, 7, dtype=torch.bool),
    )
    generator = torch_generator(0)
    draws = [sample_msa(batch, 5, generator)[0] for _ in range(60)]
    chosen = [draw[:, 0, :32].argmax(-1).tolist() for draw in draws]
    for rows_of in chosen:
        assert rows_of[0] == 0
        assert len(rows_of) == len(set(rows_of)) == 5
    assert len({tuple(rows_of) for rows_of in chosen}) > 10
    assert {row for rows_of in chosen for row in rows_of} == set(range(30))
    whole, mask = sample_msa(batch, 30, generator)
    assert whole.shape == (30, 7, 34) and mask.all()
    assert sample_msa(batch, 1, generator)[0].shape[0] == 1


def test_a_different_seed_draws_other_msa_rows_and_the_same_seed_the_same(model):
    batch = random_batch(tokens=7)
    generator = torch.Generator().manual_seed(0)
    batch = dataclasses.replace(
        batch,
        msa=torch.randint(0, 20, (30, 7), generator=generator),
        has_deletion=torch.zeros(30, 7),
        deletion_value=torch.zeros(30, 7),
        msa_mask=torch.ones(30, 7, dtype=torch.bool),
    )
    first, again, other = (_trunk(model, batch, seed=seed).pair for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_damaged_weights_are_refused(every):
    """Whichever weight is NaN: nothing on the way may turn it into a number."""
    model = tiny_model()
    batch = with_templates(batch_of({"kind": "protein", "ids": ("A",), "sequence": "GS"}), 1)
    good = _trunk(model, batch, recycles=1)
    for name, parameter in list(model.named_parameters())[every // 2 :: every]:
        value = parameter.detach().clone()
        if name.startswith(("trunk_module.", "diffusion.")):
            with torch.no_grad():
                parameter.fill_(float("nan"))
                with pytest.raises(NonFiniteError):
                    if name.startswith("trunk_module."):
                        _trunk(model, batch, recycles=1)
                    else:
                        model.sample(batch, good, samples=1, steps=1, generator=torch_generator(0))
                    pytest.fail(f"{name} is NaN, and nobody noticed")
                parameter.copy_(value)


# ---- templates


def test_no_templates_no_update(model, batch):
    pair = torch.randn(len(batch.restype), len(batch.restype), TINY.c_z)
    assert not model.trunk_module.templates(batch, pair).any()


def test_templates_change_the_trunk_but_not_their_order(model, batch):
    one = with_templates(batch, 3)
    order = torch.tensor([2, 0, 1])
    names = [field.name for field in dataclasses.fields(one) if field.name.startswith("template_")]
    other = dataclasses.replace(one, **{name: getattr(one, name)[order] for name in names})
    first, second = _trunk(model, one).pair, _trunk(model, other).pair
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    assert (first - _trunk(model, batch).pair).abs().max() > 1e-2


def test_where_a_template_lies_changes_nothing(model, batch):
    one = with_templates(batch, 2)
    rotation = torch.from_numpy(Rotation.random(random_state=3).as_matrix()).float()
    moved = dataclasses.replace(
        one,
        template_pseudo_beta=one.template_pseudo_beta @ rotation.T + 5.0,
        template_backbone=one.template_backbone @ rotation.T + 5.0,
    )
    for index in range(2):
        torch.testing.assert_close(
            template_pair_features(moved, index), template_pair_features(one, index), atol=2e-5, rtol=0
        )
    mirrored = dataclasses.replace(one, template_backbone=one.template_backbone * torch.tensor([1.0, 1.0, -1.0]))
    assert (template_pair_features(mirrored, 0) - template_pair_features(one, 0)).abs().max() > 0.1


def test_template_features_are_zero_between_chains_and_right_within(batch):
    one = with_templates(batch, 1)
    features = template_pair_features(one, 0)
    assert features.shape[-1] == 39 + 1 + 32 + 32 + 3 + 1
    other = batch.asym_id[:, None] != batch.asym_id[None, :]
    assert other.any() and not features[other].any()
    backbone = one.template_backbone[0].double().numpy()
    i, j = 0, 2
    assert batch.asym_id[i] == batch.asym_id[j]
    beta = one.template_pseudo_beta[0].double().numpy()
    known = bool(one.template_pseudo_beta_mask[0, i] & one.template_pseudo_beta_mask[0, j])
    distance = np.linalg.norm(beta[i] - beta[j])
    expected = np.zeros(39)
    edges = np.linspace(3.25, 50.75, 39)
    if known and distance > edges[0]:
        expected[np.searchsorted(edges, distance) - 1] = 1
    np.testing.assert_array_equal(features[i, j, :39].numpy(), expected)
    n, ca, c = backbone[i]
    e1 = (c - ca) / np.linalg.norm(c - ca)
    e2 = (n - ca) - e1 * (e1 @ (n - ca))
    e2 /= np.linalg.norm(e2)
    local = np.stack([e1, e2, np.cross(e1, e2)]) @ (backbone[j, 1] - ca)
    both = bool(one.template_backbone_mask[0, i] & one.template_backbone_mask[0, j])
    np.testing.assert_allclose(features[i, j, 104:107].numpy(), both * local / np.linalg.norm(local), atol=1e-5)
    assert bool(features[i, j, 107]) == both


def test_missing_template_residues_say_nothing(batch):
    one = with_templates(batch, 1)
    hidden = ~(one.template_pseudo_beta_mask[0] | one.template_backbone_mask[0])
    none = dataclasses.replace(
        one,
        template_pseudo_beta_mask=torch.zeros_like(one.template_pseudo_beta_mask),
        template_backbone_mask=torch.zeros_like(one.template_backbone_mask),
    )
    features = template_pair_features(none, 0)
    assert not features[..., :40].any() and not features[..., 104:].any()
    assert hidden.shape == batch.restype.shape


# ---- heads


def test_the_distogram_is_symmetric(model, batch):
    logits = model.distogram_logits(_trunk(model, batch))
    torch.testing.assert_close(logits, logits.transpose(0, 1))
    assert logits.std() > 1e-3


def test_confidence_logits_have_their_shapes_and_see_the_structure(model, batch):
    n, a = len(batch.restype), len(batch.atom_mask)
    trunk = _trunk(model, batch)
    x = 5 * torch.randn(2, a, 3, generator=torch_generator(0))
    with torch.no_grad():
        logits = model.confidence(batch, trunk, x)
        assert logits.plddt.shape == (2, a, 50)
        assert logits.pae.shape == logits.pde.shape == (2, n, n, 64)
        assert logits.resolved.shape == (2, a, 2)
        assert (logits.plddt[0] - logits.plddt[1]).abs().max() > 1e-3
        torch.testing.assert_close(logits.pde, logits.pde.transpose(1, 2), atol=1e-5, rtol=1e-5)
        assert (logits.pae - logits.pae.transpose(1, 2)).abs().max() > 1e-2
        # the head sees representative atoms only
        others = torch.ones(a, dtype=torch.bool)
        others[batch.distogram_atom] = False
        assert others.any()
        moved = torch.where(others[:, None], x + 3.0, x)
        assert torch.equal(model.confidence(batch, trunk, moved).pae, logits.pae)


def test_distances_are_looked_up_as_one_hot_rows_would_be(model, batch):
    head, trunk = model.confidence_head, _trunk(model, batch)
    x = 20 * torch.randn(1, len(batch.atom_mask), 3, generator=torch_generator(5))
    pairs = []
    hook = head.blocks[0].register_forward_pre_hook(lambda _, inputs: pairs.append(inputs[1]))
    with torch.no_grad():
        model.confidence(batch, trunk, x)
    hook.remove()
    distance = torch.cdist(x[0][batch.distogram_atom], x[0][batch.distogram_atom])
    edges = torch.linspace(3.25, 50.75, 39)
    one_hot = (distance[..., None] > edges) & (distance[..., None] <= torch.cat([edges[1:], torch.tensor([torch.inf])]))
    base = trunk.pair + head.left(trunk.s_inputs)[:, None] + head.right(trunk.s_inputs)[None]
    assert torch.equal(pairs[0], base + head.distance(one_hot.float()))
    # Below the first bin, within, and beyond the last one.
    assert not one_hot[0, 0].any()
    assert one_hot[..., -1].any()
    assert one_hot[..., 1:-1].any()


def test_row_means_let_plddt_see_the_structure_without_attention(batch):
    head = tiny_model(dataclasses.replace(TINY, confidence_row_means=True, confidence_blocks=0)).confidence_head
    x = 4 * torch.randn(len(batch.atom_mask), 3, generator=torch_generator(0))
    with torch.no_grad():
        near, far = head(batch, _trunk(tiny_model(), batch), torch.stack([x, 5 * x])).plddt
    assert (near - far).abs().max() > 1e-3
    # A row's mean knows neither the order of its columns nor those that are masked.
    pair, mask = torch.randn(6, 6, TINY.c_z), torch.tensor([True, True, False, True, True, True])
    order = torch.tensor([3, 0, 2, 5, 4, 1])
    changed = pair.clone()
    changed[:, 2] = 7.0
    means = head.before(pair, mask)
    torch.testing.assert_close(head.before(pair[:, order], mask[order]), means)
    assert torch.equal(head.before(changed, mask), means)


def test_place_of_atoms_in_their_token(batch):
    expected = [i for _, group in _runs(batch.atom_to_token.tolist()) for i in range(len(group))]
    assert atom_place_in_token(batch.atom_to_token).tolist() == expected
    padded = pad_batch(batch, len(batch.restype) + 1, len(batch.atom_mask) + 90)
    places = atom_place_in_token(padded.atom_to_token)
    assert places[: len(expected)].tolist() == expected
    assert places.max() == MAX_ATOMS_PER_TOKEN - 1


def _runs(values):
    groups = []
    for value in values:
        if not groups or groups[-1][0] != value:
            groups.append((value, []))
        groups[-1][1].append(value)
    return groups


# ---- sampling


def test_a_seed_decides_the_samples(model, batch):
    first, again, other = (_sample(model, batch, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.1
    assert (first[0] - first[1]).abs().max() > 0.1
    assert torch.isfinite(first).all()


def test_padding_atoms_are_at_the_origin(model, batch):
    a = len(batch.atom_mask)
    padded = pad_batch(batch, len(batch.restype) + 2, a + 9)
    x = _sample(model, padded, 0)
    assert not x[:, a:].any() and x[:, :a].any()


def test_each_step_is_reported(model, batch):
    steps = []
    with torch.no_grad():
        model.sample(
            batch,
            _trunk(model, batch),
            samples=1,
            steps=7,
            generator=torch_generator(0),
            on_step=lambda: steps.append(1),
        )
    assert len(steps) == 7


# ---- presets


def _parameters(config):
    with torch.device("meta"):
        return sum(p.numel() for p in AlphaFold3(config).parameters())


def test_full_is_of_the_published_size():
    """AlphaFold 3 has about 368 million parameters (released weights; the paper states none)."""
    assert 3.4e8 < _parameters(alphafold3_config("full")) < 4.0e8


def test_smaller_presets_are_smaller():
    mini, small, full = (_parameters(alphafold3_config(name)) for name in ("mini", "small", "full"))
    assert mini < 1e7 < small < 1e8 < full


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json_and_refuse_unknown_keys(name):
    config = alphafold3_config(name)
    values = json.loads(json.dumps(to_mapping(config)))
    assert from_mapping(AlphaFold3Config, values) == config
    with pytest.raises(ConfigError, match="c_zz"):
        from_mapping(AlphaFold3Config, values | {"c_zz": 1})
    with pytest.raises(ConfigError, match=r"template\.d"):
        from_mapping(AlphaFold3Config, values | {"template": {"d": 1}})
    with pytest.raises(ConfigError, match="c_s"):
        from_mapping(AlphaFold3Config, values | {"c_s": "many"})
    with pytest.raises(ConfigError, match="ending_bias"):
        from_mapping(AlphaFold3Config, values | {"variants": {"ending_bias": "kk"}})


def test_unknown_presets_and_impossible_heads_are_refused():
    with pytest.raises(ConfigError, match=r"'tiny'.*full, small, mini"):
        alphafold3_config("tiny")
    with pytest.raises(ConfigError, match="c_token and token_heads"):
        AlphaFold3Config(token_heads=7)
