"""One run of a model's network on a job, for whoever looks inside: no ranking, no structures, no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from anfinsen.common.seeding import gaussian, numpy_generator, torch_generator
from anfinsen.diffusion import alphafold3_sigmas
from anfinsen.features import Complex, FeatureConfig, featurise, prepare_job
from anfinsen.jobs import Job
from anfinsen.models.alphafold1.tiling import cut
from anfinsen.models.alphafold2 import AlphaFold2
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.nn.batch import Batch

from .alphafold1 import AlphaFold1Predictor, chain_features, chain_query
from .alphafold2 import AlphaFold2Predictor, PreparedChains
from .alphafold3 import AlphaFold3Predictor
from .predictor import Predictor


@dataclass(frozen=True)
class NetworkRun:
    """A network that is ready to run on one job.

    Attributes:
        model: the network. run: runs the parts of it that module ``path`` needs (dotted name), once.
        tokens: the name of each token (residue, or atom of a ligand), such as "G1".
    """

    model: nn.Module
    run: Callable[[str], object]
    tokens: tuple[str, ...]


def network_run(predictor: Predictor, job: Job) -> NetworkRun:
    """Return the network of ``predictor`` on ``job``, with the job's first seed.

    Raises:
        JobError, ChemistryError, AlignmentError: the job cannot be used with this model.
    """
    job = predictor.with_seeds(job)
    seed = job.seeds[0]
    prepared = prepare_job(job, seed)
    names = token_names(prepared)
    if isinstance(predictor, AlphaFold1Predictor):
        network = predictor.network
        query = chain_query(prepared)
        features = chain_features(prepared, query, network.config.c_pair_in)
        crops = cut(features.single, features.pair, [(0, 0)], network.config.crop).to(predictor.device)
        return NetworkRun(network, lambda path: network(crops), names)
    if isinstance(predictor, AlphaFold2Predictor):
        return _alphafold2(predictor, prepared, seed, names)
    assert isinstance(predictor, AlphaFold3Predictor)
    batch = featurise(prepared, FeatureConfig(couplings=predictor.model.config.pair_couplings), seed)
    run = _AlphaFold3Run(predictor.model, batch.to(predictor.device), predictor.recycles, predictor.steps, seed)
    return NetworkRun(predictor.model, run, names)


def network_of(predictor: Predictor) -> nn.Module:
    """Return the network of a predictor."""
    if isinstance(predictor, AlphaFold1Predictor):
        return predictor.network
    assert isinstance(predictor, (AlphaFold2Predictor, AlphaFold3Predictor))
    return predictor.model


def _alphafold2(predictor: AlphaFold2Predictor, prepared: Complex, seed: int, names: tuple[str, ...]) -> NetworkRun:
    chains = PreparedChains.of(prepared, predictor.model)
    model: AlphaFold2 = predictor.model

    def run(path: str) -> object:
        def draw(cycle: int) -> object:
            return chains.inputs.draw(numpy_generator(seed, "alphafold2", 0, cycle)).to(predictor.device)

        return model(draw(0), recycles=predictor.recycles, resample=draw)

    return NetworkRun(model, run, names)


@dataclass(frozen=True)
class _AlphaFold3Run:
    """The trunk, and one denoising from pure noise or the heads where a part of them is asked for."""

    model: AlphaFold3
    batch: Batch
    recycles: int
    steps: int
    seed: int

    def __call__(self, path: str) -> object:
        trunk = self.model.trunk(self.batch, recycles=self.recycles, generator=torch_generator(self.seed, "msa"))
        if path.startswith("diffusion"):
            config = self.model.config.diffusion
            level = alphafold3_sigmas(self.steps, sigma_data=config.sigma_data)[:1].to(trunk.single)
            shape = (1, self.batch.atom_mask.shape[0], 3)
            noise: Tensor = gaussian(shape, [torch_generator(self.seed, "diffusion", 0)]).to(trunk.single)
            cache = self.model.diffusion.precompute(self.batch, trunk.s_inputs, trunk.single, trunk.pair)
            return self.model.diffusion(level * noise, level, self.batch, cache)
        if path.startswith("distogram"):
            return self.model.distogram_logits(trunk)
        if path.startswith("confidence_head"):
            with torch.no_grad():
                generator = [torch_generator(self.seed, "diffusion", 0)]
                atoms = self.model.sample(self.batch, trunk, samples=1, steps=self.steps, generator=generator)
            return self.model.confidence(self.batch, trunk, atoms)
        return trunk


def token_names(prepared: Complex) -> tuple[str, ...]:
    """Return how the tokens are called: "G1"; with several chains "A.G1", and atoms of ligands "B.GDP1.C5"."""
    structure, tokens = prepared.structure, prepared.tokens
    several = len(structure.chains) > 1
    names = []
    for index in range(len(tokens)):
        chain = structure.chains[int(tokens.chain[index])]
        number = int(tokens.residue_index[index])
        code = str(structure.residues.name[int(tokens.residue[index])])
        letter = chain.sequence[number - 1] if chain.sequence and tokens.is_standard[index] else code
        name = f"{chain.chain_id}.{letter}{number}" if several else f"{letter}{number}"
        if not tokens.is_standard[index]:
            name += f".{np.asarray(structure.atoms.name)[int(tokens.atom_start[index])]}"
        names.append(name)
    return tuple(names)
