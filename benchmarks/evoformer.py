"""Full-size Evoformer block: ours, a naive version, and a published implementation where it is installed.

    python benchmarks/evoformer.py [--peer-python /path/to/python] [--tokens 128,256] [--rounds 3]

`--peer-python`: an environment with openfold3, whose core still holds OpenFold's Evoformer block. Before anything is
timed the naive version is compared with ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness import Call, compare
from pairformer import randomised

C_M, C_Z = 256, 128
CASES = [{"tokens": n, "rows": 128} for n in (128, 256)]
LARGEST_DIFFERENCE = 1e-5  # of the updates, relative to the largest


def inputs(n: int, rows: int):
    """Alignment and pair representation."""
    import torch

    return torch.randn(rows, n, C_M), torch.randn(n, n, C_Z)


def our_block():
    from anfinsen.models.alphafold2.evoformer import EvoformerBlock, EvoformerConfig

    return randomised(EvoformerBlock(EvoformerConfig(c_m=C_M)))


def make_ours(case: dict[str, int]) -> Call:
    import torch

    from anfinsen.nn import reuse_buffers

    block = our_block()
    n, rows = case["tokens"], case["rows"]
    msa, pair = inputs(n, rows)
    msa_mask, mask = torch.ones(rows, n, dtype=torch.bool), torch.ones(n, dtype=torch.bool)
    buffers = reuse_buffers()  # the network holds one set of buffers for all of its blocks
    buffers.__enter__()
    return lambda: block(msa, pair, msa_mask, mask)


def make_naive(case: dict[str, int]) -> Call:
    block = our_block()
    msa, pair = inputs(case["tokens"], case["rows"])
    return lambda: naive_block(block, msa, pair)


def naive_block(block, m, z):
    """Algorithm 6 as it is written, whole tensors at a time."""
    p = block.pair
    m = m + naive_msa_attention(block.rows, m, z)
    m = m + naive_msa_attention(block.columns, m.transpose(0, 1)).transpose(0, 1)
    m = m + naive_transition(block.transition, m)
    z = z + naive_outer_product(block.outer_product, m)
    z = z + naive_multiplication(p.outgoing, z, "ikc,jkc->ijc")
    z = z + naive_multiplication(p.incoming, z, "kic,kjc->ijc")
    z = z + naive_pair_attention(p.starting, z, transpose=False)
    z = z + naive_pair_attention(p.ending, z, transpose=True)
    z = z + naive_transition(p.transition, z)
    return m, z


def gated_attention(a, x, bias):
    """Attention along the second axis; the gate carries a bias."""
    import torch

    q, k, v, g = (y.unflatten(-1, (a.heads, -1)) for y in a.projection(x).chunk(4, dim=-1))
    weights = torch.softmax(torch.einsum("iqhc,ikhc->ihqk", q, k) * a.c_head**-0.5 + bias, dim=-1)
    gate = torch.sigmoid(g + a.gate_bias.view(a.heads, -1))
    return a.output((gate * torch.einsum("ihqk,ikhc->iqhc", weights, v)).flatten(-2))


def naive_msa_attention(a, m, z=None):
    bias = 0.0 if z is None else a.bias(a.norm_pair(z)).permute(2, 0, 1)
    return gated_attention(a, a.norm(m), bias)


def naive_pair_attention(a, z, transpose):
    z = z.transpose(0, 1) if transpose else z
    z = a.norm(z)
    # The bias of the ending node is that of edge k, i (AlphaFold 2).
    x = gated_attention(a, z, a.bias(z).permute(2, 0, 1))
    return x.transpose(0, 1) if transpose else x


def naive_outer_product(o, m):
    import torch

    a, b = o.projection(o.norm(m)).chunk(2, dim=-1)
    return o.output(torch.einsum("sic,sjd->ijcd", a, b).flatten(-2)) / (m.shape[0] + 1e-3)


def naive_multiplication(t, z, equation):
    import torch

    z = t.norm_in(z)
    a, b, gate_a, gate_b = t.projection(z).chunk(4, dim=-1)
    x = torch.einsum(equation, torch.sigmoid(gate_a) * a, torch.sigmoid(gate_b) * b)
    return torch.sigmoid(t.gate(z)) * t.output(t.norm_out(x))


def naive_transition(t, x):
    import torch

    return t.contract(torch.relu(t.expand(t.norm(x))))


def check() -> None:
    """Compare the updates of ours and the naive version at a small size, with weights that make them large."""
    import torch

    torch.manual_seed(1)
    block, start = our_block(), inputs(24, 10)
    for parameter in block.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        else:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.2)
    msa_mask, mask = torch.ones(10, 24, dtype=torch.bool), torch.ones(24, dtype=torch.bool)
    with torch.no_grad():
        ours, naive = block(*start, msa_mask, mask), naive_block(block, *start)
    difference = max(
        float((x - y).abs().max() / (y - before).abs().max()) for x, y, before in zip(ours, naive, start, strict=True)
    )
    if not difference < LARGEST_DIFFERENCE:
        sys.exit(f"The naive block's update differs from ours by {difference:.1e} of its largest: nothing was timed.")
    print(
        f"The updates of ours and naive differ by {difference:.1e} of the largest (24 tokens, 10 rows).\n", flush=True
    )


def make_openfold3(case: dict[str, int], chunk: int | None = None) -> Call:
    import torch
    from openfold3.core.model.latent.evoformer import EvoformerBlock

    n, rows = case["tokens"], case["rows"]
    block = randomised(
        EvoformerBlock(
            c_m=C_M, c_z=C_Z, c_hidden_msa_att=32, c_hidden_opm=32, c_hidden_mul=128, c_hidden_pair_att=32,
            no_heads_msa=8, no_heads_pair=4, transition_type="relu", transition_n=4, msa_dropout=0.15,
            pair_dropout=0.25, no_column_attention=False, opm_first=False, fuse_projection_weights=False, inf=1e9,
            eps=1e-10,
        )
    )  # fmt: skip
    msa, pair = (x[None] for x in inputs(n, rows))
    msa_mask, pair_mask = torch.ones(1, rows, n), torch.ones(1, n, n)
    # In place, it overwrites its input, as it does between the blocks of its own stack.
    return lambda: block(msa, pair, msa_mask, pair_mask, chunk_size=chunk, inplace_safe=chunk is not None)


OURS = {"ours": make_ours, "naive": make_naive}
PEERS = {
    "openfold3": make_openfold3,
    "openfold3, in place, chunk 64": lambda case: make_openfold3(case, 64),
}

if __name__ == "__main__":
    if "--worker" not in sys.argv:
        check()
    compare(Path(__file__), OURS, PEERS, CASES, "Evoformer block (c_m 256, c_z 128, 128 rows)")
