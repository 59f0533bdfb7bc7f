"""Template features: known structures laid over protein chains (supplement section 2.4 and table 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anfinsen.chemistry import ChainKind, ComponentLibrary, Structure, residue_type
from anfinsen.chemistry.read_structure import structure_from_bytes
from anfinsen.chemistry.tokens import GAP
from anfinsen.common.errors import AlignmentError, StructureError
from anfinsen.jobs import TemplateAlignment

from .complexes import Complex

BACKBONE = ("N", "CA", "C")


@dataclass(frozen=True)
class _ChainTemplate:
    """One template over the L residues of one chain (coordinates in Å, 0 where masked)."""

    restype: Int[np.ndarray, "L"]
    pseudo_beta: Float[np.ndarray, "L 3"]
    pseudo_beta_mask: Bool[np.ndarray, "L"]
    backbone: Float[np.ndarray, "L 3 3"]
    backbone_mask: Bool[np.ndarray, "L"]


def template_features(complex_: Complex, max_templates: int) -> dict[str, Tensor]:
    """Return the ``template_*`` fields of a `Batch`, T the largest number that any chain has (possibly 0).

    Slot t holds template t of every chain; the network lets chains not see each other in it.

    Raises:
        StructureError: a template cannot be read, or has coordinates that are no numbers.
        AlignmentError: its indices do not fit the query or the template.
    """
    tokens = complex_.tokens
    given = [entry.templates[:max_templates] for entry in complex_.alignments]
    depth, n = max((len(templates) for templates in given), default=0), len(tokens)
    restype = np.full((depth, n), GAP, dtype=np.int64)
    pseudo_beta = np.zeros((depth, n, 3), dtype=np.float32)
    pseudo_beta_mask = np.zeros((depth, n), dtype=bool)
    backbone = np.zeros((depth, n, 3, 3), dtype=np.float32)
    backbone_mask = np.zeros((depth, n), dtype=bool)
    for chain_index, templates in enumerate(given):
        chain = complex_.structure.chains[chain_index]
        where = np.flatnonzero(tokens.chain == chain_index)
        # Tokens of a modified residue repeat what is known of the residue.
        column = tokens.residue_index[where] - 1
        for slot, template in enumerate(templates):
            name = f"template {slot + 1} of chain {chain.chain_id!r}"
            laid = _lay_over(template, len(chain.sequence), name)
            restype[slot, where] = laid.restype[column]
            pseudo_beta[slot, where] = laid.pseudo_beta[column]
            pseudo_beta_mask[slot, where] = laid.pseudo_beta_mask[column]
            backbone[slot, where] = laid.backbone[column]
            backbone_mask[slot, where] = laid.backbone_mask[column]
    return {
        "template_restype": torch.from_numpy(restype),
        "template_pseudo_beta": torch.from_numpy(pseudo_beta),
        "template_pseudo_beta_mask": torch.from_numpy(pseudo_beta_mask),
        "template_backbone": torch.from_numpy(backbone),
        "template_backbone_mask": torch.from_numpy(backbone_mask),
    }


@dataclass(frozen=True)
class TemplateChain:
    """A template that was read: ``residues`` are those of its one protein chain (number ``chain``), in sequence order,
    unresolved ones included; residue ``hit[k]`` of them lies over residue ``query[k]`` of the query."""

    structure: Structure
    library: ComponentLibrary
    chain: int
    residues: Int[np.ndarray, "R"]
    query: Int[np.ndarray, "k"]
    hit: Int[np.ndarray, "k"]


def read_template(template: TemplateAlignment, length: int, name: str) -> TemplateChain:
    """Return a template for a query of ``length`` residues; ``name`` is what messages call it.

    Raises:
        StructureError: it cannot be read, or is not one protein chain. AlignmentError: its indices do not fit.
    """
    structure, library = structure_from_bytes(template.mmcif, name)
    proteins = [i for i, chain in enumerate(structure.chains) if chain.kind is ChainKind.PROTEIN]
    if len(proteins) != 1:
        raise StructureError(
            f"The mmCIF text of {name} has {len(proteins)} protein chains: "
            "expected exactly one, cut it to the chain meant."
        )
    residues = np.flatnonzero(structure.residues.chain == proteins[0])
    query, hit = np.array(template.query_indices, dtype=np.int64), np.array(template.template_indices, dtype=np.int64)
    if len(query) != len(hit):
        raise AlignmentError(
            f"The alignment of {name} has {len(query)} query and {len(hit)} template indices: expected as many of each."
        )
    for indices, limit, what in ((query, length, "query"), (hit, len(residues), "template")):
        outside = indices[(indices < 0) | (indices >= limit)]
        if outside.size:
            raise AlignmentError(
                f"The alignment of {name} uses {what} index {outside[0]}: expected 0 to {limit - 1} "
                f"(indices count residues from 0)."
            )
    return TemplateChain(structure, library, proteins[0], residues, query, hit)


def _lay_over(template: TemplateAlignment, length: int, name: str) -> _ChainTemplate:
    read = read_template(template, length, name)
    laid = _ChainTemplate(
        np.full(length, GAP, dtype=np.int64),
        np.zeros((length, 3)),
        np.zeros(length, dtype=bool),
        np.zeros((length, 3, 3)),
        np.zeros(length, dtype=bool),
    )
    for q, t in zip(read.query, read.hit, strict=True):
        _fill(laid, int(q), read.structure, read.library, int(read.residues[t]))
    return laid


def _fill(laid: _ChainTemplate, query: int, structure: Structure, library: ComponentLibrary, residue: int) -> None:
    atoms = structure.atoms
    mine = np.flatnonzero((atoms.residue == residue) & atoms.resolved)
    position = {str(atoms.name[atom]): atoms.coordinates[atom] for atom in mine}
    code = str(structure.residues.name[residue])
    # A modified residue (selenomethionine) counts as its parent, as it does in the query.
    laid.restype[query] = residue_type(library.get(code), ChainKind.PROTEIN)
    beta = position.get("CA" if code == "GLY" else "CB")
    if beta is not None:
        laid.pseudo_beta[query], laid.pseudo_beta_mask[query] = beta, True
    if all(atom in position for atom in BACKBONE):
        laid.backbone[query] = np.stack([position[atom] for atom in BACKBONE])
        laid.backbone_mask[query] = True
