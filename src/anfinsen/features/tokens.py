"""Token features: residue types, indices, chain numbers and the atoms that stand for a token."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from anfinsen.chemistry import Structure, Tokens


def token_features(structure: Structure, tokens: Tokens) -> dict[str, Tensor]:
    """Return the `Batch` fields that say what and where each token is (``token_index`` counts from 1, as in
    AlphaFold 3's code)."""
    has_frame = np.asarray((tokens.frame_atoms >= 0).all(axis=1))
    return {
        "restype": _long(tokens.restype),
        "residue_index": _long(tokens.residue_index),
        "token_index": torch.arange(1, len(tokens) + 1),
        "asym_id": _long(tokens.asym_id),
        "entity_id": _long(tokens.entity_id),
        "sym_id": _long(tokens.sym_id),
        "kind": _long(tokens.kind),
        "is_standard": torch.from_numpy(tokens.is_standard.copy()),
        "token_mask": torch.ones(len(tokens), dtype=torch.bool),
        "cyclic_period": _long(_cyclic_periods(structure)[tokens.chain]),
        "center_atom": _long(tokens.center_atom),
        "distogram_atom": _long(tokens.distogram_atom),
        "frame_atoms": _long(np.where(has_frame[:, None], tokens.frame_atoms, 0)),
        "frame_mask": torch.from_numpy(has_frame),
    }


def _cyclic_periods(structure: Structure) -> Int[np.ndarray, "C"]:
    return np.array([len(chain.sequence) if chain.cyclic else 0 for chain in structure.chains], dtype=np.int64)


def _long(values: Int[np.ndarray, "*shape"]) -> Int[Tensor, "*shape"]:
    return torch.from_numpy(values.astype(np.int64))
