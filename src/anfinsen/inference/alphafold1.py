"""AlphaFold 1 on jobs: one protein chain, its alignment, its fold, all of its atoms, and how far to trust them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import AMINO_ACIDS, UNKNOWN_PROTEIN
from anfinsen.common.errors import JobError, NonFiniteError
from anfinsen.common.progress import Progress, Silent
from anfinsen.common.seeding import torch_generator
from anfinsen.features import Complex, prepare_job
from anfinsen.features.alphafold1 import AlphaFold1Features, features_of_msa
from anfinsen.features.coupling_scores import has_couplings
from anfinsen.geometry import pairwise_distances
from anfinsen.jobs import Job
from anfinsen.models.alphafold1 import (
    AlphaFold1,
    PairMaps,
    Realisation,
    RealisationConfig,
    confidence_signals,
    count_tiles,
    distance_centres,
    place_side_chains,
    realise,
)
from anfinsen.weights.alphafold1 import load_alphafold1

from .alphafold1_size import check_alphafold1_memory
from .confidence import CONTACT_DISTANCE, Confidence
from .disorder import fraction_disordered
from .folding_record import folding_record
from .options import PredictOptions
from .prediction import Prediction, SeedPrediction
from .predictor import Predictor, complex_notes

_LETTERS = "ARNDCQEGHILKMFPSTWYV"  # in the order of `AMINO_ACIDS`
_GLYCINE = AMINO_ACIDS.index("GLY")


class AlphaFold1Predictor(Predictor):
    """A loaded AlphaFold 1, used as `Predictor` is.

    Raises:
        ConfigError, WeightsError: at construction, when device, model or weights cannot be used.
    """

    def __init__(
        self, options: PredictOptions, progress: Progress | None = None, config: RealisationConfig | None = None
    ) -> None:
        super().__init__(options, progress)
        self.network, self.weights = load_alphafold1(options.source, self.device)
        self.config = config or RealisationConfig()

    def predict(self, job: Job, notes: tuple[str, ...] = ()) -> Prediction:
        """Predict one job; ``notes`` of reading it are kept with the result.

        Raises:
            JobError: the job is not one protein chain. NonFiniteError: the model gave NaN or infinity.
            MemoryLimitError: the chain is too long for this machine.
        """
        job = self.with_seeds(job)
        first: Complex | None = None
        seeds: list[SeedPrediction] = []
        for seed in job.seeds:
            prepared = prepare_job(job, seed)
            if first is None:
                self._check_memory(prepared)
            first = first or prepared
            seeds.append(predict_seed(prepared, self.network, seed, self.samples, self.config, self.progress))
        assert first is not None  # a job has at least one seed
        notes = (*notes, *complex_notes(first), *alphafold1_notes(first, self.options, len(seeds[0].coordinates)))
        return self.prediction(job, first, seeds, 1, notes)

    def _check_memory(self, prepared: Complex) -> None:
        msa = prepared.alignments[0].unpaired
        rows = msa.depth if msa is not None else 1
        check_alphafold1_memory(len(chain_query(prepared)), rows, self.network.config, self.config, self.device)


def predict_seed(
    prepared: Complex,
    model: AlphaFold1,
    seed: int,
    samples: int,
    config: RealisationConfig | None = None,
    progress: Progress | None = None,
) -> SeedPrediction:
    """Fold one chain; up to ``samples`` structures of the pool, the lowest potential first.

    Raises:
        JobError: the job is not one protein chain. NonFiniteError: the model gave NaN or infinity.
    """
    config, progress = config or RealisationConfig(), progress or Silent()
    query = chain_query(prepared)
    progress.stage("Features", 1)
    features = chain_features(prepared, query, model.config.c_pair_in)
    progress.advance()
    folding = config.folding
    steps = sum(s.steps for s in folding.stages) + folding.rounds * sum(s.steps for s in folding.later)
    progress.stage("Distances and folding", count_tiles(len(query), model.config.crop, config.tiling) + steps)
    glycine = torch.from_numpy(query == _GLYCINE)
    generator = torch_generator(seed, "alphafold1")
    found = realise(model, features.single, features.pair, glycine, generator, config, progress.advance)
    if not torch.isfinite(found.fold.energy).all():
        raise NonFiniteError("AlphaFold 1 gave energies that are not finite: its weights are damaged.")
    count = min(samples, len(found.fold.energy))
    progress.stage("Side chains and confidence", count)
    coordinates, confidences, ceiling = [], [], 1.0
    for number in range(count):
        atoms = _all_atoms(prepared, found.fold.backbone.atoms[number])
        confidence = _confidence(prepared, model, found, number, atoms, ceiling)
        # The lowest potential wins: a later structure never ranks above an earlier one.
        ceiling = confidence.ranking_score
        coordinates.append(atoms)
        confidences.append(confidence)
        progress.advance()
    contacts = found.maps.probability_within(CONTACT_DISTANCE).clamp(0, 1).numpy()
    per_token = prepared.tokens.residue
    return SeedPrediction(
        seed=seed,
        coordinates=np.stack(coordinates).astype(np.float32),
        confidences=tuple(confidences),
        contact_probs=contacts[np.ix_(per_token, per_token)],
        folding=folding_record(found, count),
    )


def chain_features(prepared: Complex, query: Int[np.ndarray, "L"], pair_channels: int) -> AlphaFold1Features:
    """Return a network's inputs: from the chain's alignment where it has one, else from its sequence alone.

    ``pair_channels``: how much of each pair the network reads.
    """
    return features_of_msa(query, prepared.alignments[0].unpaired, pair_channels)


def chain_query(prepared: Complex) -> Int[np.ndarray, "L"]:
    """Return the amino acids of the one chain, in the order of `AMINO_ACIDS`.

    Raises:
        JobError: the job is not one protein chain, or it is too short.
    """
    chains = prepared.structure.chains
    if len(chains) != 1 or chains[0].kind is not ChainKind.PROTEIN:
        kinds = ", ".join(f"{chain.kind.value} {chain.chain_id}" for chain in chains)
        raise JobError(
            f"Job {prepared.structure.name!r} has {kinds}: AlphaFold 1 folds one protein chain alone; choose an "
            "AlphaFold 3 model for anything else."
        )
    sequence = chains[0].sequence
    if len(sequence) < 3:
        raise JobError(f"Job {prepared.structure.name!r} has {len(sequence)} residues: AlphaFold 1 needs at least 3.")
    return np.array([_LETTERS.find(letter) if letter in _LETTERS else UNKNOWN_PROTEIN for letter in sequence])


def _all_atoms(prepared: Complex, backbone: Float[Tensor, "L 5 3"]) -> Float[np.ndarray, "A 3"]:
    """Coordinates in the order of the structure's atoms; atoms without any geometry lie on their CA."""
    structure = prepared.structure
    components = [prepared.library.get(str(name)) for name in structure.residues.name]
    atoms = backbone.double().numpy()
    placed = place_side_chains(atoms, components)
    places = [dict(zip(r.names, r.coordinates, strict=True)) for r in placed]
    table = structure.atoms
    return np.stack([places[i].get(str(name), atoms[i, 1]) for i, name in zip(table.residue, table.name, strict=True)])


def _confidence(
    prepared: Complex,
    model: AlphaFold1,
    found: Realisation,
    number: int,
    atoms: Float[np.ndarray, "A 3"],
    ceiling: float,
) -> Confidence:
    with torch.no_grad():
        signals = confidence_signals(found.maps, found.fold, number)
        estimate = model.calibration(signals.to(model.calibration.lddt_weights.device))
    plddt = estimate.plddt.cpu().double().numpy()
    per_token = prepared.tokens.residue
    error = _expected_error(found.maps, found.fold.backbone.cb[number])[np.ix_(per_token, per_token)]
    if not (np.isfinite(plddt).all() and np.isfinite(error).all() and np.isfinite(atoms).all()):
        raise NonFiniteError("AlphaFold 1 gave numbers that are not finite: its weights are damaged.")
    one = np.array([estimate.tm_score])
    return Confidence(
        atom_plddt=plddt[prepared.structure.atoms.residue],
        # It predicts distances, not frames: the error of a distance stands for that of a position.
        pae=error,
        pde=error,
        ptm=estimate.tm_score,
        iptm=None,
        chain_ptm=one,
        chain_iptm=None,
        chain_pair_iptm=one[:, None],
        chain_pair_pae_min=np.array([[error.min()]]),
        fraction_disordered=fraction_disordered(prepared.structure, atoms),
        has_clash=False,  # one chain has nothing to clash with
        ranking_score=min(ceiling, estimate.tm_score),
    )


def _expected_error(maps: PairMaps, cb: Float[Tensor, "L 3"]) -> Float[np.ndarray, "L L"]:
    """Mean of |d - structure's distance| under the distogram, Å; distances past the last bin count as its centre."""
    centres = distance_centres(maps.distogram.shape[-1])
    distance = pairwise_distances(cb).clamp(max=float(centres[-1]))
    error = (maps.distogram * (centres - distance[..., None]).abs()).sum(-1)
    error.fill_diagonal_(0.0)
    return error.double().numpy()


def alphafold1_notes(prepared: Complex, options: PredictOptions, made: int | None = None) -> tuple[str, ...]:
    """Return what this model does not read of the job or the options, or misses in the job, one sentence each.

    ``made`` is the number of structures of a seed, once that is known.
    """
    notes = []
    if made is not None and options.samples is not None and options.samples > made:
        notes.append(f"AlphaFold 1 keeps the {made} best of the structures that it folds: there are no more samples.")
    for name, value in (
        ("recycles", options.recycles),
        ("steps of a diffusion", options.steps),
        ("structures at once", options.samples_at_once),
    ):
        if value is not None:
            notes.append(f"AlphaFold 1 knows no number of {name}: it is not used.")
    if prepared.alignments[0].templates:
        notes.append("AlphaFold 1 reads no templates: those that the job gives are not used.")
    unknown, length = prepared.structure.chains[0].sequence.count("X"), len(prepared.structure.chains[0].sequence)
    if unknown:
        notes.append(
            f"{unknown} of the {length} residues are unknown (X): where they lie, and the confidence there, is a guess."
        )
    msa = prepared.alignments[0].unpaired
    if msa is None or msa.depth < 2:
        notes.append(
            "AlphaFold 1 lives on co-evolution: without an alignment its fold is little better than chance; search a "
            "sequence database first."
        )
    elif not has_couplings(msa):
        notes.append(
            f"None of the alignment's {msa.depth} rows but the query covers enough of it for co-evolution, which "
            "AlphaFold 1 lives on: its fold is little better than chance; search a larger sequence database."
        )
    return tuple(notes)
