"""The couplings that networks read: mean-field DCA, by the shorter way where an alignment is shallow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from anfinsen.alignments import Msa
from anfinsen.alignments.couplings import (
    CouplingConfig,
    Sample,
    average_product_correction,
    covering_rows,
    draw_sample,
    infer_couplings,
    varying_columns,
)
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.common.errors import AlignmentError

COUPLINGS = CouplingConfig(method="mean-field")
"""What the bundled networks were trained with, and must be given."""

_COLUMNS_AT_ONCE = 16
LOW_RANK_BELOW = 0.5  # rows per state; with more, inverting the covariance itself is as quick

CLASSES = (
    ("ALA", "VAL", "ILE", "LEU", "MET", "CYS"),
    ("PHE", "TRP", "TYR", "HIS"),
    ("SER", "THR", "ASN", "GLN"),
    ("LYS", "ARG"),
    ("ASP", "GLU"),
    ("GLY", "PRO"),
)
"""Classes of amino acids: aliphatic, aromatic, polar, positive, negative, and those that bend the chain."""

CLASS_CHANNELS = len(CLASSES) ** 2
"""Channels of the couplings between classes of amino acids, for each pair of residues."""


@dataclass(frozen=True)
class PairCouplings:
    """Couplings of an alignment with L columns.

    Attributes:
        scores: how strongly each pair is coupled, as by :func:`coupling_scores`.
        classes: how each pair is coupled, class of amino acids by class (`CLASSES`, the first residue's first). A
            class's coupling is the sum over its members over the root of how many they are; the unit is the root mean
            square of all couplings of the alignment, and values are asinh-squashed.
    """

    scores: Float32[np.ndarray, "L L"]
    classes: Float32[np.ndarray, "L L 36"]


def pair_couplings_of(msa: Msa) -> PairCouplings | None:
    """Return scores and class couplings of an alignment, or None where too few rows say nothing about pairs.

    What couplings are between says more than how strong they are: opposite charges or two hydrophobic residues meet,
    where equal strength between columns with gaps is most often ancestry.
    """
    try:
        sample = draw_sample(msa, ChainKind.PROTEIN, COUPLINGS.rows)
        if not _is_shallow(sample):
            found = infer_couplings(msa, COUPLINGS, device="cpu", keep=True)
            assert found.couplings is not None  # they were asked for
            table = _class_table()
            classes = torch.einsum("iajb,ac,bd->ijcd", torch.from_numpy(found.couplings), table, table)
            return PairCouplings(found.scores, _squashed(classes, found.norms))
    except AlignmentError:
        return None
    y = _whitened(sample)
    norms = _norms(y, sample.n_states)
    length = len(norms)
    by_class = (y.view(len(y), length, sample.n_states) @ _class_table()).flatten(1)
    classes = (by_class.T @ by_class).view(length, len(CLASSES), length, len(CLASSES)).permute(0, 2, 1, 3)
    return PairCouplings(average_product_correction(norms), _squashed(classes, norms))


def _class_table() -> Float[Tensor, "20 6"]:
    table = torch.tensor([[float(name in members) for members in CLASSES] for name in AMINO_ACIDS])
    unit: Tensor = table / table.norm(dim=0)
    return unit


def _squashed(classes: Float[Tensor, "L L 6 6"], norms: Float32[np.ndarray, "L L"]) -> Float32[np.ndarray, "L L 36"]:
    """In units of the root mean square of all couplings of different columns; 0 where all of them are rounding."""
    length = len(norms)
    if not varying_columns(norms).any():
        return np.zeros((length, length, CLASS_CHANNELS), dtype=np.float32)
    square = float((norms.astype(np.float64) ** 2).sum()) / (length * (length - 1) * len(AMINO_ACIDS) ** 2)
    result = torch.asinh(classes.flatten(2) / max(square**0.5, 1e-12))
    result[torch.arange(length), torch.arange(length)] = 0.0
    return result.numpy()


def has_couplings(msa: Msa) -> bool:
    """Return whether enough rows of an alignment cover enough of its query for `coupling_scores`."""
    return msa.restypes.shape[1] > 1 and len(covering_rows(msa, ChainKind.PROTEIN, COUPLINGS.rows)) > 1


def coupling_scores(msa: Msa) -> Float32[np.ndarray, "L L"] | None:
    """Return how strongly each pair of columns is coupled, or None where too few rows say nothing about pairs.

    The scores of `alignments.couplings.infer_couplings` with `COUPLINGS`. With N rows and D = 20 L states the
    covariance has rank N at most, so its shrunk inverse follows from an N x N matrix (Woodbury's identity): N² D
    operations in place of D³, which for a thousand rows is several times as quick.
    """
    try:
        sample = draw_sample(msa, ChainKind.PROTEIN, COUPLINGS.rows)
        if not _is_shallow(sample):
            return infer_couplings(msa, COUPLINGS, device="cpu").scores
    except AlignmentError:
        return None
    return average_product_correction(_norms(_whitened(sample), sample.n_states))


def _is_shallow(sample: Sample) -> bool:
    rows, columns = sample.states.shape
    return int(rows) < LOW_RANK_BELOW * int(columns) * sample.n_states


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
