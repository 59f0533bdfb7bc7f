"""Progress that keeps what is said."""

from anfinsen.common.progress import Silent


class Notes(Silent):
    """Keeps what was noted, in `said`."""

    def __init__(self):
        self.said = []

    def note(self, message):
        """Keep ``message``."""
        self.said.append(message)
