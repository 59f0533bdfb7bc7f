"""Options of a search, which `search` and `predict` share, and their translation into `SearchOptions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from anfinsen.alignments import SearchOptions

Db = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="FASTA file of sequences to search, also gzipped; may be repeated.", show_default=False
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="pyhmmer (default), mmseqs or server.", show_default=False),
]
Url = Annotated[
    str | None, typer.Option(metavar="URL", help="MSA server; the sequences are sent there.", show_default=False)
]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder that remembers searches (default: in ~/.cache).", show_default=False),
]
Iterations = Annotated[int, typer.Option(metavar="N", help="Rounds of the profile search of a protein.")]
Cpus = Annotated[int, typer.Option(metavar="N", help="Threads of the search (0: all).")]
Gpu = Annotated[bool, typer.Option("--gpu", help="Search on the GPU (mmseqs).")]
MinCoverage = Annotated[float, typer.Option(metavar="X", help="Fraction of the chain that a row must cover.")]
MinIdentity = Annotated[float, typer.Option(metavar="X", help="Fraction of a row's residues that must be the chain's.")]
MaxIdentity = Annotated[float, typer.Option(metavar="X", help="Leave out rows that are more alike than this.")]


def search_options(
    where: tuple[list[Path] | None, str | None, str | None, bool],
    numbers: tuple[int, int],
    fractions: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> SearchOptions:
    """Return the options as one object.

    Args:
        where: databases, engine, address, GPU. numbers: iterations and threads.
        fractions: least coverage, least identity, most identity.

    Raises:
        ConfigError: a value cannot be used.
    """
    from anfinsen.alignments import FilterConfig, SearchConfig, SearchOptions

    databases, engine, url, gpu = where
    return SearchOptions(
        databases=tuple(databases or ()),
        engine=engine,
        url=url,
        gpu=gpu,
        search=SearchConfig(iterations=numbers[0], cpus=numbers[1]),
        filters=FilterConfig(*fractions),
    )
