"""The whole network with one block of everything, and small complexes from jobs to run it on."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from anfinsen.chemistry.tokens import GAP
from anfinsen.features import BATCH_AXES, Complex, complex_from_structure, featurise
from anfinsen.jobs import Job, job_structure
from anfinsen.models.alphafold3 import AlphaFold3, AlphaFold3Config, TemplateEmbedderConfig
from anfinsen.nn.batch import Batch

TINY = AlphaFold3Config(
    c_s=16,
    c_z=8,
    c_m=8,
    c_token_inputs=16,
    c_token=16,
    c_atom=16,
    c_atompair=4,
    atom_blocks=1,
    atom_heads=2,
    msa_blocks=1,
    msa_heads=2,
    c_msa_head=4,
    c_outer=4,
    msa_rows=4,
    pairformer_blocks=1,
    heads_single=2,
    heads_pair=2,
    c_pair_attention=4,
    c_triangle=8,
    template=TemplateEmbedderConfig(blocks=1, c=8),
    confidence_blocks=1,
    token_blocks=1,
    token_heads=2,
    c_noise=8,
    recycles=1,
    steps=4,
    dropout_pair=0.0,
    dropout_msa=0.0,
)


def tiny_model(config: AlphaFold3Config = TINY, seed: int = 0) -> AlphaFold3:
    """Return a model in evaluation mode whose weights are all random: zero-initialised layers would hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AlphaFold3(config)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return model.eval()


def complex_of(*entities: dict[str, object], seed: int = 0) -> Complex:
    """Return the complex of a job with these entities."""
    structure, library = job_structure(Job.model_validate({"name": "test", "entities": entities}))
    return complex_from_structure(structure, library, {}, seed)


def batch_of(*entities: dict[str, object]) -> Batch:
    """Return the features of a job with these entities."""
    return featurise(complex_of(*entities))


def reorder(batch: Batch, tokens: np.ndarray) -> tuple[Batch, torch.Tensor]:
    """Return ``batch`` with its tokens, and their atoms with them, in another order; and the order of the atoms."""
    order = torch.as_tensor(tokens)
    atoms = torch.cat([(batch.atom_to_token == token).nonzero()[:, 0] for token in order.tolist()])
    token_place, atom_place = torch.argsort(order), torch.argsort(atoms)
    fields = {}
    for name, axes in BATCH_AXES.items():
        value = getattr(batch, name)
        for axis, letter in enumerate(axes.split()):
            if letter in "NA":
                value = value.index_select(axis, order if letter == "N" else atoms)
        fields[name] = value
    fields["atom_to_token"] = token_place[fields["atom_to_token"]]
    for name in ("center_atom", "distogram_atom", "frame_atoms"):
        fields[name] = atom_place[fields[name]]
    return Batch(**fields), atoms


def with_templates(batch: Batch, count: int, seed: int = 0) -> Batch:
    """Return ``batch`` with random templates, parts of which are missing."""
    generator = torch.Generator().manual_seed(seed)
    n = len(batch.restype)
    beta = 8 * torch.randn(count, n, 3, generator=generator)
    return dataclasses.replace(
        batch,
        template_restype=torch.randint(0, 20, (count, n), generator=generator),
        template_pseudo_beta=beta,
        template_pseudo_beta_mask=torch.rand(count, n, generator=generator) < 0.8,
        template_backbone=beta[:, :, None] + 1.5 * torch.randn(count, n, 3, 3, generator=generator),
        template_backbone_mask=torch.rand(count, n, generator=generator) < 0.8,
    )


def pad_batch(batch: Batch, tokens: int, atoms: int) -> Batch:
    """Return ``batch`` with masked tokens and atoms appended, up to ``tokens`` and ``atoms``.

    Padding atoms belong to the last token.
    """
    a = len(batch.atom_to_token)
    sizes = {"N": tokens, "A": atoms, "S": len(batch.msa), "T": len(batch.template_restype)}
    padded = {}
    for field in dataclasses.fields(batch):
        value: torch.Tensor = getattr(batch, field.name)
        axes = BATCH_AXES[field.name].split()
        shape = [sizes[axis] for axis in axes] + list(value.shape[len(axes) :])
        larger = torch.full(
            shape, GAP if field.name in ("msa", "restype", "template_restype") else 0, dtype=value.dtype
        )
        larger[tuple(slice(0, size) for size in value.shape)] = value
        padded[field.name] = larger
    padded["atom_to_token"][a:] = tokens - 1
    return Batch(**padded)
