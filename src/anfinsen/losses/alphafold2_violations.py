"""Structural violations: peptide bonds, clashes, distances within residues (AlphaFold 2 supplement, 1.9.11). Å."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.chemistry import RESIDUE_TYPES, atom14_names, distance_bounds
from anfinsen.chemistry.rigid_groups_bounds import COS_C_N_CA, COS_CA_C_N, PEPTIDE_BOND, PEPTIDE_BOND_PROLINE
from anfinsen.geometry import ResidueTables, pairwise_distances

from .alphafold2_config import ViolationConfig
from .atoms import masked_mean

_N, _CA, _C = range(3)  # places among the 14 atoms
_PROLINE, _CYSTEINE = RESIDUE_TYPES.index("PRO"), RESIDUE_TYPES.index("CYS")
_SULPHUR = atom14_names("CYS").index("SG")
_EPSILON = 1e-6  # Å² under roots, Å below lengths: atoms in one place keep finite gradients
# The released code adds each clash to both of its atoms, and each distance within a residue twice to both.
_CLASH_COUNT, _WITHIN_COUNT = 2.0, 4.0


@dataclass(frozen=True)
class Violations:
    """What could not be so in n residues; all are 0 in a flawless structure.

    Attributes:
        bond: mean excess of C-N bonds between residues, Å. ca_c_n, c_n_ca: of the angles there, as cosines.
        clash: summed overlap of atoms of different residues beyond the tolerance, per atom, Å.
        within: summed excess of distances within residues, per atom, Å.
        residues: which residues have any violation.
    """

    bond: Float[Tensor, ""]
    ca_c_n: Float[Tensor, ""]
    c_n_ca: Float[Tensor, ""]
    clash: Float[Tensor, ""]
    within: Float[Tensor, ""]
    residues: Bool[Tensor, "n"]

    @property
    def total(self) -> Float[Tensor, ""]:
        """The loss: the sum of the five."""
        return self.bond + self.ca_c_n + self.c_n_ca + self.clash + self.within


class ViolationLoss:
    """Finds violations; holds the tables of bounds."""

    def __init__(self, config: ViolationConfig, tables: ResidueTables) -> None:
        """Prepare for atoms of the type and on the device of ``tables``."""
        bounds = distance_bounds(config.overlap_tolerance, config.deviations)
        self._config, self._tables = config, tables
        self._lower, self._upper = (
            torch.tensor(array, dtype=tables.atom_position.dtype, device=tables.atom_position.device)
            for array in (bounds.lower, bounds.upper)
        )

    def __call__(
        self,
        atoms: Float[Tensor, "n 14 3"],
        mask: Bool[Tensor, "n 14"],
        residue_type: Int[Tensor, "n"],
        follows: Bool[Tensor, "n"],
    ) -> Violations:
        """Return the violations of predicted (or real) atoms.

        Args:
            atoms: Å.
            mask: which count: those of the residue type, or those resolved.
            residue_type: row of the tables.
            follows: whether residue i is bonded to residue i - 1 (`chain_links`).
        """
        (bond, ca_c_n, c_n_ca), peptide_bad = self._peptide_bonds(atoms, mask, residue_type, follows)
        clash, clash_bad = self._clashes(atoms, mask, residue_type, follows)
        within, within_bad = self._within(atoms, mask, residue_type)
        count = mask.sum().clamp(min=1)
        bad = peptide_bad | clash_bad | within_bad
        return Violations(bond, ca_c_n, c_n_ca, _CLASH_COUNT * clash / count, _WITHIN_COUNT * within / count, bad)

    def _peptide_bonds(
        self,
        atoms: Float[Tensor, "n 14 3"],
        mask: Bool[Tensor, "n 14"],
        residue_type: Int[Tensor, "n"],
        follows: Bool[Tensor, "n"],
    ) -> tuple[Float[Tensor, "3"], Bool[Tensor, "n"]]:
        """Mean excess of the bond and of two cosines, and the residues on either side of a bad one."""
        ca, c, c_known = atoms[:-1, _CA], atoms[:-1, _C], mask[:-1, _C] & follows[1:]
        n, next_ca, known = atoms[1:, _N], atoms[1:, _CA], c_known & mask[1:, _N]
        proline = (residue_type[1:] == _PROLINE).to(atoms.dtype)
        length, deviation = (
            usual + (before - usual) * proline for usual, before in zip(PEPTIDE_BOND, PEPTIDE_BOND_PROLINE, strict=True)
        )
        to_ca, to_n, to_next = _unit(ca - c), _unit(n - c), _unit(next_ca - n)
        bond = ((n - c).square().sum(-1) + _EPSILON).sqrt()
        found = torch.stack([bond, (to_ca * to_n).sum(-1), -(to_n * to_next).sum(-1)])
        flat = torch.ones_like(length)
        wanted = torch.stack([length, COS_CA_C_N[0] * flat, COS_C_N_CA[0] * flat])
        allowed = self._config.deviations * torch.stack([deviation, COS_CA_C_N[1] * flat, COS_C_N_CA[1] * flat])
        counted = torch.stack([known, known & mask[:-1, _CA], known & mask[1:, _CA]])
        excess = F.relu((found - wanted).abs() - allowed)
        means = torch.stack([masked_mean(e, k) for e, k in zip(excess, counted, strict=True)])
        between = ((excess > 0) & counted).any(0)
        return means, F.pad(between, (0, 1)) | F.pad(between, (1, 0))

    def _clashes(
        self,
        atoms: Float[Tensor, "n 14 3"],
        mask: Bool[Tensor, "n 14"],
        residue_type: Int[Tensor, "n"],
        follows: Bool[Tensor, "n"],
    ) -> tuple[Float[Tensor, ""], Bool[Tensor, "n"]]:
        """Summed overlap of pairs of atoms of different residues, and the residues they are in."""
        residue, place = mask.nonzero(as_tuple=True)
        x, radius = atoms[mask], self._tables.atom_radius[residue_type][mask]
        with torch.no_grad():
            least = radius[:, None] + radius[None, :] - self._config.overlap_tolerance
            near = (pairwise_distances(x) < least) & (residue[:, None] < residue[None, :])
            i, j = near.nonzero(as_tuple=True)
            peptide = (residue[j] == residue[i] + 1) & follows[residue[j]] & (place[i] == _C) & (place[j] == _N)
            sulphur = (residue_type[residue] == _CYSTEINE) & (place == _SULPHUR)
            clashing = ~peptide & ~(sulphur[i] & sulphur[j])
            i, j = i[clashing], j[clashing]
        # Only these few pairs carry a gradient.
        distance = ((x[i] - x[j]).square().sum(-1) + _EPSILON**2).sqrt()
        overlap = F.relu(radius[i] + radius[j] - self._config.overlap_tolerance - distance)
        bad = torch.zeros_like(residue_type, dtype=torch.bool)
        bad[residue[i]] = True
        bad[residue[j]] = True
        return overlap.sum(), bad

    def _within(
        self, atoms: Float[Tensor, "n 14 3"], mask: Bool[Tensor, "n 14"], residue_type: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, ""], Bool[Tensor, "n"]]:
        """Summed excess of the distances of pairs of atoms of one residue, and the residues that have any."""
        upper_half = torch.ones(14, 14, dtype=torch.bool, device=mask.device).triu(1)
        pairs = mask[:, :, None] & mask[:, None, :] & upper_half
        residue, i, j = pairs.nonzero(as_tuple=True)
        kind = residue_type[residue]
        distance = ((atoms[residue, i] - atoms[residue, j]).square().sum(-1) + _EPSILON**2).sqrt()
        excess = F.relu(self._lower[kind, i, j] - distance) + F.relu(distance - self._upper[kind, i, j])
        bad = torch.zeros_like(residue_type, dtype=torch.bool)
        bad[residue[excess > 0]] = True
        return excess.sum(), bad


def chain_links(residue_index: Int[Tensor, "n"], chain: Int[Tensor, "n"] | None = None) -> Bool[Tensor, "n"]:
    """Return whether each residue is bonded to the one before: the next number, in the same chain.

    Args:
        residue_index: number in the chain.
        chain: number of the chain; one chain, if not given.
    """
    linked = residue_index == residue_index.roll(1) + 1
    if chain is not None:
        linked = linked & (chain == chain.roll(1))
    linked[:1] = False
    return linked


def _unit(vector: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    return vector / (vector.square().sum(-1, keepdim=True) + _EPSILON).sqrt()
