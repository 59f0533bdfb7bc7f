"""`Batch` and `AlphaFold2Batch`: everything the networks see, as tensors; no names, no strings.

They stand in `nn` because both `features` (which fills them) and `models` (which read them) must import them.
Field names of `Batch` are those of AlphaFold 3's supplement, table 5.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

COUPLING_CHANNELS = 5  # of ``pair_couplings`` where couplings were asked for

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
class AlphaFold2Batch(_OnDevice):
    """What AlphaFold 2 and AlphaFold-Multimer see of one complex in one pass.

    N residues, S clustered MSA rows (the first is the query; S is at least 1), E extra MSA rows, T templates; E and T
    may be 0. Masked residues change nothing. Coordinates in Å. Names are those of AlphaFold 2's supplement, table 1.

    Attributes:
        aatype: 0..20, in the order ARNDCQEGHILKMFPSTWYV, then unknown. residue_index: position in the chain.
        asym_id, entity_id, sym_id: chain, sequence and copy (read by the multimer architecture only).
        mask: real residues.
        msa: 0..22, as ``aatype``, then gap and masked. has_deletion: 0 or 1.
        deletion_value, deletion_mean: (2/pi) arctan(d/3) of the row's own deletions and of its cluster's mean.
        cluster_profile: distribution over the 23 types in each row's cluster.
        extra_*: the same for rows that are not cluster centres.
        pair_couplings: how columns of a chain's alignment are coupled, as in `Batch`; no channels (K = 0) where
            couplings were not asked for.
        template_aatype: 0..21, 21 where nothing is aligned. template_mask: templates that exist; multimer does not read
            it, and averages over padding too.
        template_pseudo_beta: CB (CA of glycine); template_backbone: N, CA, C; template_*_mask: which are known.
        template_torsions: sine and cosine of omega, phi, psi and chi 1-4; template_alternative_torsions: the same with
            the chi of symmetric ends turned by pi.
    """

    aatype: Int[Tensor, "N"]
    residue_index: Int[Tensor, "N"]
    asym_id: Int[Tensor, "N"]
    entity_id: Int[Tensor, "N"]
    sym_id: Int[Tensor, "N"]
    mask: Bool[Tensor, "N"]
    msa: Int[Tensor, "S N"]
    has_deletion: Float[Tensor, "S N"]
    deletion_value: Float[Tensor, "S N"]
    deletion_mean: Float[Tensor, "S N"]
    cluster_profile: Float[Tensor, "S N 23"]
    msa_mask: Bool[Tensor, "S N"]
    extra_msa: Int[Tensor, "E N"]
    extra_has_deletion: Float[Tensor, "E N"]
    extra_deletion_value: Float[Tensor, "E N"]
    extra_msa_mask: Bool[Tensor, "E N"]
    pair_couplings: Float[Tensor, "N N K"]
    template_aatype: Int[Tensor, "T N"]
    template_mask: Bool[Tensor, "T"]
    template_pseudo_beta: Float[Tensor, "T N 3"]
    template_pseudo_beta_mask: Bool[Tensor, "T N"]
    template_backbone: Float[Tensor, "T N 3 3"]
    template_backbone_mask: Bool[Tensor, "T N"]
    template_torsions: Float[Tensor, "T N 7 2"]
    template_alternative_torsions: Float[Tensor, "T N 7 2"]
    template_torsion_mask: Bool[Tensor, "T N 7"]


@dataclass(frozen=True)
class Labels(_OnDevice):
    """What training compares with, for the same atoms as a `Batch`.

    Attributes:
        coordinates: Å, true positions; for unresolved atoms a plausible place near their residue, where noise starts.
        resolved: atoms whose true position is known.
        bonds: index pairs of atoms bonded across tokens where one side is a ligand or modified residue (bond loss).
        weight: scale of the whole example (1 unless a data set says so).
        predicted: whether a model, and no experiment, made the coordinates: nothing about confidence is learnt of them.
    """

    coordinates: Float[Tensor, "A 3"]
    resolved: Bool[Tensor, "A"]
    bonds: Int[Tensor, "B 2"]
    weight: float = 1.0
    predicted: bool = False
