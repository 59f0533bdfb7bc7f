"""Progress on the screen: bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Terminal:
    """A `Progress` shown with rich; use it as a context."""

    def __init__(self) -> None:
        # Long sentences stay in one piece for whoever reads a log.
        self.console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """Show a bar for a new stage in place of the last one."""
        self.clear()
        self._task = self._bars.add_task(escape(name), total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the bar on."""
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def note(self, message: str) -> None:
        """Print one sentence above the bar."""
        self.console.print(escape(message))

    def clear(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
