"""How failed jobs are reported at the end of a command."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from anfinsen.inference import Outcome

BUG, MENDABLE = 1, 2  # exit codes
# Whether --debug, which may stand anywhere on the command line, was given.
tracebacks_wanted: ContextVar[bool] = ContextVar("tracebacks_wanted", default=False)


def report_failures(outcomes: Sequence[Outcome]) -> int:
    """Name on stderr the jobs that failed, and why; return the exit code: 0 for none, 1 where one met a bug, else 2."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not failed:
        return 0
    for outcome in failed:
        if tracebacks_wanted.get() and outcome.traceback:
            typer.echo(outcome.traceback, err=True)
    if len(outcomes) == 1:
        typer.echo(f"anfinsen: {failed[0].message}", err=True)
    else:
        typer.echo(f"anfinsen: {len(failed)} of {len(outcomes)} jobs failed:", err=True)
        for outcome in failed:
            typer.echo(f"  {outcome.name}: {outcome.message}", err=True)
    return BUG if any(outcome.is_bug for outcome in failed) else MENDABLE
