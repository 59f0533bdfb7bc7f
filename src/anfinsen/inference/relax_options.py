"""Which structures are relaxed, how, and whether that can be done here."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

from anfinsen.common.errors import MissingExtraError

RELAX_CHOICES = ("none", "best", "all")


@dataclass(frozen=True)
class RelaxConfig:
    """How structures are relaxed.

    Attributes:
        force_field: file of OpenMM. name: what it is called.
        stiffness: of the restraint of each heavy atom, kcal/mol/Å² (of the square's half).
        tolerance: minimisation ends where the root mean square force is below it, kcal/mol/nm.
        rounds: at most; residues with violations are free in the next.
        iterations: of L-BFGS in each round, at most (AlphaFold 2 has no limit).

    Source: AlphaFold 2 supplement, section 1.8.6, and its released ``amber_minimize.py``: ff99SB without solvent,
    10 kcal/mol/Å², 2.39 kcal/mol, 3 rounds. Here the force field is its successor, ff14SB, and bonds to hydrogen are
    springs, not constraints.
    """

    force_field: str = "amber14/protein.ff14SB.xml"
    name: str = "Amber ff14SB"
    stiffness: float = 10.0
    tolerance: float = 2.39
    rounds: int = 3
    iterations: int = 5000


def require_openmm() -> None:
    """Raise MissingExtraError where OpenMM is not installed."""
    try:
        import openmm  # noqa: F401 - only asked whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtraError("Relaxation needs OpenMM: pip install 'anfinsen[relax]'.") from error


def openmm_version() -> str:
    """Return the version of the installed OpenMM.

    Raises:
        MissingExtraError: it is not installed.
    """
    require_openmm()
    return importlib.metadata.version("openmm")
