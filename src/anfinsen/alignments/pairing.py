"""Pairing: rows of different chains' alignments that come from one species are laid side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from .msa import Msa

# UniProt FASTA headers carry OX=9606, UniRef headers TaxID=9606; some searches keep only the entry name INS_HUMAN.
_TAXON = re.compile(r"\b(?:OX|TaxID)=(\d+)")
_ENTRY = re.compile(r"^(?:sp|tr)\|[A-Z0-9]{6,10}(?:_\d+)?\|[A-Z0-9]{1,10}_([A-Z0-9]{1,5})(?=[/\s]|$)")
# NCBI ends its headers with [Homo sapiens]. A genus alone ([Escherichia], "MULTISPECIES") is no species, and neither is
# what begins small: [synthetic construct], [uncultured bacterium], [acyl-carrier-protein].
_ORGANISM = re.compile(r"\[(\[?[A-Z][a-z]+\]? [^\[\]]+)\]\s*$")
_NEXT_HEADER = "\x01"  # NCBI's non-redundant databases join the headers of equal sequences


def species_of(description: str) -> str:
    """Return the species that a row's header names, "" where it names none.

    UniProt, UniRef and NCBI headers are understood: ``OX=`` or ``TaxID=`` give the taxon's number, else the entry name
    (``sp|P01308|INS_HUMAN/1-110``) gives UniProt's word for the species, else ``[Homo sapiens]`` at the end names it.
    """
    taxon = _TAXON.search(description)
    if taxon:
        return taxon[1]
    entry = _ENTRY.match(description)
    if entry:
        return entry[1]
    organism = _ORGANISM.search(description.partition(_NEXT_HEADER)[0])
    return organism[1] if organism else ""


def pair_rows(msas: Sequence[Msa], max_rows: int, max_per_species: int = 600) -> Int64[np.ndarray, "P C"]:
    """Return which rows of C alignments belong together: P rows of row numbers, -1 where a chain has none.

    The first row pairs the queries. Species follow that occur in at least two alignments: those of more
    alignments first, then in the order in which they appear. Of one species, the first rows of each alignment are
    paired in order, as many as the alignment with the fewest has (`AlphaFold-Multimer`, supplement 7.2.1; the order
    within a species, by similarity to the query, is the search program's).

    Args:
        msas: one alignment per chain; row 0 is the query. The same alignment twice pairs with itself, row by row.
        max_rows: most rows of the result. max_per_species: most rows of one species.
    """
    queries = np.zeros((1, len(msas)), dtype=np.int64)
    members: dict[str, dict[int, list[int]]] = {}
    for chain, msa in enumerate(msas):
        for row, description in enumerate(msa.descriptions[1:], start=1):
            if species := species_of(description):
                members.setdefault(species, {}).setdefault(chain, []).append(row)
    shared = sorted((rows for rows in members.values() if len(rows) > 1), key=len, reverse=True)
    blocks = [queries]
    for rows in shared:
        depth = min(max_per_species, *(len(numbers) for numbers in rows.values()))
        block = np.full((depth, len(msas)), -1, dtype=np.int64)
        for chain, numbers in rows.items():
            block[:, chain] = numbers[:depth]
        blocks.append(block)
    return np.concatenate(blocks)[:max_rows]
