"""Which tokens are bonded, as the network sees it (supplement table 5, ``token_bonds``)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from anfinsen.chemistry import Structure, Tokens


def token_bond_pairs(structure: Structure, tokens: Tokens, atom_token: Int[np.ndarray, "A"]) -> Int[np.ndarray, "P 2"]:
    """Return the bonded token pairs that the sequence alone does not tell.

    These are bonds of ligands and of modified residues (within them and to their neighbours), and bonds between polymer
    residues that are not successive (disulfides, cyclic closures, cross-links).
    """
    if len(structure.bonds) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = atom_token[structure.bonds.atoms].astype(np.int64)
    first, second = pairs[:, 0], pairs[:, 1]
    standard = tokens.is_standard[first] & tokens.is_standard[second]
    step = np.abs(tokens.residue_index[first] - tokens.residue_index[second])
    follows = (tokens.chain[first] == tokens.chain[second]) & (step <= 1)
    return np.asarray(pairs[(first != second) & ~(standard & follows)])


def token_bond_features(pairs: Int[np.ndarray, "P 2"], n_tokens: int) -> Bool[Tensor, "N N"]:
    """Return the symmetric matrix of ``pairs``."""
    bonds = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    first, second = torch.from_numpy(pairs).unbind(dim=1)
    bonds[first, second] = True
    bonds[second, first] = True
    return bonds


def loss_bonds(structure: Structure, tokens: Tokens, atom_token: Int[np.ndarray, "A"]) -> Int[np.ndarray, "B 2"]:
    """Return atom pairs bonded across tokens where one side is no whole standard residue (bond loss, Eq. 5).

    Bonds within a token and between two standard residues are left to the other losses.
    """
    if len(structure.bonds) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = atom_token[structure.bonds.atoms]
    first, second = pairs[:, 0], pairs[:, 1]
    special = ~tokens.is_standard[first] | ~tokens.is_standard[second]
    return np.asarray(structure.bonds.atoms[(first != second) & special], dtype=np.int64)
