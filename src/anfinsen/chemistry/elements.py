"""Chemical elements: symbols, atomic numbers, and which of them are metals."""

from __future__ import annotations

from functools import cache

import gemmi

HYDROGEN = 1

# Nonmetals and metalloids; every other element bonds to ligand atoms by coordination.
_NOT_METALS = frozenset({0, 1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 51, 52, 53, 54, 85, 86})
_HEAVIEST = 118


@cache
def atomic_number(symbol: str) -> int | None:
    """Return the atomic number of an element symbol in any case; deuterium is 1, CCD's unknown ``X`` is 0.

    None where there is no such element.
    """
    element = gemmi.Element(symbol)
    if element.atomic_number == 0 and symbol.strip().upper() != "X":
        return None
    return int(element.atomic_number)


@cache
def element_symbol(number: int) -> str:
    """Return the symbol ("C", "Fe") of an atomic number; 0 (unknown) is "X"."""
    if not 0 <= number <= _HEAVIEST:
        raise ValueError(f"atomic number {number} is not between 0 and {_HEAVIEST}")
    return str(gemmi.Element(number).name)


def is_metal(number: int) -> bool:
    """Whether the element of this atomic number is a metal."""
    return number not in _NOT_METALS
