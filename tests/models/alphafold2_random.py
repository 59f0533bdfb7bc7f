"""A small AlphaFold 2 with random weights, and random features for it."""

import dataclasses

import torch
from torch import Tensor

from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Config
from anfinsen.nn.batch import AlphaFold2Batch

MONOMER = AlphaFold2Config(
    predicts_pae=True,
    c_m=16,
    c_z=8,
    c_s=24,
    c_e=8,
    c_t=8,
    evoformer_blocks=2,
    extra_blocks=2,
    template_blocks=1,
    heads_msa=2,
    heads_pair=2,
    c_outer=4,
    c_triangle=8,
    layers=2,
    heads_points=3,
    c_points=4,
    query_points=2,
    value_points=3,
    c_torsions=8,
    c_plddt=8,
)
MULTIMER = dataclasses.replace(MONOMER, architecture="multimer", position_scale=20.0)
CONFIGS = {"monomer": MONOMER, "multimer": MULTIMER}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_model(config: AlphaFold2Config, seed: int = 0) -> AlphaFold2:
    """Zero-initialised layers hide errors."""
    model = AlphaFold2(config)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.2
            offset = 1.0 if parameter.dim() == 1 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator(seed)) * spread + offset)
            seed += 1
        # Frames that turn by every angle at once say nothing about precision.
        model.structure.backbone_update.weight[:3] *= 0.1
        model.structure.backbone_update.weight[3:] *= 3  # distances that the recycling tells apart
        model.structure.backbone_update.bias.zero_()
    return model.double().eval()


def random_batch(
    residues: int = 9, rows: int = 4, extra: int = 5, templates: int = 2, seed: int = 0
) -> AlphaFold2Batch:
    draw = generator(seed)
    n = residues

    def number(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw, dtype=torch.float64)

    def which(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=draw)

    def mask(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw) < 0.8

    first = n // 2
    angles = 6.28 * number(templates, n, 7)
    torsions = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return AlphaFold2Batch(
        aatype=which(20, n),
        residue_index=torch.cat([torch.arange(first), torch.arange(n - first)]),
        asym_id=(torch.arange(n) >= first).long(),
        entity_id=torch.zeros(n, dtype=torch.long),
        sym_id=(torch.arange(n) >= first).long(),
        mask=torch.ones(n, dtype=torch.bool),
        msa=which(23, rows, n),
        has_deletion=which(2, rows, n).double(),
        deletion_value=number(rows, n),
        deletion_mean=number(rows, n),
        cluster_profile=number(rows, n, 23),
        msa_mask=torch.ones(rows, n, dtype=torch.bool),
        extra_msa=which(23, extra, n),
        extra_has_deletion=which(2, extra, n).double(),
        extra_deletion_value=number(extra, n),
        extra_msa_mask=mask(extra, n),
        pair_couplings=torch.zeros(n, n, 0, dtype=torch.float64),
        template_aatype=which(22, templates, n),
        template_mask=torch.ones(templates, dtype=torch.bool),
        template_pseudo_beta=20 * number(templates, n, 3),
        template_pseudo_beta_mask=mask(templates, n),
        template_backbone=20 * number(templates, n, 3, 3),
        template_backbone_mask=mask(templates, n),
        template_torsions=torsions,
        template_alternative_torsions=torsions,
        template_torsion_mask=mask(templates, n, 7),
    )


def padded(batch: AlphaFold2Batch, residues: int, rows: int, extra: int) -> AlphaFold2Batch:
    """The batch with masked residues and rows at the end, filled with something."""
    values = {}
    n, s, e = len(batch.aatype), len(batch.msa), len(batch.extra_msa)
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        longer = {n: n + residues, s: s + rows, e: e + extra}
        shape = [longer.get(size, size) for size in value.shape]
        if field.name.startswith("template"):
            shape = [value.shape[0], *(longer[n] if place == 0 else size for place, size in enumerate(value.shape[1:]))]
            shape = shape[: value.dim()]
        full = torch.zeros(shape, dtype=value.dtype) if "mask" in field.name else torch.ones(shape, dtype=value.dtype)
        full[tuple(slice(size) for size in value.shape)] = value
        values[field.name] = full
    return AlphaFold2Batch(**values)
