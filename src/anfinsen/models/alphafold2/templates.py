"""Templates: known structures enter the pair representation, and as rows the alignment (AlphaFold 2, section 1.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.geometry import express_in_frames, gram_schmidt_frames, pairwise_distances
from anfinsen.nn.attention import MASKED, show_weights
from anfinsen.nn.batch import AlphaFold2Batch
from anfinsen.nn.dense import dense
from anfinsen.nn.memory import chunk_length, in_place
from anfinsen.nn.pairformer import PairBlock, PairformerConfig

TYPES = 22  # 20 amino acids, unknown, gap
# Distances between the templates' pseudo-CB (released code).
DISTANCE_FIRST, DISTANCE_LAST, DISTANCE_BINS = 3.25, 50.75, 39
C_PAIR_FEATURES = DISTANCE_BINS + 1 + 2 * TYPES + 3 + 1  # 88
C_TORSION_FEATURES = {"attention": TYPES + 7 * 2 * 2 + 7, "average": TYPES + 4 * 2 + 4}  # 57, 34
UNIT_VECTOR_FLOOR = 1e-6  # Å, keeps the direction from a residue to itself finite

Combination = Literal["attention", "average"]


@dataclass(frozen=True)
class TemplateConfig:
    """Sizes and variants of the template embedder.

    Attributes:
        c_t: width of a template's pair representation. blocks: of the pair stack; block: one of them.
        heads, c_head: of the attention from pairs to templates.
        combination: "attention" over templates (monomer), or "average" of templates that have seen the pair
            representation and directions between residues (multimer).
    """

    c_t: int = 64
    blocks: int = 2
    heads: int = 4
    c_head: int = 16
    combination: Combination = "attention"
    block: PairformerConfig = field(default_factory=lambda: PairformerConfig(c_s=0, c_z=64, c_pair_attention=16))


class TemplatePairStack(nn.Module):
    """Algorithm 16: pair blocks over one template (or several, one by one), then a LayerNorm."""

    def __init__(self, block: PairformerConfig, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PairBlock(block) for _ in range(blocks))
        self.norm = nn.LayerNorm(block.c_z)

    def forward(
        self, template: Float[Tensor, "*batch n n c_t"], mask: Bool[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch n n c_t"]:
        """Return the updated template representation."""
        for block in self.blocks:
            template = block(template, mask)
        return self.norm(template)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class TemplatePointwiseAttention(nn.Module):
    """Algorithm 17: every pair attends to the same pair of all templates. The rows of ``key_value`` are [k | v]."""

    def __init__(self, c_t: int, c_z: int, heads: int, c_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_head = c_head
        self.query = dense(c_z, heads * c_head, bias=False)
        self.key_value = dense(c_t, 2 * heads * c_head, bias=False)
        self.output = dense(heads * c_head, c_z, "zeros")

    def forward(
        self,
        templates: Float[Tensor, "t n n c_t"],
        pair: Float[Tensor, "n n c_z"],
        mask: Bool[Tensor, "t"],
    ) -> Float[Tensor, "n n c_z"]:
        """Return the update of ``pair``; zero where ``mask`` holds no template."""
        n = pair.shape[0]
        count, item = templates.shape[0], pair.element_size()
        length = chunk_length(n, 2 * n * (count + 1) * self.heads * self.c_head * item, pair.device)
        if not in_place(pair):
            length = n
        parts = [
            self._attend(templates[:, start : start + length], pair[start : start + length], mask, (start, n))
            for start in range(0, n, length)
        ]
        return torch.cat(parts) * mask.any()

    def _attend(
        self,
        templates: Float[Tensor, "t i j c_t"],
        pair: Float[Tensor, "i j c_z"],
        mask: Bool[Tensor, "t"],
        place: tuple[int, int],
    ) -> Float[Tensor, "i j c_z"]:
        heads = (self.heads, self.c_head)
        query = self.query(pair).unflatten(-1, heads) * self.c_head**-0.5
        key, value = (x.unflatten(-1, heads) for x in self.key_value(templates).chunk(2, dim=-1))
        logits = (query * key).sum(-1).masked_fill(~mask[:, None, None, None], MASKED)
        weights = torch.softmax(logits, dim=0)
        show_weights(self, weights.movedim(0, -1)[..., None, :], *place)
        attended = (weights[..., None] * value).sum(0)
        return self.output(attended.flatten(-2))  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class TemplateEmbedder(nn.Module):
    """Algorithm 2, lines 9-13 (monomer), and section 2.3 of the multimer paper."""

    def __init__(self, config: TemplateConfig, c_z: int) -> None:
        super().__init__()
        self.combination = config.combination
        self.features = dense(C_PAIR_FEATURES, config.c_t, "relu")
        self.stack = TemplatePairStack(config.block, config.blocks)
        if config.combination == "attention":
            self.attention = TemplatePointwiseAttention(config.c_t, c_z, config.heads, config.c_head)
        else:
            self.norm_pair = nn.LayerNorm(c_z)
            # The bias of ``features`` serves both maps.
            self.pair = dense(c_z, config.c_t, "relu", bias=False)
            self.output = dense(config.c_t, c_z, "relu")

    def forward(self, batch: AlphaFold2Batch, pair: Float[Tensor, "n n c_z"]) -> Float[Tensor, "n n c_z"]:
        """Return the update of ``pair``; zero where there are no templates."""
        count = batch.template_aatype.shape[0]
        if count == 0:
            return torch.zeros_like(pair)
        if self.combination == "attention":
            templates = torch.stack([self._template(batch, index) for index in range(count)])
            return self.attention(templates, pair, batch.template_mask)  # type: ignore[no-any-return]  # untyped call
        query = self.pair(self.norm_pair(pair))
        total = torch.zeros_like(query)
        for index in range(count):
            total = total + self._template(batch, index, query)
        return self.output(F.relu(total / count))  # type: ignore[no-any-return]  # likewise

    def _template(
        self, batch: AlphaFold2Batch, index: int, query: Float[Tensor, "n n c_t"] | None = None
    ) -> Float[Tensor, "n n c_t"]:
        features = template_pair_features(batch, index, self.combination).to(self.features.weight.dtype)
        template = self.features(features)
        return self.stack(template if query is None else template + query, batch.mask)  # type: ignore[no-any-return]


def template_pair_features(batch: AlphaFold2Batch, index: int, combination: Combination) -> Float[Tensor, "n n 88"]:
    """Return the pair features of one template.

    [distance 39 | both pseudo-CB known | type of j 22 | type of i 22 | direction 3 | both backbones known]. In the
    monomer ("attention") the directions are zeros, as the published models were trained, and pairs without backbones
    are all zero; in the multimer pairs of different chains have no geometry.
    """
    beta, backbone = batch.template_pseudo_beta[index], batch.template_backbone[index]
    beta_pair = _pairs(batch.template_pseudo_beta_mask[index])
    backbone_pair = _pairs(batch.template_backbone_mask[index])
    average = combination == "average"
    if average:
        same_chain = batch.asym_id[:, None] == batch.asym_id[None, :]
        beta_pair, backbone_pair = beta_pair & same_chain, backbone_pair & same_chain
    edges = torch.linspace(DISTANCE_FIRST, DISTANCE_LAST, DISTANCE_BINS, dtype=beta.dtype, device=beta.device)
    # Class 0, distances below the first edge, is no bin (released code).
    distances = F.one_hot(torch.bucketize(pairwise_distances(beta), edges), DISTANCE_BINS + 1)[..., 1:]
    n = beta.shape[0]
    types = F.one_hot(batch.template_aatype[index], TYPES)
    if average:
        distances = distances * beta_pair[..., None]
        directions = _directions(backbone) * backbone_pair[..., None]
    else:
        directions = beta.new_zeros(n, n, 3)
    parts = (
        distances,
        beta_pair[..., None],
        types[None, :].expand(n, n, -1),
        types[:, None].expand(n, n, -1),
        directions,
        backbone_pair[..., None],
    )
    features = torch.cat([part.to(beta.dtype) for part in parts], dim=-1)
    return features if average else features * backbone_pair[..., None]


def _pairs(mask: Bool[Tensor, "n"]) -> Bool[Tensor, "n n"]:
    return mask[:, None] & mask[None, :]


def _directions(backbone: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n n 3"]:
    """Return the direction of CA j as seen from the backbone frame of residue i."""
    n_atom, ca, c_atom = backbone.unbind(dim=1)
    offset = express_in_frames(ca, gram_schmidt_frames(n_atom, ca, c_atom))
    return F.normalize(offset, dim=-1, eps=UNIT_VECTOR_FLOOR)


class TemplateTorsionEmbedder(nn.Module):
    """Algorithm 2, line 7: the templates' torsion angles as further rows of the alignment."""

    def __init__(self, combination: Combination, c_m: int) -> None:
        super().__init__()
        self.combination = combination
        self.first = dense(C_TORSION_FEATURES[combination], c_m, "relu")
        self.second = dense(c_m, c_m, "relu")

    def forward(self, batch: AlphaFold2Batch) -> tuple[Float[Tensor, "t n c_m"], Bool[Tensor, "t n"]]:
        """Return the rows and their mask: residues with a known psi (monomer) or chi 1 (multimer)."""
        dtype, known = self.first.weight.dtype, batch.template_torsion_mask
        types = F.one_hot(batch.template_aatype, TYPES)
        parts: tuple[Tensor, ...]
        if self.combination == "attention":
            angles = (batch.template_torsions, batch.template_alternative_torsions)
            parts, row_mask = (types, *(angle.flatten(-2) for angle in angles), known), known[..., 2]
        else:
            chi_known = known[..., 3:]
            sine, cosine = (batch.template_torsions[..., 3:, :] * chi_known[..., None]).unbind(-1)
            parts, row_mask = (types, sine, cosine, chi_known), known[..., 3]
        features = torch.cat([part.to(dtype) for part in parts], dim=-1)
        return self.second(F.relu(self.first(features))), row_mask
