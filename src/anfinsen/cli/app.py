"""`anfinsen`: commands, and how errors leave the program.

Exit codes: 0 all done; 1 a bug in this program; 2 something the user can mend; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Annotated

import typer

from anfinsen import __version__
from anfinsen.common.errors import AnfinsenError

from .attention import attention
from .autoencode import autoencode
from .byhand import byhand
from .couplings import couplings
from .distill import distill
from .evaluate import evaluate
from .failures import tracebacks_wanted
from .image import image
from .inspect import inspect
from .predict import predict
from .search import search
from .train import train_app
from .weights import weights_app

app = typer.Typer(
    name="anfinsen",
    help="From a sequence to its structure: AlphaFold 3 for proteins, nucleic acids, ligands and ions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(predict)
app.command()(inspect)
app.command()(search)
app.command()(couplings)
app.command()(attention)
app.command()(byhand)
app.command()(evaluate)
app.command()(distill)
app.command()(autoencode)
app.command()(image)
app.add_typer(train_app, name="train")
app.add_typer(weights_app, name="weights")

DEBUG = "--debug"
INTERRUPTED = 130  # what shells use for Ctrl-C
# click's ClickException, which some versions of typer keep a copy of; every usage error derives from it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"anfinsen {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of every error (allowed anywhere).")] = False,
) -> None:
    """Options of every command; both are dealt with before this is called."""


@app.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    import json

    # The schema needs nothing heavy, but its room does: import late, so that --help stays quick.
    from anfinsen.jobs import job_schema

    typer.echo(json.dumps(job_schema(), indent=2))


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    # OpenMP's threads spin while they wait, which on a shared machine multiplies the time of everything; it reads this
    # when PyTorch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A terminal or file of few letters must not stop a run that has done its work.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line with ``arguments`` and return the exit code; every error becomes one sentence."""
    debug = DEBUG in arguments
    arguments = [argument for argument in arguments if argument != DEBUG]
    tracebacks_wanted.set(debug)
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        message = getattr(error, "format_message", lambda: str(error))()
        return _sentence(f"{message.rstrip('.')}. `anfinsen --help` and `anfinsen COMMAND --help` tell more.", debug)
    except AnfinsenError as error:
        return _sentence(str(error), debug)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer turns a broken pipe, and nothing else, into SystemExit here
        # The reader has gone (as in `anfinsen schema | head`); keep Python from trying to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return 0
    except Exception as error:
        kind = type(error).__name__
        return _sentence(
            f"This is a bug in anfinsen {__version__} ({kind}: {error}): please report it with the job file; "
            f"{DEBUG} shows where it happened.",
            debug,
            1,
        )
    if code == INTERRUPTED:
        return _sentence(
            "Interrupted: what was finished is kept, the rest is not; give the same command again.", False, code
        )
    return code if isinstance(code, int) else 0


def _sentence(message: str, debug: bool, code: int = 2) -> int:
    if debug:
        traceback.print_exc()
    typer.echo(f"anfinsen: {message}", err=True)
    return code
