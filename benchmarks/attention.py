"""Which attention kernel is faster where: the measurement behind `anfinsen.nn.attention`.

    python benchmarks/attention.py [threads]

CPU milliseconds per call, smallest of several, without gradients; bias shared by all rows, as in triangle attention
(rows of a pair representation, 4 heads of 32) and in the diffusion transformer (samples, 16 heads of 48).
"""

from __future__ import annotations

import sys
import time
from functools import partial

import torch

from anfinsen.nn.attention import fused_attention, plain_attention

SHAPES = [(rows, n, 4, 32) for n in (64, 128, 256, 384, 512) for rows in (1, 8)]
SHAPES += [(samples, n, 16, 48) for n in (128, 256, 384) for samples in (1, 5)]


def milliseconds(call, repeats: int = 7) -> float:
    call()
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
    return best * 1e3


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    torch.manual_seed(0)
    print("| rows x n x heads x width | plain ms | fused ms | plain error | fused error |\n|---|---|---|---|---|")
    for rows, n, heads, width in SHAPES:
        q, k, v = torch.randn(rows, n, 3, heads, width).permute(2, 0, 3, 1, 4)
        bias = 2 * torch.randn(1, heads, n, n)
        exact = plain_attention(q.double(), k.double(), v.double(), bias.double())
        cells = []
        for kernel in (plain_attention, fused_attention):
            error = (kernel(q, k, v, bias) - exact).abs().max() / exact.abs().max()
            cells.append((milliseconds(partial(kernel, q, k, v, bias)), error.item()))
        shape = f"{rows} x {n} x {heads} x {width}"
        (plain, plain_error), (fused, fused_error) = cells
        print(f"| {shape} | {plain:.2f} | {fused:.2f} | {plain_error:.0e} | {fused_error:.0e} |")


if __name__ == "__main__":
    main()
