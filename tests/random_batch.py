"""A random `Batch` of a small complex, and the same with padding added."""

from __future__ import annotations

import dataclasses

import torch

from anfinsen.nn.batch import Batch


def random_batch(tokens: int = 10, seed: int = 0, atoms_per_token: tuple[int, int] = (1, 5)) -> Batch:
    g = torch.Generator().manual_seed(seed)

    def integers(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=g)

    counts = torch.randint(*atoms_per_token, (tokens,), generator=g)
    atom_to_token = torch.repeat_interleave(torch.arange(tokens), counts)
    atoms = len(atom_to_token)
    chain = (torch.arange(tokens) * 3) // tokens
    first = torch.cumsum(counts, 0) - counts
    ones, zeros = torch.ones(tokens, dtype=torch.bool), torch.zeros(tokens, dtype=torch.long)
    return Batch(
        restype=integers(32, tokens),
        residue_index=torch.arange(tokens) + 1,
        token_index=torch.arange(tokens),
        asym_id=chain + 1,
        entity_id=(chain > 1).long() + 1,
        sym_id=torch.where(chain > 1, 1, chain + 1),
        kind=zeros,
        is_standard=ones,
        token_mask=ones,
        cyclic_period=zeros,
        profile=torch.softmax(torch.randn(tokens, 32, generator=g), -1),
        deletion_mean=torch.rand(tokens, generator=g),
        msa=integers(32, 4, tokens),
        has_deletion=integers(2, 4, tokens).float(),
        deletion_value=torch.rand(4, tokens, generator=g),
        msa_mask=torch.ones(4, tokens, dtype=torch.bool),
        token_bonds=torch.zeros(tokens, tokens, dtype=torch.bool),
        pair_couplings=torch.zeros(tokens, tokens, 0),
        atom_to_token=atom_to_token,
        atom_mask=torch.ones(atoms, dtype=torch.bool),
        ref_pos=3 * torch.randn(atoms, 3, generator=g),
        ref_mask=torch.ones(atoms, dtype=torch.bool),
        ref_element=integers(128, atoms),
        ref_charge=integers(3, atoms).float() - 1,
        ref_atom_name_chars=integers(64, atoms, 4),
        ref_space_uid=atom_to_token // 2,
        center_atom=first,
        distogram_atom=first,
        frame_atoms=first[:, None].expand(tokens, 3).clone(),
        frame_mask=torch.zeros(tokens, dtype=torch.bool),
        template_restype=torch.zeros(0, tokens, dtype=torch.long),
        template_pseudo_beta=torch.zeros(0, tokens, 3),
        template_pseudo_beta_mask=torch.zeros(0, tokens, dtype=torch.bool),
        template_backbone=torch.zeros(0, tokens, 3, 3),
        template_backbone_mask=torch.zeros(0, tokens, dtype=torch.bool),
    )


_TOKEN_LAST = {"msa", "has_deletion", "deletion_value", "msa_mask"}
_ATOM_FIELDS = {
    "atom_to_token", "atom_mask", "ref_pos", "ref_mask", "ref_element", "ref_charge", "ref_atom_name_chars",
    "ref_space_uid",
}  # fmt: skip


def pad_batch(batch: Batch, tokens: int, atoms: int) -> Batch:
    """Append masked tokens and atoms whose other features are not neutral."""
    fields: dict[str, torch.Tensor] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if field.name == "token_bonds":
            fields[field.name] = torch.nn.functional.pad(value, (0, tokens, 0, tokens), value=True)
            continue
        if field.name == "pair_couplings":
            fields[field.name] = torch.nn.functional.pad(value, (0, 0, 0, tokens, 0, tokens), value=1.0)
            continue
        dim = 1 if field.name in _TOKEN_LAST or field.name.startswith("template") else 0
        extra = atoms if field.name in _ATOM_FIELDS else tokens
        shape = list(value.shape)
        shape[dim] = extra
        filler = torch.zeros(shape, dtype=value.dtype)
        if not field.name.endswith("_mask") or field.name == "ref_mask":
            filler = filler + (1 if value.dtype != torch.bool else True)
        fields[field.name] = torch.cat([value, filler.to(value.dtype)], dim)
    return Batch(**fields)
