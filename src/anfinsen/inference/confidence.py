"""From the confidence head's logits to the numbers that people read (AlphaFold 3 supplement, section 5.9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.chemistry import Structure
from anfinsen.common.errors import NonFiniteError
from anfinsen.metrics import has_clash
from anfinsen.models.alphafold3 import ConfidenceLogits
from anfinsen.nn.batch import Batch

from .alignment_scores import alignment_scores, expected_errors
from .disorder import fraction_disordered

CONTACT_DISTANCE = 8.0  # Å
DISTOGRAM_FIRST, DISTOGRAM_LAST = 2.3125, 21.6875  # Å, inner boundaries of 64 bins (supplement section 4.4)
# Weights of equation 19; a clash outweighs everything else.
IPTM_WEIGHT, PTM_WEIGHT, DISORDER_WEIGHT, CLASH_WEIGHT = 0.8, 0.2, 0.5, 100.0


@dataclass(frozen=True)
class Confidence:
    """How far one sampled structure can be trusted: A atoms, N tokens, K chains (order of ``structure.chains``).

    Attributes:
        atom_plddt: 0 to 100.
        pae: expected error of token j in the frame of token i, Å. pde: expected error of distances, Å.
        ptm, iptm: 0 to 1; iptm is None for a single chain.
        chain_ptm: pTM of each chain alone. chain_iptm: mean ipTM with every other chain; None for a single chain.
        chain_pair_iptm: ipTM of two chains alone, on the diagonal the chain's pTM.
        chain_pair_pae_min: least PAE from the first chain to the second, Å.
        fraction_disordered: 0 to 1, by accessible surface. has_clash: whether polymer chains overlap.
        ranking_score: 0.8 ipTM + 0.2 pTM + 0.5 disorder - 100 clash; pTM takes ipTM's place in a single chain.
    """

    atom_plddt: Float[np.ndarray, "A"]
    pae: Float[np.ndarray, "N N"]
    pde: Float[np.ndarray, "N N"]
    ptm: float
    iptm: float | None
    chain_ptm: Float[np.ndarray, "K"]
    chain_iptm: Float[np.ndarray, "K"] | None
    chain_pair_iptm: Float[np.ndarray, "K K"]
    chain_pair_pae_min: Float[np.ndarray, "K K"]
    fraction_disordered: float
    has_clash: bool
    ranking_score: float


def expected_plddt(logits: Float[Tensor, "A bins"]) -> Float[Tensor, "A"]:
    """Return the expected lDDT of each atom, 0 to 100 (supplement section 4.3.1)."""
    bins = logits.shape[-1]
    middles = (torch.arange(bins, device=logits.device) + 0.5) * (100 / bins)
    return logits.float().softmax(-1) @ middles


def contact_probabilities(logits: Float[Tensor, "N N bins"]) -> Float[np.ndarray, "N N"]:
    """Return the probability that two tokens' representative atoms are within 8 Å, from the distogram.

    As in the released code, a bin counts when it lies below 8 Å as a whole.
    """
    bins = logits.shape[-1]
    width = (DISTOGRAM_LAST - DISTOGRAM_FIRST) / (bins - 2)
    counted = int(np.floor((CONTACT_DISTANCE - DISTOGRAM_FIRST) / width + 1e-6)) + 1
    rows = torch.cat([row[None].float().softmax(-1)[..., :counted].sum(-1) for row in logits])
    return finite("contact probabilities", rows.clamp(max=1.0).cpu().numpy())


def confidence(
    logits: ConfidenceLogits,
    coordinates: Float[np.ndarray, "A 3"],
    structure: Structure,
    batch: Batch,
    chain: Int[np.ndarray, "N"],
) -> Confidence:
    """Return the confidences of one structure.

    Args:
        logits: of one sample (their first axis has length 1).
        coordinates: Å.
        structure, batch: the complex, without padding.
        chain: index of each token's chain in ``structure.chains``.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    finite("coordinates", coordinates)
    device = logits.pae.device
    scores = alignment_scores(logits.pae[0], torch.from_numpy(chain).long().to(device), batch.frame_mask.to(device))
    pair = scores.chain_pair_iptm.cpu().numpy()
    disorder = fraction_disordered(structure, coordinates)
    clash = _has_clash(structure, coordinates)
    result = Confidence(
        atom_plddt=finite("pLDDT", expected_plddt(logits.plddt[0]).cpu().numpy()),
        pae=finite("PAE", scores.pae.cpu().numpy()),
        pde=finite("PDE", expected_errors(logits.pde[0]).cpu().numpy()),
        ptm=scores.ptm,
        iptm=scores.iptm,
        chain_ptm=finite("chain pTM", pair.diagonal().copy()),
        chain_iptm=mean_of_others(pair),
        chain_pair_iptm=finite("chain pair ipTM", pair),
        chain_pair_pae_min=finite("chain pair PAE", scores.chain_pair_pae_min.cpu().numpy()),
        fraction_disordered=disorder,
        has_clash=clash,
        ranking_score=ranking_score(scores.ptm, scores.iptm, disorder, clash),
    )
    if not np.isfinite(result.ranking_score):
        raise NonFiniteError("The ranking score is not a finite number: the model's weights are damaged.")
    return result


def ranking_score(ptm: float, iptm: float | None, disorder: float, clash: bool) -> float:
    """Return the score that samples are ordered by (supplement section 5.9.3, equation 19)."""
    interface = ptm if iptm is None else iptm
    return IPTM_WEIGHT * interface + PTM_WEIGHT * ptm + DISORDER_WEIGHT * disorder - CLASH_WEIGHT * clash


def _has_clash(structure: Structure, coordinates: Float[np.ndarray, "A 3"]) -> bool:
    atom_chain = structure.atom_chain
    polymer = np.array([chain.kind.is_polymer for chain in structure.chains])[atom_chain]
    return has_clash(coordinates[polymer], atom_chain[polymer])


def mean_of_others(pair: Float[np.ndarray, "K K"]) -> Float[np.ndarray, "K"] | None:
    """Return each row's mean outside of the diagonal; None for a single row."""
    others = len(pair) - 1
    return (pair.sum(1) - pair.diagonal()) / others if others else None


def finite(name: str, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return ``values``.

    Raises:
        NonFiniteError: one is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise NonFiniteError(f"The model returned non-finite {name}: its weights are damaged; nothing is written.")
    return values
