"""The cache of search results, addressed by what decides them: sequence, database version, engine and settings."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from ..common.errors import OutputError
from ..common.files import atomic_path

FORMAT = "anfinsen-search-1"


def default_cache_folder() -> Path:
    """Return where results are kept unless the user says otherwise: below XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anfinsen" / "alignments"


def cache_key(identity: Mapping[str, str | int | float]) -> str:
    """Return the address of a result that ``identity``, and nothing else, decides."""
    text = json.dumps({**identity, "format": FORMAT}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class SearchCache:
    """Texts in one folder, one compressed file each.

    Any number of processes may use one folder at once: a text appears under its final name whole, and two that write
    the same name write the same text, so no lock is needed.

    Raises:
        OutputError: at construction, when the folder cannot be made.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_cache_folder() if folder is None else folder
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"Cannot make the cache folder {self.folder}: {error.strerror or error}. Choose another with --cache."
            ) from error

    def get(self, key: str) -> str | None:
        """Return the text stored under ``key``; None where there is none, or a damaged one."""
        try:
            # gzip checks length and checksum, so that half a file is never taken for a whole one.
            return gzip.decompress(self._path(key).read_bytes()).decode("utf-8") or None
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):
            return None

    def put(self, key: str, text: str) -> None:
        """Store ``text`` under ``key``, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        with atomic_path(self._path(key)) as temporary:
            # No date inside, so that equal texts are equal files.
            temporary.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0))

    def remove(self, key: str) -> None:
        """Forget what is stored under ``key``, if anything."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.gz"
