"""`Batch`: everything the networks see, as tensors; no names, no strings.

It stands in `nn` because both `features` (which fills it) and `models` (which read it) must import it.
Field names are those of AlphaFold 3's supplement, table 5.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

COUPLING_CHANNELS = 5  # of `Batch.pair_couplings` where couplings were asked for

# Not typing.Self: beartype's import hook decorates methods one by one and refuses it.
_Moved = TypeVar("_Moved", bound="_OnDevice")


@dataclass(frozen=True)
class _OnDevice:
    def to(self: _Moved, device: torch.device | str) -> _Moved:
        """Return a copy with every tensor on ``device``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return type(self)(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})


@dataclass(frozen=True)
class Batch(_OnDevice):
    """Features of one complex: N tokens, A atoms, S MSA rows, T templates (S and T may be 0... S is at least 1).

    Padding: masked tokens and atoms change nothing. Indices into atoms or tokens are always in range, also for
    padding. Coordinates in Å.

    Attributes:
        restype: 0..31 (`chemistry.tokens.RESTYPES`). residue_index, token_index, asym_id, entity_id, sym_id: integers.
        kind: 0 protein, 1 RNA, 2 DNA, 3 ligand. token_mask: real tokens.
        cyclic_period: length of the cyclic polymer a token is in, 0 for open chains.
        profile: distribution over 32 residue types across MSA rows. deletion_mean: mean deletions at a column.
        msa, has_deletion, deletion_value, msa_mask: MSA rows, first row the query; deletion_value = (2/pi) arctan(d/3).
        token_bonds: bonds between tokens where at least one is not a whole standard residue, symmetric, and bonds
            between polymer residues other than successive ones.
        pair_couplings: how columns of a chain's alignment are coupled (`features.couplings`); no channels (K = 0) where
            couplings were not asked for, and zeros where a pair has none.
        atom_to_token, atom_mask, ref_*: see `chemistry.tokens.Atoms`; ref_element up to 127.
        center_atom, distogram_atom, frame_atoms, frame_mask: see `chemistry.tokens.Tokens`.
        template_restype: 0..31, gap where not aligned. template_pseudo_beta: CB (CA of glycine);
            template_backbone: N, CA, C. template_*_mask: which exist.
    """

    restype: Int[Tensor, "N"]
    residue_index: Int[Tensor, "N"]
    token_index: Int[Tensor, "N"]
    asym_id: Int[Tensor, "N"]
    entity_id: Int[Tensor, "N"]
    sym_id: Int[Tensor, "N"]
    kind: Int[Tensor, "N"]
    is_standard: Bool[Tensor, "N"]
    token_mask: Bool[Tensor, "N"]
    cyclic_period: Int[Tensor, "N"]
    profile: Float[Tensor, "N 32"]
    deletion_mean: Float[Tensor, "N"]
    msa: Int[Tensor, "S N"]
    has_deletion: Float[Tensor, "S N"]
    deletion_value: Float[Tensor, "S N"]
    msa_mask: Bool[Tensor, "S N"]
    token_bonds: Bool[Tensor, "N N"]
    pair_couplings: Float[Tensor, "N N K"]
    atom_to_token: Int[Tensor, "A"]
    atom_mask: Bool[Tensor, "A"]
    ref_pos: Float[Tensor, "A 3"]
    ref_mask: Bool[Tensor, "A"]
    ref_element: Int[Tensor, "A"]
    ref_charge: Float[Tensor, "A"]
    ref_atom_name_chars: Int[Tensor, "A 4"]
    ref_space_uid: Int[Tensor, "A"]
    center_atom: Int[Tensor, "N"]
    distogram_atom: Int[Tensor, "N"]
    frame_atoms: Int[Tensor, "N 3"]
    frame_mask: Bool[Tensor, "N"]
    template_restype: Int[Tensor, "T N"]
    template_pseudo_beta: Float[Tensor, "T N 3"]
    template_pseudo_beta_mask: Bool[Tensor, "T N"]
    template_backbone: Float[Tensor, "T N 3 3"]
    template_backbone_mask: Bool[Tensor, "T N"]


@dataclass(frozen=True)
class Labels(_OnDevice):
    """What training compares with, for the same atoms as a `Batch`.

    Attributes:
        coordinates: Å, true positions; for unresolved atoms a plausible place near their residue, where noise starts.
        resolved: atoms whose true position is known.
        bonds: index pairs of atoms bonded across tokens where one side is a ligand or modified residue (bond loss).
        weight: scale of the whole example (1 unless a data set says so).
    """

    coordinates: Float[Tensor, "A 3"]
    resolved: Bool[Tensor, "A"]
    bonds: Int[Tensor, "B 2"]
    weight: float = 1.0
