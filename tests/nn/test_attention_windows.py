"""Sequence-local attention against dense attention, and the fused linear map against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from anfinsen.nn.attention_pair_bias import AttentionPairBias, AttentionPairBiasConfig, mask_keys
from anfinsen.nn.fourier_embedding import FourierEmbedding
from anfinsen.nn.windows import make_windows


@pytest.mark.parametrize("length", [5, 16, 37, 64])
@pytest.mark.parametrize("edges", ["masked", "shifted"])
@pytest.mark.parametrize("gradients", [True, False])
def test_windows_are_dense_attention_under_a_mask(length, edges, gradients):
    torch.manual_seed(length)
    queries, keys, heads, real = 8, 16, 2, max(1, length - 3)
    mask = torch.arange(length) < real
    module = AttentionPairBias(AttentionPairBiasConfig(16, 4, heads, c_s=16, key_norm="own")).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    a, s = torch.randn(3, length, 16, dtype=torch.float64), torch.randn(length, 16, dtype=torch.float64)
    dense_bias = torch.randn(heads, length, length, dtype=torch.float64)
    windows = make_windows(mask, queries, keys, edges)

    # The paper's rule (Algorithm 7): |m - centre| < keys / 2; the released code moves windows at the ends.
    allowed = torch.zeros(length, length, dtype=torch.bool)
    for query in range(length):
        start = query // queries * queries + queries // 2 - keys // 2
        if edges == "shifted":
            start = max(min(start, real - keys), 0) if start + keys > real else max(start, 0)
        allowed[query, max(start, 0) : max(start + keys, 0)] = True
    allowed &= mask[None]

    rows = windows.split_queries(torch.arange(length), 0)
    local = mask_keys(dense_bias[:, rows[:, :, None], windows.key_index[:, None, :]], windows.key_mask)
    with torch.set_grad_enabled(gradients):
        found = module.attend(a, local, s, windows)
        normal, of_keys = module.norm(a, s), module.key_norm(a, s)
    width = module.attention.width
    q, _, _, g = F.linear(normal, module.attention.projection.weight).split(width, -1)
    _, k, v, _ = F.linear(of_keys, module.attention.projection.weight).split(width, -1)
    q, k, v = (x.unflatten(-1, (heads, 8)).transpose(1, 2) for x in (q + module.attention.query_bias, k, v))
    logits = (q @ k.transpose(-1, -2) / 8**0.5 + dense_bias).masked_fill(~allowed, -torch.inf)
    attended = (torch.softmax(logits, -1) @ v).transpose(1, 2).flatten(-2)
    expected = module.gate(s) * (module.attention.output(torch.sigmoid(g) * attended))
    torch.testing.assert_close(found[:, :real], expected[:, :real])


def test_the_trunks_attention_takes_no_conditioning():
    module = AttentionPairBias(AttentionPairBiasConfig(16, 4, 2))
    with pytest.raises(TypeError, match="no conditioning"):
        module(torch.randn(5, 16), torch.randn(5, 5, 4), None, torch.randn(5, 16))


def test_fourier_features_are_the_same_in_every_process():
    first, second = FourierEmbedding(8), FourierEmbedding(8)
    assert torch.equal(first.w, second.w)
    assert first(torch.zeros(2)).shape == (2, 8)
    torch.testing.assert_close(first(torch.zeros(())), torch.cos(2 * torch.pi * first.b))
