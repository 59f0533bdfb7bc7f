"""Sequence-local attention over atoms, into tokens and back (AlphaFold 3, Algorithms 5, 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anfinsen.nn.adaptive_layer_norm import lecun_
from anfinsen.nn.batch import Batch
from anfinsen.nn.diffusion_transformer import BlockModulation, DiffusionTransformer, DiffusionTransformerConfig
from anfinsen.nn.linear import linear
from anfinsen.nn.windows import WindowEdges, Windows, make_windows

from .atom_features import AtomConditioning, AtomConditioningConfig, AtomConditions


@dataclass(frozen=True)
class AtomAttentionConfig:
    """Sizes and variants of the atom encoder and decoder; the defaults are the released AlphaFold 3 code.

    Attributes:
        c_atom, c_atompair: widths of atoms and atom pairs. c_token: width of the tokens they become.
        blocks, heads: of each atom transformer. queries, keys: atoms in a window.
        window_edges: see `make_windows`.
        query_base: what the noisy positions are added to: "conditioned" (c with the trunk's single: released
            AlphaFold 3 code, OpenFold 3, Protenix) or "reference" (c before it: paper, Boltz).
        count_epsilon: added to a token's number of atoms before its mean is taken (OpenFold 3 1e-9, Boltz 1e-6).
        pair_norm, key_norm, projections: see `DiffusionTransformerConfig`.
        charge, offset, feature_offset, mask_features: see `AtomConditioningConfig`.
        checkpoint_blocks: see `DiffusionTransformerConfig`.
    """

    c_atom: int = 128
    c_atompair: int = 16
    c_token: int = 768
    blocks: int = 3
    heads: int = 4
    queries: int = 32
    keys: int = 128
    window_edges: WindowEdges = "shifted"
    query_base: Literal["conditioned", "reference"] = "conditioned"
    count_epsilon: float = 0.0
    pair_norm: Literal["shared", "block_scale", "block_affine"] = "shared"
    key_norm: Literal["shared", "own", "stacked"] = "own"
    projections: Literal[2, 3] = 2
    charge: Literal["arcsinh", "raw"] = "arcsinh"
    offset: bool = False
    feature_offset: bool = False
    mask_features: bool = True
    checkpoint_blocks: bool = False

    def transformer(self) -> DiffusionTransformerConfig:
        """Return the configuration of one atom transformer."""
        return DiffusionTransformerConfig(
            blocks=self.blocks,
            heads=self.heads,
            c_a=self.c_atom,
            c_s=self.c_atom,
            c_z=self.c_atompair,
            pair_norm=self.pair_norm,
            key_norm=self.key_norm,
            projections=self.projections,
            checkpoint_blocks=self.checkpoint_blocks,
        )

    def conditioning(self, c_s: int | None, c_z: int | None) -> AtomConditioningConfig:
        """Return the configuration of the atoms' conditioning."""
        return AtomConditioningConfig(
            c_atom=self.c_atom,
            c_atompair=self.c_atompair,
            c_s=c_s,
            c_z=c_z,
            charge=self.charge,
            offset=self.offset,
            feature_offset=self.feature_offset,
            mask_features=self.mask_features,
        )

    def atom_token(self, batch: Batch, dtype: torch.dtype) -> AtomToken:
        """Return which atoms belong to which token."""
        mask = batch.atom_mask.to(dtype)
        tokens = batch.token_mask.shape[0]
        count = mask.new_zeros(tokens).index_add(0, batch.atom_to_token, mask).clamp(min=1) + self.count_epsilon
        return AtomToken(batch.atom_to_token, batch.atom_to_token.where(batch.atom_mask, tokens), 1 / count)

    def windows(self, atom_mask: Bool[Tensor, " a"]) -> Windows:
        """Return the windows of a complex."""
        return make_windows(atom_mask, self.queries, self.keys, self.window_edges)


@dataclass(frozen=True)
class AtomToken:
    """Which atoms belong to which token.

    Attributes:
        index: the token of each atom. target: the same, but N for padding atoms. weight: 1 / (real atoms of a token).
    """

    index: Int[Tensor, " a"]
    target: Int[Tensor, " a"]
    weight: Float[Tensor, " n"]

    def mean(self, x: Float[Tensor, "*samples a c"]) -> Float[Tensor, "*samples n c"]:
        """Return the mean over the real atoms of each token."""
        tokens = self.weight.shape[0]
        total = x.new_zeros(*x.shape[:-2], tokens + 1, x.shape[-1]).index_add(-2, self.target, x)
        return total[..., :tokens, :] * self.weight[:, None]

    def spread(self, x: Float[Tensor, "*samples n c"]) -> Float[Tensor, "*samples a c"]:
        """Return each atom's token's row."""
        return x.index_select(-2, self.index)


class AtomAttentionEncoder(nn.Module):
    """From atoms to tokens (AlphaFold 3, Algorithm 5).

    ``conditioning`` and ``pair_biases`` are the part that does not depend on the noisy positions.
    """

    def __init__(self, config: AtomAttentionConfig, c_s: int | None = None, c_z: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.conditioning = AtomConditioning(config.conditioning(c_s, c_z))
        if c_s is not None:
            self.from_position = nn.Linear(3, config.c_atom, bias=False)
            lecun_(self.from_position.weight)
        self.transformer = DiffusionTransformer(config.transformer())
        self.to_token = nn.Linear(config.c_atom, config.c_token, bias=False)
        lecun_(self.to_token.weight)

    def query_base(self, conditions: AtomConditions) -> Float[Tensor, "a c_atom"]:
        """Return what the noisy positions are added to."""
        return conditions.single if self.config.query_base == "conditioned" else conditions.reference

    def forward(
        self,
        queries: Float[Tensor, "*samples a c_atom"],
        conditions: Float[Tensor, "a c_atom"] | Sequence[BlockModulation],
        biases: Float[Tensor, "blocks heads w q k"],
        windows: Windows,
        atom_token: AtomToken,
    ) -> tuple[Float[Tensor, "*samples n c_token"], Float[Tensor, "*samples a c_atom"]]:
        """Return token activations and, for the decoder, atom activations (Algorithm 5, lines 15-17).

        ``conditions`` are the atoms' conditioning (the paper's c) or the transformer's modulations made of it.
        """
        queries = self.transformer(queries, conditions, biases, windows)

        def tokens(x: Tensor) -> Tensor:
            return atom_token.mean(linear(x, self.to_token.weight, activation="relu"))

        if torch.is_grad_enabled() or queries.ndim == 2:
            return tokens(queries), queries
        return torch.stack([tokens(sample) for sample in queries]), queries


class AtomAttentionDecoder(nn.Module):
    """From tokens back to a displacement of each atom (AlphaFold 3, Algorithm 6)."""

    def __init__(self, config: AtomAttentionConfig) -> None:
        super().__init__()
        self.from_token = nn.Linear(config.c_token, config.c_atom, bias=False)
        self.transformer = DiffusionTransformer(config.transformer())
        self.norm = nn.LayerNorm(config.c_atom, bias=config.offset)
        self.to_position = nn.Linear(config.c_atom, 3, bias=False)
        lecun_(self.from_token.weight)
        nn.init.zeros_(self.to_position.weight)

    def forward(
        self,
        tokens: Float[Tensor, "*samples n c_token"],
        atoms: Float[Tensor, "*samples a c_atom"],
        conditions: Float[Tensor, "a c_atom"] | Sequence[BlockModulation],
        biases: Float[Tensor, "blocks heads w q k"],
        windows: Windows,
        atom_token: AtomToken,
    ) -> Float[Tensor, "*samples a 3"]:
        """Return the displacement of each atom, in the network's units."""
        atoms = atoms + atom_token.spread(self.from_token(tokens))
        atoms = self.transformer(atoms, conditions, biases, windows)
        displacement: Tensor = self.to_position(self.norm(atoms))
        return displacement
