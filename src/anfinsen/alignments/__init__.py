"""Multiple sequence alignments: formats, search, pairing, filters, weights."""

from .cache import SearchCache, default_cache_folder
from .database import Database, database_version, open_database
from .depth import AlignmentDepth, alignment_depth
from .engine import Engine, PairingEngine, Query, SearchConfig
from .filters import FilterConfig, filter_rows
from .msa import Msa
from .pairing import pair_rows, species_of
from .parse import parse_msa, query_msa, read_msa
from .rows import take_rows
from .search import SearchResult, SourceRows, search_alignments
from .search_hmmer import HmmerEngine
from .search_mmseqs import MmseqsConfig, MmseqsEngine
from .search_options import SearchOptions, TemplateOptions
from .search_server import ServerEngine
from .server_client import ServerClient, ServerConfig
from .template_index import IndexedChain, IndexState, TemplateIndex
from .template_search import FoundTemplate, TemplateConfig, TemplateResult, TemplateSearch
from .weights import effective_depth, sequence_weights

__all__ = [
    "AlignmentDepth",
    "Database",
    "Engine",
    "FilterConfig",
    "FoundTemplate",
    "HmmerEngine",
    "IndexState",
    "IndexedChain",
    "MmseqsConfig",
    "MmseqsEngine",
    "Msa",
    "PairingEngine",
    "Query",
    "SearchCache",
    "SearchConfig",
    "SearchOptions",
    "SearchResult",
    "ServerClient",
    "ServerConfig",
    "ServerEngine",
    "SourceRows",
    "TemplateConfig",
    "TemplateIndex",
    "TemplateOptions",
    "TemplateResult",
    "TemplateSearch",
    "alignment_depth",
    "database_version",
    "default_cache_folder",
    "effective_depth",
    "filter_rows",
    "open_database",
    "pair_rows",
    "parse_msa",
    "query_msa",
    "read_msa",
    "search_alignments",
    "sequence_weights",
    "species_of",
    "take_rows",
]
