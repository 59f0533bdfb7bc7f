"""Symmetric atoms of a `Batch`, found from its tensors alone, so that stored and cropped examples have them too."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from anfinsen.chemistry.tokens import RESTYPE_INDEX
from anfinsen.nn.batch import Batch

from .atoms import LIGAND
from .symmetry import stereo_automorphisms

# Atoms of standard amino acids whose names say nothing about space: a half turn of the group exchanges them, in pairs
# (AlphaFold 2 supplement, section 1.8.5, and the guanidine of arginine as AlphaFold 3's graph symmetry has it).
AMBIGUOUS = {
    "ARG": (("NH1", "NH2"),),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
}
LEAST_BOND = 0.1  # Å; a reference conformer with shorter bonds says nothing of hands
LIMIT = 1000  # renamings of one ligand that are looked at


def batch_symmetries(batch: Batch) -> tuple[Int[Tensor, "_ _"], ...]:
    """Return the candidate orders of every residue with symmetric atoms, for :func:`permute_labels`.

    Standard amino acids have the known ambiguous pairs. Ligands have the automorphisms of their graph of token bonds
    that keep the stereo-centres of their reference conformer; bond orders are not in a batch and do not count. Atoms
    bonded to another residue keep their name. A ligand that a crop cut through is treated as the piece that is left;
    one without reference positions keeps all its names.

    Returns:
        Per residue k orders of m atoms as indices into the batch's atoms; row 0 is the present order.
    """
    return (*_side_chains(batch), *_ligands(batch))


def _side_chains(batch: Batch) -> list[Tensor]:
    orders = []
    device = batch.atom_to_token.device
    chars = batch.ref_atom_name_chars.cpu().numpy()
    restype = batch.restype[batch.atom_to_token].cpu().numpy()
    token = batch.atom_to_token.cpu().numpy()
    usable = (batch.is_standard[batch.atom_to_token] & batch.atom_mask).cpu().numpy()
    for residue, pairs in AMBIGUOUS.items():
        here = usable & (restype == RESTYPE_INDEX[residue])
        # place of each of the names in each token, found for all residues of the type at once
        columns = [
            dict(zip(token[found].tolist(), found.tolist(), strict=True))
            for name in (name for pair in pairs for name in pair)
            for found in [np.flatnonzero(here & (chars == _encode(name)).all(-1))]
        ]
        swapped = [i ^ 1 for i in range(len(columns))]
        for place in columns[0]:
            if all(place in column for column in columns):
                own = [column[place] for column in columns]
                orders.append(torch.tensor([own, [own[i] for i in swapped]], device=device))
    return orders


def _ligands(batch: Batch) -> list[Tensor]:
    orders = []
    device = batch.atom_to_token.device
    token_bonds = batch.token_bonds.cpu().numpy()
    token = batch.atom_to_token.cpu().numpy()
    element = batch.ref_element.cpu().numpy()
    residue = batch.ref_space_uid.cpu().numpy()
    reference = batch.ref_pos.cpu().numpy().astype(np.float64)
    reference_known = batch.ref_mask.cpu().numpy()
    is_ligand = ((batch.kind[batch.atom_to_token] == LIGAND) & batch.atom_mask).cpu().numpy()
    for number in np.unique(residue[is_ligand]):
        atoms = np.flatnonzero(is_ligand & (residue == number))
        if len(atoms) == 1:
            continue
        own = token[atoms]
        inside = token_bonds[np.ix_(own, own)]
        bonds = [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(inside, 1)), strict=True)]
        ends = reference[atoms][np.array(bonds, dtype=np.int64).reshape(-1, 2)]
        lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
        if not reference_known[atoms].all() or lengths.min(initial=LEAST_BOND) < LEAST_BOND:
            continue
        rows = stereo_automorphisms(element[atoms].astype(np.int64), bonds, reference[atoms], LIMIT)
        # an atom bonded to another residue is not like its twins
        tied = token_bonds[own].sum(1) > inside.sum(1)
        rows = rows[(rows == np.arange(len(atoms)))[:, tied].all(1)]
        if len(rows) > 1:
            orders.append(torch.from_numpy(atoms[rows]).to(device))
    return orders


def _encode(name: str) -> Int[np.ndarray, "4"]:
    return np.array([ord(letter) - 32 for letter in name.ljust(4)])
