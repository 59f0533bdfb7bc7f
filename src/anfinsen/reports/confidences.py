"""Confidences as JSON, under AlphaFold 3's file and field names (plus ``pde``)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from jaxtyping import Float

from ..chemistry import Structure, Tokens
from ..inference import Confidence

DECIMALS = 2  # of everything but scores between 0 and 1 over chains, which keep more
SCORE_DECIMALS = 4


def confidences_json(
    structure: Structure, tokens: Tokens, confidence: Confidence, contact_probs: Float[np.ndarray, "N N"]
) -> str:
    """Return ``*_confidences.json``: one number per atom, and per pair of tokens.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    chain_ids = [chain.chain_id for chain in structure.chains]
    return _dump(
        {
            "atom_chain_ids": [chain_ids[index] for index in structure.atom_chain],
            "atom_plddts": _rounded(confidence.atom_plddt),
            "contact_probs": _rounded(contact_probs),
            "pae": _rounded(confidence.pae),
            "pde": _rounded(confidence.pde),
            "token_chain_ids": [chain_ids[index] for index in tokens.chain],
            "token_res_ids": [int(number) for number in tokens.residue_index],
        }
    )


def summary(confidence: Confidence) -> dict[str, Any]:
    """Return the fields of ``*_summary_confidences.json``; chains are in the order of the file's chains."""
    chain_iptm = confidence.chain_iptm
    chains = len(confidence.chain_ptm)
    return {
        "chain_iptm": [None] * chains if chain_iptm is None else _rounded(chain_iptm, SCORE_DECIMALS),
        "chain_pair_iptm": _rounded(confidence.chain_pair_iptm, SCORE_DECIMALS),
        "chain_pair_pae_min": _rounded(confidence.chain_pair_pae_min),
        "chain_ptm": _rounded(confidence.chain_ptm, SCORE_DECIMALS),
        "fraction_disordered": round(confidence.fraction_disordered, SCORE_DECIMALS),
        "has_clash": float(confidence.has_clash),
        "iptm": None if confidence.iptm is None else round(confidence.iptm, SCORE_DECIMALS),
        "ptm": round(confidence.ptm, SCORE_DECIMALS),
        "ranking_score": round(confidence.ranking_score, SCORE_DECIMALS),
    }


def summary_json(confidence: Confidence) -> str:
    """Return ``*_summary_confidences.json``.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(summary(confidence), indent=1, allow_nan=False) + "\n"


def _rounded(values: Float[np.ndarray, "*shape"], decimals: int = DECIMALS) -> list[Any]:
    # In double precision, so that 0.1 is written as 0.1.
    rounded: list[Any] = values.astype(np.float64).round(decimals).tolist()
    return rounded


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n"
