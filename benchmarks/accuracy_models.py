"""The models of the benchmark: each takes an entry and gives the structure that the product would rank first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anfinsen.chemistry import Structure
from anfinsen.common.seeding import torch_generator
from anfinsen.features import Complex, FeatureConfig, featurise
from anfinsen.inference import alphafold1, alphafold2
from anfinsen.inference.confidence import Confidence, confidence, contact_probabilities
from anfinsen.inference.evaluation_files import ContactProbabilities, Predicted
from anfinsen.models.alphafold1 import AlphaFold1, RealisationConfig
from anfinsen.models.alphafold2 import AlphaFold2
from anfinsen.models.alphafold3 import AlphaFold3
from anfinsen.training.data_structures import hide_polymer_bonds
from anfinsen.training.examples import structure_example
from anfinsen.weights import ALPHAFOLD1_BUNDLED, ALPHAFOLD2_BUNDLED, BUNDLED, load_model
from anfinsen.weights.alphafold1 import is_alphafold1, load_alphafold1
from anfinsen.weights.alphafold2 import is_alphafold2, load_alphafold2

CONFORMER_SEED = 0
# Classes of protein chains: the least effective depth, and a name; the order of the tables.
ALIGNMENT_CLASSES = ((300, "neff >= 300"), (100, "neff 100-300"), (50, "neff 50-100"), (0, "neff < 50"))
NO_ALIGNMENT = "no alignment"
HELIX = "helix"  # stands among the models in the tables


@dataclass(frozen=True)
class Settings:
    """What decides the figures of an entry, besides the weights."""

    split: str
    samples: int
    steps: int
    recycles: int
    seed: int


@dataclass(frozen=True)
class Entry:
    """What is predicted.

    Attributes:
        prepared: chains, components, alignments. reference: the same molecules with their true coordinates.
        counted: chains (by index) whose ligands are scored. from_file: molecules as a file has them, with its bonds.
    """

    prepared: Complex
    reference: Structure
    counted: frozenset[int] = frozenset()
    from_file: bool = False

    @property
    def is_single_protein(self) -> bool:
        """Whether a model of one protein chain can fold it."""
        return len(self.reference.chains) == 1 and self.reference.chains[0].kind == "protein"


@dataclass(frozen=True)
class Model:
    """A loaded model. ``weights``: SHA-256 of its file, "" where untrained. ``fold``: called with entry and key."""

    name: str
    weights: str
    chains_only: bool
    fold: Callable[[Entry, str], Predicted]


def bundled() -> list[str]:
    """Return the names of the models whose weights are there, in the order of the papers."""
    folder = Path(__file__).resolve().parent.parent / "src" / "anfinsen" / "weights" / "bundled"
    files = {**ALPHAFOLD1_BUNDLED, **ALPHAFOLD2_BUNDLED, **BUNDLED}
    return [name for name, file in files.items() if (folder / file).is_file()]


def open_model(name: str, settings: Settings, device: str, config: RealisationConfig | None = None) -> Model:
    """Load a model by name or file; ``config``: of AlphaFold 1's folding.

    Raises:
        ConfigError, WeightsError: there is no such model, or its file cannot be used.
    """
    if is_alphafold1(name):
        network, found = load_alphafold1(name, device)
        return Model(name, found.sha256, True, lambda entry, _: _fold_alphafold1(network, entry, settings, config))
    if is_alphafold2(name):
        folder, about = load_alphafold2(name, device)
        return Model(name, about.sha256, True, lambda entry, _: _fold_alphafold2(folder, entry, settings))
    model, info = load_model(name, device)
    return Model(name, info.sha256, False, lambda entry, key: _fold_alphafold3(model, entry, settings, key))


def _fold_alphafold1(
    network: AlphaFold1, entry: Entry, settings: Settings, config: RealisationConfig | None
) -> Predicted:
    found = alphafold1.predict_seed(entry.prepared, network, settings.seed, settings.samples, config)
    return _predicted(entry, found.coordinates[0], found.confidences[0], found.contact_probs)


def _fold_alphafold2(model: AlphaFold2, entry: Entry, settings: Settings) -> Predicted:
    chains = alphafold2.PreparedChains.of(entry.prepared, model)
    found = alphafold2.predict_seed(chains, model, settings.seed, settings.samples, settings.recycles)
    best = int(np.argmax([each.ranking_score for each in found.confidences]))
    return _predicted(entry, found.coordinates[best], found.confidences[best], found.contact_probs)


@torch.no_grad()
def _fold_alphafold3(model: AlphaFold3, entry: Entry, settings: Settings, key: str) -> Predicted:
    """Run the trunk once, sample all structures in one batch, and return the one ranked first."""
    config = FeatureConfig(couplings=model.config.pair_couplings)
    if entry.from_file:
        # Disulfides are hidden, as a user seldom knows them.
        batch = hide_polymer_bonds(structure_example(entry.prepared, config, CONFORMER_SEED)[0])
    else:
        batch = featurise(entry.prepared, config, settings.seed)
    batch = batch.to(next(model.parameters()).device)
    generator = torch_generator(settings.seed, key)
    trunk = model.trunk(batch, recycles=settings.recycles, generator=generator)
    x = model.sample(batch, trunk, samples=settings.samples, steps=settings.steps, generator=generator)
    structure, chain = entry.prepared.structure, np.asarray(entry.prepared.tokens.chain)
    found = [
        confidence(model.confidence(batch, trunk, each[None]), each.float().cpu().numpy(), structure, batch, chain)
        for each in x
    ]
    best = int(np.argmax([each.ranking_score for each in found]))
    contacts = contact_probabilities(model.distogram_logits(trunk))
    return _predicted(entry, x[best].float().cpu().numpy(), found[best], contacts)


def _predicted(entry: Entry, x: np.ndarray, scores: Confidence, contacts: np.ndarray) -> Predicted:
    structure, tokens = entry.prepared.structure, entry.prepared.tokens
    atoms = dataclasses.replace(
        structure.atoms,
        coordinates=x.astype(np.float64),
        resolved=np.ones(len(x), dtype=bool),
        b_factor=scores.atom_plddt.astype(np.float64),
    )
    place: dict[tuple[str, int], int] = {}
    for row, (index, number) in enumerate(zip(tokens.chain, tokens.residue_index, strict=True)):
        chain = structure.chains[index]
        place.setdefault((chain.author_id or chain.chain_id, int(number)), row)
    return Predicted(
        structure=dataclasses.replace(structure, atoms=atoms),
        library=entry.prepared.library,
        contacts=ContactProbabilities(place, contacts.astype(np.float64)),
    )
