"""The coupling scores that networks read: mean-field DCA, by the shorter way where an alignment is shallow."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from anfinsen.alignments import Msa
from anfinsen.alignments.couplings import (
    CouplingConfig,
    Sample,
    average_product_correction,
    draw_sample,
    infer_couplings,
)
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError

COUPLINGS = CouplingConfig(method="mean-field")
"""What the bundled networks were trained with, and must be given."""

_COLUMNS_AT_ONCE = 16
LOW_RANK_BELOW = 0.5  # rows per state; with more, inverting the covariance itself is as quick


def coupling_scores(msa: Msa) -> Float32[np.ndarray, "L L"] | None:
    """Return how strongly each pair of columns is coupled, or None where too few rows say nothing about pairs.

    The scores of `alignments.couplings.infer_couplings` with `COUPLINGS`. With N rows and D = 20 L states the
    covariance has rank N at most, so its shrunk inverse follows from an N x N matrix (Woodbury's identity): N² D
    operations in place of D³, which for a thousand rows is several times as quick.
    """
    try:
        sample = draw_sample(msa, ChainKind.PROTEIN, COUPLINGS.rows)
        if len(sample.states) >= LOW_RANK_BELOW * sample.states.shape[1] * sample.n_states:
            return infer_couplings(msa, COUPLINGS, device="cpu").scores
    except AlignmentError:
        return None
    return average_product_correction(_norms(_whitened(sample), sample.n_states))


def coupling_blocks(msa: Msa) -> Float32[np.ndarray, "L L 400"]:
    """Return the couplings J_ij(a, b) themselves, in zero-sum gauge, a first; 0 where too few rows say nothing.

    What the network of the paper reads (preset `full`); 1600 L² bytes.
    """
    length = msa.restypes.shape[1]
    try:
        sample = draw_sample(msa, ChainKind.PROTEIN, COUPLINGS.rows)
    except AlignmentError:
        return np.zeros((length, length, 400), dtype=np.float32)
    y = _whitened(sample)
    # In rows and columns of the matrix a residue's states lie together; here each pair's do.
    blocks = (y.T @ y).view(length, sample.n_states, length, sample.n_states).permute(0, 2, 1, 3)
    blocks = blocks.reshape(length, length, -1)
    blocks[torch.arange(length), torch.arange(length)] = 0.0
    return blocks.numpy()


def _whitened(sample: Sample) -> Float[Tensor, "N D"]:
    """Return Y with couplings J = Y^T Y between different columns, in zero-sum gauge.

    The covariance is A^T A, A the weighted and centred one-hot rows. With s on the diagonal its inverse is
    (1 - A^T (s + A A^T)^-1 A) / s; with s + A A^T = K K^T, Y is K^-1 A / sqrt(s).
    """
    states = torch.from_numpy(sample.states).long()
    share = torch.from_numpy(sample.weights / sample.weights.sum()).float()
    one_hot = (states[..., None] == torch.arange(sample.n_states)).float().flatten(1)
    rows = share.sqrt()[:, None] * (one_hot - share @ one_hot)
    shrinkage = COUPLINGS.mean_field.shrinkage / sample.effective_depth**0.5
    gram = rows @ rows.T
    gram.diagonal().add_(shrinkage)
    factor = torch.linalg.cholesky(gram)
    y = torch.linalg.solve_triangular(factor, rows, upper=False) / shrinkage**0.5
    columns = y.view(len(y), -1, sample.n_states)
    gauged: Tensor = (columns - columns.mean(-1, keepdim=True)).flatten(1)
    return gauged


def _norms(y: Float[Tensor, "N D"], n_states: int) -> Float32[np.ndarray, "L L"]:
    """Frobenius norms of the blocks of Y^T Y, some columns of the alignment at a time."""
    length = y.shape[1] // n_states
    norms = torch.zeros(length, length)
    for start in range(0, length, _COLUMNS_AT_ONCE):
        stop = min(start + _COLUMNS_AT_ONCE, length)
        # The matrix is symmetric: only what lies to the right.
        block = y[:, start * n_states : stop * n_states].T @ y[:, start * n_states :]
        square = block.view(stop - start, n_states, length - start, n_states).square().sum((1, 3))
        norms[start:stop, start:] = square.sqrt()
    norms = norms.triu(1)
    return (norms + norms.T).numpy()
