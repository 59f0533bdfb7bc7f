"""What is read off the representations besides the structure (AlphaFold 2, sections 1.9.6-1.9.10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anfinsen.nn.dense import dense

DISTOGRAM_BINS = 64  # inner boundaries 2.3125-21.6875 Å
PLDDT_BINS = 50
PAE_BINS = 64  # 0.5 Å each, the last open
ATOM_NAMES = 37


@dataclass(frozen=True)
class HeadLogits:
    """Logits of all heads.

    Attributes:
        distogram: distance between pseudo-CB, symmetric. masked_msa: true type of each entry of the clustered rows.
        plddt: lDDT-CA. resolved: whether each of the 37 atom names was resolved by experiment.
        pae: error of the CA of j in the frame of i; None without that head.
    """

    distogram: Float[Tensor, "n n 64"]
    masked_msa: Float[Tensor, "s n classes"]
    plddt: Float[Tensor, "n 50"]
    resolved: Float[Tensor, "n 37"]
    pae: Float[Tensor, "n n 64"] | None


class PlddtHead(nn.Module):
    """Algorithm 29."""

    def __init__(self, c_s: int, c_hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c_s)
        self.first = dense(c_s, c_hidden, "relu")
        self.second = dense(c_hidden, c_hidden, "relu")
        self.logits = dense(c_hidden, PLDDT_BINS, "zeros")

    def forward(self, single: Float[Tensor, "n c_s"]) -> Float[Tensor, "n 50"]:
        """Return the logits from the structure module's single representation."""
        hidden = F.relu(self.second(F.relu(self.first(self.norm(single)))))
        return self.logits(hidden)  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


class Heads(nn.Module):
    """All heads; each but `PlddtHead` is one linear map."""

    def __init__(self, c_m: int, c_z: int, c_s: int, c_plddt: int, masked_msa_classes: int, *, pae: bool) -> None:
        super().__init__()
        self.distogram = dense(c_z, DISTOGRAM_BINS, "zeros")
        self.masked_msa = dense(c_m, masked_msa_classes, "zeros")
        self.plddt = PlddtHead(c_s, c_plddt)
        self.resolved = dense(c_s, ATOM_NAMES, "zeros")
        self.pae = dense(c_z, PAE_BINS, "zeros") if pae else None

    def forward(
        self,
        msa: Float[Tensor, "s n c_m"],
        pair: Float[Tensor, "n n c_z"],
        single: Float[Tensor, "n c_s"],
        folded: Float[Tensor, "n c_s"],
    ) -> HeadLogits:
        """Return all logits from the trunk's output and the structure module's last single representation."""
        half = self.distogram(pair)
        return HeadLogits(
            distogram=half + half.transpose(0, 1),
            masked_msa=self.masked_msa(msa),
            plddt=self.plddt(folded),
            resolved=self.resolved(single),
            pae=None if self.pae is None else self.pae(pair),
        )
