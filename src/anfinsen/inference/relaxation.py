"""What relaxing one predicted structure did to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from anfinsen.metrics import Stereochemistry

_DECIMALS = 4


@dataclass(frozen=True)
class Relaxation:
    """A relaxed structure of A atoms beside the one it came from.

    Attributes:
        coordinates, unrelaxed: Å.
        chains: ids of the protein chains that were relaxed; all other atoms are where they were.
        energy_before, energy_after: of these chains with hydrogens, and of their contacts with all that was held,
            without restraints; kcal/mol. Before is None where atoms lie in each other so deep that it is no number.
        rounds: how often it was minimised. iterations: of L-BFGS, over all rounds.
        converged: whether the forces of the last round fell below the tolerance.
        released: residues whose atoms were free in the last round. residues: of the relaxed chains.
        violating_before, violating_after: residues of the relaxed chains with a structural violation as AlphaFold 2
            counts them (`losses.alphafold2_violations`).
        before, after: bonds, angles, handedness and clashes of the whole structure.
        rmsd, largest_shift: of the heavy atoms of the relaxed chains from where they were, without superposition, Å
            (an OXT that had no place counts from the one that it was given).
        force_field, software: names and versions.
        notes: what was held in place, and why.
    """

    coordinates: Float[np.ndarray, "A 3"]
    unrelaxed: Float[np.ndarray, "A 3"]
    chains: tuple[str, ...]
    energy_before: float | None
    energy_after: float
    rounds: int
    iterations: int
    converged: bool
    released: int
    residues: int
    violating_before: int
    violating_after: int
    before: Stereochemistry
    after: Stereochemistry
    rmsd: float
    largest_shift: float
    force_field: str
    software: str
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return everything but the coordinates, ready for JSON."""
        return {
            "chains": list(self.chains),
            "force_field": self.force_field,
            "software": self.software,
            "energy_before": None if self.energy_before is None else round(self.energy_before, 2),
            "energy_after": round(self.energy_after, 2),
            "rounds": self.rounds,
            "iterations": self.iterations,
            "converged": self.converged,
            "residues": self.residues,
            "residues_released": self.released,
            "residues_violating_before": self.violating_before,
            "residues_violating_after": self.violating_after,
            "stereochemistry_before": _rounded(asdict(self.before)),
            "stereochemistry_after": _rounded(asdict(self.after)),
            "rmsd": round(self.rmsd, _DECIMALS),
            "largest_shift": round(self.largest_shift, _DECIMALS),
            "notes": list(self.notes),
        }

    @property
    def sentence(self) -> str:
        """The gist: energy, violations, clashes, and how far atoms moved."""
        energy = "overlapping atoms" if self.energy_before is None else f"{self.energy_before:,.0f}"
        ended = "" if self.converged else ", stopped before its forces were small"
        return (
            f"energy {energy} → {self.energy_after:,.0f} kcal/mol, residues with violations {self.violating_before} → "
            f"{self.violating_after} of {self.residues}, clashes {self.before.clashes} → {self.after.clashes}, atoms "
            f"moved {self.rmsd:.2f} Å{ended}"
        )


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, _DECIMALS) if isinstance(value, float) else value for key, value in values.items()}
