"""Multiple sequence alignments: formats, pairing, weights."""

from .msa import Msa
from .pairing import pair_rows, species_of
from .parse import parse_msa, query_msa, read_msa
from .rows import limit_rows, stack_rows, take_rows, unique_rows, write_a3m
from .weights import effective_depth, sequence_weights

__all__ = [
    "Msa",
    "effective_depth",
    "limit_rows",
    "pair_rows",
    "parse_msa",
    "query_msa",
    "read_msa",
    "sequence_weights",
    "species_of",
    "stack_rows",
    "take_rows",
    "unique_rows",
    "write_a3m",
]
