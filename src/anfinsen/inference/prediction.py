"""`Prediction`: everything one job gave, ready to be written or looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from anfinsen.chemistry import ComponentLibrary, Structure, Tokens
from anfinsen.jobs import Job
from anfinsen.weights import WeightsInfo

from .confidence import Confidence
from .folding_record import FoldingRecord
from .relaxation import Relaxation


@dataclass(frozen=True)
class RunSettings:
    """The numbers a prediction was made with; the same job, weights and settings give the same structures.

    Attributes:
        samples: per seed. recycles: of the trunk. steps: of the diffusion. samples_at_once: sampled together.
        device: kind of device: "cpu", "cuda" or "mps".
        relax: which structures were relaxed: "none", "best" or "all".
    """

    samples: int
    recycles: int
    steps: int
    samples_at_once: int
    device: str
    relax: str = "none"


@dataclass(frozen=True)
class SeedPrediction:
    """What one seed gave: S samples of A atoms, N tokens.

    Attributes:
        seed: of all randomness.
        coordinates: Å; relaxed where that was asked for. confidences: one per sample, of what the model gave.
        contact_probs: probability that two tokens are within 8 Å; the same for all samples of a seed.
        folding: how AlphaFold 1 came to them; None for every other model.
    """

    seed: int
    coordinates: Float[np.ndarray, "S A 3"]
    confidences: tuple[Confidence, ...]
    contact_probs: Float[np.ndarray, "N N"]
    folding: FoldingRecord | None = None


@dataclass(frozen=True)
class RankedSample:
    """One structure's place: ``index`` is the position in `Prediction.seeds`."""

    index: int
    seed: int
    sample: int
    ranking_score: float


@dataclass(frozen=True)
class Prediction:
    """The structures of one job.

    Attributes:
        job: what was asked, with the seeds that were run.
        structure: molecules without coordinates. library: their components. tokens: AlphaFold 3's view of them.
        seeds: results by seed.
        weights: where the model came from. settings: how it was run. versions: of the software, by name.
        notes: what was inferred, chosen or could not be done as usual, one sentence each.
        relaxations: what relaxing did, by (position in ``seeds``, sample).
        method: how the model predicts, where the files are to say more than its name.
    """

    job: Job
    structure: Structure
    library: ComponentLibrary
    tokens: Tokens
    seeds: tuple[SeedPrediction, ...]
    weights: WeightsInfo
    settings: RunSettings
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    relaxations: dict[tuple[int, int], Relaxation] = field(default_factory=dict)
    method: str = ""

    @property
    def ranking(self) -> tuple[RankedSample, ...]:
        """All structures, the best first; equal scores in the order they were made."""
        samples = [
            RankedSample(index, result.seed, sample, confidence.ranking_score)
            for index, result in enumerate(self.seeds)
            for sample, confidence in enumerate(result.confidences)
        ]
        return tuple(sorted(samples, key=lambda each: -each.ranking_score))

    def coordinates(self, ranked: RankedSample) -> Float[np.ndarray, "A 3"]:
        """Return the coordinates of one structure, Å."""
        coordinates: Float[np.ndarray, "A 3"] = self.seeds[ranked.index].coordinates[ranked.sample]
        return coordinates

    def confidence(self, ranked: RankedSample) -> Confidence:
        """Return the confidences of one structure."""
        return self.seeds[ranked.index].confidences[ranked.sample]

    def relaxation(self, ranked: RankedSample) -> Relaxation | None:
        """Return what relaxing did to one structure; None where it was not relaxed."""
        return self.relaxations.get((ranked.index, ranked.sample))
