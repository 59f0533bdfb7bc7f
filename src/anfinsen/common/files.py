"""Writing results whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import OutputError

_NAME_LETTERS = 40  # of a file's name that its temporary name shows


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` when the block succeeds.

    The file is complete under its final name or absent: an exception, Ctrl-C or a full disk
    leaves nothing behind.

    Raises:
        OutputError: the folder cannot be created, or the file cannot be written.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Shortened: file systems allow names of 255 bytes, and a letter may take four.
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:_NAME_LETTERS]}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; results should have the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"Cannot write {target}: {reason}. Choose another folder with --out, or free space and check permissions."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; a little of it is in memory at a time.

    Raises:
        OSError: it cannot be read; callers know what it was to be.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``target``, whole or not at all (see :func:`atomic_path`)."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def results_record(folder: Path, name: str, formats: str, command: str) -> dict[str, Any] | None:
    """Return the record of the results that a command wrote into ``folder`` before; None where there is nothing.

    Args:
        folder: of the results. name: of the record, a JSON file in it.
        formats: what the record's "format" begins with in all versions. command: such as "anfinsen evaluate".

    Raises:
        OutputError: the folder holds something else, or cannot be looked into.
    """
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise OutputError(f"Cannot write {folder}: {error.strerror}. Choose another folder with --out.") from error
    try:
        record = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or not str(record.get("format")).startswith(formats):
        raise OutputError(
            f"{folder} exists and was not made by `{command}`: move it, or choose another folder with --out."
        )
    return record
