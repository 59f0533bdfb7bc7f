"""A `Prediction` made without a network: coordinates and confidences are given, so that tests know every number."""

from __future__ import annotations

import dataclasses

import numpy as np

from anfinsen.chemistry import ComponentLibrary, Structure, tokenise
from anfinsen.inference import Confidence, Prediction, RunSettings, SeedPrediction, ranking_score
from anfinsen.jobs import Job, Ligand, Polymer, job_structure
from anfinsen.weights import WeightsInfo


def small_job(name: str = "small") -> Job:
    """Two chains of a short peptide, a base pair's worth of DNA, ATP and an ion."""
    return Job(
        name=name,
        seeds=(1, 7),
        entities=(
            Polymer(kind="protein", ids=("A", "B"), sequence="GSWKYEAFLR"),
            Polymer(kind="dna", ids=("C",), sequence="ACGT"),
            Ligand(ids=("D",), ccd_codes=("ATP",)),
            Ligand(ids=("E",), ccd_codes=("MG",)),
        ),
    )


def made_prediction(
    job: Job | None = None,
    *,
    structure: Structure | None = None,
    library: ComponentLibrary | None = None,
    samples: int = 2,
) -> Prediction:
    """Return a prediction of ``job`` with numbers from fixed formulas; later samples are worse."""
    job = job or small_job()
    if structure is None or library is None:
        structure, library = job_structure(job)
    tokens, atoms = tokenise(structure, library, 1)
    return Prediction(
        job=job,
        structure=structure,
        library=library,
        tokens=tokens,
        seeds=tuple(_seed(structure, tokens, atoms, seed, samples) for seed in job.seeds),
        weights=WeightsInfo(name="made-up", path="", sha256="ab" * 32, preset="mini", metadata={"steps": "10"}),
        settings=RunSettings(samples=samples, recycles=1, steps=20, samples_at_once=samples, device="cpu"),
        versions={"anfinsen": "0.1.0", "torch": "2.0"},
        notes=("Chain A was inferred.",),
    )


def _seed(structure, tokens, atoms, seed: int, samples: int) -> SeedPrediction:
    rng = np.random.default_rng(seed)
    coordinates = np.stack([_coordinates(structure, atoms, rng, 0.3 * sample) for sample in range(samples)])
    confidences = tuple(_confidence(structure, tokens, x, rng, sample) for sample, x in enumerate(coordinates))
    centres = coordinates[0][tokens.center_atom]
    contacts = (np.linalg.norm(centres[:, None] - centres[None], axis=-1) < 8).astype(np.float32)
    return SeedPrediction(seed, coordinates, confidences, contacts)


def _coordinates(structure, atoms, rng, noise: float) -> np.ndarray:
    if structure.atoms.resolved.any():
        x = structure.atoms.coordinates
    else:  # reference conformers on a line, 4 Å apart: not a fold, but every atom has its own place
        offset = np.zeros((len(atoms), 3))
        offset[:, 0] = 4.0 * structure.atoms.residue
        x = atoms.ref_pos + offset
    return (x + noise * rng.normal(size=x.shape)).astype(np.float32)


def _confidence(structure, tokens, x, rng, sample: int) -> Confidence:
    n, chains = len(tokens), len(structure.chains)
    centres = x[tokens.center_atom]
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    same = tokens.chain[:, None] == tokens.chain[None]
    pae = np.clip(distance * np.where(same, 0.12, 0.35) + rng.random((n, n)) + sample, 0.3, 31.7).astype(np.float32)
    wave = 72 + 25 * np.sin(structure.atoms.residue / 9.0) - 4 * sample
    plddt = np.clip(wave, 0, 100).astype(np.float32)
    pair = np.clip(0.9 - 0.08 * np.abs(np.subtract.outer(np.arange(chains), np.arange(chains))) - 0.1 * sample, 0, 1)
    pae_min = np.array(
        [[pae[np.ix_(tokens.chain == i, tokens.chain == j)].min() for j in range(chains)] for i in range(chains)]
    )
    many = chains > 1
    iptm = float(pair[0].mean()) if many else None
    return Confidence(
        atom_plddt=plddt,
        pae=pae,
        pde=np.minimum(pae, pae.T),
        ptm=0.8,
        iptm=iptm,
        chain_ptm=pair.diagonal().copy(),
        chain_iptm=(pair.sum(1) - pair.diagonal()) / (chains - 1) if many else None,
        chain_pair_iptm=pair,
        chain_pair_pae_min=pae_min,
        fraction_disordered=0.1,
        has_clash=False,
        ranking_score=ranking_score(0.8, iptm, 0.1, False) - 0.01 * sample,
    )


def renamed(prediction: Prediction, name: str) -> Prediction:
    """Return the same prediction of a job called ``name``."""
    return dataclasses.replace(prediction, job=Job(**(dict(prediction.job) | {"name": name})))
