"""AlphaFold 2 and AlphaFold-Multimer on jobs: one run of the whole network for each structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from anfinsen.common.progress import Progress
from anfinsen.common.seeding import numpy_generator
from anfinsen.features import Complex, prepare_job
from anfinsen.features.alphafold2 import AlphaFold2FeatureConfig, AlphaFold2Inputs, alphafold2_inputs
from anfinsen.features.alphafold2_msa import AlphaFold2MsaConfig
from anfinsen.jobs import Job
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config
from anfinsen.nn.batch import AlphaFold2Batch
from anfinsen.nn.memory import reuse_buffers
from anfinsen.weights.alphafold2 import load_alphafold2

from .alphafold2_atoms import AtomPlan, plan_atoms
from .alphafold2_confidence import alphafold2_confidence, per_token
from .alphafold2_size import AlphaFold2Size, answer_alphafold2_out_of_memory, check_alphafold2_memory
from .confidence import contact_probabilities
from .options import PredictOptions
from .prediction import Prediction, SeedPrediction
from .predictor import Predictor, complex_notes, surplus_templates

# Every structure takes the whole network; structures of a seed differ by what is drawn of the alignment only.
ALPHAFOLD2_SAMPLES = 1


class AlphaFold2Predictor(Predictor):
    """A loaded AlphaFold 2, used as `Predictor` is.

    Raises:
        ConfigError, WeightsError: at construction, when device, model or weights cannot be used.
    """

    default_samples = ALPHAFOLD2_SAMPLES
    method = "Structure prediction with an Evoformer and a structure module (AlphaFold 2)"

    def __init__(self, options: PredictOptions, progress: Progress | None = None) -> None:
        super().__init__(options, progress)
        self.model, self.weights = load_alphafold2(options.source, self.device)
        self.recycles = self.model.config.recycles if options.recycles is None else options.recycles

    def predict(self, job: Job, notes: tuple[str, ...] = ()) -> Prediction:
        """Predict one job; ``notes`` of reading it are kept with the result.

        Raises:
            JobError: the job has anything but protein chains, or several and the weights are the monomer's.
            AlignmentError, StructureError: an alignment or template cannot be used.
            NonFiniteError: the model gave NaN or infinity. MemoryLimitError: the job does not fit this machine.
        """
        job = self.with_seeds(job)
        self.progress.stage("Features", 1)
        # Seeds decide conformers, which AlphaFold 2 does not read: one preparation serves all.
        prepared = PreparedChains.of(prepare_job(job, job.seeds[0]), self.model)
        self.progress.advance()
        size = AlphaFold2Size.of(prepared.inputs, self.model.config)
        check_alphafold2_memory(size, self.model.config, self.device)
        results = []
        with answer_alphafold2_out_of_memory(size, self.model.config, self.device):
            for position, seed in enumerate(job.seeds, start=1):
                label = f" (seed {seed}, {position} of {len(job.seeds)})" if len(job.seeds) > 1 else ""
                self.progress.stage(f"Network{label}", self.samples * (self.recycles + 1))
                advance = self.progress.advance
                results.append(predict_seed(prepared, self.model, seed, self.samples, self.recycles, advance))
        whole = prepared.complex_
        notes = (*notes, *complex_notes(whole), *alphafold2_notes(whole, self.model, self.options))
        return self.prediction(job, whole, results, 1, notes)


@dataclass(frozen=True)
class PreparedChains:
    """Protein chains as a network wants them: its features, and how its atoms become those of the complex."""

    complex_: Complex
    inputs: AlphaFold2Inputs
    plan: AtomPlan

    @classmethod
    def of(cls, complex_: Complex, model: AlphaFold2) -> PreparedChains:
        """Prepare ``complex_`` for ``model``.

        Raises:
            JobError: there is anything but protein chains, or several and the network is the monomer's.
            AlignmentError, StructureError: an alignment or template cannot be used.
        """
        inputs = alphafold2_inputs(complex_, feature_config(model))
        return cls(complex_, inputs, plan_atoms(complex_.structure, complex_.library, inputs.fields["aatype"].numpy()))


@torch.no_grad()
def predict_seed(
    prepared: PreparedChains,
    model: AlphaFold2,
    seed: int,
    samples: int,
    recycles: int,
    on_recycle: Callable[[], None] | None = None,
) -> SeedPrediction:
    """Fold the chains ``samples`` times, each time with other rows of their alignment.

    Raises:
        NonFiniteError: the model gave NaN or infinity.
    """
    device = next(model.parameters()).device
    structure, tokens = prepared.complex_.structure, prepared.complex_.tokens
    coordinates, confidences, contacts = [], [], np.zeros(0)
    for sample in range(samples):

        def draw(cycle: int, sample: int = sample) -> AlphaFold2Batch:
            return prepared.inputs.draw(numpy_generator(seed, "alphafold2", sample, cycle)).to(device)

        with reuse_buffers():
            output = model(draw(0), recycles=recycles, resample=draw, on_recycle=on_recycle)
        atoms = prepared.plan.coordinates(output.atoms)
        coordinates.append(atoms)
        confidences.append(alphafold2_confidence(output, structure, tokens, atoms))
        found = contact_probabilities(output.logits.distogram)
        contacts = found if sample == 0 else contacts + found
    return SeedPrediction(
        seed=seed,
        coordinates=np.stack(coordinates),
        confidences=tuple(confidences),
        contact_probs=per_token(contacts / samples, tokens),
    )


def feature_config(model: AlphaFold2) -> AlphaFold2FeatureConfig:
    """Return how features are made for ``model``."""
    config = model.config
    return AlphaFold2FeatureConfig(
        multimer=config.multimer,
        templates=config.template_count if reads_templates(model) else 0,
        couplings=config.pair_couplings,
        msa=msa_config(config),
    )


def msa_config(config: AlphaFold2Config) -> AlphaFold2MsaConfig:
    """Return what one pass of a network sees of an alignment."""
    return AlphaFold2MsaConfig(clusters=config.msa_rows, extra=config.extra_rows, extra_query=config.extra_query)


def reads_templates(model: AlphaFold2) -> bool:
    """Return whether ``model`` makes anything of templates: not if it has no embedder, or one as it was initialised."""
    embedder = model.trunk.templates
    if embedder is None:
        return False
    return model.config.multimer or bool(embedder.attention.output.weight.any())


def alphafold2_notes(prepared: Complex, model: AlphaFold2, options: PredictOptions) -> tuple[str, ...]:
    """Return what this model does not read of the job or the options, one sentence each."""
    structure, notes = prepared.structure, []
    if any(chain.templates for chain in prepared.alignments) and not reads_templates(model):
        notes.append("These weights of AlphaFold 2 read no templates: those that the job gives are not used.")
    else:
        notes += surplus_templates(prepared, model.config.template_count)
    modified = sorted({str(prepared.structure.residues.name[r]) for r in _modified(prepared)})
    if modified:
        notes.append(
            f"AlphaFold 2 sees the modified residues {', '.join(modified)} as their parents; the atoms that these lack "
            "are placed with ideal geometry."
        )
    if cyclic := [chain.chain_id for chain in structure.chains if chain.cyclic]:
        notes.append(f"AlphaFold 2 does not know that chains {', '.join(cyclic)} are cyclic: their ends may be apart.")
    if _bridges(prepared):
        notes.append("AlphaFold 2 reads no bonds: those that the job gives between residues may come out too long.")
    if options.steps is not None:
        notes.append("AlphaFold 2 has no diffusion: the number of steps is not used.")
    if options.samples_at_once is not None:
        notes.append("AlphaFold 2 makes one structure at a time: the number of structures at once is not used.")
    if model.config.predicts_pae is False:
        notes.append(
            "These weights of AlphaFold 2 do not predict aligned errors: pae, ptm and iptm follow from the expected "
            "errors of distances instead."
        )
    return tuple(notes)


def _modified(prepared: Complex) -> list[int]:
    tokens = prepared.tokens
    return sorted(set(tokens.residue[~tokens.is_standard].tolist()))


def _bridges(prepared: Complex) -> bool:
    """Whether there are bonds between residues other than those along the backbone, which closes cyclic chains too."""
    structure = prepared.structure
    atoms = structure.bonds.atoms
    residue = structure.atoms.residue[atoms]
    chain = structure.residues.chain[residue]
    follows = np.abs(residue[:, 0] - residue[:, 1]) == 1
    closes = np.array([each.cyclic for each in structure.chains])[chain[:, 0]]
    same = (chain[:, 0] == chain[:, 1]) & (follows | closes)
    backbone = (np.sort(structure.atoms.name[atoms], axis=1) == ("C", "N")).all(axis=1) & same
    return bool((structure.bonds.is_inter & ~backbone).any())
