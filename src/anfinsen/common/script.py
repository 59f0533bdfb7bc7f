"""How scripts and benchmarks end: as the command does, with one sentence and exit code 2 where something is wrong."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable

from .errors import AnfinsenError


def run_script(main: Callable[[], object]) -> None:
    """Run ``main``; an error that is written for the user ends the process with it and exit code 2."""
    try:
        main()
    except AnfinsenError as error:
        _end(str(error))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        # Libraries that open files themselves raise these with a message alone.
        why = error.strerror or "there is no such file, or it may not be read"
        _end(f"{error.filename or error} cannot be used: {why}.")


def positive(text: str) -> int:
    """Return a whole number above 0, for options of scripts.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _end(sentence: str) -> None:
    print(f"Error: {sentence}", file=sys.stderr)
    sys.exit(2)
