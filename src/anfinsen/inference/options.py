"""What the user chooses about a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anfinsen.common.errors import ConfigError
from anfinsen.common.seeding import MAX_SEED

from .relax_options import RELAX_CHOICES, require_openmm

DEFAULT_MODEL = "alphafold3-mini"
DEFAULT_SAMPLES = 5  # of a model that draws structures
# Limits that stop slips of the pen; the published system uses 5 samples, 10 recycles and 200 steps.
MAX_SAMPLES, MAX_RECYCLES, MAX_STEPS = 10_000, 1_000, 100_000


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction, checked when they are built.

    Attributes:
        model: name of a model ("alphafold3-mini"), or a weights file.
        weights: a weights file; it carries the network's size, so ``model`` is then left as it is.
        seeds: used in place of the job's.
        samples: structures per seed; None: 5, and of AlphaFold 2, which runs as a whole for each, 1.
        recycles, steps: of trunk and diffusion; None takes the model's own numbers.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        samples_at_once: structures sampled together; None chooses from the size of the job (and never from the
            memory of the machine, so that the same job gives the same structures everywhere).
        relax: which structures to relax (`relax_structure`): "none", "best" (the one ranked first) or "all".

    Raises:
        ConfigError: a value is out of range, or both a model and a weights file are chosen.
        MissingExtraError: structures are to be relaxed, and OpenMM is not installed.
    """

    model: str = DEFAULT_MODEL
    weights: Path | None = None
    seeds: tuple[int, ...] | None = None
    samples: int | None = None
    recycles: int | None = None
    steps: int | None = None
    device: str = "auto"
    samples_at_once: int | None = None
    relax: str = "none"

    @property
    def source(self) -> str:
        """What names the model to load: its name, or the weights file's absolute path, which is never taken for one."""
        return self.model if self.weights is None else str(self.weights.resolve())

    def __post_init__(self) -> None:
        _check("samples", self.samples, 1, MAX_SAMPLES)
        _check("recycles", self.recycles, 0, MAX_RECYCLES)
        _check("steps", self.steps, 1, MAX_STEPS)
        _check("samples_at_once", self.samples_at_once, 1, MAX_SAMPLES)
        if self.weights is not None and self.model != DEFAULT_MODEL:
            raise ConfigError(
                f"Both the model {self.model!r} and the weights file {str(self.weights)!r} are given: give one, "
                "because a weights file says which model it is for."
            )
        if self.relax not in RELAX_CHOICES:
            raise ConfigError(f"Option 'relax' is {self.relax!r}: expected {', '.join(RELAX_CHOICES)}.")
        if self.relax != "none":
            require_openmm()
        if self.seeds is None:
            return
        if not self.seeds:
            raise ConfigError("The list of seeds is empty: give at least one, or leave it out to use the job's.")
        for seed in self.seeds:
            _check("seeds", seed, 0, MAX_SEED)
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"Option 'seeds' names a seed twice ({', '.join(map(str, self.seeds))}): give each once.")


def _check(name: str, value: int | None, least: int, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"Option {name!r} is {value!r}: expected a whole number from {least} to {most}.")
