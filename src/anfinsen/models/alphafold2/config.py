"""Every size of AlphaFold 2, once; the parts' configurations are derived from these numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anfinsen.common.errors import ConfigError
from anfinsen.nn import PairformerConfig

from .embedders import TARGET_TYPES
from .evoformer import EvoformerConfig
from .invariant_point_attention import PointAttentionConfig
from .structure_module import StructureModuleConfig
from .templates import TemplateConfig

Architecture = Literal["monomer", "multimer"]


@dataclass(frozen=True)
class AlphaFold2Config:
    """Sizes of the whole network; the defaults are the published ones (models 1 and 2).

    Attributes:
        architecture: "monomer", or "multimer" (version 3; 1 and 2 differ in how their files lay out weights). The
            multimer knows chains, averages templates, begins blocks with the outer product mean, and has no biases on
            the scalar queries, keys and values of the structure module.
        templates: whether there is a template embedder (not in models 3-5 of the monomer).
        predicts_pae: whether there is a head for the predicted aligned error ("ptm" models, multimer).
        pair_couplings: whether the trunk also reads the couplings of each chain's alignment (not in the paper).
        c_m, c_z, c_s, c_e, c_t: widths of the MSA, pair, single, extra MSA and template representations.
        evoformer_blocks, extra_blocks, template_blocks: depths.
        heads_msa, heads_pair: attention heads over alignments and pairs; they share the width of the representation.
        c_outer, c_triangle: hidden widths of outer product mean and triangle multiplication.
        layers, heads_points, c_points, query_points, value_points, c_torsions, torsion_blocks: the structure module.
        position_scale: Å per unit of length in the structure module. c_plddt: hidden width of the pLDDT head.
        largest_offset, largest_copy: largest residue and copy offsets told apart.
        msa_rows, extra_rows, template_count: how much of alignment and templates one pass sees.
        extra_query: whether the query stands as an extra row where there are no others (see
            `features.alphafold2_msa.AlphaFold2MsaConfig`).
        recycles: used where the user asks for no number. recycle_tolerance: Å; recycling ends once the distances
            between CA change less than this (root mean square); 0: never.
        dropout_msa, dropout_pair, dropout_structure: rates while training.
        checkpoint_blocks: recompute blocks in the backward pass.
    """

    architecture: Architecture = "monomer"
    templates: bool = True
    predicts_pae: bool = False
    pair_couplings: bool = False
    c_m: int = 256
    c_z: int = 128
    c_s: int = 384
    c_e: int = 64
    c_t: int = 64
    evoformer_blocks: int = 48
    extra_blocks: int = 4
    template_blocks: int = 2
    heads_msa: int = 8
    heads_pair: int = 4
    c_outer: int = 32
    c_triangle: int = 128
    layers: int = 8
    heads_points: int = 12
    c_points: int = 16
    query_points: int = 4
    value_points: int = 8
    c_torsions: int = 128
    torsion_blocks: int = 2
    position_scale: float = 10.0
    c_plddt: int = 128
    largest_offset: int = 32
    largest_copy: int = 2
    msa_rows: int = 512
    extra_rows: int = 5120
    template_count: int = 4
    extra_query: bool = False
    recycles: int = 3
    recycle_tolerance: float = 0.0
    dropout_msa: float = 0.15
    dropout_pair: float = 0.25
    dropout_structure: float = 0.1
    checkpoint_blocks: bool = False

    def __post_init__(self) -> None:
        for name, heads in (("c_m", "heads_msa"), ("c_e", "heads_msa"), ("c_z", "heads_pair"), ("c_t", "heads_pair")):
            width, count = getattr(self, name), getattr(self, heads)
            if count < 1 or width % count:
                raise ConfigError(
                    f"Settings {name} and {heads} do not fit: {width} channels cannot be split over {count} heads."
                )

    @property
    def multimer(self) -> bool:
        """Whether this is the multimer's architecture."""
        return self.architecture == "multimer"

    @property
    def c_target(self) -> int:
        """Width of the target features: 21 residue types, and in the monomer a column that is always 0."""
        return TARGET_TYPES if self.multimer else TARGET_TYPES + 1

    @property
    def masked_msa_classes(self) -> int:
        """Classes of the masked MSA head: 20 amino acids, unknown and gap, and in the monomer the mask itself."""
        return 22 if self.multimer else 23

    @property
    def evoformer(self) -> EvoformerConfig:
        """One block of the Evoformer."""
        return EvoformerConfig(
            c_m=self.c_m,
            heads=self.heads_msa,
            c_head=self.c_m // self.heads_msa,
            c_outer=self.c_outer,
            outer_product_first=self.multimer,
            dropout_msa=self.dropout_msa,
            pair=self._pair_block(self.c_z, self.c_triangle, transition_factor=4, attention_first=False),
        )

    @property
    def extra(self) -> EvoformerConfig:
        """One block of the extra MSA stack."""
        return EvoformerConfig(
            c_m=self.c_e,
            heads=self.heads_msa,
            c_head=self.c_e // self.heads_msa,
            c_outer=self.c_outer,
            outer_product_first=self.multimer,
            global_columns=True,
            dropout_msa=self.dropout_msa,
            pair=self._pair_block(self.c_z, self.c_triangle, transition_factor=4, attention_first=False),
        )

    @property
    def template(self) -> TemplateConfig:
        """The template embedder."""
        return TemplateConfig(
            c_t=self.c_t,
            blocks=self.template_blocks,
            heads=self.heads_pair,
            c_head=self.c_t // self.heads_pair,
            combination="average" if self.multimer else "attention",
            block=self._pair_block(self.c_t, self.c_t, transition_factor=2, attention_first=not self.multimer),
        )

    @property
    def structure(self) -> StructureModuleConfig:
        """The structure module."""
        return StructureModuleConfig(
            layers=self.layers,
            attention=PointAttentionConfig(
                c_s=self.c_s,
                c_z=self.c_z,
                heads=self.heads_points,
                c_head=self.c_points,
                query_points=self.query_points,
                value_points=self.value_points,
                multimer=self.multimer,
            ),
            c_torsions=self.c_torsions,
            torsion_blocks=self.torsion_blocks,
            position_scale=self.position_scale,
            dropout=self.dropout_structure,
        )

    def _pair_block(
        self, c_z: int, c_triangle: int, *, transition_factor: int, attention_first: bool
    ) -> PairformerConfig:
        return PairformerConfig(
            c_s=0,
            c_z=c_z,
            heads_pair=self.heads_pair,
            c_pair_attention=c_z // self.heads_pair,
            c_triangle=c_triangle,
            transition_factor=transition_factor,
            dropout_pair=self.dropout_pair,
            ending_bias="ki",
            biases=True,
            hidden="relu",
            attention_first=attention_first,
        )
