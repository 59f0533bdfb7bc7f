"""What the heads of a trained network look at while it predicts one job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from anfinsen.chemistry import Structure, read_structure
from anfinsen.chemistry.tokens import GAP
from anfinsen.common.errors import ConfigError, StructureError
from anfinsen.common.progress import Progress
from anfinsen.features.alphafold2_msa import MSA_GAP
from anfinsen.geometry import pairwise_distances
from anfinsen.jobs import Job, Polymer
from anfinsen.metrics.correspondence import LEAST_IDENTITY, aligned_residues, correspond
from anfinsen.models.alphafold2 import AlphaFold2
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.nn import watch
from anfinsen.nn.batch import AlphaFold2Batch, Batch

from .alphafold2 import AlphaFold2Predictor
from .alphafold3 import AlphaFold3Predictor
from .attention_maps import AttentionRecorder, LayerMaps, attention_layers
from .attention_scores import HeadScores, Setting, score_heads
from .choose import make_predictor
from .confidence import CONTACT_DISTANCE
from .memory import available_bytes
from .options import PredictOptions
from .prediction import Prediction


@dataclass(frozen=True)
class AttentionStudy:
    """What was seen; N tokens (AlphaFold 2: residues).

    Attributes:
        prediction: the run, one seed and one structure.
        names: of the tokens, such as "A 12 GLY". setting: what heads are compared with.
        contacts_from: where the contacts are from, in words. probabilities: that two tokens touch, as predicted.
        layers: the maps. heads: the numbers. notes: what a reader should know.
    """

    prediction: Prediction
    names: tuple[str, ...]
    setting: Setting
    contacts_from: str
    probabilities: Float[np.ndarray, "N N"]
    layers: tuple[LayerMaps, ...]
    heads: tuple[HeadScores, ...]
    notes: tuple[str, ...]


def study_attention(
    job: Job,
    options: PredictOptions,
    *,
    notes: tuple[str, ...] = (),
    structure: Path | None = None,
    progress: Progress | None = None,
) -> AttentionStudy:
    """Predict one structure of ``job`` with its first seed, and return what every head attended to meanwhile.

    Of a network that recycles the last pass counts; of the diffusion, the mean over all steps. The structure is, bit by
    bit, what `predict` gives with the same seed for one sample.

    Args:
        job: what is predicted. options: model, seeds, recycles, steps, device; one sample is made whatever they say.
        notes: of reading the job. structure: a file with a known structure of the job's chains, whose contacts are
            taken; None takes those of the predicted structure. progress: is told of each stage.

    Raises:
        ConfigError: the model has no attention (AlphaFold 1). WeightsError: it cannot be used.
        StructureError: the known structure cannot be read, or has none of the job's chains.
        MemoryLimitError: prediction and maps do not fit. AnfinsenError: as for `predict`.
    """
    reference = None if structure is None else read_structure(structure)
    if reference is not None:
        _check_reference(job, reference)
    seed = (options.seeds or job.seeds)[0]
    predictor = make_predictor(replace(options, samples=1, seeds=(seed,)), progress)
    if not isinstance(predictor, AlphaFold2Predictor | AlphaFold3Predictor):
        raise ConfigError(
            f"Model {predictor.weights.name} has no attention: give one of AlphaFold 2 or 3, such as alphafold3-mini."
        )
    recorder = AttentionRecorder(attention_layers(predictor.model))
    seen: list[Batch | AlphaFold2Batch] = []
    modules = {name: predictor.model.attention_modules()[name] for name in recorder.layers}
    with _at_start(predictor.model, recorder, seen), watch(modules, weights=recorder.weights, gates=recorder.gates):
        prediction = predictor.predict(job, notes)
    return _study(prediction, recorder.result(), seen[0], reference)


def _check_reference(job: Job, reference: Structure) -> None:
    """Refuse a structure of something else before time is spent; `known_contacts` finds out what is what.

    Raises:
        StructureError: it has none of the job's chains.
    """
    sequences = {entity.sequence for entity in job.entities if isinstance(entity, Polymer)}
    known = {chain.sequence for chain in reference.chains if chain.kind.is_polymer}
    best = max((aligned_residues(ours, theirs)[1] for ours in sequences for theirs in known), default=0.0)
    if best < LEAST_IDENTITY:
        raise StructureError(
            f"Structure {reference.name} has none of the chains of job {job.name!r}: the closest two share {best:.0%} "
            f"of aligned residues, and at least {LEAST_IDENTITY:.0%} is needed; give a structure of the same molecule."
        )


@contextmanager
def _at_start(
    model: AlphaFold2 | AlphaFold3, recorder: AttentionRecorder, seen: list[Batch | AlphaFold2Batch]
) -> Iterator[None]:
    """Let ``recorder`` know the size of what the network is given, and keep that, once it is known."""

    def begin(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        batch = arguments[0]
        free = available_bytes(torch.device("cpu"))
        if isinstance(batch, AlphaFold2Batch):
            recorder.begin(len(batch.aatype), free)
        else:
            recorder.begin(len(batch.restype), free, batch.atom_to_token)
        seen.append(batch)

    entry = model if isinstance(model, AlphaFold2) else model.trunk_module
    handle = entry.register_forward_pre_hook(begin)
    try:
        yield
    finally:
        handle.remove()


def _study(
    prediction: Prediction,
    layers: tuple[LayerMaps, ...],
    batch: Batch | AlphaFold2Batch,
    reference: Structure | None,
) -> AttentionStudy:
    tokens, structure = prediction.tokens, prediction.structure
    result = prediction.seeds[0]
    rows = np.arange(len(tokens))
    plddt = _token_means(result.confidences[0].atom_plddt, prediction)
    if isinstance(batch, AlphaFold2Batch):
        # All tokens of a residue share what AlphaFold 2 says of it.
        rows = np.searchsorted(tokens.residue, np.arange(len(structure.residues)))
        depth = (torch.cat([batch.msa, batch.extra_msa]) != MSA_GAP) & torch.cat([batch.msa_mask, batch.extra_msa_mask])
        unit = "residues"
    else:
        depth = (batch.msa != GAP) & batch.msa_mask
        unit = "tokens"
    probabilities = result.contact_probs[np.ix_(rows, rows)]
    if reference is None:
        coordinates = result.coordinates[0][tokens.distogram_atom].astype(np.float64)
        contacts, known = _contacts(coordinates), np.ones(len(tokens), dtype=bool)
        origin = f"the predicted structure: pairs within {CONTACT_DISTANCE:.0f} Å"
    else:
        contacts, known = known_contacts(prediction, reference)
        count = f"{int(known[rows].sum())} of {len(rows)} {unit} known"
        origin = f"{reference.name}: pairs within {CONTACT_DISTANCE:.0f} Å; {count}"
    setting = Setting(
        chain=np.asarray(tokens.chain)[rows].astype(np.int64),
        number=np.asarray(tokens.residue_index)[rows].astype(np.int64),
        contacts=contacts[np.ix_(rows, rows)],
        known=known[rows],
        depth=depth.sum(0).cpu().numpy().astype(np.int64),
        plddt=plddt[rows],
    )
    residue = tokens.residue[rows]
    names = tuple(
        f"{structure.chains[c].chain_id} {number} {structure.residues.name[r]}"
        for c, number, r in zip(setting.chain, setting.number, residue, strict=True)
    )
    notes = list(prediction.notes)
    if not setting.base_rate:
        notes.append("No pair at least 6 residues apart is a contact: heads cannot be compared with contacts.")
    heads = score_heads(layers, setting)
    return AttentionStudy(prediction, names, setting, origin, probabilities, layers, heads, tuple(notes))


def known_contacts(
    prediction: Prediction, reference: Structure
) -> tuple[Bool[np.ndarray, "N N"], Bool[np.ndarray, "N"]]:
    """Return which tokens touch in a known structure, and which of them are resolved there.

    Tokens stand at CB (CA of glycine), C4 or C2 of bases. Which copy of a chain is which follows the prediction.

    Raises:
        StructureError: no chain of the reference is like one of the job.
    """
    structure, ranked = prediction.structure, prediction.ranking[0]
    atoms = structure.atoms
    predicted = replace(
        structure,
        atoms=replace(
            atoms,
            coordinates=prediction.coordinates(ranked).astype(atoms.coordinates.dtype),
            resolved=np.ones(len(atoms), dtype=bool),
        ),
    )
    found = correspond(predicted, reference)
    paired = np.flatnonzero(found.present & reference.atoms.resolved)
    coordinates, resolved = np.zeros((len(atoms), 3)), np.zeros(len(atoms), dtype=bool)
    coordinates[found.atoms[paired]] = reference.atoms.coordinates[paired]
    resolved[found.atoms[paired]] = True
    where: Int[np.ndarray, "N"] = np.asarray(prediction.tokens.distogram_atom)
    known: Bool[np.ndarray, "N"] = resolved[where]
    return _contacts(coordinates[where]) & known[:, None] & known[None, :], known


def _contacts(coordinates: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, "N N"]:
    close: Bool[np.ndarray, "N N"] = pairwise_distances(torch.from_numpy(coordinates)).numpy() < CONTACT_DISTANCE
    return close


def _token_means(values: Float[np.ndarray, "A"], prediction: Prediction) -> Float[np.ndarray, "N"]:
    tokens = prediction.tokens
    sums = np.add.reduceat(values.astype(np.float64), tokens.atom_start)
    means: Float[np.ndarray, "N"] = sums / tokens.atom_count
    return means
