"""Chain names: which are allowed, and the order in which they are made up."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

from ..common.errors import JobError
from ..common.text import shown

MAX_CHAIN_ID = 16
_PATTERN = re.compile(r"[A-Za-z0-9]+")


def is_chain_id(text: str) -> bool:
    """Whether ``text`` can name a chain: 1 to 16 ASCII letters and digits."""
    return len(text) <= MAX_CHAIN_ID and _PATTERN.fullmatch(text) is not None


def generated_chain_id(index: int) -> str:
    """Return the chain name number ``index`` (0-based): A, B, …, Z, AA, BA, CA, …, ZA, AB, …

    The least significant letter comes first, as in mmCIF files of the PDB and in AlphaFold 3.
    """
    letters = []
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters.append(string.ascii_uppercase[letter])
    return "".join(letters)


class ChainIds:
    """Hands out chain names that no chain of the job has yet."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next = 0

    def take(self, count: int) -> tuple[str, ...]:
        """Return the next ``count`` free names."""
        names: list[str] = []
        while len(names) < count:
            name = generated_chain_id(self._next)
            self._next += 1
            if name not in self._taken:
                self._taken.add(name)
                names.append(name)
        return tuple(names)


def check_chain_id(text: str) -> str:
    """Return ``text`` if it can name a chain.

    Raises:
        JobError: it cannot.
    """
    if not is_chain_id(text):
        raise JobError(f"Chain id {shown(text)} must be 1 to {MAX_CHAIN_ID} letters and digits, such as A or B2.")
    return text
