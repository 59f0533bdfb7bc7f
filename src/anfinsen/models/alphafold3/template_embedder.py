"""Template embedder: known structures laid over the chains enter the pair representation (algorithm 16)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.nn import PairformerBlock, PairformerConfig
from anfinsen.nn.batch import Batch

N_RESTYPES = 32
# Supplement, table 5: template distogram of pseudo-CB distances, 38 bins over 3.25-50.75 Å and one for the rest.
DISTOGRAM_FIRST, DISTOGRAM_LAST, DISTOGRAM_BINS = 3.25, 50.75, 39


@dataclass(frozen=True)
class TemplateEmbedderConfig:
    """Sizes of the template embedder (supplement 3.5): ``c`` channels, ``blocks`` pair blocks."""

    blocks: int = 2
    c: int = 64


class TemplateEmbedder(nn.Module):
    """Algorithm 16: mean over templates of a small pair stack, each attending to one template."""

    def __init__(self, config: TemplateEmbedderConfig, c_z: int, block: PairformerConfig) -> None:
        super().__init__()
        c_features = DISTOGRAM_BINS + 1 + 2 * N_RESTYPES + 3 + 1
        self.features = nn.Linear(c_features, config.c, bias=False)
        self.pair_norm = nn.LayerNorm(c_z)
        self.pair = nn.Linear(c_z, config.c, bias=False)
        self.blocks = nn.ModuleList(PairformerBlock(block) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.c)
        self.output = nn.Linear(config.c, c_z, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, batch: Batch, pair: Float[Tensor, "n n c_z"]) -> Float[Tensor, "n n c_z"]:
        """Return the update of ``pair``; zero where there are no templates."""
        templates = batch.template_restype.shape[0]
        if templates == 0:
            return torch.zeros_like(pair)
        query = self.pair(self.pair_norm(pair))
        total = torch.zeros_like(query)
        for index in range(templates):
            v = query + self.features(template_pair_features(batch, index).to(query.dtype))
            for block in self.blocks:
                _, v = block(None, v, batch.token_mask)
            total = total + self.norm(v)
        return self.output(F.relu(total / templates))  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


def template_pair_features(batch: Batch, index: int) -> Float[Tensor, "n n c"]:
    """Return the pair features of one template (supplement table 5), zero between different chains."""
    beta, beta_mask = batch.template_pseudo_beta[index], batch.template_pseudo_beta_mask[index]
    same_chain = batch.asym_id[:, None] == batch.asym_id[None, :]
    beta_pair = _pair_mask(beta_mask) & same_chain
    edges = torch.linspace(DISTOGRAM_FIRST, DISTOGRAM_LAST, DISTOGRAM_BINS, device=beta.device)
    distance = torch.linalg.vector_norm(beta[:, None] - beta[None, :], dim=-1)
    # Below the first edge there is no bin (released code): such pairs carry only the mask.
    bins = torch.bucketize(distance, edges) - 1
    distogram = F.one_hot(bins.clamp(min=0), DISTOGRAM_BINS) * ((bins >= 0) & beta_pair)[..., None]

    backbone_pair = _pair_mask(batch.template_backbone_mask[index]) & same_chain
    unit_vector = _unit_vectors(batch.template_backbone[index]) * backbone_pair[..., None]

    restype = F.one_hot(batch.template_restype[index], N_RESTYPES) * batch.token_mask[:, None]
    n = restype.shape[0]
    rows = restype[:, None].expand(n, n, -1) * same_chain[..., None]
    columns = restype[None, :].expand(n, n, -1) * same_chain[..., None]
    parts = [distogram, beta_pair[..., None], rows, columns, unit_vector, backbone_pair[..., None]]
    return torch.cat([part.to(torch.float32) for part in parts], dim=-1)


def _pair_mask(mask: Bool[Tensor, "n"]) -> Bool[Tensor, "n n"]:
    return mask[:, None] & mask[None, :]


def _unit_vectors(backbone: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n n 3"]:
    """Direction of CA j in the backbone frame of residue i (AlphaFold 2, algorithm 21)."""
    n_atom, ca, c_atom = backbone.unbind(dim=1)
    e1 = F.normalize(c_atom - ca, dim=-1)
    v2 = n_atom - ca
    e2 = F.normalize(v2 - (e1 * v2).sum(-1, keepdim=True) * e1, dim=-1)
    e3 = torch.linalg.cross(e1, e2)
    frames = torch.stack([e1, e2, e3], dim=-1)
    offset = ca[None, :] - ca[:, None]
    return F.normalize(torch.einsum("iab,ija->ijb", frames, offset), dim=-1)
