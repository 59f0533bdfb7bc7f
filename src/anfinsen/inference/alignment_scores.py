"""pTM, ipTM and what they are made of, from the distribution of aligned errors (supplement section 5.9.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ERROR_BIN = 0.5  # Å; PAE and PDE have 64 bins from 0 to 32 Å (supplement sections 4.3.2 and 4.3.3)
_CHUNK_VALUES = 2**24  # probabilities held at a time


@dataclass(frozen=True)
class AlignmentScores:
    """N tokens, K chains in the order of their numbers.

    Attributes:
        pae: expected error of token j when the complex is laid over the frame of token i, Å.
        ptm: of the whole complex. iptm: over pairs of tokens of different chains; None for a single chain.
        chain_pair_iptm: ipTM of two chains alone; on the diagonal the pTM of one chain alone.
        chain_pair_pae_min: smallest PAE from a token of the first chain to one of the second, Å.
    """

    pae: Float[Tensor, "N N"]
    ptm: float
    iptm: float | None
    chain_pair_iptm: Float[Tensor, "K K"]
    chain_pair_pae_min: Float[Tensor, "K K"]


def expected_errors(logits: Float[Tensor, "N M bins"]) -> Float[Tensor, "N M"]:
    """Return the expected PAE or PDE in Å: probabilities times the middles of the bins."""
    rows = _rows_at_once(logits)
    centres = _bin_middles(logits)
    return torch.cat(
        [logits[start : start + rows].float().softmax(-1) @ centres for start in range(0, len(logits), rows)]
    )


def alignment_scores(
    logits: Float[Tensor, "N N bins"], chain: Int[Tensor, "N"], frame_mask: Bool[Tensor, "N"]
) -> AlignmentScores:
    """Return PAE and the TM-scores expected from it.

    Args:
        logits: of the PAE; first axis the frame, second the token whose error it is.
        chain: 0-based chain of each token; every chain has tokens.
        frame_mask: tokens that have a frame; only these are used as origins of an alignment. Where there is none
            (two ions), the score is 0.

    Source: supplement section 5.9.1, equations 17 and 18. As in the released code, scores of chain pairs are scaled by
    the number of tokens of the two chains, those of the complex by all tokens.
    """
    n = len(chain)
    count = torch.bincount(chain)
    members = torch.nn.functional.one_hot(chain).to(torch.float32)  # N x K
    pair_count = (count[:, None] + count[None, :]) * (1 - torch.eye(len(count), device=chain.device).long() / 2)
    pair_scale = _tm_scale(pair_count)[chain][:, chain]
    total_scale = _tm_scale(torch.tensor(float(n), device=chain.device))
    centres = _bin_middles(logits)
    pae, total, inter, by_chain = [], [], [], []
    for start in range(0, n, rows := _rows_at_once(logits)):
        probabilities = logits[start : start + rows].float().softmax(-1)
        pae.append(probabilities @ centres)
        tm = probabilities @ (1 / (1 + (centres / total_scale) ** 2))
        other = (chain[start : start + rows, None] != chain[None, :]).to(tm)
        total.append(tm.mean(-1))
        inter.append((tm * other).sum(-1) / other.sum(-1).clamp(min=1))
        scale = pair_scale[start : start + rows, :, None]
        tm = (probabilities / (1 + (centres / scale) ** 2)).sum(-1)
        by_chain.append(tm @ members / count)
    errors = torch.cat(pae)
    pair = _largest_of_chain(torch.cat(by_chain), chain, frame_mask, len(count))
    return AlignmentScores(
        pae=errors,
        ptm=_largest(torch.cat(total), frame_mask),
        iptm=_largest(torch.cat(inter), frame_mask) if len(count) > 1 else None,
        chain_pair_iptm=torch.maximum(pair, pair.T),
        chain_pair_pae_min=_smallest_of_blocks(errors, chain, len(count)),
    )


def _tm_scale(tokens: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return TM-score's d0 in Å (Zhang and Skolnick 2004); never below that of 19 residues."""
    return 1.24 * (tokens.clamp(min=19) - 15) ** (1 / 3) - 1.8


def _bin_middles(logits: Float[Tensor, "N M bins"]) -> Float[Tensor, "bins"]:
    return (torch.arange(logits.shape[-1], device=logits.device) + 0.5) * ERROR_BIN


def _rows_at_once(logits: Float[Tensor, "N M bins"]) -> int:
    return max(1, _CHUNK_VALUES // (logits.shape[1] * logits.shape[2]))


def _largest(values: Float[Tensor, "N"], mask: Bool[Tensor, "N"]) -> float:
    return float(torch.where(mask, values, 0.0).max())


def _largest_of_chain(
    values: Float[Tensor, "N K"], chain: Int[Tensor, "N"], mask: Bool[Tensor, "N"], chains: int
) -> Float[Tensor, "K K"]:
    """Return, for each chain of origins (row), the largest mean towards each chain (column)."""
    index = chain[:, None].expand_as(values)
    zeros = values.new_zeros(chains, values.shape[1])
    return zeros.scatter_reduce(0, index, torch.where(mask[:, None], values, 0.0), "amax")


def _smallest_of_blocks(errors: Float[Tensor, "N N"], chain: Int[Tensor, "N"], chains: int) -> Float[Tensor, "K K"]:
    n = len(chain)
    by_row = errors.new_zeros(chains, n).scatter_reduce(
        0, chain[:, None].expand(n, n), errors, "amin", include_self=False
    )
    return errors.new_zeros(chains, chains).scatter_reduce(
        1, chain[None, :].expand(chains, n), by_row, "amin", include_self=False
    )
