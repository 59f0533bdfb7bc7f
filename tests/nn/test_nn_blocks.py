"""The blocks' two paths agree, chunks and padding change nothing, dropout is shared, gradients flow."""

import pytest
import torch

from anfinsen.models.alphafold3.msa_module import MsaModule, MsaModuleConfig
from anfinsen.nn import (
    OuterProductMean,
    PairformerBlock,
    PairformerConfig,
    PairWeightedAveraging,
    Transition,
    TriangleAttention,
    TriangleMultiplication,
    chunk_budget,
    memory,
    outer_product_mean,
    reuse_buffers,
    row_attention,
)
from anfinsen.nn.dropout import SharedDropout

C_S, C_Z, C_M, N, S = 24, 16, 12, 11, 7
PAIR = PairformerConfig(c_s=0, c_z=C_Z, heads_pair=2, c_pair_attention=8, c_triangle=12)
BLOCK = PairformerConfig(c_s=C_S, c_z=C_Z, heads_single=3, heads_pair=2, c_pair_attention=8, c_triangle=12)
MSA = MsaModuleConfig(blocks=2, c_m=C_M, c_s_inputs=C_S, c_outer=6, heads=3, c_head=5, pair=PAIR)
BUDGETS = [1, 4_000, 50_000, 2**40]


def randomised(module, seed=0):
    """Zero-initialised layers hide errors."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 0.05)
    return module.double().eval()


def tensor(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def token_mask():
    mask = torch.ones(N, dtype=torch.bool)
    mask[[3, N - 1]] = False
    return mask


def msa_mask():
    mask = torch.rand(S, N, generator=torch.Generator().manual_seed(5)) < 0.8
    return mask & token_mask()


def pairformer(pair_last):
    block = randomised(PairformerBlock(BLOCK))
    single, pair = tensor(N, C_S), tensor(N, N, C_Z)
    return lambda: block(single, pair, token_mask())[1 if pair_last else 0]


def module_call(module, *inputs):
    randomised(module)
    return lambda: module(*inputs)


CALLS = {
    "transition": lambda: module_call(Transition(C_Z), tensor(N, N, C_Z)),
    "outgoing": lambda: module_call(TriangleMultiplication("outgoing", C_Z, 12), tensor(N, N, C_Z), token_mask()),
    "incoming": lambda: module_call(TriangleMultiplication("incoming", C_Z, 12), tensor(N, N, C_Z), token_mask()),
    "starting": lambda: module_call(TriangleAttention("starting", C_Z, 2, 8), tensor(N, N, C_Z), token_mask()),
    "ending ik": lambda: module_call(TriangleAttention("ending", C_Z, 2, 8, "ik"), tensor(N, N, C_Z), token_mask()),
    "ending ki": lambda: module_call(TriangleAttention("ending", C_Z, 2, 8, "ki"), tensor(N, N, C_Z), token_mask()),
    "outer after": lambda: module_call(OuterProductMean(C_M, C_Z, 6, "after"), tensor(S, N, C_M), msa_mask()),
    "outer before": lambda: module_call(OuterProductMean(C_M, C_Z, 6, "before"), tensor(S, N, C_M), msa_mask()),
    "averaging": lambda: module_call(
        PairWeightedAveraging(C_M, C_Z, 3, 5), tensor(S, N, C_M), tensor(N, N, C_Z), token_mask()
    ),
    "msa module": lambda: module_call(
        MsaModule(MSA), tensor(N, N, C_Z), tensor(N, C_S), tensor(S, N, 34), msa_mask(), token_mask()
    ),
    "pairformer pair": lambda: pairformer(pair_last=True),
    "pairformer single": lambda: pairformer(pair_last=False),
}


@pytest.mark.parametrize("name", CALLS)
def test_inference_path_equals_training_path_at_every_chunk_size(name):
    call = CALLS[name]()
    expected = call().detach()
    assert expected.abs().max() > 0.1
    with torch.no_grad(), reuse_buffers():
        for budget in BUDGETS:
            with chunk_budget(budget):
                torch.testing.assert_close(call(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CALLS)
def test_inference_mode_and_no_grad_may_share_buffers(name):
    call = CALLS[name]()
    with reuse_buffers():
        with torch.inference_mode():
            first = call().clone()
        with torch.no_grad():
            torch.testing.assert_close(call(), first, rtol=1e-12, atol=1e-12)


def with_other_padding(x, mask, *axes):
    """Return ``x`` with other numbers wherever one of ``axes`` is a masked token."""
    result = x.clone()
    for axis in axes:
        result.movedim(axis, 0)[~mask] = 50.0
    return result


@pytest.mark.parametrize("gradients", [True, False])
def test_padding_changes_nothing(gradients):
    mask = token_mask()
    block, msa = randomised(PairformerBlock(BLOCK)), randomised(MsaModule(MSA))
    single, pair, features = tensor(N, C_S), tensor(N, N, C_Z), tensor(S, N, 34)
    with torch.set_grad_enabled(gradients):
        pair_before = msa(pair, single, features, msa_mask(), mask)
        before = block(single, pair_before, mask)
        pair, features = with_other_padding(pair, mask, 0, 1), with_other_padding(features, mask, 1)
        single = with_other_padding(single, mask, 0)
        pair_after = msa(pair, single, features, msa_mask(), mask)
        after = block(single, with_other_padding(pair_after, mask, 0, 1), mask)
    kept = mask[:, None] & mask
    torch.testing.assert_close(pair_after[kept], pair_before[kept], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(after[0][mask], before[0][mask], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(after[1][kept], before[1][kept], rtol=1e-11, atol=1e-11)
    assert all(torch.isfinite(x).all() for x in after)


@pytest.mark.parametrize("gradients", [True, False])
def test_padding_equals_cropping(gradients):
    real = 8
    block = randomised(PairformerBlock(BLOCK))
    single, pair = tensor(N, C_S), tensor(N, N, C_Z)
    mask = torch.arange(N) < real
    with torch.set_grad_enabled(gradients):
        padded = block(single, pair, mask)
        cropped = block(single[:real], pair[:real, :real], mask[:real])
    torch.testing.assert_close(padded[0][:real], cropped[0], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(padded[1][:real, :real], cropped[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("gradients", [True, False])
def test_leading_batch_axes(gradients):
    block = randomised(PairformerBlock(BLOCK))
    single, pair = tensor(2, N, C_S), tensor(2, N, N, C_Z)
    mask = torch.stack([token_mask(), torch.ones(N, dtype=torch.bool)])
    with torch.set_grad_enabled(gradients):
        together = block(single, pair, mask)
        for index in range(2):
            alone = block(single[index], pair[index], mask[index])
            torch.testing.assert_close(together[0][index], alone[0], rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(together[1][index], alone[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("strided", [False, True])
def test_inputs_are_left_alone(strided):
    block, msa = randomised(PairformerBlock(BLOCK)), randomised(MsaModule(MSA))
    single, pair = tensor(N, C_S), tensor(N, N, C_Z)
    if strided:
        pair = pair.transpose(0, 1)
    copies = single.clone(), pair.clone()
    expected = block(single, pair, token_mask())
    with torch.no_grad():
        actual = block(single, pair, token_mask())
        msa(pair, single, tensor(S, N, 34), msa_mask(), token_mask())
    torch.testing.assert_close(actual, tuple(x.detach() for x in expected), rtol=1e-11, atol=1e-11)
    assert torch.equal(single, copies[0])
    assert torch.equal(pair, copies[1])


@pytest.mark.parametrize("name", ["starting", "ending ik", "ending ki", "outer after", "outer before"])
def test_recomputed_rows_have_the_same_gradient(name, monkeypatch):
    """Beyond a size, rows are computed again in the backward pass."""

    def gradients():
        torch.manual_seed(0)
        call = CALLS[name]()
        module = call.__closure__[1].cell_contents
        assert isinstance(module, torch.nn.Module)
        (call() ** 2).sum().backward()
        return [parameter.grad for parameter in module.parameters()]

    kept = gradients()
    for module in (row_attention, outer_product_mean):
        monkeypatch.setattr(module, "KEPT_BYTES", 0)
    with chunk_budget(4_000):
        recomputed = gradients()
    for first, second in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)


def test_gradients_match_finite_differences():
    config = PairformerConfig(c_s=4, c_z=4, heads_single=2, heads_pair=2, c_pair_attention=2, c_triangle=3)
    block = randomised(PairformerBlock(config))
    mask = torch.tensor([True, True, True, False])
    single, pair = tensor(4, 4).requires_grad_(), tensor(4, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, z: block(s, z, mask), (single, pair))


@pytest.mark.parametrize("axis", [-3, -2])
def test_dropout_is_shared_along_its_axis(axis):
    torch.manual_seed(0)
    dropout = SharedDropout(0.25, axis).train()
    x = dropout(torch.ones(40, 50, 60))
    kept = (x != 0).double()
    assert torch.equal(kept, kept.narrow(axis, 0, 1).expand_as(kept))
    assert abs(kept.mean().item() - 0.75) < 0.03
    assert torch.equal(x.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_acts_on_pair_updates_in_training_only():
    block = randomised(PairformerBlock(BLOCK))
    single, pair = tensor(N, C_S), tensor(N, N, C_Z)
    quiet = block(single, pair, token_mask())[1]
    block.train()
    torch.manual_seed(3)
    first = block(single, pair, token_mask())[1]
    with torch.no_grad():
        torch.manual_seed(3)
        again = block(single, pair, token_mask())[1]
    assert not torch.allclose(first, quiet)
    torch.testing.assert_close(first.detach(), again, rtol=1e-11, atol=1e-11)


def test_new_blocks_start_as_the_identity():
    """Output projections start at zero, so that deep stacks can be trained from scratch."""
    block = PairformerBlock(BLOCK).double()
    single, pair = tensor(N, C_S), tensor(N, N, C_Z)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            new_single, new_pair = block(single, pair, token_mask())
        assert torch.equal(new_single, single)
        assert torch.equal(new_pair, pair)


def test_a_fully_masked_complex_stays_finite():
    block = randomised(PairformerBlock(BLOCK))
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            outputs = block(tensor(N, C_S), tensor(N, N, C_Z), torch.zeros(N, dtype=torch.bool))
        assert all(torch.isfinite(x).all() for x in outputs)


def test_buffers_are_shared_inside_and_freed_after():
    like = torch.zeros(1)
    with reuse_buffers():
        first = memory.scratch().take("x", (4, 3), like)
        with reuse_buffers():
            second = memory.scratch().take("x", (12,), like)
        assert first.data_ptr() == second.data_ptr()
        assert memory.scratch().take("x", (5, 5), like).shape == (5, 5)
        assert memory.scratch().take("x", (2,), like.double()).dtype == torch.float64
    assert memory.scratch() is not memory.scratch()


@pytest.mark.parametrize("budget", [1, 1000, 10**9])
def test_chunks_keep_to_the_budget(budget):
    with chunk_budget(budget):
        length = memory.chunk_length(50, 100, torch.device("cpu"))
    assert 1 <= length <= 50
    assert length == 1 or length * 100 <= budget


@pytest.mark.parametrize("gradients", [True, False])
def test_half_precision_training_and_evaluation(gradients):
    """Under autocast both paths stay near full precision, and the residual stream keeps full precision."""
    block, msa = randomised(PairformerBlock(BLOCK)).float(), randomised(MsaModule(MSA)).float()
    for module in (block, msa):
        for parameter in module.parameters():
            parameter.data *= 0.4
    single, pair, features = (x.float() for x in (tensor(N, C_S), tensor(N, N, C_Z), tensor(S, N, 34)))

    def run():
        new_pair = msa(pair, single, features, msa_mask(), token_mask())
        return block(single, new_pair, token_mask())

    with torch.set_grad_enabled(gradients):
        expected = run()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = run()
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() < 0.03 * other.abs().max()
