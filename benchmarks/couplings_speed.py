"""Couplings of one deep family: the Potts model, the same with dense one-hot products, and mean-field DCA.

    python benchmarks/couplings_speed.py [--tokens 300] [--rounds 1] [--threads 2]

The family is made up: rows grow on a random tree, site by site from the site's own letters, and lack pieces at both
ends. What the fit costs depends on its size and on the number of steps until it converges, not on what it means.
"""

from __future__ import annotations

from pathlib import Path

from harness import Call, compare

CASES = [{"tokens": 150, "rows": 1000}, {"tokens": 300, "rows": 3000}]  # tokens: residues
MUTATED = 0.25  # share of the sites in which a row differs from the one that it comes from
LETTERS = 6  # different amino acids at a site, about


def family(residues: int, rows: int):
    """Return a made-up alignment."""
    import numpy as np

    from anfinsen.alignments import Msa
    from anfinsen.chemistry.tokens import GAP

    rng = np.random.default_rng(0)
    site = rng.dirichlet(np.full(20, LETTERS / 20), size=residues).cumsum(1)

    def drawn():
        return (rng.random((residues, 1)) > site[:, :-1]).sum(1)

    states = [drawn()]
    for _ in range(rows - 1):
        parent = states[int(rng.integers(len(states)))]
        states.append(np.where(rng.random(residues) < MUTATED, drawn(), parent))
    table = np.stack(states).astype(np.int8)
    for row in table[1:]:
        row[: int(rng.integers(residues // 5))] = GAP
        row[residues - int(rng.integers(1, residues // 5)) :] = GAP
    return Msa(table, np.zeros(table.shape, dtype=np.int16), ("",) * rows)


def make(method: str) -> Call:
    """Return what makes the call that is timed."""

    def made(case: dict[str, int]) -> Call:
        import torch

        from anfinsen.alignments.couplings import CouplingConfig, infer_couplings

        # The harness turns gradients off; the fit has its own.
        alignment = family(case["tokens"], case["rows"])

        def call():
            with torch.enable_grad():
                return infer_couplings(alignment, CouplingConfig(method=method), device="cpu")

        return call

    return made


def make_naive(case: dict[str, int]) -> Call:
    import torch

    from anfinsen.alignments.couplings import infer, kernels

    infer.coded_rows = lambda states, q: kernels.DenseRows(states, q, torch.float32)
    return make("potts")(case)


if __name__ == "__main__":
    ours = {"ours": make("potts"), "ours, mean-field": make("mean-field"), "naive": make_naive}
    compare(Path(__file__), ours, {}, CASES, "Couplings of one family")
