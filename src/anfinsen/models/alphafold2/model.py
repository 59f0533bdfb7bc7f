"""AlphaFold 2 and AlphaFold-Multimer: trunk, structure module, all atoms, heads, recycling (Algorithms 2 and 30)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anfinsen.chemistry import ATOM37, RESIDUE_TYPES, rigid_groups
from anfinsen.common.errors import NonFiniteError
from anfinsen.geometry import (
    Frames,
    ResidueTables,
    atom14_positions,
    atom14_to_atom37,
    pairwise_distances,
    torsion_frames,
)
from anfinsen.nn import MsaColumnGlobalAttention, RowAttention, reuse_buffers
from anfinsen.nn.batch import AlphaFold2Batch

from .config import AlphaFold2Config
from .heads import HeadLogits, Heads
from .invariant_point_attention import InvariantPointAttention
from .structure_module import Structure, StructureModule
from .templates import TemplatePointwiseAttention
from .trunk import Recycled, Trunk, TrunkOutput, nothing_recycled

CA, CB = ATOM37.index("CA"), ATOM37.index("CB")
GLYCINE = RESIDUE_TYPES.index("GLY")
ATTENTION_KINDS = (RowAttention, MsaColumnGlobalAttention, TemplatePointwiseAttention, InvariantPointAttention)


@dataclass(frozen=True)
class AlphaFold2Output:
    """What the last pass predicts.

    Attributes:
        trunk: the representations. structure: frames and torsions after each layer of the structure module.
        groups: the 8 rigid groups of each residue. atoms: Å, the 14 places of each residue type; atoms37: the same at
            the places of the 37 atom names; 0 where the type has no such atom.
        logits: of the heads. recycles: how often the network's output was fed back.
    """

    trunk: TrunkOutput
    structure: Structure
    groups: Frames
    atoms: Float[Tensor, "n 14 3"]
    atoms37: Float[Tensor, "n 37 3"]
    logits: HeadLogits
    recycles: int


class AlphaFold2(nn.Module):
    """The whole network; one instance of this code serves monomer, pTM and multimer."""

    def __init__(self, config: AlphaFold2Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.structure = StructureModule(config.structure)
        self.heads = Heads(
            config.c_m, config.c_z, config.c_s, config.c_plddt, config.masked_msa_classes, pae=config.predicts_pae
        )

    def forward(
        self,
        batch: AlphaFold2Batch,
        *,
        recycles: int,
        resample: Callable[[int], AlphaFold2Batch] | None = None,
        on_recycle: Callable[[], None] | None = None,
    ) -> AlphaFold2Output:
        """Return the prediction after ``recycles`` recycles, or fewer if `AlphaFold2Config.recycle_tolerance` is met.

        Only the last pass keeps gradients (section 1.10), and nothing of a pass outlives the next but `Recycled`.

        Args:
            batch: features of the first pass, and of all others if ``resample`` is not given.
            recycles: how often the output is fed back (0: one pass).
            resample: called with 1, 2, ... for the features of each further pass, where alignment rows are drawn anew;
                residues must be the same.
            on_recycle: called after each pass.

        Raises:
            NonFiniteError: the structure contains NaN or infinity.
        """
        weight = self.trunk.single.weight
        tables = ResidueTables.of(rigid_groups().arrays(), weight)
        recycled = nothing_recycled(len(batch.aatype), self.config, weight)
        with reuse_buffers():
            for cycle in range(recycles):
                with torch.no_grad(), _uncached_autocast(weight):
                    before = recycled.ca  # the rest of the pass before the last may go
                    recycled = self._recycle(batch, recycled, tables)
                if on_recycle is not None:
                    on_recycle()
                if resample is not None:
                    batch = resample(cycle + 1)
                if (
                    self.config.recycle_tolerance
                    and cycle
                    and self._change(before, recycled.ca, batch.mask) < (self.config.recycle_tolerance)
                ):
                    recycles = cycle + 1
                    break
            output = self._last(batch, recycled, tables, recycles)
        if on_recycle is not None:
            on_recycle()
        if not torch.isfinite(output.atoms).all():
            raise NonFiniteError("The structure has non-finite coordinates: the weights or the features are damaged.")
        return output

    def trunk_logits(self, batch: AlphaFold2Batch) -> tuple[Float[Tensor, "n n bins"], Float[Tensor, "s n classes"]]:
        """Return the logits of distogram and masked MSA after one pass of the trunk, without making a structure."""
        trunk: TrunkOutput = self.trunk(
            batch, nothing_recycled(len(batch.aatype), self.config, self.trunk.single.weight)
        )
        half = self.heads.distogram(trunk.pair)
        return half + half.transpose(0, 1), self.heads.masked_msa(trunk.msa)

    def attention_modules(self) -> dict[str, nn.Module]:
        """Return every attention by its name, for :func:`anfinsen.nn.watch_attention`."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ATTENTION_KINDS)}

    def _recycle(self, batch: AlphaFold2Batch, recycled: Recycled, tables: ResidueTables) -> Recycled:
        trunk = self.trunk(batch, recycled)
        dtype, device = self.trunk.single.weight.dtype, trunk.pair.device.type
        with torch.autocast(device, enabled=False):
            trunk = TrunkOutput(trunk.msa.to(dtype), trunk.pair.to(dtype), trunk.single.to(dtype))
            structure: Structure = self.structure(trunk.single, trunk.pair, batch.mask)
            _, _, atoms37 = build_atoms(structure, batch, tables)
        ca, cb = atoms37[:, CA], atoms37[:, CB]
        pseudo_beta = torch.where((batch.aatype == GLYCINE)[:, None], ca, cb)
        return Recycled(first_row=trunk.msa[0].clone(), pair=trunk.pair, pseudo_beta=pseudo_beta, ca=ca)

    def _last(
        self, batch: AlphaFold2Batch, recycled: Recycled, tables: ResidueTables, recycles: int
    ) -> AlphaFold2Output:
        trunk: TrunkOutput = self.trunk(batch, recycled)
        # Geometry needs all digits: under autocast the trunk's output is bfloat16.
        dtype, device = self.trunk.single.weight.dtype, trunk.pair.device.type
        with torch.autocast(device, enabled=False):
            trunk = TrunkOutput(trunk.msa.to(dtype), trunk.pair.to(dtype), trunk.single.to(dtype))
            structure: Structure = self.structure(trunk.single, trunk.pair, batch.mask)
            groups, atoms, atoms37 = build_atoms(structure, batch, tables)
            logits: HeadLogits = self.heads(trunk.msa, trunk.pair, trunk.single, structure.single[-1])
        return AlphaFold2Output(trunk, structure, groups, atoms, atoms37, logits, recycles)

    @staticmethod
    def _change(before: Float[Tensor, "n 3"], after: Float[Tensor, "n 3"], mask: Bool[Tensor, "n"]) -> float:
        """Return the root mean square change of the distances between CA, Å (multimer's released code)."""
        difference = (pairwise_distances(after) - pairwise_distances(before))[mask][:, mask]
        return float(difference.square().mean().sqrt())


def _uncached_autocast(like: Tensor) -> torch.autocast:
    """Autocast as it stands, but without its cache: weights cast where nothing is differentiated would stay so."""
    device = like.device.type
    enabled = torch.is_autocast_enabled(device)
    return torch.autocast(device, torch.get_autocast_dtype(device), enabled=enabled, cache_enabled=False)


def build_atoms(
    structure: Structure, batch: AlphaFold2Batch, tables: ResidueTables
) -> tuple[Frames, Float[Tensor, "n 14 3"], Float[Tensor, "n 37 3"]]:
    """Return the rigid groups, and the atoms at 14 and at 37 places, of the last layer's frames and torsions."""
    backbone = Frames(structure.frames.rotation[-1], structure.frames.origin[-1])
    groups = torsion_frames(backbone, structure.torsions[-1], batch.aatype, tables)
    atoms = atom14_positions(groups, batch.aatype, tables)
    return groups, atoms, atom14_to_atom37(atoms, batch.aatype, tables)
