"""Progress is reported through one small protocol; who shows it (a terminal, nobody) is the caller's choice."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Receives the stages of a run."""

    def stage(self, name: str, total: int) -> None:
        """A stage called ``name`` with ``total`` steps begins; the stage before it is over."""

    def advance(self, steps: int = 1) -> None:
        """``steps`` more steps of the current stage are done."""

    def note(self, message: str) -> None:
        """Something the user should know, in one sentence."""


class Silent:
    """A :class:`Progress` that shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Ignore the stage."""

    def advance(self, steps: int = 1) -> None:
        """Ignore the step."""

    def note(self, message: str) -> None:
        """Ignore the message."""
