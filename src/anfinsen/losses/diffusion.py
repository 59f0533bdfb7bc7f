"""The diffusion loss (AlphaFold 3 supplement, section 3.7.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.geometry import rigid_align
from anfinsen.nn.batch import Batch, Labels

from .atoms import DNA, LIGAND, RNA, atom_kind
from .config import LossConfig
from .smooth_lddt import smooth_lddt_loss


@dataclass(frozen=True)
class DiffusionLoss:
    """The diffusion loss and its terms.

    Attributes:
        total: mean over samples of weighting * (mse + bond weight * bond) + smooth lDDT weight * smooth_lddt.
        mse, bond: Å², means over samples, without the noise-level weighting. smooth_lddt: 1 - smooth lDDT.
        samples: each sample's share of ``total``, without gradient.
    """

    total: Float[Tensor, ""]
    mse: Float[Tensor, ""]
    bond: Float[Tensor, ""]
    smooth_lddt: Float[Tensor, ""]
    samples: Float[Tensor, "samples"]


def diffusion_loss(
    denoised: Float[Tensor, "samples a 3"],
    sigma: Float[Tensor, "samples"],
    batch: Batch,
    labels: Labels,
    config: LossConfig,
) -> DiffusionLoss:
    """Return the loss of denoised structures against the true one.

    Args:
        denoised: D(x, sigma), Å.
        sigma: noise level of each sample, Å.
        batch, labels: the complex and its true structure (permuted to match, where there are copies).
        config: weights.

    Source: equations 2 to 6; trap: equation 6's denominator, see :class:`LossConfig`.
    """
    denoised = denoised.float()
    weight = atom_weights(batch, config) * (labels.resolved & batch.atom_mask)
    mse = aligned_mse(denoised, labels.coordinates.float(), weight)
    bond = bond_loss(denoised, batch, labels) if config.bond else torch.zeros_like(mse)
    smooth = smooth_lddt_loss(denoised, batch, labels) if config.smooth_lddt else torch.zeros_like(mse)
    samples = level_weight(sigma, config) * (mse + config.bond * bond) + config.smooth_lddt * smooth
    return DiffusionLoss(samples.mean(), mse.mean(), bond.mean(), smooth.mean(), samples.detach())


def level_weight(sigma: Float[Tensor, "samples"], config: LossConfig) -> Float[Tensor, "samples"]:
    """Return the factor of equation 6 for each noise level, in the form that ``config.weighting`` names."""
    d = config.sigma_data
    below = sigma * d if config.weighting == "edm" else sigma + d
    return (sigma**2 + d**2) / below**2


def atom_weights(batch: Batch, config: LossConfig) -> Float[Tensor, "a"]:
    """Return w_l of equation 4: 1, more for nucleotides and ligands."""
    kind = atom_kind(batch)
    return 1 + config.dna * (kind == DNA) + config.rna * (kind == RNA) + config.ligand * (kind == LIGAND)


def aligned_mse(
    denoised: Float[Tensor, "samples a 3"], true: Float[Tensor, "a 3"], weight: Float[Tensor, "a"]
) -> Float[Tensor, "samples"]:
    """Return a third of the weighted mean square error after aligning the truth to each sample (equations 2, 3).

    The mean is over atoms of weight above 0; weights are not normalised. The alignment carries no gradient.
    """
    samples = len(denoised)
    aligned = rigid_align(true.expand(samples, -1, -1), denoised.detach(), weight.expand(samples, -1))
    square = (denoised - aligned).square().sum(-1)
    return (weight * square).sum(-1) / (3 * (weight > 0).sum().clamp(min=1))


def bond_loss(denoised: Float[Tensor, "samples a 3"], batch: Batch, labels: Labels) -> Float[Tensor, "samples"]:
    """Return the mean square error of bond lengths over ``labels.bonds`` with both ends resolved (equation 5)."""
    resolved = labels.resolved & batch.atom_mask
    first, second = labels.bonds[resolved[labels.bonds].all(-1)].unbind(-1)
    true = (labels.coordinates[first] - labels.coordinates[second]).float().norm(dim=-1)
    length = (denoised[:, first] - denoised[:, second]).norm(dim=-1)
    square: Tensor = (length - true).square()
    return square.sum(-1) / max(len(first), 1)
