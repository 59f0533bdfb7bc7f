"""From features to a structure: maps, potential, folding, confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .confidence import Confidence, confidence_signals
from .folding import Fold, FoldingConfig, fold
from .maps import PairMaps
from .network import AlphaFold1
from .potential import Potential, PotentialConfig
from .tiling import TilingConfig, predict_maps


@dataclass(frozen=True)
class RealisationConfig:
    """How a structure is made from features.

    Attributes:
        tiling, potential, folding: see there.
        reference: whether the potential subtracts the reference state.
    """

    tiling: TilingConfig = field(default_factory=TilingConfig)
    potential: PotentialConfig = field(default_factory=PotentialConfig)
    folding: FoldingConfig = field(default_factory=FoldingConfig)
    reference: bool = True


@dataclass(frozen=True)
class Realisation:
    """One chain's result.

    Attributes:
        maps: of the network. fold: structures, the best first. signals: what confidence was computed from.
        confidence: of the best structure.
    """

    maps: PairMaps
    fold: Fold
    signals: Float[Tensor, "L signals"]
    confidence: Confidence


def realise(
    model: AlphaFold1,
    single: Float[Tensor, "L c1"],
    pair: Float[Tensor, "L L c2"],
    glycine: Bool[Tensor, "L"],
    generator: torch.Generator,
    config: RealisationConfig | None = None,
    on_step: Callable[[], None] | None = None,
) -> Realisation:
    """Predict a chain's maps and fold it.

    Args:
        model: in evaluation mode.
        single, pair: features. glycine: which residues have no CB.
        generator: draws starts and noise.
        config: see there.
        on_step: called after every tile and every step of the descent.
    """
    config = config or RealisationConfig()
    maps = predict_maps(model, single, pair, config.tiling, on_step)
    return realise_maps(model, maps, glycine, generator, config, on_step)


def realise_maps(
    model: AlphaFold1,
    maps: PairMaps,
    glycine: Bool[Tensor, "L"],
    generator: torch.Generator,
    config: RealisationConfig,
    on_step: Callable[[], None] | None = None,
) -> Realisation:
    """Fold maps that are known already (see :func:`realise`)."""
    reference = model.reference.maps(len(maps)).cpu() if config.reference else None
    potential = Potential(maps, reference, glycine=glycine, config=config.potential)
    folded = fold(maps, potential, generator, config.folding, on_step)
    signals = confidence_signals(maps, folded)
    with torch.no_grad():
        confidence = model.calibration(signals.to(model.calibration.lddt_weights.device))
    return Realisation(maps, folded, signals, confidence)
