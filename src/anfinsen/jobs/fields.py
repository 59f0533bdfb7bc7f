"""`Fields`: typed access to one mapping of a job file; unknown keys are refused when it is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from ..common.errors import JobError
from ..common.text import listed, shown

ItemT = TypeVar("ItemT")


class Fields:
    """One mapping of a job file.

    Args:
        value: what stands in the file.
        where: its place, such as "sequences[0].protein".
        known: the keys that may stand here.
        refused: keys that another program reads and we cannot honour, with the reason.

    Raises:
        JobError: from the constructor and every method, when the content is not as expected.
    """

    def __init__(
        self, value: Any, where: str, known: Collection[str], refused: Mapping[str, str] | None = None
    ) -> None:
        if not isinstance(value, dict):
            raise JobError(f"{where} is {shown(value)}: expected a mapping with keys {listed(known)}.")
        self.where = where
        self._values = value
        for key in value:
            if refused and key in refused:
                raise JobError(f"{where} has the field {shown(key)}, which cannot be honoured: {refused[key]}.")
            if key not in known:
                raise JobError(f"{where} has an unknown key {shown(key)}: expected {listed(known)}.")

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def wrong(self, key: str, expected: str) -> JobError:
        """Return the error that says what ``key`` should have been."""
        if key not in self._values:
            return JobError(f"{self.where} lacks the key {key!r}: expected {expected}.")
        return JobError(f"{self.where}.{key} is {shown(self._values[key])}: expected {expected}.")

    def raw(self, key: str) -> Any:
        """Return whatever stands there, None where nothing does."""
        return self._values.get(key)

    def text(self, key: str, default: str | None = None, expected: str = "text") -> str:
        """Return a string; whole numbers count as text, for codes such as 144."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self.wrong(key, expected)
        return value

    def optional_text(self, key: str, expected: str = "text") -> str | None:
        """Return a string, or None where nothing stands."""
        return self.text(key, expected=expected) if key in self else None

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def integer(self, key: str, default: int | None = None, minimum: int = 0) -> int:
        """Return a whole number of at least ``minimum``."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.wrong(key, f"a whole number of at least {minimum}")
        return value

    def items(self, key: str, expected: str = "a list", *, required: bool = False) -> list[Any]:
        """Return a list, empty where nothing stands."""
        value = self._values.get(key)
        if value is None and not required:
            return []
        if not isinstance(value, list):
            raise self.wrong(key, expected)
        return value

    def each(self, key: str, read: Callable[[Any, str], ItemT]) -> tuple[ItemT, ...]:
        """Return what ``read(item, where)`` makes of every item of a list, empty where nothing stands."""
        return tuple(read(item, f"{self.where}.{key}[{index}]") for index, item in enumerate(self.items(key)))

    def texts(self, key: str, expected: str) -> tuple[str, ...]:
        """Return a string or a list of strings as a tuple, empty where nothing stands."""
        value = self._values.get(key)
        if value is None:
            return ()
        return tuple(self._word(item, key, expected) for item in (value if isinstance(value, list) else [value]))

    def _word(self, item: Any, key: str, expected: str) -> str:
        if isinstance(item, str):
            return item
        if isinstance(item, int) and not isinstance(item, bool):
            return str(item)
        raise self.wrong(key, expected)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        value = self.items(key, "a list of whole numbers", required=True)
        if any(not isinstance(item, int) or isinstance(item, bool) for item in value):
            raise self.wrong(key, "a list of whole numbers")
        return tuple(value)

    def seeds(self, key: str) -> tuple[int, ...]:
        """Return a seed or a list of seeds (whole numbers, also written as text), empty where nothing stands."""
        value = self._values.get(key)
        if value is None:
            return ()
        seeds = []
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item.isascii() and item.isdigit() and len(item) <= 10:
                item = int(item)  # noqa: PLW2901  # the server writes seeds as text
            if not isinstance(item, int) or isinstance(item, bool):
                raise self.wrong(key, "whole numbers, such as [1, 2]")
            seeds.append(item)
        return tuple(seeds)

    def one_of(self, kinds: Collection[str]) -> str:
        """Return the one key of ``kinds`` that stands here."""
        present = [str(key) for key in self._values if key in kinds]
        if len(present) != 1:
            raise JobError(f"{self.where} must have exactly one of the keys {listed(kinds)}; it has {len(present)}.")
        return present[0]


def atom_triple(value: Any, where: str) -> tuple[str, int, str]:
    """Return a bond atom written as [chain id, residue number, atom name], all checked for type.

    Raises:
        JobError: it is something else.
    """
    if isinstance(value, list) and len(value) == 3:
        chain, residue, atom = value
        if isinstance(residue, int) and not isinstance(residue, bool):
            words = [str(word) for word in (chain, atom) if isinstance(word, str | int) and not isinstance(word, bool)]
            if len(words) == 2:
                return words[0], residue, words[1]
    raise JobError(f"{where} is {shown(value)}: expected [chain id, residue number, atom name], such as [A, 6, SG].")
