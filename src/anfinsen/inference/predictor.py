"""From a `Job` to a `Prediction`: the trunk once per seed, samples in groups, confidences one by one."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import torch

from anfinsen.alignments import Msa
from anfinsen.common.device import choose_device
from anfinsen.common.errors import JobError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import torch_generator
from anfinsen.features import Complex, FeatureConfig, featurise, pairing_notes, prepare_job
from anfinsen.jobs import Job, load_jobs_with_notes
from anfinsen.models.alphafold3 import AlphaFold3, TrunkOutput
from anfinsen.nn.batch import Batch
from anfinsen.nn.memory import reuse_buffers
from anfinsen.weights import WeightsInfo, load_model

from .confidence import Confidence, confidence, contact_probabilities
from .memory import Size, answer_out_of_memory, check_memory, samples_at_once
from .options import PredictOptions
from .prediction import Prediction, RunSettings, SeedPrediction


def predict(
    job: Job | Path | str, options: PredictOptions | None = None, *, progress: Progress | None = None
) -> Prediction:
    """Predict the structures of one job.

    Args:
        job: a job, or the path of a file that holds one.
        options: model, seeds, samples, device; the defaults are those of ``anfinsen predict``.
        progress: is told of each stage.

    Raises:
        JobError, ChemistryError, AlignmentError: the job cannot be used.
        ConfigError, WeightsError: model or device cannot be used.
        MemoryLimitError: the job does not fit; the message says what would.
        NonFiniteError: the model gave NaN or infinity.
    """
    options = options or PredictOptions()
    if isinstance(job, Job):
        notes: tuple[str, ...] = ()
    else:
        loaded = load_jobs_with_notes(job)
        if len(loaded.jobs) != 1:
            raise JobError(
                f"Job file {str(job)!r} holds {len(loaded.jobs)} jobs: load them with anfinsen.load_jobs and predict "
                "each, or use `anfinsen predict`."
            )
        job, notes = loaded.jobs[0], loaded.notes
    return Predictor(options, progress).predict(job, notes)


class Predictor:
    """A loaded model and how to run it; use one for many jobs.

    Raises:
        ConfigError, WeightsError: at construction, when device, model or weights cannot be used.
    """

    def __init__(self, options: PredictOptions, progress: Progress | None = None) -> None:
        self.options = options
        self.progress: Progress = progress or Silent()
        self.device = choose_device(options.device)
        self.model: AlphaFold3
        self.weights: WeightsInfo
        # An absolute path, so that a file's name is never taken for a model's.
        name = options.model if options.weights is None else str(options.weights.resolve())
        self.model, self.weights = load_model(name, self.device)
        config = self.model.config
        self.recycles = config.recycles if options.recycles is None else options.recycles
        self.steps = config.steps if options.steps is None else options.steps

    def settings(self, at_once: int) -> RunSettings:
        """Return the settings of a run that samples ``at_once`` structures together."""
        return RunSettings(self.options.samples, self.recycles, self.steps, at_once, self.device.type)

    def with_seeds(self, job: Job) -> Job:
        """Return ``job`` with the seeds that will be run."""
        return job if self.options.seeds is None else Job(**(dict(job) | {"seeds": self.options.seeds}))

    def predict(self, job: Job, notes: tuple[str, ...] = ()) -> Prediction:
        """Predict one job; ``notes`` of reading it are kept with the result (see :func:`predict` for errors)."""
        job = self.with_seeds(job)
        results, at_once, first = [], 1, None
        for position, seed in enumerate(job.seeds, start=1):
            label = f" (seed {seed}, {position} of {len(job.seeds)})" if len(job.seeds) > 1 else ""
            self.progress.stage(f"Features{label}", 1)
            prepared = prepare_job(job, seed)
            batch = featurise(prepared, FeatureConfig(), seed)
            self.progress.advance()
            size = Size.of(batch, self.model.config)
            at_once = self.options.samples_at_once or samples_at_once(size, self.model.config)
            at_once = min(at_once, self.options.samples)
            check_memory(size, self.model.config, at_once, self.device)
            with answer_out_of_memory(size, self.model.config, at_once, self.device):
                results.append(self._seed(prepared, batch.to(self.device), seed, at_once, label))
            first = first or prepared
        assert first is not None  # a job has at least one seed
        return Prediction(
            job=job,
            structure=first.structure,
            library=first.library,
            tokens=first.tokens,
            seeds=tuple(results),
            weights=self.weights,
            settings=self.settings(at_once),
            versions=versions(),
            notes=(*notes, *complex_notes(first)),
        )

    @torch.no_grad()
    def _seed(self, prepared: Complex, batch: Batch, seed: int, at_once: int, label: str) -> SeedPrediction:
        self.progress.stage(f"Trunk{label}", self.recycles + 1)
        # Each stage gives its buffers back before the next one asks for its own.
        with reuse_buffers():
            trunk = self.model.trunk(
                batch,
                recycles=self.recycles,
                generator=torch_generator(seed, "msa"),
                on_recycle=self.progress.advance,
            )
        contacts = contact_probabilities(self.model.distogram_logits(trunk))
        with reuse_buffers():
            coordinates = self._sample(batch, trunk, seed, at_once, label)
        with reuse_buffers():
            confidences = self._confidences(prepared, batch, trunk, coordinates, label)
        return SeedPrediction(
            seed=seed,
            coordinates=coordinates.float().cpu().numpy(),
            confidences=confidences,
            contact_probs=contacts,
        )

    def _sample(self, batch: Batch, trunk: TrunkOutput, seed: int, at_once: int, label: str) -> torch.Tensor:
        samples = self.options.samples
        groups = [range(start, min(start + at_once, samples)) for start in range(0, samples, at_once)]
        self.progress.stage(f"Diffusion{label}", len(groups) * self.steps)
        parts = [
            self.model.sample(
                batch,
                trunk,
                samples=len(group),
                steps=self.steps,
                # On the CPU, so that every device starts from the same noise; one for each sample, so that sample i of
                # a seed is the same however many are drawn.
                generator=[torch_generator(seed, "diffusion", sample) for sample in group],
                on_step=self.progress.advance,
            )
            for group in groups
        ]
        return torch.cat(parts)

    def _confidences(
        self, prepared: Complex, batch: Batch, trunk: TrunkOutput, coordinates: torch.Tensor, label: str
    ) -> tuple[Confidence, ...]:
        self.progress.stage(f"Confidence{label}", len(coordinates))
        results = []
        chain = np.asarray(prepared.tokens.chain)
        for x in coordinates:
            # One at a time, and without a name that would keep them during the next one: the logits of PAE and PDE
            # are the largest tensors of the whole run.
            results.append(
                confidence(
                    self.model.confidence(batch, trunk, x[None]),
                    x.float().cpu().numpy(),
                    prepared.structure,
                    batch,
                    chain,
                )
            )
            self.progress.advance()
        return tuple(results)


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
            f"No alignment is given for protein chains {', '.join(lone)}: structures from a single sequence are less "
            "accurate."
        )
    return (*notes, *pairing_notes(prepared))


def _depth(msa: Msa | None) -> int:
    return msa.depth if msa is not None else 0
