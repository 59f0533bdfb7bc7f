"""Which tokens are bonded, as the network sees it (supplement table 5, ``token_bonds``)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from anfinsen.chemistry import Structure, Tokens

_LINKS = (("C", "N"), ("O3'", "P"))  # proteins; nucleic acids


def token_bond_pairs(structure: Structure, tokens: Tokens, atom_token: Int[np.ndarray, "A"]) -> Int[np.ndarray, "P 2"]:
    """Return the bonded token pairs that the sequence alone does not tell.

    These are bonds of ligands and of modified residues (within them and to their neighbours), and bonds between polymer
    residues other than the links of the chain: disulfides (of neighbours, too), cyclic closures, cross-links.
    """
    if len(structure.bonds) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = atom_token[structure.bonds.atoms].astype(np.int64)
    first, second = pairs[:, 0], pairs[:, 1]
    standard = tokens.is_standard[first] & tokens.is_standard[second]
    return np.asarray(pairs[(first != second) & ~(standard & _is_chain_link(structure))])


def _is_chain_link(structure: Structure) -> Bool[np.ndarray, "B"]:
    """Return which bonds join the tail of a residue to the head of the next one, as every polymer of standard residues
    does."""
    ends, atoms, residues = structure.bonds.atoms, structure.atoms, structure.residues
    # Atoms are in the order of residues, so that the first of a pair is in the earlier one.
    before, after = atoms.residue[ends[:, 0]], atoms.residue[ends[:, 1]]
    next_to = (residues.chain[before] == residues.chain[after]) & (
        residues.number[after] == residues.number[before] + 1
    )
    tail, head = atoms.name[ends[:, 0]], atoms.name[ends[:, 1]]
    linked = np.zeros(len(ends), dtype=bool)
    for last, first in _LINKS:
        linked |= (tail == last) & (head == first)
    return np.asarray(next_to & linked)


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
