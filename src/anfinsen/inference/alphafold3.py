"""AlphaFold 3 on jobs: the trunk once per seed, samples in groups, confidences one by one."""

from __future__ import annotations

import numpy as np
import torch

from anfinsen.common.progress import Progress
from anfinsen.common.seeding import torch_generator
from anfinsen.features import Complex, FeatureConfig, featurise, prepare_job
from anfinsen.jobs import Job
from anfinsen.models.alphafold3 import TrunkOutput
from anfinsen.nn.batch import Batch
from anfinsen.nn.memory import reuse_buffers
from anfinsen.weights import load_model

from .confidence import Confidence, confidence, contact_probabilities
from .memory import Size, answer_out_of_memory, check_memory, samples_at_once
from .options import PredictOptions
from .prediction import Prediction, SeedPrediction
from .predictor import Predictor, complex_notes, surplus_templates


class AlphaFold3Predictor(Predictor):
    """A loaded AlphaFold 3: the trunk once per seed, samples in groups, confidences one by one."""

    def __init__(self, options: PredictOptions, progress: Progress | None = None) -> None:
        super().__init__(options, progress)
        self.model, self.weights = load_model(options.source, self.device)
        config = self.model.config
        self.recycles = config.recycles if options.recycles is None else options.recycles
        self.steps = config.steps if options.steps is None else options.steps

    def predict(self, job: Job, notes: tuple[str, ...] = ()) -> Prediction:
        """Predict one job; ``notes`` of reading it are kept with the result (see `predict` for errors)."""
        job = self.with_seeds(job)
        results, at_once, first = [], 1, None
        for position, seed in enumerate(job.seeds, start=1):
            label = f" (seed {seed}, {position} of {len(job.seeds)})" if len(job.seeds) > 1 else ""
            self.progress.stage(f"Features{label}", 1)
            prepared = prepare_job(job, seed)
            batch = featurise(prepared, FeatureConfig(couplings=self.model.config.pair_couplings), seed)
            self.progress.advance()
            size = Size.of(batch, self.model.config)
            at_once = self.options.samples_at_once or samples_at_once(size, self.model.config)
            at_once = min(at_once, self.samples)
            check_memory(size, self.model.config, at_once, self.device)
            with answer_out_of_memory(size, self.model.config, at_once, self.device):
                results.append(self._seed(prepared, batch.to(self.device), seed, at_once, label))
            first = first or prepared
        assert first is not None  # a job has at least one seed
        notes = (*notes, *complex_notes(first), *self._template_notes(first))
        return self.prediction(job, first, results, at_once, notes)

    def _template_notes(self, prepared: Complex) -> tuple[str, ...]:
        given = any(chain.templates for chain in prepared.alignments)
        if not given:
            return ()
        if self.model.reads_templates:
            return surplus_templates(prepared, FeatureConfig().max_templates)
        return (f"{self.weights.name} was trained without templates and makes nothing of those that the job gives.",)

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
        samples = self.samples
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
