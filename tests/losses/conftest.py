"""A small made-up complex: protein, RNA, DNA and a ligand, with a padding token and padding atoms."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from anfinsen.common.seeding import torch_generator
from anfinsen.nn.batch import Batch, Labels

# (kind, atoms per token, tokens, chain) of each stretch; atom 0 of a token is its centre.
LAYOUT = ((0, 4, 6, 1), (1, 5, 4, 2), (2, 5, 4, 3), (3, 1, 5, 4))


def make_batch(padding: int = 2) -> Batch:
    kind, chain, size, number = [], [], [], []
    for stretch_kind, atoms, tokens, stretch_chain in LAYOUT:
        for i in range(tokens):
            kind.append(stretch_kind)
            chain.append(stretch_chain)
            size.append(atoms)
            number.append(1 if stretch_kind == 3 else i + 1)
    n, real = len(kind) + padding, len(kind)
    kind += [0] * padding
    chain += [0] * padding
    number += [0] * padding
    starts = torch.tensor([0, *size]).cumsum(0)
    atoms = int(starts[-1])
    atom_to_token = torch.cat(
        [torch.repeat_interleave(torch.arange(real), torch.tensor(size)), torch.full((2 * padding,), n - 1)]
    )
    a = len(atom_to_token)
    centre = torch.cat([starts[:-1], torch.zeros(padding, dtype=torch.long)])
    frames = torch.stack([centre, centre + 1, centre + 2], dim=-1).clamp(max=a - 1)
    frames[real - 5 : real] = torch.stack([centre[real - 5 : real] + d for d in (-1, 0, 1)], dim=-1).clamp(max=a - 1)
    token_mask = torch.arange(n) < real
    kinds, chains = torch.tensor(kind), torch.tensor(chain)
    restype = torch.zeros(n, dtype=torch.long)
    template = torch.zeros(0, n)
    return Batch(
        restype=restype,
        residue_index=torch.tensor(number),
        token_index=torch.arange(n),
        asym_id=chains,
        entity_id=chains,
        sym_id=torch.ones(n, dtype=torch.long),
        kind=kinds,
        is_standard=(kinds != 3) & token_mask,
        token_mask=token_mask,
        cyclic_period=torch.zeros(n, dtype=torch.long),
        profile=torch.zeros(n, 32),
        deletion_mean=torch.zeros(n),
        msa=restype[None],
        has_deletion=torch.zeros(1, n),
        deletion_value=torch.zeros(1, n),
        msa_mask=token_mask[None],
        token_bonds=torch.zeros(n, n, dtype=torch.bool),
        pair_couplings=torch.zeros(n, n, 0),
        atom_to_token=atom_to_token,
        atom_mask=torch.arange(a) < atoms,
        ref_pos=torch.zeros(a, 3),
        ref_mask=torch.ones(a, dtype=torch.bool),
        ref_element=torch.full((a,), 6),
        ref_charge=torch.zeros(a),
        ref_atom_name_chars=(torch.arange(a)[:, None] - starts[atom_to_token.clamp(max=real - 1), None]).expand(a, 4)
        % 64,
        ref_space_uid=atom_to_token,
        center_atom=centre,
        distogram_atom=torch.where(kinds == 3, centre, centre + 1),
        frame_atoms=frames,
        frame_mask=token_mask & (torch.arange(n) < real - 1),
        template_restype=template.long(),
        template_pseudo_beta=torch.zeros(0, n, 3),
        template_pseudo_beta_mask=template.bool(),
        template_backbone=torch.zeros(0, n, 3, 3),
        template_backbone_mask=template.bool(),
    )


@pytest.fixture
def batch() -> Batch:
    return make_batch()


@pytest.fixture
def labels(batch: Batch) -> Labels:
    atoms = len(batch.atom_mask)
    generator = torch_generator(11)
    # tokens 6 Å apart on a random walk, atoms around them: neighbours inside and outside of every radius
    walk = (6 * torch.nn.functional.normalize(torch.randn((len(batch.kind), 3), generator=generator), dim=-1)).cumsum(0)
    x = walk[batch.atom_to_token] + 1.5 * torch.randn((atoms, 3), generator=generator)
    resolved = torch.rand(atoms, generator=generator) > 0.1
    resolved[batch.center_atom[:3]] = True
    return Labels(coordinates=x, resolved=resolved & batch.atom_mask, bonds=torch.tensor([[0, 5], [60, 62], [64, 66]]))


@pytest.fixture
def make_oligomer() -> Callable[..., tuple[Batch, Labels]]:
    """Copies of one chain of single-atom tokens."""

    def build(copies: int, tokens: int) -> tuple[Batch, Labels]:
        n = copies * tokens
        chain = torch.arange(n) // tokens
        base = make_batch(padding=0)
        values = {}
        for field in dataclasses.fields(base):
            value = getattr(base, field.name)
            if field.name in ("token_bonds", "pair_couplings"):
                values[field.name] = value.new_zeros((n, n, *value.shape[2:]))
            elif field.name.startswith(("template", "msa", "has_", "deletion_v")):
                values[field.name] = value.new_zeros((value.shape[0], n, *value.shape[2:]))
            else:
                values[field.name] = value.new_zeros((n, *value.shape[1:]))
        index = torch.arange(n)
        values |= {
            "asym_id": chain + 1,
            "entity_id": torch.ones_like(chain),
            "sym_id": chain + 1,
            "residue_index": index % tokens,
            "token_mask": torch.ones(n, dtype=torch.bool),
            "atom_mask": torch.ones(n, dtype=torch.bool),
            "is_standard": torch.ones(n, dtype=torch.bool),
            "atom_to_token": index,
            "center_atom": index,
            "distogram_atom": index,
        }
        x = 10 * torch.randn((n, 3), generator=torch_generator(3))
        resolved = torch.ones(n, dtype=torch.bool)
        return Batch(**values), Labels(coordinates=x, resolved=resolved, bonds=torch.zeros((0, 2), dtype=torch.long))

    return build
