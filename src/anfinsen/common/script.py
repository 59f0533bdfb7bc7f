"""How scripts and benchmarks end: as the command does, with one sentence and exit code 2 where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .errors import AnfinsenError


def run_script(main: Callable[[], object]) -> None:
    """Run ``main``; an error that is written for the user ends the process with it and exit code 2."""
    try:
        main()
    except AnfinsenError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
