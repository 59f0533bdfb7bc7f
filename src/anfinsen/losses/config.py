"""The numbers of the training objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anfinsen.diffusion import SIGMA_DATA


@dataclass(frozen=True)
class LossConfig:
    """Weights of AlphaFold 3's loss terms (supplement, equation 15 and table 6).

    Attributes:
        diffusion, distogram, confidence: weights of the three parts.
        pae: weight of the PAE loss within the confidence part (0; 1 in the last stage).
        bond: weight of the bond term within the diffusion part (0 in the first stage, then 1).
        smooth_lddt: weight of the smooth lDDT term within the diffusion part.
        dna, rna, ligand: what is added to the weight 1 of an atom of that kind in alignment and mean square error.
        shared_single: weight of `shared_single` (not in the paper: 0).
        weighting: factor of mean square error and bond terms at noise level s: "edm" is (s² + d²) / (s d)²,
            "supplement" is (s² + d²) / (s + d)² as equation 6 prints it.
        sigma_data: d, Å.
    """

    diffusion: float = 4.0
    distogram: float = 0.03
    confidence: float = 1e-4
    pae: float = 0.0
    bond: float = 0.0
    smooth_lddt: float = 1.0
    dna: float = 5.0
    rna: float = 5.0
    ligand: float = 10.0
    shared_single: float = 0.0
    weighting: Literal["edm", "supplement"] = "edm"
    sigma_data: float = SIGMA_DATA
