"""The numbers of AlphaFold 2's objective."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FapeConfig:
    """Frame aligned point error. Å.

    Attributes:
        clamp: errors count up to here. unit: length of an error that counts 1.
        interface_clamp, interface_unit: of points seen from a frame of another chain (AlphaFold-Multimer).
        clamped_probability: share of the examples whose backbone errors are clamped (within a chain); trainers draw it.
        local_window: residues up to so far apart in the chain count in the local term.
    """

    clamp: float = 10.0
    unit: float = 10.0
    interface_clamp: float = 30.0
    interface_unit: float = 20.0
    clamped_probability: float = 0.9
    local_window: int = 6


@dataclass(frozen=True)
class ViolationConfig:
    """Structural violations.

    Attributes:
        deviations: bond lengths and angles may be this many standard deviations off.
        overlap_tolerance: van der Waals spheres may overlap this much, Å.
    """

    deviations: float = 12.0
    overlap_tolerance: float = 1.5


@dataclass(frozen=True)
class AlphaFold2LossConfig:
    """Weights of the terms; the defaults are those of initial training, and fine-tuning's stand in brackets.

    As in the released code, where the backbone's FAPE is the mean over all layers of the structure module, so that
    equation 7's final and auxiliary FAPE are one term each for backbone and side chains.

    Attributes:
        backbone_fape, side_chain_fape: of the structure. chi: of the side chains' torsions. angle_norm: of the length
            of torsion pairs before they are normalised.
        local_fape: of the backbone's FAPE over residues near in the chain alone (not in the paper). Among all pairs
            they are few, and until they are right a short run stays where everything lies in one place.
        distogram, masked_msa, plddt: of these heads.
        resolved: of the experimentally-resolved head (0.01). violation: of structural violations (1.0).
        pae: of the predicted aligned error (0.1 for the pTM models).
        fape, violations: their numbers.

    Source: AlphaFold 2 supplement, equation 7 and section 1.9; released ``config.py``.
    """

    backbone_fape: float = 0.5
    side_chain_fape: float = 0.5
    chi: float = 0.5
    angle_norm: float = 0.01
    local_fape: float = 0.0
    distogram: float = 0.3
    masked_msa: float = 2.0
    plddt: float = 0.01
    resolved: float = 0.0
    violation: float = 0.0
    pae: float = 0.0
    fape: FapeConfig = field(default_factory=FapeConfig)
    violations: ViolationConfig = field(default_factory=ViolationConfig)
