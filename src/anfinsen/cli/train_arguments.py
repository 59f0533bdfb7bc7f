"""Options that all commands of `anfinsen train` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("training-output")

Out = Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints, weights and curves; a run there goes on.")]
Seed = Annotated[int, typer.Option(help="Decides everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Threads = Annotated[int, typer.Option(help="CPU threads (0: leave as they are).")]
Bf16 = Annotated[bool, typer.Option(help="Compute in bfloat16 where it is safe.")]
Steps = Annotated[int, typer.Option(help="Optimiser steps (0: the recipe's).")]
Minutes = Annotated[float, typer.Option(help="Stop after so many minutes, to go on later (0: no limit).")]
SaveEvery = Annotated[int, typer.Option(help="Steps between checkpoints (0: only at the end).")]
ValidateEvery = Annotated[int, typer.Option(help="Steps between validations (0: only at the end).")]
