"""Reading text and sequence files line by line: plain, or compressed with gzip or xz."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..common.errors import AlignmentError
from .records import excerpt

MAX_BYTES = 1024 * 2**20
"""Most text that is read of one alignment file, after decompression."""
_LONGEST_LINE = 16 * 2**20
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


def compression(path: Path) -> str:
    """Return "gzip", "xz" or "" by the first bytes of the file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:2] == _GZIP:
        return "gzip"
    return "xz" if magic == _XZ else ""


OpenFile = gzip.GzipFile | lzma.LZMAFile | io.BufferedReader


@contextmanager
def open_binary(path: Path, where: str) -> Iterator[OpenFile]:
    """Open a file, decompressed; what goes wrong while it is read inside the block is told in one sentence.

    Raises:
        AlignmentError: the file does not exist, cannot be read, or is damaged.
    """
    try:
        if not path.is_file():
            raise AlignmentError(f"{where} does not exist, or is not a file: check the path.")
        kind = compression(path)
        if kind == "gzip":
            with gzip.open(path, "rb") as unpacked:
                yield unpacked
        elif kind == "xz":
            with lzma.open(path, "rb") as unpacked_xz:
                yield unpacked_xz
        else:
            with path.open("rb") as file:
                yield file
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise AlignmentError(f"{where} is damaged: it cannot be decompressed.") from error
    except UnicodeDecodeError as error:
        raise AlignmentError(
            f"{where} is not text: it holds bytes that are not valid UTF-8 (a binary file?)."
        ) from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        printable = "".join(letter if letter.isprintable() else "?" for letter in reason)
        raise AlignmentError(f"{where} cannot be read: {printable}.") from error


def file_lines(path: Path) -> Iterator[str]:
    """Yield the lines of an alignment file as they are asked for; no more than one is held.

    Raises:
        AlignmentError: as :func:`open_binary`; also when more than `MAX_BYTES` are asked for.
    """
    where = f"MSA file {excerpt(str(path), 200)}"
    size = 0
    with open_binary(path, where) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        while line := text.readline(_LONGEST_LINE):
            size += len(line)
            if len(line) == _LONGEST_LINE:
                raise AlignmentError(f"{where} has a line of more than {_LONGEST_LINE // 2**20} MiB: no alignment has.")
            if size > MAX_BYTES:
                raise AlignmentError(f"{where} holds more than {MAX_BYTES // 2**20} MiB, the most that is read.")
            yield line.rstrip("\n")
