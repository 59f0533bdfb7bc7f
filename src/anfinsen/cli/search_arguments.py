"""Options of a search, which `search` and `predict` share, and what they are translated into."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anfinsen.common.errors import ConfigError

if TYPE_CHECKING:
    from anfinsen.alignments import SearchOptions, TemplateOptions

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
Templates = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of mmCIF files to look for templates in.", show_default=False),
]
TemplateDate = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM-DD", help="Use no template released after this day.", show_default=False),
]
MaxTemplates = Annotated[
    int | None, typer.Option(metavar="N", help="Templates for a chain at most (default: 4).", show_default=False)
]
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


def template_options(
    folder: Path | None, latest: str | None, max_templates: int | None, numbers: tuple[int, int]
) -> TemplateOptions:
    """Return the options as one object; ``numbers`` are iterations (not used) and threads.

    Raises:
        ConfigError: a value cannot be used, or stands without a folder.
    """
    from anfinsen.alignments import SearchConfig, TemplateConfig, TemplateOptions

    for name, value in (("--template-date", latest), ("--max-templates", max_templates)):
        if folder is None and value is not None:
            raise ConfigError(f"Option {name} belongs to the search for templates: give its folder with --templates.")
    config = TemplateConfig(latest=None if latest is None else _date(latest))
    if max_templates is not None:
        config = replace(config, max_templates=max_templates)
    return TemplateOptions(folder, config, SearchConfig(iterations=numbers[0], cpus=numbers[1]))


def _date(text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ConfigError(f"Option --template-date is {text!r}: expected a day of the calendar, such as 2021-09-30.")
