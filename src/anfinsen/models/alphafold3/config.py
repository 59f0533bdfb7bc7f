"""Every size of AlphaFold 3, once; the parts' configurations are derived from these numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from anfinsen.common.errors import ConfigError
from anfinsen.diffusion import ALPHAFOLD3_SAMPLER, SamplerConfig
from anfinsen.nn import PairformerConfig
from anfinsen.nn.diffusion_transformer import DiffusionTransformerConfig

from .atom_attention import AtomAttentionConfig
from .diffusion_conditioning import DiffusionConditioningConfig
from .diffusion_module import DiffusionModuleConfig
from .input_embedder import InputEmbedderConfig
from .msa_module import MsaModuleConfig
from .relative_position import RelativePositionConfig
from .template_embedder import TemplateEmbedderConfig


@dataclass(frozen=True)
class Variants:
    """Where published implementations differ; the defaults are the released AlphaFold 3 code.

    The values are those of the parts' configurations, which explain them.
    """

    ending_bias: Literal["ik", "ki"] = "ik"
    outer_product: Literal["after", "before"] = "after"
    msa_order: Literal["outer_product_first", "msa_first"] = "outer_product_first"
    use_msa_mask: bool = True
    chain_offsets: Literal["same_entity", "other_chain"] = "same_entity"
    relative_position_input: Literal["one_hot", "embedded"] = "one_hot"
    pair_norm: Literal["shared", "block_scale", "block_affine"] = "shared"
    window_edges: Literal["masked", "shifted"] = "shifted"
    query_base: Literal["conditioned", "reference"] = "conditioned"
    key_norm: Literal["shared", "own", "stacked"] = "own"
    projections: Literal[2, 3] = 2


@dataclass(frozen=True)
class AlphaFold3Config:
    """Sizes of the whole network; the defaults are the published ones (supplement; `full`).

    Attributes:
        c_s, c_z, c_m: widths of single, pair and MSA representations.
        c_token_inputs: width of the atom encoder's tokens in the trunk; c_token: in the diffusion module.
        c_atom, c_atompair, atom_blocks, atom_heads: the atom transformers.
        msa_blocks, msa_heads, c_msa_head, c_outer: the MSA module; msa_rows: rows sampled at each recycle.
        pairformer_blocks, heads_single, heads_pair, c_pair_attention, c_triangle: the Pairformer.
        template: the template embedder. confidence_blocks: Pairformer blocks of the confidence head.
        token_blocks, token_heads, c_noise: the diffusion module. sigma_data: Å.
        pair_couplings: whether the trunk also reads the couplings of each chain's alignment (not in the paper).
        confidence_row_means: whether the confidence head's single representation reads its pair representation directly
            (not in the paper).
        recycles, steps: used where the user asks for no number.
        dropout_pair, dropout_msa: rates while training. checkpoint_blocks: recompute blocks in the backward pass.
        sampler: how the diffusion module is sampled.
    """

    c_s: int = 384
    c_z: int = 128
    c_m: int = 64
    c_token_inputs: int = 384
    c_token: int = 768
    c_atom: int = 128
    c_atompair: int = 16
    atom_blocks: int = 3
    atom_heads: int = 4
    msa_blocks: int = 4
    msa_heads: int = 8
    c_msa_head: int = 8
    c_outer: int = 32
    msa_rows: int = 1024
    pairformer_blocks: int = 48
    heads_single: int = 16
    heads_pair: int = 4
    c_pair_attention: int = 32
    c_triangle: int = 128
    template: TemplateEmbedderConfig = field(default_factory=TemplateEmbedderConfig)
    confidence_blocks: int = 4
    token_blocks: int = 24
    token_heads: int = 16
    c_noise: int = 256
    pair_couplings: bool = False
    confidence_row_means: bool = False
    sigma_data: float = 16.0
    recycles: int = 10
    steps: int = 200
    dropout_pair: float = 0.25
    dropout_msa: float = 0.15
    checkpoint_blocks: bool = False
    variants: Variants = Variants()
    sampler: SamplerConfig = field(default_factory=lambda: ALPHAFOLD3_SAMPLER)

    def __post_init__(self) -> None:
        for width, heads, name in (
            (self.c_s, self.heads_single, "c_s and heads_single"),
            (self.c_token, self.token_heads, "c_token and token_heads"),
            (self.c_atom, self.atom_heads, "c_atom and atom_heads"),
        ):
            if heads < 1 or width % heads:
                raise ConfigError(f"Settings {name} do not fit: {width} channels cannot be split over {heads} heads.")

    @property
    def c_s_inputs(self) -> int:
        """Width of the input embedding (449 at full size)."""
        return self.input_embedder.c_s_inputs

    @property
    def pairformer(self) -> PairformerConfig:
        """One block of the trunk and of the confidence head."""
        return self._pair_block(self.c_s, self.c_z, self.dropout_pair)

    @property
    def template_block(self) -> PairformerConfig:
        """One block of the template embedder; the heads share its own width (published: 4 x 16 over 64)."""
        block = self._pair_block(0, self.template.c, self.dropout_pair)
        return replace(block, c_pair_attention=max(1, self.template.c // self.heads_pair))

    @property
    def msa(self) -> MsaModuleConfig:
        """The MSA module."""
        return MsaModuleConfig(
            blocks=self.msa_blocks,
            c_m=self.c_m,
            c_s_inputs=self.c_s_inputs,
            c_outer=self.c_outer,
            heads=self.msa_heads,
            c_head=self.c_msa_head,
            dropout_msa=self.dropout_msa,
            order=self.variants.msa_order,
            outer_product=self.variants.outer_product,
            last_block_msa=self.variants.msa_order == "msa_first",
            use_msa_mask=self.variants.use_msa_mask,
            pair=self._pair_block(0, self.c_z, self.dropout_pair),
        )

    @property
    def input_embedder(self) -> InputEmbedderConfig:
        """The input embedder."""
        return InputEmbedderConfig(atoms=self._atoms(self.c_token_inputs))

    @property
    def relative_position(self) -> RelativePositionConfig:
        """The relative position encoding of the trunk and the diffusion module."""
        return RelativePositionConfig(c_z=self.c_z, chain_offsets=self.variants.chain_offsets)

    @property
    def diffusion(self) -> DiffusionModuleConfig:
        """The diffusion module."""
        return DiffusionModuleConfig(
            sigma_data=self.sigma_data,
            conditioning=DiffusionConditioningConfig(
                c_s_inputs=self.c_s_inputs,
                c_s=self.c_s,
                c_z=self.c_z,
                c_cond=self.c_s,
                c_noise=self.c_noise,
                relative_position=self.relative_position,
                relative_position_input=self.variants.relative_position_input,
            ),
            atoms=self._atoms(self.c_token),
            transformer=DiffusionTransformerConfig(
                blocks=self.token_blocks,
                heads=self.token_heads,
                c_a=self.c_token,
                c_s=self.c_s,
                c_z=self.c_z,
                pair_norm=self.variants.pair_norm,
                projections=self.variants.projections,
                checkpoint_blocks=self.checkpoint_blocks,
            ),
        )

    def _pair_block(self, c_s: int, c_z: int, dropout: float) -> PairformerConfig:
        return PairformerConfig(
            c_s=c_s,
            c_z=c_z,
            heads_single=self.heads_single,
            heads_pair=self.heads_pair,
            c_pair_attention=self.c_pair_attention,
            c_triangle=min(self.c_triangle, c_z),
            dropout_pair=dropout,
            ending_bias=self.variants.ending_bias,
        )

    def _atoms(self, c_token: int) -> AtomAttentionConfig:
        variants = self.variants
        return AtomAttentionConfig(
            c_atom=self.c_atom,
            c_atompair=self.c_atompair,
            c_token=c_token,
            blocks=self.atom_blocks,
            heads=self.atom_heads,
            window_edges=variants.window_edges,
            query_base=variants.query_base,
            pair_norm=variants.pair_norm,
            key_norm=variants.key_norm,
            projections=variants.projections,
            checkpoint_blocks=self.checkpoint_blocks,
        )
