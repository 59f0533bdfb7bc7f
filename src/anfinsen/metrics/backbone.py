"""Protein backbones of a structure as tables of atoms, and their phi and psi."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from anfinsen.chemistry import ChainKind, Structure
from anfinsen.geometry import dihedrals


def backbone_atoms(structure: Structure) -> dict[str, Int[np.ndarray, "R"]]:
    """Return the resolved N, CA, C and O of every protein residue, by name; -1 where there is none."""
    protein = np.array([chain.kind is ChainKind.PROTEIN for chain in structure.chains])[structure.atom_chain]
    result = {}
    for name in ("N", "CA", "C", "O"):
        atoms = np.flatnonzero((structure.atoms.name == name) & structure.atoms.resolved & protein)
        result[name] = np.full(len(structure.residues), -1, dtype=np.int64)
        result[name][structure.atoms.residue[atoms]] = atoms
    return result


def following_residues(structure: Structure) -> Int[np.ndarray, "R"]:
    """Return the residue whose N the C of each residue is bonded to; -1 where there is none."""
    result = np.full(len(structure.residues), -1, dtype=np.int64)
    pairs = structure.bonds.atoms[structure.bonds.is_inter]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    name = structure.atoms.name
    peptide = both[(name[both[:, 0]] == "C") & (name[both[:, 1]] == "N")]
    residue = structure.atoms.residue[peptide]
    result[residue[:, 0]] = residue[:, 1]
    return result


def phi_psi(structure: Structure) -> tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k 2"]]:
    """Return the residues that have both angles, and phi and psi in radians."""
    atoms, following = backbone_atoms(structure), following_residues(structure)
    middle = np.flatnonzero(following >= 0)  # residues with a next one
    before = np.full(len(following), -1, dtype=np.int64)
    before[following[middle]] = middle
    chosen = middle[before[middle] >= 0]
    rows = np.stack(
        [
            atoms["C"][before[chosen]],
            atoms["N"][chosen],
            atoms["CA"][chosen],
            atoms["C"][chosen],
            atoms["N"][following[chosen]],
        ]
    )
    there = (rows >= 0).all(0)
    points = [torch.from_numpy(structure.atoms.coordinates[row].astype(np.float64)) for row in rows[:, there]]
    phi, psi = dihedrals(*points[:4]), dihedrals(*points[1:])
    return chosen[there], torch.stack([phi, psi], dim=-1).numpy()
