"""Distogram and confidence heads (supplement sections 4.3 and 4.4, algorithm 31)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anfinsen.geometry import pairwise_distances
from anfinsen.nn import PairformerBlock, PairformerConfig
from anfinsen.nn.batch import Batch

DISTOGRAM_BINS = 64  # 2-22 Å, supplement 4.4
PLDDT_BINS, PAE_BINS, PDE_BINS = 50, 64, 64  # supplement 4.3.1-4.3.3
# The supplement bins the predicted distances over 3⅜-21⅜ Å; the released code, which we follow, over 3.25-50.75 Å.
DISTANCE_FIRST, DISTANCE_LAST, DISTANCE_BINS = 3.25, 50.75, 39
MAX_ATOMS_PER_TOKEN = 24  # a guanosine monophosphate with its 5' phosphate has 24 heavy atoms


@dataclass(frozen=True)
class TrunkOutput:
    """What the trunk leaves behind: ``s_inputs`` and ``single`` per token, ``pair`` per pair of tokens."""

    s_inputs: Float[Tensor, "n c_s_inputs"]
    single: Float[Tensor, "n c_s"]
    pair: Float[Tensor, "n n c_z"]


@dataclass(frozen=True)
class ConfidenceLogits:
    """Logits of the confidence head for every sample: per atom pLDDT and resolved, per token pair PAE and PDE."""

    plddt: Float[Tensor, "samples a 50"]
    pae: Float[Tensor, "samples n n 64"]
    pde: Float[Tensor, "samples n n 64"]
    resolved: Float[Tensor, "samples a 2"]


class DistogramHead(nn.Module):
    """Linear map of the symmetrised pair representation to 64 distance bins (supplement 4.4)."""

    def __init__(self, c_z: int) -> None:
        super().__init__()
        self.logits = nn.Linear(c_z, DISTOGRAM_BINS)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, pair: Float[Tensor, "n n c_z"]) -> Float[Tensor, "n n 64"]:
        """Return symmetric logits."""
        half = self.logits(pair)
        return half + half.transpose(0, 1)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class RowMeans(nn.Module):
    """What the rows of a pair representation say of their tokens: a linear map of each row's normalised mean."""

    def __init__(self, c_z: int, c_s: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c_z)
        self.linear = nn.Linear(c_z, c_s, bias=False)

    def forward(self, pair: Float[Tensor, "n n c_z"], mask: Bool[Tensor, "n"]) -> Float[Tensor, "n c_s"]:
        """Return a change of the single representation; masked columns do not count."""
        weight = mask.to(pair.dtype)
        means = torch.einsum("ijc,j->ic", pair, weight) / weight.sum().clamp(min=1)
        return self.linear(self.norm(means))  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class ConfidenceHead(nn.Module):
    """Algorithm 31: a Pairformer over the trunk's output and the predicted structure's distances.

    With ``row_means`` (not in the paper) the single representation reads the pair representation directly, before and
    after the blocks. In the published head only attention weights carry distances to it, which a short training does
    not learn to use: how many residues lie near a residue, say, is a sum over a row.
    """

    def __init__(self, blocks: int, c_s_inputs: int, block: PairformerConfig, *, row_means: bool = False) -> None:
        super().__init__()
        c_s, c_z = block.c_s, block.c_z
        self.left = nn.Linear(c_s_inputs, c_z, bias=False)
        self.right = nn.Linear(c_s_inputs, c_z, bias=False)
        self.distance = nn.Linear(DISTANCE_BINS, c_z, bias=False)
        self.blocks = nn.ModuleList(PairformerBlock(block) for _ in range(blocks))
        self.before, self.after = (RowMeans(c_z, c_s) if row_means else None for _ in range(2))
        self.pae_norm = nn.LayerNorm(c_z)
        self.pae = nn.Linear(c_z, PAE_BINS, bias=False)
        self.pde_norm = nn.LayerNorm(c_z)
        self.pde = nn.Linear(c_z, PDE_BINS, bias=False)
        self.plddt_norm = nn.LayerNorm(c_s)
        self.resolved_norm = nn.LayerNorm(c_s)
        # One linear map for each place an atom can have in its token (released code; 24 places).
        self.plddt = nn.Parameter(torch.zeros(MAX_ATOMS_PER_TOKEN, c_s, PLDDT_BINS))
        self.resolved = nn.Parameter(torch.zeros(MAX_ATOMS_PER_TOKEN, c_s, 2))
        for linear in (self.pae, self.pde):
            nn.init.zeros_(linear.weight)

    def forward(self, batch: Batch, trunk: TrunkOutput, coordinates: Float[Tensor, "samples a 3"]) -> ConfidenceLogits:
        """Return the logits for each sample; the samples go through one at a time to bound memory."""
        place = atom_place_in_token(batch.atom_to_token)
        base = trunk.pair + self.left(trunk.s_inputs)[:, None] + self.right(trunk.s_inputs)[None, :]
        edges = torch.linspace(DISTANCE_FIRST, DISTANCE_LAST, DISTANCE_BINS, device=base.device)
        # Looked up rather than multiplied by one-hot rows, which would be the largest tensor of the head.
        of_bin = F.pad(self.distance.weight.t(), (0, 0, 1, 0)).to(base.dtype)
        outputs = []
        for sample in coordinates:
            x = sample[batch.distogram_atom].float()
            # Place 0 stands for distances below the first bin.
            bins = torch.bucketize(pairwise_distances(x), edges)
            single, pair = trunk.single, base + F.embedding(bins, of_bin)
            if self.before is not None:
                single = single + self.before(pair, batch.token_mask)
            for block in self.blocks:
                single, pair = block(single, pair, batch.token_mask)
            if self.after is not None:
                single = single + self.after(pair, batch.token_mask)
            outputs.append(self._logits(batch, place, single, pair))
        return ConfidenceLogits(*(torch.stack(column) for column in zip(*outputs, strict=True)))

    def _logits(
        self,
        batch: Batch,
        place: Int[Tensor, "a"],
        single: Float[Tensor, "n c_s"],
        pair: Float[Tensor, "n n c_z"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pae = self.pae(self.pae_norm(pair))
        pde = self.pde(self.pde_norm(pair + pair.transpose(0, 1)))
        plddt = _per_atom(self.plddt_norm(single), self.plddt, batch.atom_to_token, place)
        resolved = _per_atom(self.resolved_norm(single), self.resolved, batch.atom_to_token, place)
        return plddt, pae, pde, resolved


def atom_place_in_token(atom_to_token: Int[Tensor, "a"]) -> Int[Tensor, "a"]:
    """Return the place (0, 1, …) of every atom among its token's atoms; a token's atoms are contiguous."""
    position = torch.arange(len(atom_to_token), device=atom_to_token.device)
    starts = torch.ones_like(atom_to_token, dtype=torch.bool)
    starts[1:] = atom_to_token[1:] != atom_to_token[:-1]
    first = torch.cummax(torch.where(starts, position, 0), dim=0).values
    # Padding atoms share one token without end; their logits are never read.
    return (position - first).clamp(max=MAX_ATOMS_PER_TOKEN - 1)


def _per_atom(
    single: Float[Tensor, "n c_s"],
    weight: Float[Tensor, "places c_s bins"],
    token: Int[Tensor, "a"],
    place: Int[Tensor, "a"],
) -> Float[Tensor, "a bins"]:
    every_place = torch.einsum("nc,pcb->npb", single, weight)
    return every_place[token, place]
