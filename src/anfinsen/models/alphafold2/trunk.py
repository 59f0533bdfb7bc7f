"""One pass from the features to the representations: embedders, templates, extra MSA, Evoformer (Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.nn.batch import COUPLING_CHANNELS, AlphaFold2Batch
from anfinsen.nn.dense import dense

from .config import AlphaFold2Config
from .embedders import (
    C_EXTRA_FEATURES,
    InputEmbedder,
    RecyclingEmbedder,
    extra_msa_features,
    msa_features,
    target_features,
)
from .evoformer import EvoformerStack
from .templates import TemplateEmbedder, TemplateTorsionEmbedder


@dataclass(frozen=True)
class Recycled:
    """What one pass hands to the next: zeros before the first (see `nothing_recycled`). Å."""

    first_row: Float[Tensor, "n c_m"]
    pair: Float[Tensor, "n n c_z"]
    pseudo_beta: Float[Tensor, "n 3"]
    ca: Float[Tensor, "n 3"]


@dataclass(frozen=True)
class TrunkOutput:
    """The representations after one pass; ``msa`` without the rows that templates added."""

    msa: Float[Tensor, "s n c_m"]
    pair: Float[Tensor, "n n c_z"]
    single: Float[Tensor, "n c_s"]


def nothing_recycled(residues: int, config: AlphaFold2Config, like: Tensor) -> Recycled:
    """Return what the first pass is given, with the type and device of ``like``."""
    return Recycled(
        first_row=like.new_zeros(residues, config.c_m),
        pair=like.new_zeros(residues, residues, config.c_z),
        pseudo_beta=like.new_zeros(residues, 3),
        ca=like.new_zeros(residues, 3),
    )


class Trunk(nn.Module):
    """Algorithm 2, lines 5-18."""

    def __init__(self, config: AlphaFold2Config) -> None:
        super().__init__()
        c_m, c_z = config.c_m, config.c_z
        copies = config.largest_copy if config.multimer else None
        self.inputs = InputEmbedder(config.c_target, c_m, c_z, config.largest_offset, copies)
        self.couplings = dense(COUPLING_CHANNELS, c_z, bias=False) if config.pair_couplings else None
        self.recycling = RecyclingEmbedder(c_m, c_z)
        self.templates: TemplateEmbedder | None = None
        self.template_torsions: TemplateTorsionEmbedder | None = None
        if config.templates:
            self.templates = TemplateEmbedder(config.template, c_z)
            self.template_torsions = TemplateTorsionEmbedder(config.template.combination, c_m)
        self.extra_features = dense(C_EXTRA_FEATURES, config.c_e)
        self.extra = EvoformerStack(config.extra, config.extra_blocks, checkpoint_blocks=config.checkpoint_blocks)
        self.evoformer = EvoformerStack(
            config.evoformer, config.evoformer_blocks, checkpoint_blocks=config.checkpoint_blocks
        )
        self.single = dense(c_m, config.c_s)

    def forward(self, batch: AlphaFold2Batch, recycled: Recycled) -> TrunkOutput:
        """Return the representations of one pass."""
        msa, pair = self._embed(batch, recycled)
        if self.templates is not None:
            pair = pair + self.templates(batch, pair)
        # Without extra rows too: the stack updates pairs, and the published models were trained so.
        # No name is given to the extra rows: they would stay in memory through the Evoformer.
        pair = self.extra(self._embed_extra(batch), pair, batch.extra_msa_mask, batch.mask, overwrite=True)[1]
        msa_mask = batch.msa_mask
        if self.template_torsions is not None and len(batch.template_aatype):
            rows, rows_mask = self.template_torsions(batch)
            msa, msa_mask = torch.cat([msa, rows]), torch.cat([msa_mask, rows_mask])
        msa, pair = self.evoformer(msa, pair, msa_mask, batch.mask, overwrite=True)
        return TrunkOutput(msa=msa[: len(batch.msa)], pair=pair, single=self.single(msa[0]))

    def _embed_extra(self, batch: AlphaFold2Batch) -> Float[Tensor, "e n c_e"]:
        features = extra_msa_features(batch, self.extra_features.weight.dtype)
        return self.extra_features(features)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped

    def _embed(
        self, batch: AlphaFold2Batch, recycled: Recycled
    ) -> tuple[Float[Tensor, "s n c_m"], Float[Tensor, "n n c_z"]]:
        dtype = self.single.weight.dtype
        position = self.inputs.position(batch.residue_index, batch.asym_id, batch.entity_id, batch.sym_id)
        target = target_features(batch, self.inputs.target.in_features, dtype)
        msa, pair = self.inputs(target, msa_features(batch, dtype), position)
        if self.couplings is not None and batch.pair_couplings.shape[-1]:
            pair = pair + self.couplings(batch.pair_couplings.to(dtype))
        row_update, pair_update = self.recycling(recycled.first_row, recycled.pair, recycled.pseudo_beta)
        return torch.cat([msa[:1] + row_update, msa[1:]]), pair + pair_update
