"""`anfinsen couplings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import Device
from .failures import report_failures

if TYPE_CHECKING:
    from anfinsen.alignments.couplings import Couplings
    from anfinsen.inference import Outcome
    from anfinsen.inference.families import FamilyOptions

Alignments = Annotated[
    list[Path],
    typer.Argument(
        metavar="A3M...", help="Alignments (a3m, FASTA, Stockholm), or folders of them.", show_default=False
    ),
]


def couplings(
    alignments: Alignments,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results, one folder per alignment.")] = Path(
        "couplings"
    ),
    method: Annotated[str, typer.Option(help="potts, or mean-field (quicker).")] = "potts",
    gap: Annotated[str, typer.Option(help="missing: a gap says nothing; state: it is one more letter.")] = "missing",
    kind: Annotated[str, typer.Option(help="protein, rna or dna.")] = "protein",
    identity: Annotated[
        float | None, typer.Option(metavar="X", help="Rows at least this alike share a vote.", show_default="0.8")
    ] = None,
    min_coverage: Annotated[
        float | None, typer.Option(metavar="X", help="Leave out rows that cover less.", show_default=False)
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(metavar="N", help="Fit at most so many (diverse) rows.", show_default=False)
    ] = None,
    penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Penalty of couplings, per column.", show_default=False)
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(metavar="N", help="Most steps of the fit.", show_default=False)
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option(metavar="N", help="Work on so many alignments at once; they share the processors.")
    ] = 1,
    save_model: Annotated[
        bool, typer.Option("--save-model", help="Write all couplings and fields too (large).")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make results again and replace them.")] = False,
) -> int:
    """Infer which residues are coupled in evolution, and so touch, from alignments.

    Finished alignments are skipped, so that an interrupted batch goes on where it stopped.
    """
    # Imported here: torch takes seconds, and --help should not.
    from anfinsen.inference import prepare_output
    from anfinsen.inference.families import alignment_files, families, run_families
    from anfinsen.reports.couplings import write_couplings

    from .terminal import Terminal

    rows = {"identity": identity, "min_coverage": min_coverage, "max_rows": max_rows}
    fit = {"coupling_penalty": penalty, "iterations": iterations}
    options = _options((method, gap, kind, device), rows, fit, save_model, workers)
    requests = families(alignment_files(alignments))
    prepare_output(out)
    outcomes = []
    with Terminal() as terminal:
        for outcome, made in run_families(
            requests, options, out, write_couplings, overwrite=overwrite, progress=terminal
        ):
            terminal.clear()
            _show(outcome, made)
            outcomes.append(outcome)
    return report_failures(outcomes)


def _options(
    words: tuple[str, str, str, str],
    rows: dict[str, float | None],
    fit: dict[str, float | None],
    save_model: bool,
    workers: int,
) -> FamilyOptions:
    """Return the options as one object; numbers that are None take their defaults."""
    from anfinsen.alignments.couplings import CouplingConfig
    from anfinsen.chemistry import ChainKind
    from anfinsen.common.config import from_mapping
    from anfinsen.common.device import choose_device
    from anfinsen.common.errors import ConfigError
    from anfinsen.inference.families import FamilyOptions

    method, gap, kind, device = words
    kinds = [each.value for each in ChainKind if each.is_polymer]
    if kind not in kinds:
        raise ConfigError(f"Option --kind is {kind!r}: expected {', '.join(kinds[:-1])} or {kinds[-1]}.")
    if method == "mean-field":
        for name, is_given in (
            ("--penalty", fit["coupling_penalty"] is not None),
            ("--iterations", fit["iterations"] is not None),
            ("--gap state", gap == "state"),
        ):
            if is_given:
                raise ConfigError(f"Option {name} is for --method potts: mean-field DCA solves one equation instead.")
    choose_device(device)  # a wrong name is the command's fault, not each alignment's
    given = {"method": method, "gap": gap} | {
        part: {name: value for name, value in values.items() if value is not None}
        for part, values in (("rows", rows), ("potts", fit))
    }
    return FamilyOptions(from_mapping(CouplingConfig, given), ChainKind(kind), device, save_model, workers)


def _show(outcome: Outcome, made: Couplings | None) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if made is not None:
        console.print(
            f"{outcome.name}: {len(made.scores)} residues, {made.rows:,} of {made.depth:,} rows, effective depth "
            f"{made.effective_depth:,.0f}; results in {outcome.folder}",
            markup=False,
        )
    elif outcome.status == "skipped":
        console.print(f"{outcome.name}: done already, skipped ({outcome.folder})", markup=False)
