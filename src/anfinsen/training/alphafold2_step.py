"""One training example of AlphaFold 2: recycling, trunk, structure, heads, losses (supplement, 1.9 and 1.10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anfinsen.chemistry import rigid_groups
from anfinsen.common.errors import NonFiniteError
from anfinsen.geometry import Frames, ResidueTables, atom14_to_atom37, residue_frames
from anfinsen.losses import TrainingLoss
from anfinsen.losses.alphafold2 import (
    AlphaFold2LossConfig,
    StructurePrediction,
    StructureTarget,
    ViolationLoss,
    alphafold2_loss,
    distogram_loss,
    experimentally_resolved_loss,
    masked_msa_loss,
    plddt_loss,
    predicted_aligned_error_loss,
    structure_losses,
)
from anfinsen.models.alphafold2 import AlphaFold2, AlphaFold2Output

from .alphafold2_data import AlphaFold2Example, pseudo_beta
from .alphafold2_recipe import AlphaFold2Stage

_CA = 1  # place among the 14 atoms


@dataclass(frozen=True)
class AlphaFold2StepSettings:
    """What a step needs beside model and example: the stage, how often to recycle, whether FAPE is clamped."""

    stage: AlphaFold2Stage
    recycles: int
    clamped: bool
    bf16: bool = False


def alphafold2_example_loss(
    model: AlphaFold2, example: AlphaFold2Example, settings: AlphaFold2StepSettings
) -> TrainingLoss:
    """Return the loss of one example, ready for ``backward``.

    Raises:
        NonFiniteError: the loss, or the structure, is NaN or infinite.
    """
    stage, config = settings.stage, settings.stage.losses
    device = example.target.atoms.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=settings.bf16):
        if stage.train == "trunk":
            terms = _trunk_terms(model, example)
        else:
            with torch.set_grad_enabled(stage.train != "confidence"):
                output = model(example.batch, recycles=settings.recycles)
            with torch.autocast(device, enabled=False):
                terms = _all_terms(model, output, example, config, settings)
    terms = {name: value for name, value in terms.items() if getattr(config, name)}
    loss = alphafold2_loss(config, terms, len(example.batch.aatype))
    if not torch.isfinite(loss.total):
        raise NonFiniteError(
            "The training loss is not finite: lower the learning rate, or go on from the last checkpoint in float32."
        )
    return loss


def _trunk_terms(model: AlphaFold2, example: AlphaFold2Example) -> dict[str, Float[Tensor, ""]]:
    distogram, masked_msa = model.trunk_logits(example.batch)
    atoms, known = pseudo_beta(example.target)
    return {
        "distogram": distogram_loss(distogram, atoms, known),
        "masked_msa": masked_msa_loss(masked_msa, example.true_msa, example.asked),
    }


def _all_terms(
    model: AlphaFold2,
    output: AlphaFold2Output,
    example: AlphaFold2Example,
    config: AlphaFold2LossConfig,
    settings: AlphaFold2StepSettings,
) -> dict[str, Float[Tensor, ""]]:
    target, structure, logits = example.target, output.structure, output.logits
    tables = ResidueTables.of(rigid_groups().arrays(), target.atoms)
    terms: dict[str, Float[Tensor, ""]] = {}
    if settings.stage.train == "confidence":
        logits = model.heads(output.trunk.msa, output.trunk.pair, output.trunk.single, structure.single[-1])
    else:
        predicted = StructurePrediction(
            structure.frames, structure.torsions, structure.raw_torsions, output.groups, output.atoms
        )
        terms |= structure_losses(predicted, target, tables, config, settings.clamped)
        atoms, known = pseudo_beta(target)
        terms["distogram"] = distogram_loss(logits.distogram, atoms, known)
        terms["masked_msa"] = masked_msa_loss(logits.masked_msa, example.true_msa, example.asked)
        if config.violation:
            exists = tables.atom_mask[target.residue_type]
            found = ViolationLoss(config.violations, tables)(output.atoms, exists, target.residue_type, target.follows)
            terms["violation"] = found.total
    if not example.predicted:
        terms["plddt"] = plddt_loss(logits.plddt, output.atoms[:, _CA], target.atoms[:, _CA], target.atom_mask[:, _CA])
    if logits.pae is not None and config.pae and not example.predicted:
        terms["pae"] = _pae(logits.pae, output.structure.frames, target, tables)
    if example.side_chains and config.resolved:
        # Only entries with all their atoms tell which were seen in the experiment.
        exists, resolved = _atoms37(target, tables)
        terms["resolved"] = experimentally_resolved_loss(logits.resolved, resolved, exists)
    return terms


def _pae(
    logits: Float[Tensor, "n n bins"], layers: Frames, target: StructureTarget, tables: ResidueTables
) -> Float[Tensor, ""]:
    frames, known = residue_frames(target.atoms, target.atom_mask, target.residue_type, tables)
    last = Frames(layers.rotation[-1], layers.origin[-1])
    true = Frames(frames.rotation[:, 0], frames.origin[:, 0])
    return predicted_aligned_error_loss(logits, last, true, known[:, 0])


def _atoms37(target: StructureTarget, tables: ResidueTables) -> tuple[Tensor, Tensor]:
    """Which of the 37 atom names each residue type has, and which of them were resolved."""
    exists = tables.atom_mask[target.residue_type]
    both = [
        atom14_to_atom37(mask.to(target.atoms.dtype)[..., None].expand(-1, -1, 3), target.residue_type, tables)[..., 0]
        for mask in (exists, target.atom_mask & exists)
    ]
    return both[0] > 0, both[1] > 0
