"""What every model's predictor is: options in, `Job` → `Prediction`."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from anfinsen.alignments import Msa
from anfinsen.common.device import choose_device
from anfinsen.common.progress import Progress, Silent
from anfinsen.features import Complex, pairing_notes
from anfinsen.jobs import Job
from anfinsen.weights import WeightsInfo

from .options import DEFAULT_SAMPLES, PredictOptions
from .prediction import Prediction, RunSettings, SeedPrediction
from .relax import relaxed_prediction


class Predictor(ABC):
    """A loaded model and how to run it; use one for many jobs.

    Attributes:
        options, progress: as given. device: where it runs.
        weights: of the model. recycles, steps: of trunk and diffusion; 0 where a model has none.
        samples: structures per seed; default_samples: where the options give no number.
        method: as in `Prediction`.

    Raises:
        ConfigError, WeightsError: at construction, when device, model or weights cannot be used.
    """

    weights: WeightsInfo
    recycles: int = 0
    steps: int = 0
    default_samples: ClassVar[int] = DEFAULT_SAMPLES
    method: ClassVar[str] = ""

    def __init__(self, options: PredictOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.progress: Progress = progress or Silent()
        self.device = choose_device(options.device)
        self.samples = self.default_samples if options.samples is None else options.samples

    def settings(self, at_once: int) -> RunSettings:
        """Return the settings of a run that samples ``at_once`` structures together."""
        return RunSettings(self.samples, self.recycles, self.steps, at_once, self.device.type, self.options.relax)

    def with_seeds(self, job: Job) -> Job:
        """Return ``job`` with the seeds that will be run."""
        return job if self.options.seeds is None else Job(**(dict(job) | {"seeds": self.options.seeds}))

    def prediction(
        self, job: Job, prepared: Complex, seeds: Iterable[SeedPrediction], at_once: int, notes: tuple[str, ...]
    ) -> Prediction:
        """Return what the ``seeds`` of ``job`` gave, relaxed where the options say so, and how the model was run."""
        result = Prediction(
            job=job,
            structure=prepared.structure,
            library=prepared.library,
            tokens=prepared.tokens,
            seeds=tuple(seeds),
            weights=self.weights,
            settings=self.settings(at_once),
            versions=versions(),
            notes=notes,
            method=self.method,
        )
        return relaxed_prediction(result, self.options.relax, progress=self.progress)

    @abstractmethod
    def predict(self, job: Job, notes: tuple[str, ...] = ()) -> Prediction:
        """Predict one job; ``notes`` of reading it are kept with the result (see `predict` for errors)."""


def versions() -> dict[str, str]:
    """Return the versions of what can change a prediction, by package name."""
    return {name: importlib.metadata.version(name) for name in ("anfinsen", "torch", "numpy", "rdkit", "biotite")}


def complex_notes(prepared: Complex) -> tuple[str, ...]:
    """Return what a reader of the results should know about how the complex was built, one sentence each."""
    structure, notes = prepared.structure, list(prepared.structure.notes)
    for source in ("ccd-ideal", "ccd-model"):
        codes = {
            str(structure.residues.name[index])
            for index, used in enumerate(prepared.atoms.conformer_source)
            if used == source
        }
        if codes:
            where = {"ccd-ideal": "ideal", "ccd-model": "deposited"}[source]
            notes.append(
                f"The reference conformer of {', '.join(sorted(codes))} is the CCD's {where} one, because RDKit made "
                "none."
            )
    lone = [
        chain.chain_id
        for chain, known in zip(structure.chains, prepared.alignments, strict=True)
        if chain.kind == "protein" and _depth(known.unpaired) + _depth(known.paired) <= 1
    ]
    if lone:
        notes.append(
            f"Protein chain{'s' if len(lone) > 1 else ''} {', '.join(lone)}: no alignment, or none with other "
            "sequences; structures from a single sequence are less accurate."
        )
    return (*notes, *pairing_notes(prepared))


def surplus_templates(prepared: Complex, most: int) -> tuple[str, ...]:
    """Return a sentence on chains with more templates than the ``most`` that the model reads."""
    more = [
        chain.chain_id
        for chain, known in zip(prepared.structure.chains, prepared.alignments, strict=True)
        if len(known.templates) > most
    ]
    if not more:
        return ()
    return (f"Of the templates of chain{'s' if len(more) > 1 else ''} {', '.join(more)} the first {most} are used.",)


def _depth(msa: Msa | None) -> int:
    return msa.depth if msa is not None else 0
