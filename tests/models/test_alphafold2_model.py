"""The whole network: motions, padding, chunks, recycling, templates, gradients, attention on request, presets."""

import dataclasses
import gc

import pytest
import torch
from alphafold2_random import CONFIGS, MONOMER, generator, padded, random_batch, random_model

from anfinsen.chemistry import RESIDUE_TYPES, rigid_groups
from anfinsen.common.config import from_mapping, to_mapping
from anfinsen.common.errors import ConfigError, NonFiniteError
from anfinsen.geometry import Frames, ResidueTables, random_rotations, torsion_frames
from anfinsen.models.alphafold2 import PRESETS, AlphaFold2, AlphaFold2Config, alphafold2_config
from anfinsen.models.alphafold2.templates import template_pair_features
from anfinsen.nn import chunk_budget, watch_attention

KINDS = list(CONFIGS)


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return random_model(CONFIGS[request.param])


@pytest.fixture(scope="module")
def batch():
    return random_batch()


@torch.no_grad()
def predict(model, batch, recycles=0, **options):
    return model(batch, recycles=recycles, **options)


def largest(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


# ---- motions


def test_moving_the_first_frames_moves_the_structure(model, batch):
    """Equivariance of the structure module: rotation and shift of its input frames."""
    n = len(batch.aatype)
    single, pair = (torch.randn(*shape, generator=generator(3), dtype=torch.float64) for shape in ((n, 24), (n, n, 8)))
    turn = random_rotations(1, generator(5))[0].double()
    turn = torch.linalg.qr(turn)[0]  # a rotation to the last digit
    turn = turn * torch.det(turn)
    shift = torch.tensor([30.0, -12.0, 7.0], dtype=torch.float64)
    start = Frames(
        torch.linalg.qr(torch.randn(n, 3, 3, generator=generator(6), dtype=torch.float64))[0],
        10 * torch.randn(n, 3, generator=generator(7), dtype=torch.float64),
    )
    moved_start = Frames(turn @ start.rotation, start.origin @ turn.T + shift)
    with torch.no_grad():
        here = model.structure(single, pair, batch.mask, start)
        there = model.structure(single, pair, batch.mask, moved_start)
    tables = ResidueTables.of(rigid_groups().arrays(), single)
    atoms, moved_atoms = (
        torsion_frames(s.frames, s.torsions, batch.aatype.expand(2, n), tables).origin for s in (here, there)
    )
    assert largest(there.frames.origin, here.frames.origin @ turn.T + shift) < 1e-10
    assert largest(there.frames.rotation, turn @ here.frames.rotation) < 1e-10
    assert largest(there.torsions, here.torsions) < 1e-10
    assert largest(there.single, here.single) < 1e-10
    assert largest(moved_atoms, atoms @ turn.T + shift) < 1e-10
    # Not because nothing moves:
    assert largest(here.frames.origin[-1], start.origin) > 1e-3


def test_mirror_images_are_told_apart(model, batch):
    n = len(batch.aatype)
    single, pair = (torch.randn(*shape, generator=generator(3), dtype=torch.float64) for shape in ((n, 24), (n, n, 8)))
    turns = random_rotations(n, generator(6)).double()
    places = 10 * torch.randn(n, 3, generator=generator(7), dtype=torch.float64)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    with torch.no_grad():
        here = model.structure(single, pair, batch.mask, Frames(turns, places))
        there = model.structure(single, pair, batch.mask, Frames(mirror @ turns @ mirror, places @ mirror))
    assert largest(there.single, here.single) > 1e-2


def test_templates_may_be_turned(batch):
    model = random_model(CONFIGS["multimer"])
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(2), dtype=torch.float64))[0]
    turn = turn * torch.det(turn)
    moved = dataclasses.replace(
        batch,
        template_pseudo_beta=batch.template_pseudo_beta @ turn.T + 5,
        template_backbone=batch.template_backbone @ turn.T + 5,
    )
    assert largest(predict(model, moved).atoms, predict(model, batch).atoms) < 1e-8


# ---- masks and sizes


def test_padding_changes_nothing(model, batch):
    n, s = len(batch.aatype), len(batch.msa)
    full = padded(batch, residues=3, rows=2, extra=4)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            expected, actual = model(batch, recycles=1), model(full, recycles=1)
        assert largest(actual.atoms[:n], expected.atoms) < 1e-9
        assert largest(actual.logits.masked_msa[:s, :n], expected.logits.masked_msa) < 1e-9
        assert largest(actual.logits.pae[:n, :n], expected.logits.pae) < 1e-9


@pytest.mark.parametrize("budget", [1, 3_000, 2**40])
def test_chunks_and_the_training_path_give_the_same(model, batch, budget):
    expected = model(batch, recycles=1)
    with chunk_budget(budget):
        actual = predict(model, batch, recycles=1)
    assert largest(actual.trunk.pair, expected.trunk.pair) < 1e-11
    assert largest(actual.atoms, expected.atoms) < 1e-11


def test_no_extra_rows_is_all_extra_rows_masked(model, batch):
    masked = dataclasses.replace(batch, extra_msa_mask=torch.zeros_like(batch.extra_msa_mask))
    none = dataclasses.replace(
        batch,
        extra_msa=batch.extra_msa[:0],
        extra_has_deletion=batch.extra_has_deletion[:0],
        extra_deletion_value=batch.extra_deletion_value[:0],
        extra_msa_mask=batch.extra_msa_mask[:0],
    )
    expected = predict(model, masked)
    assert largest(predict(model, none).atoms, expected.atoms) < 1e-10
    assert largest(model(none, recycles=0).atoms, expected.atoms) < 1e-10
    assert largest(predict(model, batch).atoms, expected.atoms) > 1e-6


def test_chains_matter_to_the_multimer_only(batch):
    one_chain = dataclasses.replace(batch, asym_id=torch.zeros_like(batch.asym_id))
    other_copy = dataclasses.replace(batch, sym_id=torch.zeros_like(batch.sym_id))
    other_entity = dataclasses.replace(batch, entity_id=batch.asym_id)
    for kind, changes in (("monomer", False), ("multimer", True)):
        model = random_model(CONFIGS[kind])
        expected = predict(model, batch).atoms
        for other in (one_chain, other_copy, other_entity):
            assert (largest(predict(model, other).atoms, expected) > 1e-6) == changes


# ---- recycling


def test_recycling_feeds_the_output_back(model, batch):
    passes = []
    twice = predict(model, batch, 1, on_recycle=lambda: passes.append(1))
    once = predict(model, batch)
    assert len(passes) == 2
    assert (once.recycles, twice.recycles) == (0, 1)
    assert largest(twice.atoms, once.atoms) > 1e-3


def test_features_may_differ_from_pass_to_pass(model, batch):
    other = random_batch(seed=4)
    other = dataclasses.replace(other, aatype=batch.aatype)
    asked = []

    def resample(cycle):
        asked.append(cycle)
        return other if cycle == 1 else batch

    changed = predict(model, batch, 2, resample=resample)
    assert asked == [1, 2]
    assert largest(changed.atoms, predict(model, batch, 2).atoms) > 1e-6


def test_recycling_ends_when_nothing_changes(batch):
    patient = random_model(dataclasses.replace(MONOMER, recycle_tolerance=1e6))
    # The first change is from nothing at all; the second counts.
    assert predict(patient, batch, 9).recycles == 2
    strict = random_model(dataclasses.replace(MONOMER, recycle_tolerance=1e-12))
    assert predict(strict, batch, 4).recycles == 4


def test_only_the_last_pass_keeps_gradients(model, batch):
    """The gradient is that of one pass from constants."""
    recorded = []
    handle = model.trunk.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    try:
        model(batch, recycles=2).atoms.sum().backward()
    finally:
        handle.remove()
        model.zero_grad()
    assert recorded == [False, False, True]


def test_memory_does_not_grow_with_recycles(batch):
    model = random_model(MONOMER)

    def tensors_alive(recycles):
        counts = []

        def count():
            gc.collect()
            counts.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))

        predict(model, batch, recycles, on_recycle=count)
        return counts

    counts = tensors_alive(4)
    assert counts[1] == counts[2] == counts[3]


# ---- training


def test_every_parameter_learns(model, batch):
    # All template torsions known, so that every column of the embedders is used by something.
    output = model(batch, recycles=1)
    logits = output.logits
    total = output.atoms.square().sum() + output.structure.torsions.sum() + output.structure.raw_torsions.sum()
    for part in (logits.distogram, logits.masked_msa, logits.plddt, logits.resolved, logits.pae):
        total = total + part.square().sum()
    total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    model.zero_grad()
    # The multimer's last extra block changes rows that nobody reads (released code too).
    last = "trunk.extra.blocks.1."
    dead = ("rows.", "columns.", "transition.") if model.config.multimer else ()
    assert [name for name in without if not name.startswith(tuple(last + part for part in dead))] == []


def test_dropout_acts_in_training_only(batch):
    model = random_model(MONOMER)
    expected = predict(model, batch).atoms
    assert torch.equal(predict(model, batch).atoms, expected)
    torch.manual_seed(0)
    assert largest(predict(model.train(), batch).atoms, expected) > 1e-6


def test_recomputing_blocks_changes_no_gradient(batch):
    gradients = []
    for again in (False, True):
        model = random_model(dataclasses.replace(MONOMER, checkpoint_blocks=again))
        model(batch, recycles=0).atoms.square().sum().backward()
        gradients.append(model.trunk.inputs.msa.weight.grad)
    assert largest(gradients[1], gradients[0]) < 1e-10


def test_a_new_network_starts_at_the_origin_and_open(batch):
    model = AlphaFold2(MONOMER).double().eval()
    output = predict(model, batch)
    assert torch.equal(output.structure.frames.origin, torch.zeros_like(output.structure.frames.origin))
    assert torch.equal(output.logits.pae, torch.zeros_like(output.logits.pae))
    block = model.trunk.evoformer.blocks[0]
    assert (block.rows.gate_bias == 1).all()
    assert (block.pair.outgoing.gate.bias == 1).all()


def test_damaged_weights_are_reported(batch):
    model = random_model(MONOMER)
    with torch.no_grad():
        model.structure.input.weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="non-finite"):
        predict(model, batch)


# ---- templates


def test_missing_templates_change_nothing(batch):
    model = random_model(MONOMER)
    none = {
        field.name: getattr(batch, field.name)[:0]
        for field in dataclasses.fields(batch)
        if field.name.startswith("template")
    }
    masked = dataclasses.replace(
        batch,
        template_mask=torch.zeros_like(batch.template_mask),
        template_torsion_mask=torch.zeros_like(batch.template_torsion_mask),
    )
    expected = predict(model, dataclasses.replace(batch, **none))
    assert largest(predict(model, masked).atoms, expected.atoms) < 1e-10
    assert largest(predict(model, batch).atoms, expected.atoms) > 1e-6


def test_template_features_are_those_of_the_released_code(batch):
    """Against the definition, pair by pair."""
    monomer = template_pair_features(batch, 0, "attention")
    multimer = template_pair_features(batch, 0, "average")
    beta, known = batch.template_pseudo_beta[0], batch.template_pseudo_beta_mask[0]
    backbone, whole = batch.template_backbone[0], batch.template_backbone_mask[0]
    lower = torch.linspace(3.25, 50.75, 39, dtype=torch.float64)
    for i in range(len(batch.aatype)):
        n_atom, ca, c_atom = backbone[i]
        e1 = (c_atom - ca) / (c_atom - ca).norm()
        e2 = (n_atom - ca) - e1 * (e1 @ (n_atom - ca))
        e2 = e2 / e2.norm()
        axes = torch.stack([e1, e2, torch.linalg.cross(e1, e2)])
        for j in range(len(batch.aatype)):
            distance = (beta[i] - beta[j]).norm()
            bins = ((distance > lower) & (distance < torch.cat([lower[1:], torch.tensor([1e4])]))).double()
            types = torch.zeros(2, 22, dtype=torch.float64)
            types[0, batch.template_aatype[0, j]] = types[1, batch.template_aatype[0, i]] = 1
            both_known, both_whole = (known[i] & known[j]).double(), (whole[i] & whole[j]).double()
            zeros, chain = torch.zeros(3, dtype=torch.float64), (batch.asym_id[i] == batch.asym_id[j]).double()
            expected = torch.cat([bins, both_known[None], types.flatten(), zeros, both_whole[None]]) * both_whole
            assert torch.equal(monomer[i, j], expected)
            offset = axes @ (backbone[j, 1] - ca)
            direction = offset / offset.norm() if i != j else zeros
            parts = [bins * both_known * chain, both_known[None] * chain, types.flatten()]
            expected = torch.cat([*parts, direction * both_whole * chain, both_whole[None] * chain])
            assert torch.allclose(multimer[i, j], expected, atol=1e-12)


# ---- attention on request


def test_attention_is_shown_on_request(model, batch):
    expected = predict(model, batch, 1)
    modules = model.attention_modules()
    with watch_attention(modules) as weights:
        watched = predict(model, batch, 1)
    assert set(weights) == set(modules)
    for name, weight in weights.items():
        assert not weight.requires_grad
        assert largest(weight.sum(-1), torch.ones_like(weight.sum(-1))) < 1e-9, name
    assert largest(watched.atoms, expected.atoms) < 1e-10
    n, rows = len(batch.aatype), len(batch.msa) + len(batch.template_aatype)
    assert weights["trunk.evoformer.blocks.1.rows"].shape == (rows, 2, n, n)
    assert weights["trunk.evoformer.blocks.1.columns"].shape == (n, 2, rows, rows)
    assert weights["trunk.extra.blocks.0.columns"].shape == (n, 2, len(batch.extra_msa))
    assert weights["structure.attention"].shape == (3, n, n)


def test_only_the_attention_asked_for_is_kept(batch):
    model = random_model(MONOMER)
    name = "trunk.evoformer.blocks.0.pair.ending"
    with watch_attention({name: model.attention_modules()[name]}) as weights:
        predict(model, batch)
        inside = dict(weights)
    assert list(inside) == [name]
    predict(model, batch)
    assert weights[name] is inside[name]


# ---- geometry and sizes


def test_atoms_stand_at_their_places(model, batch):
    output = predict(model, batch)
    ca = output.atoms37[:, 1]
    assert largest(ca, output.structure.frames.origin[-1]) < 1e-12
    assert largest(output.groups.rotation[:, 0], output.structure.frames.rotation[-1]) < 1e-12
    glycine = batch.aatype == RESIDUE_TYPES.index("GLY")
    assert (output.atoms37[glycine, 3] == 0).all()
    bonds = (output.atoms37[~glycine, 3] - ca[~glycine]).norm(dim=-1)
    assert ((bonds - 1.53).abs() < 0.03).all()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_yaml(name):
    config = alphafold2_config(name)
    assert from_mapping(AlphaFold2Config, to_mapping(config)) == config


@pytest.mark.parametrize(("name", "millions"), [("monomer", 93.2), ("multimer", 93.2), ("mini", 1.35)])
def test_sizes_are_the_published_ones(name, millions):
    with torch.device("meta"):
        model = AlphaFold2(alphafold2_config(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_bad_sizes_are_named():
    with pytest.raises(ConfigError, match="c_m and heads_msa do not fit: 10 channels"):
        AlphaFold2Config(c_m=10)
    with pytest.raises(ConfigError, match="Unknown preset 'huge': expected one of monomer, ptm"):
        alphafold2_config("huge")
