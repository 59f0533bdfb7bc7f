"""The transformer against PyTorch's own, its cache against none, and what its masks hide."""

import pytest
import torch
from torch import nn

from anfinsen.images.transformer import KeyValueCache, Transformer, TransformerConfig

CONFIG = TransformerConfig(width=16, heads=2, depth=3)


@pytest.fixture
def network() -> Transformer:
    torch.manual_seed(0)
    network = Transformer(CONFIG)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def pytorch_twin(network: Transformer) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    twin = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(16), enable_nested_tensor=False)
    names = {
        "attention_norm": "norm1",
        "attention.project.": "self_attn.in_proj_",
        "attention.output": "self_attn.out_proj",
        "mlp_norm": "norm2",
        "expand": "linear1",
        "contract": "linear2",
        "blocks": "layers",
    }
    weights = {}
    for name, weight in network.state_dict().items():
        renamed = name
        for ours, theirs in names.items():
            renamed = renamed.replace(ours, theirs)
        weights[renamed] = weight
    twin.load_state_dict(weights, strict=True)
    return twin.train()  # training mode, without dropout: eval mode takes a fused path with rules of its own


@pytest.mark.parametrize("causal", [False, True])
def test_equals_pytorch(network: Transformer, causal: bool) -> None:
    x = torch.randn(2, 7, 16)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    hidden = nn.Transformer.generate_square_subsequent_mask(7).isinf() if causal else None
    expected = pytorch_twin(network)(x, mask=hidden, src_key_padding_mask=~mask)
    actual = network(x, mask, causal=causal)
    torch.testing.assert_close(actual[mask], expected[mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(x, causal=causal)[0], expected[0], atol=1e-5, rtol=1e-5)


def test_causal_tokens_do_not_see_later_ones(network: Transformer) -> None:
    x = torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] *= -2  # normalisation would undo a shift
    before, after = network(x, causal=True), network(changed, causal=True)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
    assert not torch.allclose(network(x)[:, :4], network(changed)[:, :4])


@pytest.mark.parametrize("causal", [False, True])
def test_masked_tokens_are_not_seen(network: Transformer, causal: bool) -> None:
    x = torch.randn(2, 6, 16)
    mask = torch.tensor([[True] * 6, [True, False, True, False, True, False]])
    changed = torch.where(mask[..., None], x, -3 * x)
    before, after = network(x, mask, causal=causal), network(changed, mask, causal=causal)
    torch.testing.assert_close(before[mask], after[mask])
    shorter = network(x[1:, mask[1]], causal=causal)
    torch.testing.assert_close(before[1, mask[1]], shorter[0], atol=1e-5, rtol=1e-5)


def test_empty_mask_stays_finite(network: Transformer) -> None:
    assert network(torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("pieces", [[9], [1] * 9, [4, 1, 1, 3], [2, 7]])
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_cache_equals_no_cache(network: Transformer, pieces: list[int], masked: bool) -> None:
    x = torch.randn(2, 9, 16)
    mask = torch.rand(2, 9) < 0.6 if masked else None
    cache, outputs = KeyValueCache(CONFIG.depth, 9), []
    for piece in x.split(pieces, dim=1):
        end = cache.length + piece.shape[1]
        outputs.append(network(piece, None if mask is None else mask[:, :end], cache=cache))
    torch.testing.assert_close(torch.cat(outputs, 1), network(x, mask, causal=True), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="10 tokens do not fit into a cache of 9"):
        network(x[:, :1], cache=cache)


def test_runs_under_autocast(network: Transformer) -> None:
    x, mask = torch.randn(2, 5, 16, requires_grad=True), torch.ones(2, 5, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        result = network(x, mask, causal=True)
    result.float().square().mean().backward()
    torch.testing.assert_close(result.float(), network(x, mask, causal=True), atol=0.1, rtol=0.1)
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(15, 2, 1), (16, 0, 1), (16, 2, 0)])
def test_impossible_shapes_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no transformer"):
        TransformerConfig(*shape)
