"""What a job is made of and what it will take, without running it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from anfinsen.alignments import effective_depth, take_rows
from anfinsen.alignments.depth import DEPTH_ROWS
from anfinsen.chemistry import named_smiles
from anfinsen.common.device import choose_device
from anfinsen.features import Complex, FeatureConfig, featurise, prepare_job
from anfinsen.features.alphafold2 import alphafold2_inputs
from anfinsen.jobs import Job
from anfinsen.models.alphafold1 import RealisationConfig
from anfinsen.models.alphafold3 import AlphaFold3Config, alphafold3_config
from anfinsen.weights import load_model, random_preset
from anfinsen.weights.alphafold1 import is_alphafold1, load_alphafold1
from anfinsen.weights.alphafold2 import is_alphafold2, load_alphafold2

from .alphafold1 import alphafold1_notes, chain_query
from .alphafold1_size import estimate_alphafold1
from .alphafold2 import ALPHAFOLD2_SAMPLES, alphafold2_notes, feature_config
from .alphafold2_atoms import plan_atoms
from .alphafold2_size import AlphaFold2Size, estimate_alphafold2
from .memory import Estimate, Size, available_bytes, estimate, samples_at_once
from .options import DEFAULT_SAMPLES, PredictOptions
from .predictor import complex_notes


@dataclass(frozen=True)
class ChainSummary:
    """One chain.

    Attributes:
        chain_id, kind, residues, tokens, atoms: of the chain.
        msa_rows, paired_rows: include the query. effective_depth: N_eff of the alignment, the number of sequences that
            are less than 80 % identical, more or less (of its first `DEPTH_ROWS` rows); 0 where there is none.
        templates: number of them. components: names what is not a standard residue.
    """

    chain_id: str
    kind: str
    residues: int
    tokens: int
    atoms: int
    msa_rows: int
    effective_depth: float
    paired_rows: int
    templates: int
    components: str


@dataclass(frozen=True)
class Inspection:
    """What ``anfinsen inspect`` shows.

    Attributes:
        chains: in order. tokens, atoms, bonds: of the whole complex; inter_bonds: bonds between residues other than
            those along polymers. msa_rows: of the merged alignment.
        conformers: number of residues by the source of their reference conformer.
        written: of each ligand that was given as SMILES or SDF, its chains' ids and SMILES with the names of its atoms.
        model: name. settings: samples, seeds; recycles and steps of models that have them.
        estimate: memory, and time for all seeds.
        available: free memory of the device, bytes. device: where it would run.
        notes: what was inferred or chosen.
    """

    name: str
    chains: tuple[ChainSummary, ...]
    tokens: int
    atoms: int
    bonds: int
    inter_bonds: int
    msa_rows: int
    conformers: dict[str, int]
    written: tuple[tuple[tuple[str, ...], str], ...]
    model: str
    settings: dict[str, int]
    estimate: Estimate
    available: int
    device: str
    notes: tuple[str, ...]


def model_config(options: PredictOptions) -> tuple[str, AlphaFold3Config]:
    """Return name and configuration of the chosen model; untrained ones are not built for that.

    Raises:
        ConfigError, WeightsError: there is no such model.
    """
    preset = random_preset(options.model) if options.weights is None else None
    if preset is not None:
        return options.model, alphafold3_config(preset)
    model, info = load_model(options.source)
    return info.name, model.config


def inspect_job(job: Job, options: PredictOptions, notes: tuple[str, ...] = ()) -> Inspection:
    """Return what ``job`` is made of and what it would take; ``notes`` of reading it are kept.

    Raises:
        AnfinsenError: the job, model or device cannot be used.
    """
    device = choose_device(options.device)
    if is_alphafold1(options.source):
        return _inspect_alphafold1(job, options, device, notes)
    if is_alphafold2(options.source):
        return _inspect_alphafold2(job, options, device, notes)
    name, config = model_config(options)
    seeds = options.seeds or job.seeds
    prepared = prepare_job(job, seeds[0])
    batch = featurise(prepared, FeatureConfig(), seeds[0])
    size = Size.of(batch, config)
    samples = DEFAULT_SAMPLES if options.samples is None else options.samples
    at_once = min(samples, options.samples_at_once or samples_at_once(size, config))
    recycles = config.recycles if options.recycles is None else options.recycles
    steps = config.steps if options.steps is None else options.steps
    one = estimate(size, config, samples=samples, at_once=at_once, recycles=recycles, steps=steps, device=device)
    settings = {"samples": samples, "recycles": recycles, "steps": steps}
    used = _Use(name, batch.msa.shape[0], settings, one)
    return _inspection(job, prepared, options, device, used, notes)


def _inspect_alphafold1(job: Job, options: PredictOptions, device: torch.device, notes: tuple[str, ...]) -> Inspection:
    """Return the same for AlphaFold 1, which refuses here what it would refuse in a prediction."""
    network, weights = load_alphafold1(options.source)
    prepared = prepare_job(job, (options.seeds or job.seeds)[0])
    length = len(chain_query(prepared))
    unpaired = prepared.alignments[0].unpaired
    rows = unpaired.depth if unpaired is not None else 1
    one = estimate_alphafold1(length, rows, network.config, RealisationConfig(), device)
    samples = DEFAULT_SAMPLES if options.samples is None else options.samples
    used = _Use(weights.name, rows, {"samples": samples}, one)
    return _inspection(job, prepared, options, device, used, (*notes, *alphafold1_notes(prepared, options)))


def _inspect_alphafold2(job: Job, options: PredictOptions, device: torch.device, notes: tuple[str, ...]) -> Inspection:
    """Return the same for AlphaFold 2, which refuses here what it would refuse in a prediction."""
    network, weights = load_alphafold2(options.source)
    prepared = prepare_job(job, (options.seeds or job.seeds)[0])
    inputs = alphafold2_inputs(prepared, feature_config(network))
    plan_atoms(prepared.structure, prepared.library, inputs.fields["aatype"].numpy())
    samples = ALPHAFOLD2_SAMPLES if options.samples is None else options.samples
    recycles = network.config.recycles if options.recycles is None else options.recycles
    size = AlphaFold2Size.of(inputs, network.config)
    one = estimate_alphafold2(size, network.config, samples=samples, recycles=recycles, device=device)
    used = _Use(weights.name, len(inputs.restypes), {"samples": samples, "recycles": recycles}, one)
    return _inspection(job, prepared, options, device, used, (*notes, *alphafold2_notes(prepared, network, options)))


@dataclass(frozen=True)
class _Use:
    """What a model makes of a job: its name, the rows of the alignment, its own settings, and what one seed takes."""

    model: str
    msa_rows: int
    settings: dict[str, int]
    one: Estimate


def _inspection(
    job: Job, prepared: Complex, options: PredictOptions, device: torch.device, used: _Use, notes: tuple[str, ...]
) -> Inspection:
    structure, seeds = prepared.structure, len(options.seeds or job.seeds)
    return Inspection(
        name=job.name,
        chains=_chains(prepared),
        tokens=len(prepared.tokens),
        atoms=len(structure.atoms),
        bonds=len(structure.bonds),
        inter_bonds=int((structure.bonds.is_inter & ~_successive(prepared)).sum()),
        msa_rows=used.msa_rows,
        conformers=dict(Counter(prepared.atoms.conformer_source)),
        written=_written(prepared),
        model=used.model,
        settings={"seeds": seeds, **used.settings},
        estimate=Estimate(used.one.bytes, used.one.seconds * seeds),
        available=available_bytes(device),
        device=device.type,
        notes=(*notes, *complex_notes(prepared)),
    )


def _chains(prepared: Complex) -> tuple[ChainSummary, ...]:
    structure, tokens = prepared.structure, prepared.tokens
    atom_chain = structure.atom_chain
    summaries = []
    # Copies of an entity share one alignment.
    depths: dict[int, float] = {}
    for index, chain in enumerate(structure.chains):
        alignments = prepared.alignments[index]
        unpaired = alignments.unpaired
        if unpaired is not None and id(unpaired) not in depths:
            few = take_rows(unpaired, np.arange(min(unpaired.depth, DEPTH_ROWS)))
            depths[id(unpaired)] = effective_depth(few)
        mine = tokens.chain == index
        special = Counter(
            str(structure.residues.name[r]) for r in np.unique(tokens.residue[mine & ~tokens.is_standard])
        )
        summaries.append(
            ChainSummary(
                chain_id=chain.chain_id,
                kind=str(chain.kind),
                residues=int((structure.residues.chain == index).sum()),
                tokens=int(mine.sum()),
                atoms=int((atom_chain == index).sum()),
                msa_rows=unpaired.depth if unpaired else 0,
                effective_depth=depths[id(unpaired)] if unpaired else 0.0,
                paired_rows=alignments.paired.depth if alignments.paired else 0,
                templates=len(alignments.templates),
                components=", ".join(f"{code} x{n}" if n > 1 else code for code, n in special.items()),
            )
        )
    return tuple(summaries)


def _written(prepared: Complex) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return what the atoms of ligands are called that have no names but those given here."""
    residues, chains = prepared.structure.residues, prepared.structure.chains
    written = []
    codes, first = np.unique(residues.name, return_index=True)
    for code in codes[np.argsort(first)].tolist():
        component = prepared.library.get(code)
        if component.smiles:
            places = np.unique(residues.chain[residues.name == code])
            written.append((tuple(chains[place].chain_id for place in places), named_smiles(component)))
    return tuple(written)


def _successive(prepared: Complex) -> Bool[np.ndarray, "B"]:
    """Return which bonds join two successive residues of a polymer."""
    structure = prepared.structure
    residue = structure.atoms.residue[structure.bonds.atoms]
    chain = structure.residues.chain[residue]
    polymer = np.array([each.kind.is_polymer for each in structure.chains])[chain[:, 0]]
    near = np.abs(residue[:, 0] - residue[:, 1]) == 1
    successive: Bool[np.ndarray, "B"] = (chain[:, 0] == chain[:, 1]) & near & polymer
    return successive
