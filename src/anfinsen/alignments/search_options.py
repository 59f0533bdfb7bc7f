"""`SearchOptions` and `TemplateOptions`: what the user chooses about a search, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..common.errors import ConfigError
from .cache import SearchCache
from .database import open_database
from .engine import Engine, SearchConfig
from .filters import FilterConfig
from .search_hmmer import HmmerEngine
from .search_mmseqs import MmseqsConfig, MmseqsEngine
from .search_server import ServerEngine
from .server_client import ServerClient, ServerConfig
from .template_search import TemplateConfig, TemplateSearch

ENGINES = ("pyhmmer", "mmseqs", "server")


@dataclass(frozen=True)
class SearchOptions:
    """Where and how to search; without databases and address, nothing is searched.

    Attributes:
        databases: FASTA files. Proteins are searched for in those of proteins, RNA in those of nucleotides.
        engine: one of `ENGINES`; None takes "server" where ``url`` is given, else "pyhmmer".
        url: address of an MSA server.
        gpu: let mmseqs use the GPU.
        search: rounds, limits, threads. filters: what to leave out of the results.

    Raises:
        ConfigError: the engine is unknown, or an option belongs to another one.
    """

    databases: tuple[Path, ...] = ()
    engine: str | None = None
    url: str | None = None
    gpu: bool = False
    search: SearchConfig = field(default_factory=SearchConfig)
    filters: FilterConfig = field(default_factory=FilterConfig)

    def __post_init__(self) -> None:
        if self.engine is not None and self.engine not in ENGINES:
            raise ConfigError(f"Unknown engine {self.engine!r}: expected one of {', '.join(ENGINES)}.")
        if self.chosen == "server" and self.url is None:
            raise ConfigError("Engine server needs the address of an MSA server: give --url.")
        if self.chosen != "server" and self.url is not None:
            raise ConfigError(f"Option --url belongs to the engine server, and {self.chosen} is chosen: give one.")
        if self.chosen == "server" and self.databases:
            raise ConfigError(
                "Both --db and an MSA server are given: give one, because a server has its own databases."
            )
        if self.chosen != "server" and self.engine is not None and not self.databases:
            raise ConfigError(f"Engine {self.engine} needs a sequence database: give --db FILE.fasta.")
        if self.gpu and self.chosen != "mmseqs":
            raise ConfigError("Option --gpu belongs to the engine mmseqs: give --engine mmseqs, or leave it out.")

    @property
    def chosen(self) -> str:
        """The engine."""
        return self.engine or ("pyhmmer" if self.url is None else "server")

    @property
    def searches(self) -> bool:
        """Whether there is anything to search."""
        return bool(self.databases) or self.url is not None

    def open(self, cache: SearchCache) -> tuple[Engine, ...]:
        """Return the engines, one per database; what they keep between runs goes below the cache's folder.

        Raises:
            AlignmentError: a database cannot be read.
            MissingExtraError: the engine is not installed.
        """
        if self.url is not None:
            return (ServerEngine(ServerClient(ServerConfig(self.url)), self.search, cache),)
        databases = [open_database(path) for path in dict.fromkeys(self.databases)]
        if self.chosen == "pyhmmer":
            return tuple(HmmerEngine(database, self.search) for database in databases)
        program, folder = MmseqsConfig(gpu=self.gpu), cache.folder / "mmseqs"
        return tuple(MmseqsEngine(database, self.search, program, folder) for database in databases)


@dataclass(frozen=True)
class TemplateOptions:
    """Where to look for templates; without a folder, none are looked for.

    Attributes:
        folder: with mmCIF files. config: which are used. search: only its threads matter.
    """

    folder: Path | None = None
    config: TemplateConfig = field(default_factory=TemplateConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def open(self, cache: SearchCache) -> TemplateSearch | None:
        """Return the search; its index of the folder goes below the cache's folder.

        Raises:
            AlignmentError: there is no such folder.
            MissingExtraError: pyhmmer is not installed.
        """
        return None if self.folder is None else TemplateSearch(self.folder, cache, self.config, self.search)
