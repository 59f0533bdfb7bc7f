"""What AlphaFold 2 and AlphaFold-Multimer see of one or several protein chains.

Residues, templates and couplings are the same in every pass; rows of the alignment are drawn anew for each
(`AlphaFold2Inputs.draw`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int, Integer
from torch import Tensor

from anfinsen.alignments import Msa, take_rows
from anfinsen.chemistry import ChainKind, Structure
from anfinsen.chemistry.tokens import GAP
from anfinsen.common.errors import JobError
from anfinsen.nn.batch import AlphaFold2Batch

from .alphafold2_msa import AlphaFold2MsaConfig, alphafold2_msa
from .alphafold2_templates import alphafold2_templates
from .complexes import Complex
from .config import FeatureConfig
from .couplings import no_couplings, pair_couplings
from .msa import ChainRows, chain_rows

# The multimer reads 2,048 rows of each chain's alignment, at most half of them paired (released code).
MULTIMER_ROWS = FeatureConfig(max_msa_rows=2048, max_paired_rows=1024)
BACKBONE = frozenset(("N", "CA", "C"))


@dataclass(frozen=True)
class AlphaFold2FeatureConfig:
    """How a `Complex` becomes an `AlphaFold2Batch`.

    Attributes:
        multimer: whether the network knows chains; the monomer is given one chain only.
        templates: of each chain at most. The multimer is always given so many, as it averages over empty ones too.
        couplings: whether the network reads the couplings of each chain's alignment.
        msa: what one pass sees of the alignment.
    """

    multimer: bool = False
    templates: int = 4
    couplings: bool = False
    msa: AlphaFold2MsaConfig = field(default_factory=AlphaFold2MsaConfig)

    @property
    def rows(self) -> FeatureConfig:
        """How many rows of the alignments are read."""
        return MULTIMER_ROWS if self.multimer else FeatureConfig()


@dataclass(frozen=True)
class AlphaFold2Inputs:
    """A complex of N residues, before rows of its alignment are drawn.

    Attributes:
        restypes: the merged alignment, the query first (`chemistry.tokens.RESTYPES`). deletions: inserted residues
            before each position.
        fields: what of an `AlphaFold2Batch` does not depend on the draw, by name.
        msa: what one pass sees of the alignment.
    """

    restypes: Integer[np.ndarray, "R N"]
    deletions: Integer[np.ndarray, "R N"]
    fields: dict[str, Tensor]
    msa: AlphaFold2MsaConfig

    def draw(self, rng: np.random.Generator) -> AlphaFold2Batch:
        """Return the features of one pass; ``rng`` decides which rows it sees, and what of them is masked."""
        drawn = alphafold2_msa(self.restypes, self.deletions, self.msa, rng)
        return AlphaFold2Batch(**self.fields, **drawn.fields)


def alphafold2_batch(complex_: Complex, config: AlphaFold2FeatureConfig, rng: np.random.Generator) -> AlphaFold2Batch:
    """Return the features of one pass; see `alphafold2_inputs` and `AlphaFold2Inputs.draw`."""
    return alphafold2_inputs(complex_, config).draw(rng)


def alphafold2_inputs(complex_: Complex, config: AlphaFold2FeatureConfig) -> AlphaFold2Inputs:
    """Return what AlphaFold 2 is given of a complex: a modified residue is its parent, an unknown one X.

    Raises:
        JobError: there is anything but protein chains, several chains for the monomer, or a residue that is no amino
            acid.
        StructureError, AlignmentError: a template cannot be used.
    """
    check_chains(complex_, multimer=config.multimer)
    structure, tokens = complex_.structure, complex_.tokens
    # Tokens of a residue stand together; all of them know its type and number.
    first = np.searchsorted(tokens.residue, np.arange(len(structure.residues)))
    couplings = no_couplings(len(first))
    if config.couplings:
        rows = torch.from_numpy(first)
        couplings = pair_couplings(complex_)[rows][:, rows]
    restypes, deletions = merged_rows(chain_rows(complex_, config.rows), structure, config.rows.max_msa_rows)
    fields = {
        "aatype": _long(tokens.restype[first]),
        "residue_index": _long(tokens.residue_index[first] - 1),
        "asym_id": _long(tokens.asym_id[first]),
        "entity_id": _long(tokens.entity_id[first]),
        "sym_id": _long(tokens.sym_id[first]),
        "mask": torch.ones(len(first), dtype=torch.bool),
        "pair_couplings": couplings,
        **alphafold2_templates(complex_, config.templates, pad=config.multimer),
    }
    return AlphaFold2Inputs(restypes, deletions, fields, config.msa)


def check_chains(complex_: Complex, *, multimer: bool) -> None:
    """Refuse what AlphaFold 2 cannot fold.

    Raises:
        JobError: as for `alphafold2_inputs`; the message names the chains, or the residue.
    """
    structure = complex_.structure
    others = [f"{c.kind.value} {c.chain_id}" for c in structure.chains if c.kind is not ChainKind.PROTEIN]
    if others:
        raise JobError(
            f"Job {structure.name!r} has {', '.join(others)}: AlphaFold 2 folds protein chains only; choose an "
            "AlphaFold 3 model for anything else."
        )
    if len(structure.chains) > 1 and not multimer:
        chains = ", ".join(chain.chain_id for chain in structure.chains)
        raise JobError(
            f"Job {structure.name!r} has {len(structure.chains)} chains ({chains}): AlphaFold 2's monomer network "
            "folds one protein chain; give weights of AlphaFold-Multimer with --weights, or choose an AlphaFold 3 "
            "model."
        )
    _check_residues(structure)


def _check_residues(structure: Structure) -> None:
    found = np.zeros((len(structure.residues), len(BACKBONE)), dtype=bool)
    for place, name in enumerate(sorted(BACKBONE)):
        found[structure.atoms.residue[structure.atoms.name == name], place] = True
    for residue in np.flatnonzero(~found.all(axis=1)):
        table = structure.residues
        raise JobError(
            f"Residue {table.number[residue]} ({table.name[residue]}) of chain "
            f"{structure.chains[table.chain[residue]].chain_id} in job {structure.name!r} has no atoms N, CA and C: "
            "AlphaFold 2 builds amino acids only; leave the residue out, or choose an AlphaFold 3 model."
        )


def merged_rows(
    chains: list[ChainRows], structure: Structure, limit: int
) -> tuple[Int[np.ndarray, "R N"], Int[np.ndarray, "R N"]]:
    """Return residue types and deletions of all chains' rows, the query first.

    Paired rows stand first, over all chains. Below them each sequence's own rows stand alone, with gaps over the
    others (AlphaFold-Multimer, supplement 7.2); copies of a sequence repeat its rows side by side.

    Args:
        chains: one for each chain of ``structure``, all proteins.
        limit: rows of one chain, paired ones included.
    """
    several = len({chain.entity_id for chain in structure.chains}) > 1
    parts = [_top_and_own(rows, several) for rows in chains]
    n_top = max(top.depth for top, _ in parts)
    depths: dict[int, int] = {}
    for chain, (_, own) in zip(structure.chains, parts, strict=True):
        depths[chain.entity_id] = max(depths.get(chain.entity_id, 0), min(own.depth, limit - n_top))
    starts = dict(zip(depths, n_top + np.cumsum([0, *depths.values()])[:-1], strict=True))
    shape = n_top + sum(depths.values()), len(structure.residues)
    restypes, deletions = np.full(shape, GAP, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    left = 0
    for chain, (top, own) in zip(structure.chains, parts, strict=True):
        span = slice(left, left + own.restypes.shape[1])
        for part, start, count in (
            (top, 0, top.depth),
            (own, starts[chain.entity_id], min(own.depth, depths[chain.entity_id])),
        ):
            restypes[start : start + count, span] = part.restypes[:count]
            deletions[start : start + count, span] = part.deletions[:count]
        left = span.stop
    return restypes, deletions


def _top_and_own(rows: ChainRows, several: bool) -> tuple[Msa, Msa]:
    """Return a chain's share of the rows over all chains, which begin with the query, and its own rows.

    Without a second sequence there are no rows of the first kind.
    """
    if rows.paired is not None:
        return rows.paired, rows.unpaired
    index = np.arange(rows.unpaired.depth)
    cut = int(several)
    return take_rows(rows.unpaired, index[:cut]), take_rows(rows.unpaired, index[cut:])


def _long(values: Int[np.ndarray, "N"]) -> Int[Tensor, "N"]:
    return torch.from_numpy(values.astype(np.int64))
