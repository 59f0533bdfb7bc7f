"""What AlphaFold 1 sees of a chain: its sequence, its relatives' profile, and how its columns are coupled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from anfinsen.alignments import Msa, sequence_weights
from anfinsen.chemistry.tokens import AMINO_ACIDS, GAP
from anfinsen.nn.batch import COUPLING_CHANNELS

from .coupling_scores import CLASS_CHANNELS, coupling_blocks, coupling_scores, pair_couplings_of
from .couplings import coupling_channels

_STATES = len(AMINO_ACIDS)  # 20; one-hot sequences have one more for unknown residues, profiles one more for gaps
SINGLE_CHANNELS = 2 * (_STATES + 1) + 2 * _STATES + 10
_OWN_PAIR_CHANNELS = 3
PAIR_CHANNELS = _OWN_PAIR_CHANNELS + COUPLING_CHANNELS
COUPLING_BLOCK = _STATES * _STATES
"""Channels that the couplings themselves add to `PAIR_CHANNELS` where the network reads them (preset `full`)."""
CouplingDetail = Literal["scores", "classes", "blocks"]

# Frequencies of amino acids in UniProt, in the order of `AMINO_ACIDS` (release statistics of Swiss-Prot 2014_01).
_BACKGROUND = np.array(
    [.0826, .0553, .0406, .0546, .0137, .0393, .0674, .0708, .0227, .0594,
     .0966, .0583, .0242, .0386, .0471, .0657, .0534, .0108, .0292, .0687],
    dtype=np.float64,
)  # fmt: skip
# Kyte and Doolittle 1982, divided by 4.5; charges at pH 7.
_HYDROPATHY = np.array(
    [1.8, -4.5, -3.5, -3.5, 2.5, -3.5, -3.5, -0.4, -3.2, 4.5, 3.8, -3.9, 1.9, 2.8, -1.6, -0.8, -0.7, -0.9, -1.3, 4.2]
) / 4.5  # fmt: skip
_CHARGE = {"ARG": 1.0, "LYS": 1.0, "ASP": -1.0, "GLU": -1.0}
_CHARGES = np.array([_CHARGE.get(name, 0.0) for name in AMINO_ACIDS])
_PSEUDOCOUNT = 2.0  # effective rows of background mixed into the profile
_IDENTITY = 0.8
_FEWEST_ROWS = 2  # that are an alignment
_MOST_WEIGHED = 2048  # rows compared with one another; taking time with the square of it


@dataclass(frozen=True)
class Evolution:
    """What a chain's relatives say, column by column; L residues.

    Attributes:
        frequencies: of the 20 amino acids and the gap, weighted by sequence; rows sum to 1.
        gap_steps: share of relatives that open an insertion before each column, its mean length (arctan-squashed),
            share that open a deletion there, share that go on with one: the transitions of a profile HMM.
        effective_depth: sum of the sequence weights; 0 where only a profile is known.
        depth: rows.
    """

    frequencies: Float[np.ndarray, "L 21"]
    gap_steps: Float[np.ndarray, "L 4"]
    effective_depth: float
    depth: int


def coupling_detail(pair_channels: int) -> CouplingDetail:
    """Return what a network that reads ``pair_channels`` of each pair is told of the couplings.

    Their strength alone; also that between classes of amino acids (preset `mini`); or also all 20 x 20 (`full`).

    Raises:
        ValueError: no network reads so many channels.
    """
    details: dict[int, CouplingDetail] = {0: "scores", CLASS_CHANNELS: "classes", COUPLING_BLOCK: "blocks"}
    if pair_channels - PAIR_CHANNELS not in details:
        raise ValueError(f"{pair_channels} channels of pairs: expected one of {[PAIR_CHANNELS + n for n in details]}")
    return details[pair_channels - PAIR_CHANNELS]


@dataclass(frozen=True)
class AlphaFold1Features:
    """Inputs of the network, float32.

    Attributes:
        single: per residue. pair: per pair of residues, as seen from the first.
    """

    single: Float[Tensor, "L c1"]
    pair: Float[Tensor, "L L c2"]


def evolution_of_msa(msa: Msa) -> Evolution:
    """Return profile and gap transitions of an alignment.

    Rows are weighted at 80 % identity; of more than 2,048 rows those are taken that lie evenly over the alignment.
    """
    rows = np.arange(msa.depth)
    if msa.depth > _MOST_WEIGHED:
        rows = np.unique(np.round(np.linspace(0, msa.depth - 1, _MOST_WEIGHED)).astype(np.int64))
    restypes, deletions = msa.restypes[rows], msa.deletions[rows]
    weights = sequence_weights(restypes, _IDENTITY)
    share = weights / weights.sum()
    length = restypes.shape[1]
    frequencies = np.zeros((length, _STATES + 1))
    gaps = restypes == GAP
    for state in range(_STATES):
        frequencies[:, state] = share @ (restypes == state)
    frequencies[:, _STATES] = share @ gaps
    # Unknown residues say nothing: what remains is shared out.
    frequencies /= np.maximum(frequencies.sum(1, keepdims=True), 1e-9)
    before = np.concatenate([np.zeros((len(restypes), 1), dtype=bool), gaps[:, :-1]], axis=1)
    steps = np.stack(
        [
            share @ (deletions > 0),
            share @ (np.arctan(deletions / 3.0) * (2.0 / np.pi)),
            share @ (gaps & ~before),
            share @ (gaps & before),
        ],
        axis=1,
    )
    return Evolution(frequencies, steps, float(weights.sum()), msa.depth)


def features_of_msa(query: Int[np.ndarray, "L"], msa: Msa | None, pair_channels: int) -> AlphaFold1Features:
    """Return the inputs of a network that reads ``pair_channels`` of each pair, for one protein chain.

    No alignment, or one of a single row, is the sequence ``query`` alone.
    """
    detail = coupling_detail(pair_channels)
    if msa is None or msa.depth < _FEWEST_ROWS:
        return alphafold1_features(query, extra=no_extra(len(query), pair_channels))
    evolution = evolution_of_msa(msa)
    if detail == "classes":
        found = pair_couplings_of(msa)
        scores, extra = (None, no_extra(len(query), pair_channels)) if found is None else (found.scores, found.classes)
        return alphafold1_features(query, evolution, scores, extra)
    return alphafold1_features(
        query, evolution, coupling_scores(msa), coupling_blocks(msa) if detail == "blocks" else None
    )


def no_extra(length: int, pair_channels: int) -> Float32[np.ndarray, "L L k"] | None:
    """Return what `alphafold1_features` takes as ``extra`` where nothing is known of couplings."""
    extra = pair_channels - PAIR_CHANNELS
    return np.zeros((length, length, extra), dtype=np.float32) if extra else None


def evolution_of_profile(profile: Float[np.ndarray, "L 20"]) -> Evolution:
    """Return what a profile without its alignment says."""
    frequencies = np.concatenate([profile, np.zeros((len(profile), 1), dtype=profile.dtype)], axis=1)
    return Evolution(frequencies.astype(np.float64), np.zeros((len(profile), 4)), 0.0, 0)


def alphafold1_features(
    query: Int[np.ndarray, "L"],
    evolution: Evolution | None = None,
    scores: Float32[np.ndarray, "L L"] | None = None,
    extra: Float32[np.ndarray, "L L k"] | None = None,
) -> AlphaFold1Features:
    """Return the network's inputs for one protein chain.

    Args:
        query: residue types (`chemistry.tokens.RESTYPES`).
        evolution: profile and gaps; None: the sequence alone.
        scores: strength of coupling of each pair, on any scale, symmetric; None: there are no couplings.
        extra: couplings between classes of amino acids, or J_ij(a, b) themselves, appended as they are, for networks
            that read them (see :func:`coupling_detail`).
    """
    single = _single_features(query, evolution)
    pair = _pair_features(_amino_frequencies(query, evolution), scores)
    if extra is not None:
        pair = np.concatenate([pair, extra], axis=-1)
    return AlphaFold1Features(torch.from_numpy(single), torch.from_numpy(pair))


def _amino_frequencies(query: Int[np.ndarray, "L"], evolution: Evolution | None) -> Float[np.ndarray, "L 20"]:
    """Frequencies without gaps, drawn towards the query and the background where the alignment is shallow."""
    known = query < _STATES
    own = np.where(known[:, None], np.eye(_STATES)[np.where(known, query, 0)], _BACKGROUND)
    if evolution is None:
        counts, depth = own, np.ones((len(query), 1))
    else:
        counts = evolution.frequencies[:, :_STATES]
        share = counts.sum(1, keepdims=True)
        counts = np.where(share > 1e-6, counts / np.maximum(share, 1e-6), own)
        # A stored profile came from a deep search.
        depth = share * (evolution.effective_depth or 100.0)
    return np.asarray((depth * counts + _PSEUDOCOUNT * _BACKGROUND) / (depth + _PSEUDOCOUNT))


def _single_features(query: Int[np.ndarray, "L"], evolution: Evolution | None) -> Float32[np.ndarray, "L c1"]:
    length = len(query)
    one_hot = np.eye(_STATES + 1)[np.minimum(query, _STATES)]
    amino = _amino_frequencies(query, evolution)
    log_odds = np.log(amino / _BACKGROUND)
    conservation = (amino * log_odds).sum(1, keepdims=True)
    frequencies = np.zeros((length, _STATES + 1)) if evolution is None else evolution.frequencies
    steps = np.zeros((length, 4)) if evolution is None else evolution.gap_steps
    depth = 0 if evolution is None else evolution.depth
    effective = 0.0 if evolution is None else evolution.effective_depth
    whole = [float(evolution is not None), float(depth > 0), np.log1p(effective) / 5, np.log1p(depth) / 5]
    whole.append(np.log(length / 100.0))
    parts = [one_hot, frequencies, amino, log_odds / 3, conservation, steps, np.tile(whole, (length, 1))]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _pair_features(
    amino: Float[np.ndarray, "L 20"], scores: Float32[np.ndarray, "L L"] | None
) -> Float32[np.ndarray, "L L c2"]:
    length = len(amino)
    hydropathy, charge = amino @ _HYDROPATHY, amino @ _CHARGES
    separation = np.abs(np.arange(length)[:, None] - np.arange(length))
    result = np.zeros((length, length, PAIR_CHANNELS), dtype=np.float32)
    result[..., 0] = np.log1p(separation) / 4
    result[..., 1] = np.outer(hydropathy, hydropathy)
    result[..., 2] = np.outer(charge, charge)
    if scores is not None:
        result[..., _OWN_PAIR_CHANNELS:] = coupling_channels(scores)
    return result
