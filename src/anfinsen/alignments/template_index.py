"""The index of a folder of structure files: which protein chains are there, of which sequence, released when.

One SQLite file per folder. A file is read when it is new, or when its size or date changed; several processes may work
on one index at the same time, and between them each file is read once.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..common.errors import AlignmentError, OutputError
from ..common.progress import Progress, Silent
from .records import excerpt
from .template_files import read_protein_chains, structure_paths

_FORMAT = 1  # of the tables; an index of another one is made anew
_BATCH = 16  # files between two moments at which the work so far is safe and others may go on
_PATIENCE = 0.2  # seconds between two looks at a lock that another process holds
_LOOKS = 10  # looks after which the user is told what is waited for
_NAMED = 8  # broken files that a message names
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    file TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, problem TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chains (
    file TEXT NOT NULL, chain TEXT NOT NULL, author TEXT NOT NULL, entry TEXT NOT NULL, sequence TEXT NOT NULL,
    resolved INTEGER NOT NULL, released TEXT NOT NULL, resolution REAL NOT NULL, PRIMARY KEY (file, chain)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_sequence ON chains (sequence);
"""


@dataclass(frozen=True)
class IndexedChain:
    """A protein chain of the folder.

    Attributes:
        file: path below the folder. chain_id, author_id: of the chain. entry: name of the entry.
        release_date: ISO date, "" where unknown.
    """

    file: str
    chain_id: str
    author_id: str
    entry: str
    release_date: str


@dataclass(frozen=True)
class IndexState:
    """What looking at the folder gave.

    Attributes:
        files: number of structure files in the folder. chains: protein chains in them.
        read: number of files that had to be read. broken: files that cannot be read, and why.
    """

    files: int
    chains: int
    read: int
    broken: tuple[tuple[str, str], ...]

    @property
    def note(self) -> str:
        """Which files are left out, in one sentence; "" where none is."""
        if not self.broken:
            return ""
        named = "; ".join(
            f"{file} ({reason.removeprefix(Path(file).name).strip().rstrip('.')})"
            for file, reason in self.broken[:_NAMED]
        )
        more = f"; and {len(self.broken) - _NAMED} more" if len(self.broken) > _NAMED else ""
        return f"Structure files that cannot be read give no templates: {named}{more}."


class TemplateIndex:
    """The protein chains of the structure files in and below a folder.

    Args:
        folder: with the files. cache: folder in which the index is kept.

    Raises:
        AlignmentError: at construction, when there is no such folder.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        if not folder.is_dir():
            raise AlignmentError(
                f"Template folder {excerpt(str(folder), 200)} does not exist, or is not a folder: give the folder of "
                "the mmCIF files."
            )
        self.folder = folder.resolve()
        self.path = cache / f"{hashlib.sha256(str(self.folder).encode('utf-8', 'surrogateescape')).hexdigest()}.sqlite"

    def refresh(self, progress: Progress | None = None) -> IndexState:
        """Read the files that are new or changed, and forget those that are gone.

        Raises:
            AlignmentError: the folder cannot be listed, or holds no structure files.
            OutputError: the index cannot be written.
            KeyboardInterrupt: passed on; what was read so far is kept.
        """
        progress = progress or Silent()
        paths = self._paths()
        with self._connection() as connection:
            self._prepare(connection, progress)
            known = {row[0]: row[1:] for row in connection.execute("SELECT file, size, modified FROM files")}
            if gone := sorted(known.keys() - paths.keys()):
                with _locked(connection, progress):
                    self._forget(connection, gone)
            todo = [name for name, path in paths.items() if known.get(name) != _state(path)]
            read = 0
            if todo:
                progress.stage(f"Reading structures of {self.folder.name}", len(todo))
            for start in range(0, len(todo), _BATCH):
                batch = todo[start : start + _BATCH]
                with _locked(connection, progress):
                    read += sum(self._read(connection, name, paths[name]) for name in batch)
                progress.advance(len(batch))
            (chains,) = connection.execute("SELECT COUNT(*) FROM chains").fetchone()
            broken = connection.execute("SELECT file, problem FROM files WHERE problem != '' ORDER BY file").fetchall()
        return IndexState(len(paths), chains, read, tuple(broken))

    def sequences(self, shortest: int, longest: int) -> list[str]:
        """Return the different sequences of the chains that have coordinates, in alphabetical order.

        Args:
            shortest, longest: number of residues.
        """
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT DISTINCT sequence FROM chains WHERE resolved > 0 AND length(sequence) BETWEEN ? AND ? "
                "ORDER BY sequence",
                (shortest, longest),
            )
            return [row[0] for row in rows]

    def chains(self, sequence: str) -> list[IndexedChain]:
        """Return the chains of a sequence, the best first: most residues resolved, then by resolution, then by name."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT file, chain, author, entry, released FROM chains WHERE sequence = ? AND resolved > 0 "
                "ORDER BY resolved DESC, resolution = 0, resolution, file, chain",
                (sequence,),
            )
            return [IndexedChain(*row) for row in rows]

    def _paths(self) -> dict[str, Path]:
        try:
            paths = {str(path.relative_to(self.folder)): path for path in structure_paths(self.folder)}
        except OSError as error:
            raise AlignmentError(
                f"Template folder {excerpt(str(self.folder), 200)} cannot be listed: {error.strerror or error}."
            ) from error
        if not paths:
            raise AlignmentError(
                f"Template folder {excerpt(str(self.folder), 200)} holds no structures: expected files that end in "
                ".cif, .mmcif or .bcif (also compressed with gzip)."
            )
        # SQLite holds UTF-8 only.
        return {name.encode("utf-8", "backslashreplace").decode(): path for name, path in paths.items()}

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are begun and ended by hand, see `_locked`.
            with closing(sqlite3.connect(self.path, timeout=60.0, isolation_level=None)) as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise OutputError(
                f"The template index {self.path} cannot be used ({error}): delete it, or choose another --cache."
            ) from error
        except OSError as error:
            raise OutputError(
                f"Cannot make the folder {self.path.parent}: {error.strerror or error}. Choose another with --cache."
            ) from error

    def _prepare(self, connection: sqlite3.Connection, progress: Progress) -> None:
        if connection.execute("PRAGMA user_version").fetchone()[0] == _FORMAT:
            return
        with _locked(connection, progress):
            if connection.execute("PRAGMA user_version").fetchone()[0] == _FORMAT:
                return  # another process made it meanwhile
            for table in ("files", "chains"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def _read(self, connection: sqlite3.Connection, name: str, path: Path) -> bool:
        """Put one file into the index; return whether it was read (another process may have been first)."""
        state = _state(path)
        known = connection.execute("SELECT size, modified FROM files WHERE file = ?", (name,)).fetchone()
        if state is None or known == state:
            return False
        problem, rows = "", []
        try:
            found = read_protein_chains(path)
            rows = [
                (
                    name,
                    c.chain_id,
                    c.author_id,
                    found.entry,
                    c.sequence,
                    c.resolved,
                    found.release_date,
                    found.resolution,
                )
                for c in found.chains
            ]
        # One odd file among 200,000 must not cost the others; whatever is wrong with it is kept, and told.
        except Exception as error:
            problem = str(error) or type(error).__name__
        self._forget(connection, [name])
        connection.execute("INSERT INTO files VALUES (?, ?, ?, ?)", (name, *state, problem))
        connection.executemany("INSERT INTO chains VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return True

    @staticmethod
    def _forget(connection: sqlite3.Connection, names: Sequence[str]) -> None:
        for table in ("files", "chains"):
            connection.executemany(f"DELETE FROM {table} WHERE file = ?", [(name,) for name in names])


def _state(path: Path) -> tuple[int, int] | None:
    """Size and date (nanoseconds) of a file; None where it has gone."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


@contextmanager
def _locked(connection: sqlite3.Connection, progress: Progress) -> Iterator[None]:
    """Hold the index for writing: all of the block's changes, or none.

    The wait for another process is done here and not by SQLite, so that Ctrl-C is answered.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    for look in count(1):
        try:
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if look == _LOOKS:
                progress.note("Another process reads the same structures: waiting for it.")
            time.sleep(_PATIENCE)
    # A reader in the middle of its work is waited for at the end.
    connection.execute("PRAGMA busy_timeout = 60000")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
