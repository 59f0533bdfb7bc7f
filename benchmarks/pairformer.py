"""Full-size Pairformer block: ours, a naive version, and published implementations where they are installed.

    python benchmarks/pairformer.py [--peer-python /path/to/python] [--tokens 128,256] [--rounds 3]

`--peer-python` may be given several times: an environment with boltz, protenix or openfold3.
"""

from __future__ import annotations

from pathlib import Path

from harness import Call, compare

C_S, C_Z = 384, 128
CASES = [{"tokens": n} for n in (128, 256, 384)]


def inputs(n: int):
    """Single and pair representation."""
    import torch

    return torch.randn(n, C_S), torch.randn(n, n, C_Z)


def randomised(module):
    """Zero-initialised layers would make some products trivially cheap to normalise."""
    import torch

    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return module.eval()


def make_ours(case: dict[str, int]) -> Call:
    import torch

    from anfinsen.nn import PairformerBlock, PairformerConfig, reuse_buffers

    block = randomised(PairformerBlock(PairformerConfig(c_s=C_S, c_z=C_Z)))
    single, pair = inputs(case["tokens"])
    mask = torch.ones(case["tokens"], dtype=torch.bool)
    buffers = reuse_buffers()  # the trunk holds one set of buffers for all of its blocks
    buffers.__enter__()
    return lambda: block(single, pair, mask)


def make_naive(case: dict[str, int]) -> Call:
    from anfinsen.nn import PairformerBlock, PairformerConfig

    block = randomised(PairformerBlock(PairformerConfig(c_s=C_S, c_z=C_Z)))
    single, pair = inputs(case["tokens"])
    return lambda: naive_block(block, single, pair)


def naive_block(block, s, z):
    """Algorithm 17 as it is written, whole tensors at a time."""
    p = block.pair
    z = z + naive_multiplication(p.outgoing, z, "ikc,jkc->ijc")
    z = z + naive_multiplication(p.incoming, z, "kic,kjc->ijc")
    z = z + naive_attention(p.starting, z, transpose=False)
    z = z + naive_attention(p.ending, z, transpose=True)
    z = z + naive_transition(p.transition, z)
    s = s + naive_single_attention(block.attention, s, z)
    s = s + naive_transition(block.transition, s)
    return s, z


def naive_multiplication(m, z, equation):
    import torch

    z = m.norm_in(z)
    pa, pb, ga, gb = m.projection(z).chunk(4, dim=-1)
    x = torch.einsum(equation, torch.sigmoid(ga) * pa, torch.sigmoid(gb) * pb)
    return torch.sigmoid(m.gate(z)) * m.output(m.norm_out(x))


def naive_attention(m, z, transpose):
    import torch

    z = m.norm(z)
    bias = m.bias(z).permute(2, 0, 1)
    z = z.transpose(0, 1) if transpose else z
    q, k, v, g = (x.unflatten(-1, (m.heads, -1)) for x in m.projection(z).chunk(4, dim=-1))
    weights = torch.softmax(torch.einsum("iqhc,ikhc->ihqk", q, k) * m.c_head**-0.5 + bias, dim=-1)
    x = m.output((torch.sigmoid(g) * torch.einsum("ihqk,ikhc->iqhc", weights, v)).flatten(-2))
    return x.transpose(0, 1) if transpose else x


def naive_transition(m, x):
    import torch

    gate, value = m.expand(m.norm(x)).chunk(2, dim=-1)
    return m.contract(torch.nn.functional.silu(gate) * value)


def naive_single_attention(m, s, z):
    import torch

    a = m.attention
    bias = m.pair.linear(m.pair.norm(z)).permute(2, 0, 1)
    q, k, v, g = a.projection(m.norm(s)).chunk(4, dim=-1)
    q, k, v = (x.unflatten(-1, (a.heads, -1)) for x in (q + a.query_bias, k, v))
    weights = torch.softmax(torch.einsum("qhc,khc->hqk", q, k) * a.c_head**-0.5 + bias, dim=-1)
    return a.output(torch.sigmoid(g) * torch.einsum("hqk,khc->qhc", weights, v).flatten(-2))


def make_boltz(case: dict[str, int], chunk: int | None = None) -> Call:
    import torch
    from boltz.model.layers.pairformer import PairformerLayer

    n = case["tokens"]
    layer = randomised(PairformerLayer(C_S, C_Z, num_heads=16, v2=True))
    s, z = (x[None] for x in inputs(n))
    mask, pair_mask = torch.ones(1, n), torch.ones(1, n, n)
    return lambda: layer(s, z, mask, pair_mask, chunk_size_tri_attn=chunk)


def make_protenix(case: dict[str, int], chunk: int | None = None) -> Call:
    import torch
    from protenix.model.modules.pairformer import PairformerBlock

    n = case["tokens"]
    block = randomised(PairformerBlock())
    s, z = inputs(n)
    mask = torch.ones(n, n)
    # In place, it overwrites its input, as it does between the blocks of its own stack.
    return lambda: block(s, z, mask, inplace_safe=chunk is not None, chunk_size=chunk)


def make_openfold3(case: dict[str, int], chunk: int | None = None) -> Call:
    import torch
    from openfold3.core.model.latent.pairformer import PairFormerBlock

    n = case["tokens"]
    block = randomised(
        PairFormerBlock(
            c_s=C_S, c_z=C_Z, c_hidden_pair_bias=24, no_heads_pair_bias=16, c_hidden_mul=128, c_hidden_pair_att=32,
            no_heads_pair=4, transition_type="swiglu", transition_n=4, pair_dropout=0.25, fuse_projection_weights=False,
            inf=1e9,
        )
    )  # fmt: skip
    s, z = (x[None] for x in inputs(n))
    mask, pair_mask = torch.ones(1, n), torch.ones(1, n, n)
    return lambda: block(s, z, mask, pair_mask, chunk_size=chunk, inplace_safe=chunk is not None)


OURS = {"ours": make_ours, "naive": make_naive}
PEERS = {
    "boltz": make_boltz,
    "boltz, chunk 128": lambda case: make_boltz(case, 128),
    "protenix": make_protenix,
    "protenix, in place, chunk 64": lambda case: make_protenix(case, 64),
    "openfold3": make_openfold3,
    "openfold3, in place, chunk 64": lambda case: make_openfold3(case, 64),
}

if __name__ == "__main__":
    compare(Path(__file__), OURS, PEERS, CASES, "Pairformer block (c_z 128, c_s 384)")
