"""Losses of AlphaFold 2's heads: distogram, masked MSA, pLDDT, experimentally resolved, predicted aligned error.

As in the released code; targets carry no gradient, and each loss is a mean over what is known (0 where nothing is).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.geometry import Frames, bin_boundaries, bin_index, express_in_frames, pairwise_distances

from .atoms import RADIUS, masked_mean

DISTOGRAM_FIRST, DISTOGRAM_LAST = 2.3125, 21.6875  # Å, inner boundaries of 64 bins
PAE_LAST = 31.0  # Å, last of the inner boundaries of 64 bins, from 0
LDDT_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # Å


def distogram_loss(
    logits: Float[Tensor, "n n bins"], pseudo_beta: Float[Tensor, "n 3"], mask: Bool[Tensor, "n"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the distances of CB atoms (CA of glycine).

    Args:
        logits: of 64 bins, 2 to 22 Å.
        pseudo_beta: true atoms, Å. mask: which are known.

    Source: AlphaFold 2 supplement, section 1.9.8.
    """
    boundaries = bin_boundaries(DISTOGRAM_FIRST, DISTOGRAM_LAST, logits.shape[-1]).to(logits.device)
    target = bin_index(pairwise_distances(pseudo_beta), boundaries)
    return masked_mean(_cross_entropy(logits, target), mask[:, None] & mask[None, :])


def masked_msa_loss(
    logits: Float[Tensor, "s n classes"], true: Int[Tensor, "s n"], masked: Bool[Tensor, "s n"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the residues that were masked (BERT's task).

    Args:
        logits: of 23 classes (20 amino acids, unknown, gap, mask; 22 in AlphaFold-Multimer, which leaves out the mask).
        true: class of each residue before masking. masked: which were masked, kept or replaced to be told.

    Source: AlphaFold 2 supplement, section 1.9.9.
    """
    return masked_mean(_cross_entropy(logits, true), masked)


def plddt_loss(
    logits: Float[Tensor, "n bins"],
    predicted: Float[Tensor, "n 3"],
    true: Float[Tensor, "n 3"],
    mask: Bool[Tensor, "n"],
) -> Float[Tensor, ""]:
    """Return the cross-entropy of each residue's lDDT-CA.

    Args:
        logits: of 50 bins, 0 to 1.
        predicted, true: CA atoms, Å. mask: which are known.

    Source: AlphaFold 2 supplement, section 1.9.6. Meant for examples of a resolution of 0.1 to 3 Å.
    """
    score = ca_lddt(predicted, true, mask)
    target = (score * logits.shape[-1]).long().clamp(max=logits.shape[-1] - 1)
    return masked_mean(_cross_entropy(logits, target), mask)


def ca_lddt(predicted: Float[Tensor, "n 3"], true: Float[Tensor, "n 3"], mask: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return lDDT of each CA atom against those within 15 Å of it, 0 to 1; 0 where there are none.

    Args:
        predicted, true: Å. mask: which are known.
    """
    with torch.no_grad():
        distance = pairwise_distances(true)
        near = (distance < RADIUS) & mask[:, None] & mask[None, :]
        near &= ~torch.eye(len(mask), dtype=torch.bool, device=mask.device)
        error = (pairwise_distances(predicted) - distance).abs()
        kept = torch.stack([error < threshold for threshold in LDDT_THRESHOLDS]).to(true.dtype).mean(0)
        return (kept * near).sum(-1) / near.sum(-1).clamp(min=1)


def experimentally_resolved_loss(
    logits: Float[Tensor, "n 37"], resolved: Bool[Tensor, "n 37"], exists: Bool[Tensor, "n 37"]
) -> Float[Tensor, ""]:
    """Return the binary cross-entropy of whether an atom was resolved.

    Args:
        logits: by the 37 atom names.
        resolved: in the true structure. exists: whether the residue type has the atom.

    Source: AlphaFold 2 supplement, section 1.9.10. Meant for examples of a resolution of 0.1 to 3 Å.
    """
    error = F.binary_cross_entropy_with_logits(logits, resolved.to(logits.dtype), reduction="none")
    return masked_mean(error, exists)


def predicted_aligned_error_loss(
    logits: Float[Tensor, "n n bins"], predicted: Frames, true: Frames, mask: Bool[Tensor, "n"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the error of residue j's CA, seen from residue i's backbone frame.

    Args:
        logits: [i, j] of 64 bins; as in the released code the first holds only errors of exactly 0, the others are
            0.5 Å wide, the last is open.
        predicted, true: backbone frames, [n].
        mask: whether the true frame is known.

    Source: AlphaFold 2 supplement, section 1.9.7. Meant for examples of a resolution of 0.1 to 3 Å.
    """
    with torch.no_grad():
        offset = express_in_frames(predicted.origin, predicted) - express_in_frames(true.origin, true)
        boundaries = bin_boundaries(0.0, PAE_LAST, logits.shape[-1]).to(logits.device)
        target = bin_index(offset.norm(dim=-1), boundaries)
    return masked_mean(_cross_entropy(logits, target), mask[:, None] & mask[None, :])


def _cross_entropy(logits: Float[Tensor, "*shape bins"], target: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    # In float32 at least: log-softmax of half precision loses the small probabilities.
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(exact.flatten(0, -2), target.flatten(), reduction="none").reshape(target.shape)
