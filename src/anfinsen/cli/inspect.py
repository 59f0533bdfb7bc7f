"""`anfinsen inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anfinsen.common.text import listed

from .arguments import AtOnce, Device, Jobs, Model, Recycles, Samples, Seeds, Steps, Weights, predict_options
from .failures import report_failures

if TYPE_CHECKING:
    from anfinsen.inference import Inspection

MINUTE, HOUR = 60, 3600
SHOWN = 8  # chains in a line


def inspect(
    jobs: Jobs,
    model: Model = None,
    weights: Weights = None,
    seeds: Seeds = None,
    samples: Samples = None,
    recycles: Recycles = None,
    steps: Steps = None,
    device: Device = "auto",
    at_once: AtOnce = None,
) -> int:
    """Show what jobs are made of, and the memory and time they will take, without running them."""
    from anfinsen.inference import Outcome, failure, inspect_job, job_files, read_requests

    options = predict_options(model, weights, seeds, samples, (recycles, steps, at_once), device)
    requests, unreadable = read_requests(job_files(jobs))
    outcomes = list(unreadable)
    for request in requests:
        try:
            _show(inspect_job(request.job, options, request.notes))
            outcomes.append(Outcome(request.job.name, "done"))
        except Exception as error:
            outcomes.append(failure(request.job.name, error))
    return report_failures(outcomes)


def _show(found: Inspection) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(
        title=escape(found.name), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    for name in ("chain", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("residues", "tokens", "atoms", "MSA rows", "N_eff", "paired", "templates"):
        table.add_column(name, justify="right", no_wrap=True)
    # Not a column: names of any number would be broken to pieces where the terminal is narrow.
    others: dict[str, list[str]] = {}
    for chain in found.chains:
        depth = f"{chain.effective_depth:.1f}" if chain.msa_rows else ""
        numbers = (chain.residues, chain.tokens, chain.atoms, chain.msa_rows, depth, chain.paired_rows, chain.templates)
        table.add_row(escape(chain.chain_id), chain.kind, *map(str, numbers))
        if chain.components:
            others.setdefault(chain.components, []).append(chain.chain_id)
    console.print(table)
    conformers = ", ".join(f"{source} {count}" for source, count in found.conformers.items())
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    named = "; ".join(f"{components} ({_chains(ids)})" for components, ids in others.items())
    for line in (
        *([f"Not standard residues: {named}"] if named else []),
        *(f"Atoms of {_chains(ids)}: {smiles}" for ids, smiles in found.written),
        f"Tokens {found.tokens:,}, atoms {found.atoms:,}, bonds {found.bonds:,} "
        f"({found.inter_bonds:,} between residues that do not follow each other), MSA rows {found.msa_rows:,}",
        f"Reference conformers: {conformers}",
        f"With {found.model} on {found.device} ({settings}): about {found.estimate.bytes / 2**30:.1f} GiB of memory at "
        f"the peak ({found.available / 2**30:.1f} GiB free), about {_duration(found.estimate.seconds)}",
        *(f"Note: {note}" for note in found.notes),
    ):
        console.print(line, markup=False)
    console.print()


def _chains(ids: Sequence[str]) -> str:
    return f"chain{'s' if len(ids) > 1 else ''} {listed(ids, SHOWN)}"


def _duration(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"
