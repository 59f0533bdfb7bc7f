"""Reading the files of a job: sizes, compression, encoding, and paths relative to the job file."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path
from typing import BinaryIO

from ..common.errors import JobError
from ..common.text import shown

MAX_JOB_BYTES = 256 * 2**20
"""Largest job file (JSON jobs may carry their alignments), after decompression."""
MAX_PART_BYTES = 1024 * 2**20
"""Largest file a job refers to (alignment, template, components, SDF), after decompression."""

_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, what: str, limit: int) -> str:
    """Return the text of ``path``: plain, gzip or xz; UTF-8 with or without a byte order mark; any line ends.

    ``what`` names the file in messages, such as "Job file".

    Raises:
        JobError: the file is missing, not readable, too large, damaged, or not text.
    """
    where = f"{what} {shown(str(path), 200)}"
    try:
        if not path.exists():
            raise JobError(f"{where} does not exist: check the path (paths in a job are relative to the job file).")
        if path.is_dir():
            raise JobError(f"{where} is a folder: give a file.")
        if not path.is_file():
            raise JobError(f"{where} is not a regular file: save its content to a file and give that.")
        with path.open("rb") as file:
            data = _decompressed(file, where, limit)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise JobError(f"{where} cannot be read: {reason}.") from error
    if len(data) > limit:
        raise JobError(f"{where} holds more than {limit // 2**20} MiB, the most that is read.")
    return _decoded(data, where)


def resolve(reference: str, folder: Path) -> Path:
    """Return the path that ``reference``, written in a job file lying in ``folder``, means."""
    return folder / reference


def _decompressed(file: BinaryIO, where: str, limit: int) -> bytes:
    magic = file.read(6)
    file.seek(0)
    if magic[:4] == _ZSTD:
        raise JobError(f"{where} is compressed with zstd, which is not read: decompress it, or use gzip or xz.")
    try:
        if magic[:2] == _GZIP:
            with gzip.open(file) as unpacked:
                return unpacked.read(limit + 1)
        if magic == _XZ:
            with lzma.open(file) as unpacked_xz:
                return unpacked_xz.read(limit + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise JobError(f"{where} is damaged: it begins like a compressed file but cannot be decompressed.") from error
    return file.read(limit + 1)


def _decoded(data: bytes, where: str) -> str:
    if data.startswith(_UTF16):
        raise JobError(f"{where} is encoded in UTF-16: save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(
            f"{where} is not text: byte {error.start} is not valid UTF-8 (a binary file, or another encoding?)."
        ) from error
    if "\x00" in text:
        raise JobError(f"{where} is not text: it holds NUL bytes (a binary file?).")
    return text.replace("\r\n", "\n").replace("\r", "\n")
