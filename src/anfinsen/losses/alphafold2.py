"""What AlphaFold 2 is trained against (supplement, section 1.9): the structure's terms, and the weighted sum of all.

One example at a time: n residues, places of atoms by residue type (`geometry.ResidueTables`), Å. This module is the
door to all of AlphaFold 2's losses; the ``alphafold2_*`` modules beside it hold the parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.geometry import (
    Frames,
    ResidueTables,
    ResidueTorsions,
    residue_frames,
    residue_torsions,
)

from .alphafold2_config import AlphaFold2LossConfig, FapeConfig, ViolationConfig
from .alphafold2_fape import FramedPoints, backbone_fape, fape, local_fape, side_chain_fape
from .alphafold2_heads import (
    ca_lddt,
    distogram_loss,
    experimentally_resolved_loss,
    masked_msa_loss,
    plddt_loss,
    predicted_aligned_error_loss,
)
from .alphafold2_torsions import angle_norm_loss, chi_loss, rename_symmetric_atoms
from .alphafold2_violations import ViolationLoss, Violations, chain_links
from .total import TrainingLoss

__all__ = [
    "AlphaFold2LossConfig",
    "FapeConfig",
    "FramedPoints",
    "StructurePrediction",
    "StructureTarget",
    "ViolationConfig",
    "ViolationLoss",
    "Violations",
    "alphafold2_loss",
    "angle_norm_loss",
    "backbone_fape",
    "ca_lddt",
    "chain_links",
    "chi_loss",
    "distogram_loss",
    "experimentally_resolved_loss",
    "fape",
    "local_fape",
    "masked_msa_loss",
    "plddt_loss",
    "predicted_aligned_error_loss",
    "rename_symmetric_atoms",
    "side_chain_fape",
    "structure_losses",
]


@dataclass(frozen=True)
class StructurePrediction:
    """What the structure module returns for n residues.

    Attributes:
        backbone: frames of every layer, [layers, n], origins in Å.
        torsions: (sine, cosine) of pre-omega, phi, psi, chi1 to chi4, of every layer. unnormalised: before they were
            brought to unit length.
        groups: the 8 frames of the last layer, [n, 8] (`geometry.torsion_frames`).
        atoms: of the last layer, Å (`geometry.atom14_positions`).
    """

    backbone: Frames
    torsions: Float[Tensor, "layers n 7 2"]
    unnormalised: Float[Tensor, "layers n 7 2"]
    groups: Frames
    atoms: Float[Tensor, "n 14 3"]


@dataclass(frozen=True)
class StructureTarget:
    """The true structure of n residues.

    Attributes:
        residue_type: row of `chemistry.RESIDUE_TYPES`.
        atoms: Å, in the 14 places of the type; anything finite where not known. atom_mask: which are known.
        residue_index: number in the chain. chain: number of the chain, None for one chain.
        residue_mask: which residues are there at all (not padding).
    """

    residue_type: Int[Tensor, "n"]
    atoms: Float[Tensor, "n 14 3"]
    atom_mask: Bool[Tensor, "n 14"]
    residue_index: Int[Tensor, "n"]
    residue_mask: Bool[Tensor, "n"]
    chain: Int[Tensor, "n"] | None = None

    @property
    def follows(self) -> Bool[Tensor, "n"]:
        """Whether each residue is bonded to the one before."""
        return chain_links(self.residue_index, self.chain)

    def torsions(self, tables: ResidueTables) -> ResidueTorsions:
        """Return the true torsions."""
        return residue_torsions(self.atoms, self.atom_mask, self.residue_type, self.follows, tables)


def structure_losses(
    predicted: StructurePrediction,
    target: StructureTarget,
    tables: ResidueTables,
    config: AlphaFold2LossConfig,
    clamped: bool = True,
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms "backbone_fape", "local_fape", "side_chain_fape", "chi" and "angle_norm", unweighted.

    The true atoms are renamed to fit the prediction first, and the true frames are those of the renamed atoms (the
    released code turns them by exactly half a turn instead).

    Args:
        predicted: what the structure module returned.
        target: the truth. Where ``chain`` is given, backbone errors within and between chains are averaged apart.
        tables: of the type and device of the coordinates.
        config: numbers.
        clamped: whether backbone errors within chains are clamped in this example (``fape.clamped_probability``).

    Source: AlphaFold 2 supplement, algorithm 20, lines 17, 18, 28.
    """
    renamed = rename_symmetric_atoms(predicted.atoms, target.atoms, target.atom_mask, target.residue_type, tables)
    frames, known = residue_frames(renamed, target.atom_mask, target.residue_type, tables)
    true_backbone = Frames(frames.rotation[:, 0], frames.origin[:, 0])
    same_chain = None if target.chain is None else target.chain[:, None] == target.chain[None, :]
    torsions = target.torsions(tables)
    apart = (target.residue_index[:, None] - target.residue_index[None, :]).abs()
    near = apart <= config.fape.local_window
    return {
        "backbone_fape": backbone_fape(
            predicted.backbone, true_backbone, known[:, 0], config.fape, same_chain, clamped
        ),
        "local_fape": local_fape(
            predicted.backbone,
            true_backbone,
            known[:, 0],
            near if same_chain is None else near & same_chain,
            config.fape,
        ),
        "side_chain_fape": side_chain_fape(
            predicted.groups, predicted.atoms, (frames, known), (renamed, target.atom_mask), config.fape
        ),
        "chi": chi_loss(predicted.torsions, torsions, tables.chi_symmetric[target.residue_type]),
        "angle_norm": angle_norm_loss(predicted.unnormalised, target.residue_mask),
    }


def alphafold2_loss(
    config: AlphaFold2LossConfig, terms: Mapping[str, Float[Tensor, ""]], residues: int
) -> TrainingLoss:
    """Return the weighted sum of the terms that are given, times the square root of the number of residues.

    Args:
        config: weights.
        terms: by the names of the config's weights: "backbone_fape", ..., "pae".
        residues: in the example after cropping (supplement, section 1.9: long examples count more).

    Raises:
        ValueError: no term is given, or one has a name that no weight has.
    """
    weights = {name: value for name, value in vars(config).items() if isinstance(value, int | float)}
    unknown = sorted(set(terms) - set(weights))
    if unknown or not terms:
        raise ValueError(f"expected terms among {', '.join(weights)}; got {', '.join(unknown) or 'none'}")
    total = math.sqrt(residues) * torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    return TrainingLoss(total, {name: value.detach() for name, value in (*terms.items(), ("total", total))})
