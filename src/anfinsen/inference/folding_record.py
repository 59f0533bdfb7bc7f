"""What only AlphaFold 1 can tell of a structure: the distances it was folded from, and how it folded."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Float32, Int

from anfinsen.common.errors import NonFiniteError
from anfinsen.geometry import rigid_align
from anfinsen.models.alphafold1 import Realisation, hand_of
from anfinsen.models.alphafold1.maps import FIRST_DISTANCE, LAST_DISTANCE

MAX_SNAPSHOTS = 60  # more would not look smoother


@dataclass(frozen=True)
class FoldingRecord:
    """The way of one seed from distances to structures.

    L residues; P structures at the end of folding, the lowest potential first; S of them are in the prediction, in the
    same order; T values of the potential; F snapshots.

    Attributes:
        distogram: probabilities of the CB-CB distance (virtual CB for glycine); symmetric.
        bin_edges: of its bins, Å; the first and the last bin are open.
        cb: of the S structures, Å.
        energy: potentials under the weights of the last stage. terms: its parts without weights, by name.
        origin: what each was started from: "scaled" (multidimensional scaling), "sampled" (torsions), "pool" (a noisy
            copy of an earlier structure) or "mirror" (the mirror image of the best one).
        handedness: 1 where all helical turns are right-handed, -1 where all are left-handed, 0 without any.
        trace: potential of the best structure's descent, from its start on. Weights of the terms change between stages.
        snapshots: CA of the same descent, Å, laid over the last one, which is the best structure itself.
        snapshot_steps: place of each snapshot in ``trace``, to within a few steps.
    """

    distogram: Float32[np.ndarray, "L L bins"]
    bin_edges: Float32[np.ndarray, "edges"]
    cb: Float32[np.ndarray, "S L 3"]
    energy: Float32[np.ndarray, "P"]
    terms: dict[str, Float32[np.ndarray, "P"]]
    origin: tuple[str, ...]
    handedness: Float32[np.ndarray, "P"]
    trace: Float32[np.ndarray, "T"]
    snapshots: Float32[np.ndarray, "F L 3"]
    snapshot_steps: Int[np.ndarray, "F"]

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            for part in value.values() if isinstance(value, dict) else (value,):
                if isinstance(part, np.ndarray) and not np.isfinite(part).all():
                    raise NonFiniteError(f"AlphaFold 1 gave numbers that are not finite ({each.name} of its folding).")

    @property
    def expected_distance(self) -> Float[np.ndarray, "L L"]:
        """Mean of the distogram, Å; an open bin counts as its middle, and the diagonal is 0."""
        mean: Float[np.ndarray, "L L"] = self._moment(1)
        return mean

    @property
    def spread(self) -> Float[np.ndarray, "L L"]:
        """Standard deviation of the distogram, Å; the diagonal is 0."""
        spread: Float[np.ndarray, "L L"] = np.sqrt(np.clip(self._moment(2) - self._moment(1) ** 2, 0.0, None))
        return spread

    @property
    def stage_starts(self) -> Int[np.ndarray, "stages"]:
        """Places in ``trace`` at which the weights of the terms changed, or the structure was shaken.

        Descent never goes up: where the potential rises, something else begins. What leaves it as it was is missed.
        """
        starts: Int[np.ndarray, "stages"] = np.flatnonzero(np.diff(self.trace) > 0) + 1
        return starts

    def realised_distance(self, sample: int) -> Float[np.ndarray, "L L"]:
        """Return the CB-CB distances of one of the S structures, Å."""
        cb = self.cb[sample].astype(np.float64)
        distance: Float[np.ndarray, "L L"] = np.sqrt(((cb[:, None] - cb[None]) ** 2).sum(-1))
        return distance

    def _moment(self, power: int) -> Float[np.ndarray, "L L"]:
        edges = self.bin_edges.astype(np.float64)
        moment: Float[np.ndarray, "L L"] = self.distogram.astype(np.float64) @ ((edges[:-1] + edges[1:]) / 2) ** power
        np.fill_diagonal(moment, 0.0)
        return moment


def folding_record(found: Realisation, kept: int) -> FoldingRecord:
    """Return the record of ``found``, whose first ``kept`` structures are in the prediction.

    Raises:
        NonFiniteError: a number is NaN or infinite.
    """
    fold, distogram = found.fold, found.maps.distogram
    best = fold.backbone.ca[0]
    taken = len(fold.trajectory)
    chosen = np.unique(np.linspace(0, taken - 1, min(taken, MAX_SNAPSHOTS - 1)).round().astype(int))
    earlier = rigid_align(fold.trajectory[chosen.tolist()].float(), best.float().expand(len(chosen), -1, -1))
    last = len(fold.trace) - 1
    edges = np.linspace(FIRST_DISTANCE, LAST_DISTANCE, distogram.shape[-1] + 1)
    return FoldingRecord(
        distogram=distogram.float().numpy(),
        bin_edges=edges.astype(np.float32),
        cb=fold.backbone.cb[:kept].float().numpy(),
        energy=fold.energy.float().numpy(),
        terms={name: values.float().numpy() for name, values in fold.terms.items()},
        origin=fold.origin,
        handedness=np.array([hand_of(ca) for ca in fold.backbone.ca], dtype=np.float32),
        trace=fold.trace.float().numpy(),
        snapshots=np.concatenate([earlier.numpy(), best.float().numpy()[None]]),
        snapshot_steps=np.append((chosen * last / taken).round().astype(np.int64), last),
    )
