"""Attention shows weights and gates on request: all of them, whatever the chunks, and no bit of the result changes."""

import pytest
import torch

from anfinsen.nn import (
    AttentionPairBias,
    AttentionPairBiasConfig,
    MsaColumnAttention,
    MsaColumnGlobalAttention,
    MsaRowAttention,
    PairWeightedAveraging,
    Shown,
    TriangleAttention,
    chunk_budget,
    make_windows,
    watch,
    watch_attention,
)

N, S, C, HEADS = 11, 6, 12, 2


def tensor(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


MASK = torch.ones(N, dtype=torch.bool)
MSA_MASK = torch.rand(S, N, generator=torch.Generator().manual_seed(2)) < 0.8
WINDOWS = make_windows(MASK, 4, 8, "masked")


def token_attention():
    module = randomised(AttentionPairBias(AttentionPairBiasConfig(c_a=C, c_z=8, heads=HEADS, c_s=5)))
    bias = module.pair_bias(tensor(N, N, 8), MASK)
    return module.attention, lambda: module.attend(tensor(3, N, C), bias.clone(), tensor(N, 5, seed=3))


def atom_attention():
    config = AttentionPairBiasConfig(c_a=C, c_z=8, heads=HEADS, c_s=5, key_norm="own")
    module = randomised(AttentionPairBias(config))
    bias = tensor(HEADS, WINDOWS.count, 4, 8).masked_fill(~WINDOWS.key_mask[:, None, :], -1e9)
    return module.attention, lambda: module.attend(tensor(N, C), bias, tensor(N, 5, seed=3), WINDOWS)


def simple(module, *inputs):
    randomised(module)
    return module, lambda: module(*inputs)


PAIR, MSA = (N, N, 8), (S, N, C)
CASES = {
    "starting": lambda: simple(TriangleAttention("starting", 8, HEADS, 4), tensor(*PAIR), MASK),
    "ending": lambda: simple(TriangleAttention("ending", 8, HEADS, 4, "ki", biases=True), tensor(*PAIR), MASK),
    "rows": lambda: simple(MsaRowAttention(C, 8, HEADS, 4), tensor(*MSA), tensor(*PAIR), MSA_MASK),
    "columns": lambda: simple(MsaColumnAttention(C, HEADS, 4), tensor(*MSA), MSA_MASK),
    "global columns": lambda: simple(MsaColumnGlobalAttention(C, HEADS, 4), tensor(*MSA), MSA_MASK),
    "averaging": lambda: simple(PairWeightedAveraging(C, 8, HEADS, 4), tensor(*MSA), tensor(*PAIR), MASK),
    "tokens": token_attention,
    "atoms": atom_attention,
}
WEIGHTS = {
    "starting": (N, HEADS, N, N),
    "ending": (N, HEADS, N, N),
    "rows": (S, HEADS, N, N),
    "columns": (N, HEADS, S, S),
    "global columns": (N, HEADS, S),
    "averaging": (HEADS, N, N),
    "tokens": (3, HEADS, N, N),
    "atoms": (WINDOWS.count, HEADS, 4, 8),
}


def gathered(parts: list[Shown]) -> torch.Tensor:
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    starts = torch.tensor([0, *(len(part.values) for part in parts)]).cumsum(0)[:-1]
    assert [part.start for part in parts] == starts.tolist()
    return torch.cat([part.values for part in parts])


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_everything_is_shown_and_no_bit_changes(name, gradients):
    with torch.set_grad_enabled(gradients):
        module, call = CASES[name]()
        for budget in (1, 2**30):
            with chunk_budget(budget):
                expected = call()
                weights, gates = [], []
                with watch(
                    {"it": module},
                    weights=lambda _, part, to=weights: to.append(part),
                    gates=lambda _, part, to=gates: to.append(part),
                ):
                    assert torch.equal(call(), expected)
                before = len(weights), len(gates)
                assert torch.equal(call(), expected)
                assert (len(weights), len(gates)) == before
            shown = gathered(weights)
            assert shown.shape == WEIGHTS[name]
            assert not shown.requires_grad
            torch.testing.assert_close(shown.sum(-1), torch.ones(shown.shape[:-1]))
            opened = gathered(gates)
            assert opened.shape[-2] == HEADS
            assert ((opened > 0) & (opened < 1)).all()
            assert opened.std() > 0.01
            assert not opened.requires_grad
            assert (weights[0].windows is WINDOWS) == (name == "atoms")
            if budget == 1:
                small, small_gates = shown, opened
        torch.testing.assert_close(small, shown)
        torch.testing.assert_close(small_gates, opened)


@pytest.mark.parametrize("name", ["starting", "global columns"])
def test_kept_weights_are_whole_whatever_the_chunks(name):
    module, call = CASES[name]()
    with torch.no_grad(), chunk_budget(1), watch_attention({"it": module}) as kept:
        call()
    with torch.no_grad(), watch_attention({"it": module}) as whole:
        call()
    assert kept["it"].shape == WEIGHTS[name]
    torch.testing.assert_close(kept["it"], whole["it"])


def test_weights_and_gates_give_the_result():
    """What is shown is what is computed: weights times values, gated, projected."""
    module, call = CASES["averaging"]()
    shown = {}
    with (
        torch.no_grad(),
        watch(
            {"it": module},
            weights=lambda _, part: shown.update(weights=part.values),
            gates=lambda _, part: shown.update(gates=part.values),
        ),
    ):
        expected = call()
        value = module.projection(module.norm_msa(tensor(*MSA))).chunk(2, dim=-1)[0].unflatten(-1, (HEADS, 4))
        mixed = torch.einsum("hij,sjhc->sihc", shown["weights"], value) * shown["gates"]
        torch.testing.assert_close(module.output(mixed.flatten(-2)), expected)


def test_only_what_is_asked_for_is_shown():
    module, call = CASES["tokens"]()
    weights = []
    with watch({"it": module}, weights=lambda _, part: weights.append(part)):
        call()
    with watch({}, weights=lambda _, part: pytest.fail("not asked for"), gates=lambda _, part: pytest.fail("nor this")):
        call()
    assert len(weights) > 0
