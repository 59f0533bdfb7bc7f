"""The trunk: inputs, recycling, templates, MSA module and Pairformer (algorithm 1, lines 1-14)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anfinsen.nn import PairformerBlock
from anfinsen.nn.batch import COUPLING_CHANNELS, Batch

from .config import AlphaFold3Config
from .heads import TrunkOutput
from .input_embedder import InputEmbedder
from .msa_module import MsaModule
from .relative_position import RelativePositionEncoding
from .template_embedder import TemplateEmbedder

N_RESTYPES = 32


class Trunk(nn.Module):
    """From a `Batch` to the single and pair representations, in ``recycles + 1`` passes."""

    def __init__(self, config: AlphaFold3Config) -> None:
        super().__init__()
        self.msa_rows = config.msa_rows
        self.checkpoint_blocks = config.checkpoint_blocks
        c_s, c_z, c_s_inputs = config.c_s, config.c_z, config.c_s_inputs
        self.inputs = InputEmbedder(config.input_embedder)
        self.single_init = nn.Linear(c_s_inputs, c_s, bias=False)
        self.left_init = nn.Linear(c_s_inputs, c_z, bias=False)
        self.right_init = nn.Linear(c_s_inputs, c_z, bias=False)
        self.relative_position = RelativePositionEncoding(config.relative_position)
        self.bonds = nn.Linear(1, c_z, bias=False)
        self.couplings = nn.Linear(COUPLING_CHANNELS, c_z, bias=False) if config.pair_couplings else None
        self.pair_recycle_norm = nn.LayerNorm(c_z)
        self.pair_recycle = nn.Linear(c_z, c_z, bias=False)
        self.single_recycle_norm = nn.LayerNorm(c_s)
        self.single_recycle = nn.Linear(c_s, c_s, bias=False)
        nn.init.zeros_(self.pair_recycle.weight)
        nn.init.zeros_(self.single_recycle.weight)
        self.templates = TemplateEmbedder(config.template, c_z, config.template_block)
        self.msa = MsaModule(config.msa)
        self.blocks = nn.ModuleList(PairformerBlock(config.pairformer) for _ in range(config.pairformer_blocks))

    def forward(
        self,
        batch: Batch,
        recycles: int,
        generator: torch.Generator | None,
        on_recycle: Callable[[], None] | None = None,
    ) -> TrunkOutput:
        """Run ``recycles + 1`` passes; only the last one keeps gradients (AlphaFold 2, section 1.10)."""
        s_inputs = self.inputs(batch)
        single_init = self.single_init(s_inputs)
        pair_init = (
            self.left_init(s_inputs)[:, None]
            + self.right_init(s_inputs)[None, :]
            + self.relative_position(batch)
            + self.bonds(batch.token_bonds[..., None].to(s_inputs.dtype))
        )
        if self.couplings is not None and batch.pair_couplings.shape[-1]:
            pair_init = pair_init + self.couplings(batch.pair_couplings.to(s_inputs.dtype))
        # Under autocast the embeddings are bfloat16; passes that keep no gradient run at full precision.
        dtype, device = self.single_init.weight.dtype, s_inputs.device.type
        s_inputs, single_init, pair_init = s_inputs.to(dtype), single_init.to(dtype), pair_init.to(dtype)
        single, pair = torch.zeros_like(single_init), torch.zeros_like(pair_init)
        for cycle in range(recycles + 1):
            keep_gradient = torch.is_grad_enabled() and cycle == recycles
            cast = keep_gradient and torch.is_autocast_enabled(device)
            with torch.set_grad_enabled(keep_gradient), torch.autocast(device, enabled=cast):
                single, pair = self._cycle(batch, s_inputs, single_init, pair_init, single, pair, generator)
            if on_recycle is not None:
                on_recycle()
        return TrunkOutput(s_inputs=s_inputs, single=single, pair=pair)

    def _cycle(
        self,
        batch: Batch,
        s_inputs: Float[Tensor, "n c_s_inputs"],
        single_init: Float[Tensor, "n c_s"],
        pair_init: Float[Tensor, "n n c_z"],
        single: Float[Tensor, "n c_s"],
        pair: Float[Tensor, "n n c_z"],
        generator: torch.Generator | None,
    ) -> tuple[Float[Tensor, "n c_s"], Float[Tensor, "n n c_z"]]:
        pair = pair_init + self.pair_recycle(self.pair_recycle_norm(pair))
        pair = pair + self.templates(batch, pair)
        features, mask = sample_msa(batch, self.msa_rows, generator)
        pair = self.msa(pair, s_inputs, features.to(pair.dtype), mask, batch.token_mask)
        single = single_init + self.single_recycle(self.single_recycle_norm(single))
        for block in self.blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                single, pair = checkpoint(block, single, pair, batch.token_mask, use_reentrant=False)
            else:
                single, pair = block(single, pair, batch.token_mask)
        return single, pair


def sample_msa(
    batch: Batch, rows: int, generator: torch.Generator | None
) -> tuple[Float[Tensor, "s n 34"], Bool[Tensor, "s n"]]:
    """Return the features (one-hot type, has_deletion, deletion_value) and mask of at most ``rows`` MSA rows.

    A fresh sample is drawn at every recycle (supplement 3.3). Unlike the released code, the query row is always kept:
    a shallow sample without it would say nothing about the chain itself.
    """
    depth = batch.msa.shape[0]
    if depth > rows:
        device = generator.device if generator is not None else "cpu"
        order = torch.randperm(depth - 1, generator=generator, device=device)[: rows - 1] + 1
        chosen = torch.cat([order.new_zeros(1), order.sort().values]).to(batch.msa.device)
    else:
        chosen = torch.arange(depth, device=batch.msa.device)
    features = torch.cat(
        [
            F.one_hot(batch.msa[chosen], N_RESTYPES).to(torch.float32),
            batch.has_deletion[chosen][..., None],
            batch.deletion_value[chosen][..., None],
        ],
        dim=-1,
    )
    return features, batch.msa_mask[chosen]
