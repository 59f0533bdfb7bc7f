"""Many evaluations, one after another; one that fails does not stop the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anfinsen.chemistry import read_structure
from anfinsen.common.errors import InputError
from anfinsen.common.progress import Progress, Silent
from anfinsen.metrics import require_posebusters

from .evaluation import Evaluation, evaluate
from .evaluation_files import Comparison, read_predicted
from .runner import Outcome, failure


@dataclass(frozen=True)
class Judged:
    """A comparison and what came of it; ``evaluation`` is None where it failed."""

    comparison: Comparison
    outcome: Outcome
    evaluation: Evaluation | None


def run_evaluations(
    tasks: Sequence[Comparison], *, plddt: bool = True, poses: bool = False, progress: Progress | None = None
) -> Iterator[Judged]:
    """Judge the predictions one by one.

    Args:
        tasks: what is compared. plddt: whether B-factors of predictions are pLDDT.
        poses: ask PoseBusters about ligands. progress: is told of each.

    Raises:
        MissingExtraError: ``poses`` without PoseBusters.
    """
    if poses:
        require_posebusters()
    progress = progress or Silent()
    progress.stage("Comparing structures", len(tasks))
    several = len({task.model for task in tasks}) > 1
    for task in tasks:
        name = f"{task.model}: {task.name}" if several else task.name
        try:
            if task.reference is None:
                raise InputError(
                    f"There is no reference called {task.predicted.name}: references are matched by their files' names."
                )
            reference = read_structure(task.reference)
            found = evaluate(read_predicted(task.predicted, plddt=plddt), reference, poses=poses)
            yield Judged(task, Outcome(name, "done"), found)
        except Exception as error:
            yield Judged(task, failure(name, error), None)
        progress.advance()
