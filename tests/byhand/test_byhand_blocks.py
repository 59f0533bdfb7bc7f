"""Blocks of the models on small random inputs: every formula agrees, and follows the model when an input is changed."""

import pytest
import torch

from anfinsen.byhand import (
    LEGEND,
    Names,
    Slice,
    blocks_of,
    change_cells,
    difference_after_change,
    evaluate_workbook,
    make_plan,
    plan_that_fits,
    trace,
    trace_module,
    write_workbook,
)
from anfinsen.byhand.blocks import block_info, listing
from anfinsen.common.errors import ConfigError, MemoryLimitError
from anfinsen.nn import OuterProductMean, Transition, TriangleAttention, TriangleMultiplication
from anfinsen.nn.attention_pair_bias import AttentionPairBias, AttentionPairBiasConfig
from anfinsen.nn.msa_attention import MsaColumnAttention, MsaRowAttention

N, C_Z, ROWS = 4, 3, 2
EXACT = 1e-9
PAIR = torch.linspace(0, 7, N * N * C_Z).sin().reshape(N, N, C_Z)
MSA = torch.linspace(1, 9, ROWS * N * C_Z).cos().reshape(ROWS, N, C_Z)
SINGLE = torch.linspace(2, 5, N * 4).cos().reshape(N, 4)
MASK = torch.tensor([True] * (N - 1) + [False])
TOKENS = Names({"token": [f"A{n + 1}" for n in range(N)]})

BLOCKS = {
    "starting": (TriangleAttention("starting", C_Z, 2, 3), (PAIR, MASK)),
    "ending": (TriangleAttention("ending", C_Z, 2, 3), (PAIR, MASK)),
    "ending, AlphaFold 2": (TriangleAttention("ending", C_Z, 2, 3, "ki", biases=True), (PAIR, MASK)),
    "outgoing": (TriangleMultiplication("outgoing", C_Z, 3), (PAIR, MASK)),
    "incoming": (TriangleMultiplication("incoming", C_Z, 3, biases=True), (PAIR, MASK)),
    "transition": (Transition(C_Z, 2), (PAIR,)),
    "transition, AlphaFold 2": (Transition(C_Z, 2, "relu"), (PAIR,)),
    "pair bias": (AttentionPairBias(AttentionPairBiasConfig(4, C_Z, 2)), (SINGLE, PAIR, MASK)),
    "outer product mean": (OuterProductMean(C_Z, C_Z, 2), (MSA, MASK.expand(ROWS, N))),
    "rows": (MsaRowAttention(C_Z, C_Z, 2, 3), (MSA, PAIR, MASK.expand(ROWS, N))),
    "columns": (MsaColumnAttention(C_Z, 2, 3), (MSA, MASK.expand(ROWS, N))),
}


def randomised(module):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("name", BLOCKS)
def test_a_slice_of_a_block_agrees_and_follows_its_inputs(name, tmp_path):
    module, args = BLOCKS[name]
    recorded = trace_module(randomised(module), args, names=TOKENS)
    plan = make_plan(recorded, Slice(tokens=(0, 2)))
    facts = write_workbook(plan, tmp_path / "block.xlsx")
    agreement = evaluate_workbook(facts.path)
    assert agreement.errors == ()
    assert agreement.difference < EXACT
    assert agreement.formulas == plan.selection.formulas
    inputs = list(plan.cells("input"))
    assert difference_after_change(plan, facts.path, {inputs[0]: 1.5, inputs[-1]: -2.0}) < EXACT


@pytest.mark.parametrize("kind", ["weight", "formula"])
def test_damage_to_a_block_is_found(kind, tmp_path):
    module, args = BLOCKS["starting"]
    plan = make_plan(trace_module(randomised(module), args), Slice(tokens=(0, 2)))
    facts = write_workbook(plan, tmp_path / "block.xlsx")
    if kind == "weight":
        cell = next(cell for cell in plan.cells("weight") if plan.origin(cell)[0] == "projection.weight")
        change = {plan.address(cell): plan.value(cell) * 1.01}
    else:
        cell = next(cell for cell in plan.cells("formula") if plan.formula(cell).startswith("=EXP"))
        change = {plan.address(cell): plan.formula(cell).replace("-", "+")}
    change_cells(facts.path, change, tmp_path / "damaged.xlsx")
    agreement = evaluate_workbook(tmp_path / "damaged.xlsx")
    assert agreement.difference > 1e-6
    assert agreement.shown > 1e-6


def test_what_lies_outside_is_constant_and_other_heads_are_held():
    module, args = BLOCKS["starting"]
    recorded = trace_module(randomised(module), args, names=TOKENS)
    everything = make_plan(recorded)
    assert list(everything.cells("constant", "held")) == []
    some = make_plan(recorded, Slice(tokens=(0, 2), heads=(1,), channels=(0,)))
    assert set(map(some.kind, some.cells("input", "constant", "held"))) == {
        "input",
        "constant",
        "held",
    }
    assert len(list(some.cells("input"))) == 2 * 2 * C_Z
    assert some.selection.formulas < everything.selection.formulas / 4
    for cell in some.cells("held"):  # gated values of head 0, which the sum over heads needs
        step = recorded.graph.step_of(cell)
        labels = {slot: recorded.graph.labels(step.start + torch.arange(step.size).int().numpy()) for slot in "h"}["h"]
        assert "h" in labels


def test_attention_weights_are_tiles_of_queries_and_keys_with_names():
    module, args = BLOCKS["starting"]
    plan = make_plan(trace_module(randomised(module), args, names=TOKENS), Slice(tokens=(0, 2)))
    maps = [tiles for _, step, tiles in plan.steps() if step.name.endswith("exponential / sum")]
    assert len(maps) == 1
    assert [tile.subtitle for tile in maps[0]] == [
        "head 0, i = A1",
        "head 1, i = A1",
        "head 0, i = A3",
        "head 1, i = A3",
    ]
    assert maps[0][0].row_names == ("A1", "A3")
    assert maps[0][0].column_names == ("A1", "A2", "A3", "A4")


class Network(torch.nn.Module):
    """Two attentions, one of which is used by a method."""

    def __init__(self):
        super().__init__()
        self.first = randomised(TriangleAttention("starting", C_Z, 1, 2))
        self.second = randomised(TriangleAttention("ending", C_Z, 1, 2))
        self.unused = torch.nn.Linear(2, 2)

    def run(self):
        with torch.no_grad():  # as while sampling
            pair = PAIR + 0
        pair = pair + self.first(pair, MASK)
        for _ in range(2):
            pair = pair + self.second.attend(self.second.norm(pair), None)
        return pair


def test_a_block_is_traced_on_what_it_gets_inside_the_model():
    network = Network()
    recorded = trace(network, network.run, block="first", names=TOKENS)
    torch.testing.assert_close(torch.from_numpy(recorded.inputs["pair"].values), PAIR.double(), rtol=0, atol=0)
    expected = network.first.double()(PAIR.double(), MASK)
    found = recorded.graph.values(recorded.outputs["output"])
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-12)
    assert all(not parameter.grad_fn for parameter in network.parameters())


def test_a_block_that_is_used_by_a_method_is_caught_there_and_calls_are_counted():
    network = Network()
    last, first = (trace(network, network.run, block="second", call=call) for call in (-1, 0))
    assert set(last.inputs) == {"z"}
    assert not (last.inputs["z"].values == first.inputs["z"].values).all()
    assert "attend" not in vars(network.second)
    with pytest.raises(ConfigError, match="ran 2 times"):
        trace(network, network.run, block="second", call=2)
    with pytest.raises(ConfigError, match="ran 0 times"):
        trace(network, network.run, block="unused")
    with pytest.raises(ConfigError, match="no block 'third'"):
        trace(network, network.run, block="third")


def test_too_much_is_refused_with_what_fits():
    n = 60
    pair = torch.linspace(0, 7, n * n * 8).sin().reshape(n, n, 8)
    module = randomised(TriangleAttention("starting", 8, 2, 8))
    names = Names({"token": [f"A{k + 1}" for k in range(n)]})
    recorded = trace_module(module, (pair, torch.ones(n, dtype=torch.bool)), names=names)
    with pytest.raises(MemoryLimitError, match=r"formulas.*--tokens 1,2,3,4,5,6 would fit"):
        make_plan(recorded)
    assert plan_that_fits(recorded, Slice(channels=(0,))).wanted.tokens == (0, 1, 2)
    with pytest.raises(ConfigError, match="no token 61"):
        make_plan(recorded, Slice(tokens=(60,)))
    with pytest.raises(ConfigError, match="no channel 99"):
        make_plan(recorded, Slice(channels=(99,)))
    with pytest.raises(ConfigError, match="no channel 999"):
        make_plan(recorded, Slice(tokens=(0,), channels=(0, 999)))
    with pytest.raises(ConfigError, match="no sequences to choose from: leave --rows out"):
        make_plan(recorded, Slice(tokens=(0,), sequences=(998,)))
    with pytest.raises(ConfigError, match="no result 'z'"):
        make_plan(recorded, Slice(outputs=("z",)))


def test_a_block_of_two_tokens_or_of_none_is_laid_out_without_being_asked():
    module = randomised(TriangleAttention("starting", C_Z, 1, 2))
    pair = trace_module(module, (PAIR[:2, :2], MASK[:2]), names=Names({"token": ["A1", "A2"]}))
    assert plan_that_fits(pair, Slice()).wanted.tokens == (0, 1)
    plain = trace_module(torch.nn.Linear(4, 2), (torch.ones(4),))
    assert plan_that_fits(plain, Slice()).wanted.tokens is None


def test_what_a_changed_weight_does_is_said(tmp_path):
    """Other tokens' numbers follow from the weights too, so that a slice stays behind the model there."""
    recorded = trace_module(randomised(BLOCKS["outgoing"][0]), BLOCKS["outgoing"][1], names=TOKENS)
    plan = make_plan(recorded, Slice(tokens=(0,), channels=(0,)))
    path = write_workbook(plan, tmp_path / "slice.xlsx").path
    weight = next(cell for cell in plan.cells("weight") if plan.origin(cell)[0] == "projection.weight")
    assert difference_after_change(plan, path, {weight: plan.value(weight) + 0.3}) > EXACT
    assert "a changed weight might" in LEGEND["constant"]
    assert "every formula follows; grey numbers do not" in LEGEND["weight"]
    whole = make_plan(recorded)
    path = write_workbook(whole, tmp_path / "whole.xlsx").path
    assert difference_after_change(whole, path, {weight: plan.value(weight) + 0.3}) < EXACT


def test_blocks_have_names_references_and_near_misses():
    from tiny_model import tiny_model

    model = tiny_model()
    blocks = {block.name: block for block in blocks_of(model)}
    starting = blocks["pairformer.0.triangle_attention_starting"]
    assert starting.path == "trunk_module.blocks.0.pair.starting"
    assert starting.reference == "Abramson et al. 2024 (AlphaFold 3), Algorithm 14"
    assert block_info(model, starting.path) == starting
    assert block_info(model, "trunk_module.blocks.0.pair.starting.projection").kind == "Linear"
    assert "diffusion" in blocks
    assert "diffusion.conditioning" not in blocks  # a holder of parts, which never runs
    assert all(block.does and block.path in dict(model.named_modules()) for block in blocks.values())
    assert len(listing(tuple(blocks.values()))) <= len(blocks)
    with pytest.raises(ConfigError, match=r"did you mean pairformer.0.triangle_attention_starting"):
        block_info(model, "pairformer.0.triangle_attention_start")


def test_the_confidence_head_looks_distances_up_again_when_atoms_move(tmp_path):
    from tiny_model import batch_of, tiny_model

    model, batch = tiny_model().requires_grad_(False), batch_of({"kind": "protein", "ids": ("A",), "sequence": "GS"})
    trunk = model.trunk(batch, recycles=0)
    positions = 6 * torch.randn(1, len(batch.atom_to_token), 3, generator=torch.Generator().manual_seed(0))
    plan = make_plan(trace_module(model.confidence_head, (batch, trunk, positions)), Slice(channels=(0,)))
    path = write_workbook(plan, tmp_path / "confidence.xlsx").path
    agreement = evaluate_workbook(path)
    assert agreement.errors == ()
    assert agreement.difference < EXACT
    moved = [cell for cell in plan.cells("input") if "coord" in plan.origin(cell)[0]][:3]
    assert moved
    assert difference_after_change(plan, path, {cell: plan.value(cell) + 9.1 for cell in moved}) < EXACT
