"""How far a structure of AlphaFold 2 can be trusted (AlphaFold 2, sections 1.9.6-1.9.7; AlphaFold-Multimer, 7.9)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anfinsen.chemistry import Structure, Tokens
from anfinsen.geometry import pairwise_distances
from anfinsen.metrics import has_clash
from anfinsen.models.alphafold2 import AlphaFold2Output
from anfinsen.models.alphafold2.model import CA, CB

from .alignment_scores import ERROR_BIN, alignment_scores
from .confidence import (
    DISTOGRAM_FIRST,
    DISTOGRAM_LAST,
    IPTM_WEIGHT,
    PTM_WEIGHT,
    Confidence,
    expected_plddt,
    finite,
    mean_of_others,
)
from .disorder import fraction_disordered

_CERTAIN = 1e4  # logit of what is taken for sure


def alphafold2_confidence(
    output: AlphaFold2Output, structure: Structure, tokens: Tokens, coordinates: Float[np.ndarray, "A 3"]
) -> Confidence:
    """Return the confidences of one structure; tokens of a modified residue share those of the residue.

    Weights without a head for aligned errors get them from the distogram, as those of distances. Structures of several
    chains are ranked by 0.8 ipTM + 0.2 pTM, those of one chain by their mean pLDDT (0 to 1).

    Args:
        output: of the network. structure, tokens: the complex, all of it protein.
        coordinates: of all atoms, Å.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    finite("coordinates", coordinates)
    logits = output.logits
    device = logits.plddt.device
    chain = torch.from_numpy(structure.residues.chain.astype(np.int64)).to(device)
    distance_errors = _distance_errors(output)
    pae = logits.pae
    if pae is None:
        bins = (distance_errors / ERROR_BIN).long().clamp(0, logits.distogram.shape[-1] - 1)
        pae = F.one_hot(bins, logits.distogram.shape[-1]).float() * _CERTAIN
    # Every residue has a frame.
    scores = alignment_scores(pae, chain, torch.ones_like(chain, dtype=torch.bool))
    pair = finite("chain pair ipTM", scores.chain_pair_iptm.cpu().numpy())
    plddt = finite("pLDDT", expected_plddt(logits.plddt).cpu().double().numpy())
    ranking = float(plddt.mean()) / 100
    if scores.iptm is not None:
        ranking = IPTM_WEIGHT * scores.iptm + PTM_WEIGHT * scores.ptm
    return Confidence(
        atom_plddt=plddt[structure.atoms.residue],
        pae=per_token(finite("PAE", scores.pae.cpu().numpy()), tokens),
        pde=per_token(finite("PDE", distance_errors.cpu().numpy()), tokens),
        ptm=scores.ptm,
        iptm=scores.iptm,
        chain_ptm=pair.diagonal().copy(),
        chain_iptm=mean_of_others(pair),
        chain_pair_iptm=pair,
        chain_pair_pae_min=scores.chain_pair_pae_min.cpu().numpy(),
        fraction_disordered=fraction_disordered(structure, coordinates),
        has_clash=has_clash(coordinates, structure.atom_chain),
        ranking_score=ranking,
    )


def per_token(values: Float[np.ndarray, "R R"], tokens: Tokens) -> Float[np.ndarray, "N N"]:
    """Return the values of pairs of residues for pairs of AlphaFold 3's tokens, which confidences are written for."""
    if len(values) == len(tokens):
        return values
    return np.asarray(values[np.ix_(tokens.residue, tokens.residue)])


def _distance_errors(output: AlphaFold2Output) -> Float[Tensor, "R R"]:
    """Return the mean of |d - the structure's| under the distogram, Å; longer distances count as its last bin."""
    logits = output.logits.distogram
    bins = logits.shape[-1]
    width = (DISTOGRAM_LAST - DISTOGRAM_FIRST) / (bins - 2)
    centres = DISTOGRAM_FIRST + width * (torch.arange(bins, device=logits.device) - 0.5)
    atoms = output.atoms37
    # Only glycine has no CB: its places are 0.
    beta = torch.where((atoms[:, CB] == 0).all(-1, keepdim=True), atoms[:, CA], atoms[:, CB])
    distances = pairwise_distances(beta).clamp(max=float(centres[-1]))
    rows = [
        (row.float().softmax(-1) * (centres - known[:, None]).abs()).sum(-1)
        for row, known in zip(logits, distances, strict=True)
    ]
    return torch.stack(rows).fill_diagonal_(0.0)
