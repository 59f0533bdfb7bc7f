"""How strongly the columns of an alignment are coupled, as networks read it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from anfinsen.alignments.couplings import z_scores
from anfinsen.chemistry import ChainKind
from anfinsen.nn.batch import COUPLING_CHANNELS

from .complexes import Complex
from .coupling_scores import coupling_scores

_Z_RANGE = (-3.0, 20.0)
_Z_UNIT = 4.0
_RANK_UNIT = 4.0


def coupling_channels(scores: Float32[np.ndarray, "L L"]) -> Float32[np.ndarray, "L L 5"]:
    """Return a chain's coupling scores, on any scale, as channels that mean the same in every family.

    They are: 1 (couplings are known); z-score; logarithm of the rank among all pairs, positive for the L strongest;
    1 / (1 + rank) in the row, and in the column.
    """
    in_row = _row_rank(scores)
    result = np.empty((*scores.shape, COUPLING_CHANNELS), dtype=np.float32)
    result[..., 0] = 1.0
    result[..., 1] = np.clip(z_scores(scores), *_Z_RANGE) / _Z_UNIT
    result[..., 2] = _global_rank(scores)
    result[..., 3], result[..., 4] = 1 / (1 + in_row), 1 / (1 + in_row.T)
    return result


def pair_couplings(complex_: Complex) -> Float[Tensor, "N N 5"]:
    """Return the coupling channels of every pair of tokens; 0 between chains and where no alignment says anything.

    Only alignments of protein chains are read; copies of a chain share the work.
    """
    tokens = complex_.tokens
    result = np.zeros((len(tokens), len(tokens), COUPLING_CHANNELS), dtype=np.float32)
    done: dict[int, Float32[np.ndarray, "L L 5"] | None] = {}
    for index, chain in enumerate(complex_.structure.chains):
        msa = complex_.alignments[index].unpaired
        if chain.kind is not ChainKind.PROTEIN or msa is None:
            continue
        if id(msa) not in done:
            scores = coupling_scores(msa)
            done[id(msa)] = None if scores is None else coupling_channels(scores)
        channels = done[id(msa)]
        if channels is None:
            continue
        mine = np.flatnonzero(tokens.chain == index)
        # Residues of a chain are contiguous; every token of a residue stands in its column.
        column = tokens.residue[mine] - np.flatnonzero(complex_.structure.residues.chain == index)[0]
        result[np.ix_(mine, mine)] = channels[np.ix_(column, column)]
    return torch.from_numpy(result)


def no_couplings(tokens: int) -> Float[Tensor, "N N 0"]:
    """Return the feature of networks that read no couplings."""
    return torch.zeros(tokens, tokens, 0)


def _global_rank(scores: Float32[np.ndarray, "L L"]) -> Float[np.ndarray, "L L"]:
    """log(L / rank) among all pairs, so that the L strongest are positive; the same for both orders of a pair."""
    length = len(scores)
    upper = np.triu_indices(length, 1)
    rank = np.empty(len(upper[0]))
    rank[np.argsort(-scores[upper], kind="stable")] = np.arange(1, len(rank) + 1)
    result = np.zeros((length, length))
    result[upper] = np.clip(np.log(length / rank), -_RANK_UNIT, None) / _RANK_UNIT
    return result + result.T


def _row_rank(scores: Float32[np.ndarray, "L L"]) -> Float[np.ndarray, "L L"]:
    """How many pairs of the same row are stronger."""
    order = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return order.astype(np.float64)
