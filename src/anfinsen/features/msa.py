"""MSA features: profiles, and the rows of all chains laid side by side.

As in AlphaFold 3's released code: paired rows stand first, over all chains; below them the unpaired rows of each chain,
sharing rows, the shorter ones filled up with gaps. (The supplement says the same of the rows, not of their sharing.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anfinsen.alignments import Msa, pair_rows, species_of, take_rows
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import GAP, RESTYPES

from .complexes import ChainAlignments, Complex
from .config import FeatureConfig

_ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class ChainRows:
    """One chain's share of the rows: paired part, unpaired part, and statistics of the whole unpaired MSA.

    Columns are the residues of the chain. The first row is the query: of the paired part where there is one (the
    unpaired part then has no row that is among the paired ones), else of the unpaired part.
    """

    paired: Msa | None
    unpaired: Msa
    profile: Float[np.ndarray, "L 32"]
    deletion_mean: Float[np.ndarray, "L"]


def msa_features(complex_: Complex, config: FeatureConfig) -> dict[str, Tensor]:
    """Return ``profile``, ``deletion_mean`` and the MSA rows of a `Batch`; row 0 is the query."""
    chains, columns = chain_rows(complex_, config), _token_columns(complex_)
    n_paired = max((chain.paired.depth for chain in chains if chain.paired is not None), default=0)
    n_unpaired = min(max((chain.unpaired.depth for chain in chains), default=0), config.max_msa_rows - n_paired)
    depth, n_tokens = n_paired + n_unpaired, len(complex_.tokens)
    rows = np.full((depth, n_tokens), GAP, dtype=np.int64)
    deletions = np.zeros((depth, n_tokens), dtype=np.float32)
    profile = np.zeros((n_tokens, len(RESTYPES)), dtype=np.float32)
    deletion_mean = np.zeros(n_tokens, dtype=np.float32)
    for index, chain in enumerate(chains):
        where = np.flatnonzero(complex_.tokens.chain == index)
        if where.size == 0:
            continue
        # Tokens of a chain are contiguous; a slice writes much faster than an index array.
        span, column = slice(where[0], where[-1] + 1), columns[where]
        profile[span], deletion_mean[span] = chain.profile[column], chain.deletion_mean[column]
        for part, start, limit in ((chain.paired, 0, n_paired), (chain.unpaired, n_paired, n_unpaired)):
            if part is not None:
                stop = start + min(part.depth, limit)
                rows[start:stop, span] = part.restypes[:limit, column]
                deletions[start:stop, span] = part.deletions[:limit, column]
    return {"profile": torch.from_numpy(profile), "deletion_mean": torch.from_numpy(deletion_mean)} | row_features(
        rows, deletions
    )


def row_features(rows: Int[np.ndarray, "S N"], deletions: Float[np.ndarray, "S N"]) -> dict[str, Tensor]:
    """Return ``msa``, ``msa_mask`` and the two deletion features (supplement table 5) of MSA rows."""
    counts = torch.from_numpy(deletions)
    return {
        "msa": torch.from_numpy(rows),
        "has_deletion": counts.clamp(0, 1),
        "deletion_value": torch.atan(counts / 3.0) * (2.0 / torch.pi),
        "msa_mask": torch.ones(rows.shape, dtype=torch.bool),
    }


def msa_profile(msa: Msa) -> tuple[Float[np.ndarray, "L 32"], Float[np.ndarray, "L"]]:
    """Return the distribution over residue types (gaps count) and the mean deletions, per column, over all rows."""
    depth, length = msa.restypes.shape
    counts = np.zeros(length * len(RESTYPES), dtype=np.int64)
    offsets = np.arange(length, dtype=np.int64) * len(RESTYPES)
    for start in range(0, depth, _ROWS_AT_ONCE):
        cells = (offsets + msa.restypes[start : start + _ROWS_AT_ONCE]).ravel()
        counts += np.bincount(cells, minlength=len(counts))
    profile = counts.reshape(length, len(RESTYPES)) / depth
    return profile.astype(np.float32), msa.deletions.mean(axis=0, dtype=np.float64).astype(np.float32)


def chain_rows(complex_: Complex, config: FeatureConfig) -> list[ChainRows]:
    """Return the rows of every chain; where any are paired, all have a paired part, some of the query alone."""
    paired = _paired_rows(complex_, config)
    statistics: dict[int, tuple[Float[np.ndarray, "L 32"], Float[np.ndarray, "L"]]] = {}
    chains = []
    for index, alignments in enumerate(complex_.alignments):
        unpaired = alignments.unpaired
        if unpaired is None:
            unpaired = _query_only(complex_, index)
        # Copies of an entity share one Msa object, so its statistics are computed once.
        if alignments.unpaired is None or id(unpaired) not in statistics:
            statistics[id(unpaired)] = msa_profile(unpaired)
        profile, deletion_mean = statistics[id(unpaired)]
        above = paired[index]
        if above is not None:
            unpaired = _without(unpaired, above)
        chains.append(ChainRows(above, unpaired, profile, deletion_mean))
    return chains


def pairing_notes(complex_: Complex) -> tuple[str, ...]:
    """Return what a reader should know about paired alignments that add nothing, one sentence each."""
    chains, taking_part = complex_.structure.chains, _paired_chains(complex_)
    rows = {i: known.paired for i, known in enumerate(complex_.alignments) if known.paired and known.paired.depth > 1}
    notes = []
    if idle := [chains[i].chain_id for i in rows if i not in taking_part]:
        notes.append(
            f"The paired alignment of chains {', '.join(idle)} is not used: rows are paired only where two different "
            "proteins are present and two chains have paired alignments; give it as the unpaired alignment to use its "
            "rows."
        )
    species = [{species_of(text) for text in rows[i].descriptions[1:]} - {""} for i in taking_part if i in rows]
    if taking_part and rows and sum(map(len, species)) == len(set().union(*species)):
        notes.append(
            "No species is named in the paired alignments of two chains, so none of their rows is paired: headers must "
            "name it as UniProt does (OX=9606, TaxID=9606 or >sp|P01308|INS_HUMAN)."
        )
    return tuple(notes)


def _paired_chains(complex_: Complex) -> list[int]:
    """Protein chains whose rows are paired by species: none unless there are two different ones (released code)."""
    chains = complex_.structure.chains
    proteins = [i for i, chain in enumerate(chains) if chain.kind is ChainKind.PROTEIN]
    with_pairs = [i for i in proteins if complex_.alignments[i].paired is not None]
    several = len({chains[i].entity_id for i in proteins}) > 1
    return with_pairs if several and len(with_pairs) > 1 else []


def _paired_rows(complex_: Complex, config: FeatureConfig) -> list[Msa | None]:
    structure = complex_.structure
    none: list[Msa | None] = [None] * len(structure.chains)
    with_pairs = _paired_chains(complex_)
    if not with_pairs:
        return none
    sources = [_paired_source(complex_.alignments[i]) for i in with_pairs]
    table = pair_rows(sources, config.max_paired_rows, config.max_paired_per_species)
    # Row 0 is the query in every chain, also in those that take no part in the pairing.
    paired: list[Msa | None] = [_query_only(complex_, i) for i in range(len(structure.chains))]
    for i, source, rows in zip(with_pairs, sources, table.T, strict=True):
        paired[i] = take_rows(source, rows)
    return paired


def _paired_source(alignments: ChainAlignments) -> Msa:
    if alignments.paired is None:
        raise ValueError("only chains with a paired MSA are paired")
    return alignments.paired


def _without(msa: Msa, paired: Msa) -> Msa:
    """Leave out the rows that stand among the paired ones already."""
    seen = {row.tobytes() for row in paired.restypes.astype(np.int8)}
    keep = np.array([row.tobytes() not in seen for row in msa.restypes.astype(np.int8)], dtype=bool)
    return take_rows(msa, np.flatnonzero(keep))


def _query_only(complex_: Complex, chain: int) -> Msa:
    """The chain's own residue types as a one-row MSA; gaps for ligands."""
    residues = complex_.structure.residues
    length = int(np.count_nonzero(residues.chain == chain))
    query = np.full((1, length), GAP, dtype=np.int64)
    if complex_.structure.chains[chain].kind.is_polymer:
        tokens = complex_.tokens
        mine = tokens.chain == chain
        query[0, _residue_offsets(complex_)[tokens.residue[mine]]] = tokens.restype[mine]
    return Msa(query, np.zeros_like(query), ("query",))


def _token_columns(complex_: Complex) -> Int[np.ndarray, "N"]:
    """The MSA column of every token: its residue's place in the chain, so atoms of a residue share one column."""
    return np.asarray(_residue_offsets(complex_)[complex_.tokens.residue])


def _residue_offsets(complex_: Complex) -> Int[np.ndarray, "R"]:
    chain = complex_.structure.residues.chain
    starts = np.searchsorted(chain, np.arange(len(complex_.structure.chains)))
    return np.asarray(np.arange(len(chain)) - starts[chain], dtype=np.int64)
