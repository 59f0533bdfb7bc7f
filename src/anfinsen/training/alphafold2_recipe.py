"""How each preset of AlphaFold 2 is trained. Numbers of the published recipe stand in `RECIPES["monomer"]`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from anfinsen.features.alphafold2_msa import AlphaFold2MsaConfig
from anfinsen.losses.alphafold2 import AlphaFold2LossConfig, FapeConfig

from .alphafold2_data import AlphaFold2DataConfig
from .stages import StagedRecipe


@dataclass(frozen=True)
class AlphaFold2Stage:
    """One stretch of training with fixed sizes (supplement, table 4).

    Attributes:
        steps: optimiser steps. data: crops and alignments. losses: weights of the terms.
        train: "all"; or only the "trunk", by distogram and masked MSA (no structure is made, so an example costs a
            fraction); or only the "structure" module, on what the trunk says; or only the "confidence" heads.
        recycles: the number of recycles of a step is uniform in 0..recycles.
        learning_rate: of this stage, constant; None: the recipe's schedule.
    """

    steps: int
    data: AlphaFold2DataConfig
    losses: AlphaFold2LossConfig = field(default_factory=AlphaFold2LossConfig)
    train: Literal["all", "trunk", "structure", "confidence"] = "all"
    recycles: int = 3
    learning_rate: float | None = None


@dataclass(frozen=True)
class AlphaFold2Recipe(StagedRecipe[AlphaFold2Stage]):
    """Everything about a training run that is not the data folder.

    Attributes:
        stages: run one after the other. examples: per step.
        learning_rate, beta1, beta2, warmup: of Adam; the rate falls linearly to ``final_fraction`` (1: not at all).
        matrix_rate: Muon moves every matrix, at this multiple of the rate (see `make_optimizers`); 0: Adam moves all.
        clip_example: largest gradient norm of one example, as published (0: no limit). clip: of a step's mean.
        ema: decay of the averaged weights.
        validation, longest: chains scored along the way, and their greatest length.
    """

    stages: tuple[AlphaFold2Stage, ...]
    examples: int = 128
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    warmup: int = 1000
    final_fraction: float = 1.0
    matrix_rate: float = 0.0
    clip_example: float = 0.1
    clip: float = 1e9
    ema: float = 0.999
    validation: int = 24
    longest: int = 128


def _published(*, pae: bool) -> AlphaFold2Recipe:
    """Models 1 and 1.1.1 of the supplement's table 4: 10 million examples, then 1.5 million of fine-tuning."""
    first = AlphaFold2LossConfig(pae=0.1 if pae else 0.0)
    fine = replace(first, resolved=0.01, violation=1.0)
    return AlphaFold2Recipe(
        stages=(
            AlphaFold2Stage(78_125, AlphaFold2DataConfig(crop=256, msa=AlphaFold2MsaConfig(128, 1024)), first),
            AlphaFold2Stage(
                11_719, AlphaFold2DataConfig(crop=384, msa=AlphaFold2MsaConfig(512, 5120)), fine, learning_rate=5e-4
            ),
        )
    )


# For two CPU cores and an hour or two. The trunk comes first, alone, for it limits everything after it; contacts come
# from couplings, so little of an alignment need be seen at once. Errors are clamped in half of the examples: far from
# the truth, where a short run begins, clamped ones say nothing.
_MINI_MSA = AlphaFold2MsaConfig(clusters=24, extra=48, extra_query=True)
_MINI_DATA = AlphaFold2DataConfig(crop=80, spatial=0.3, msa=_MINI_MSA)
_MINI_LOSSES = AlphaFold2LossConfig(
    local_fape=2.0, distogram=1.0, masked_msa=0.2, plddt=0.0, fape=FapeConfig(clamped_probability=0.5)
)
_MINI_STRUCTURE = replace(_MINI_LOSSES, distogram=0.0, masked_msa=0.0)
_MINI_TOGETHER = replace(_MINI_LOSSES, backbone_fape=1.0, local_fape=1.0)
_MINI = AlphaFold2Recipe(
    stages=(
        AlphaFold2Stage(900, replace(_MINI_DATA, structures=0.05), _MINI_LOSSES, train="trunk", recycles=0),
        AlphaFold2Stage(900, _MINI_DATA, _MINI_STRUCTURE, train="structure", recycles=0),
        AlphaFold2Stage(550, replace(_MINI_DATA, crop=72), _MINI_TOGETHER, recycles=1),
        AlphaFold2Stage(
            40,
            replace(_MINI_DATA, crop=112, spatial=0.0, structures=0.4),
            replace(_MINI_TOGETHER, violation=0.1, resolved=0.01, plddt=0.05, pae=0.05),
            recycles=1,
        ),
        AlphaFold2Stage(
            90,
            replace(_MINI_DATA, crop=112, spatial=0.0, structures=0.1),
            AlphaFold2LossConfig(0.0, 0.0, 0.0, 0.0, distogram=0.0, masked_msa=0.0, plddt=1.0, resolved=0.2, pae=1.0),
            train="confidence",
            recycles=1,
            learning_rate=3e-3,
        ),
    ),
    examples=4,
    learning_rate=1.2e-2,
    beta2=0.98,
    warmup=50,
    final_fraction=0.03,
    matrix_rate=1.0,
    clip_example=0.0,
    clip=1.0,
    ema=0.998,
)
RECIPES: dict[str, AlphaFold2Recipe] = {
    "monomer": _published(pae=False),
    "ptm": _published(pae=True),
    "mini": _MINI,
}
