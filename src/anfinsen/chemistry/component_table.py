"""From a component's table with hydrogens, as the CCD writes it, to a `Component` of heavy atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ..common.errors import ChemistryError
from .component import Component
from .elements import HYDROGEN, atomic_number
from .structure import BondOrder

MAX_NAME_LENGTH = 4  # atom names become four characters of the features (supplement table 5)

# mmCIF `value_order`; DELO and PI (never used by the CCD) are refused by the caller.
BOND_ORDERS = {
    "SING": BondOrder.SINGLE,
    "DOUB": BondOrder.DOUBLE,
    "TRIP": BondOrder.TRIPLE,
    "QUAD": BondOrder.QUADRUPLE,
    "AROM": BondOrder.AROMATIC,
}


@dataclass(frozen=True)
class ComponentTable:
    """A component with all its atoms; bonds name their atoms. Coordinates in Å, None where any heavy atom lacks one.

    Bond orders are Kekulé orders: the CCD gives single, double and triple bonds plus an aromatic flag, and the
    flag can be derived again from the Kekulé form, so only the orders are kept.
    """

    code: str
    name: str
    type: str
    one_letter: str
    parent: str
    atom_names: NDArray[np.character]
    symbols: NDArray[np.character]
    charges: Int[np.ndarray, "n"]
    leaving: NDArray[np.bool_]
    stereo: NDArray[np.character]
    first: NDArray[np.character]
    second: NDArray[np.character]
    orders: NDArray[np.character]
    bond_stereo: NDArray[np.character]
    ideal: Float[np.ndarray, "n 3"] | None
    model: Float[np.ndarray, "n 3"] | None


def component_from_table(table: ComponentTable) -> Component:
    """Drop hydrogens and deuterium, count them on the atoms that bear them, and index the bonds.

    Raises:
        ChemistryError: an unknown element, a repeated atom name, or a bond to an atom that is not listed.
    """
    elements = np.array([_element(table, index) for index in range(len(table.atom_names))], dtype=np.int64)
    index = {str(name): row for row, name in enumerate(table.atom_names)}
    if len(index) < len(table.atom_names):
        repeated = next(n for n in index if np.count_nonzero(table.atom_names == n) > 1)
        raise ChemistryError(f"Component {table.code} lists atom {repeated!r} twice: atom names must be unique.")
    ends = np.array([_ends(table, row, index) for row in range(len(table.first))], dtype=np.int64).reshape(-1, 2)

    heavy = elements != HYDROGEN
    hydrogens = np.zeros(len(elements), dtype=np.int64)
    is_hydrogen = ~heavy[ends]
    np.add.at(hydrogens, ends[is_hydrogen[:, 0], 1], 1)
    np.add.at(hydrogens, ends[is_hydrogen[:, 1], 0], 1)

    kept_bonds = ~is_hydrogen.any(axis=1)
    position = np.cumsum(heavy) - 1
    orders = np.array([int(BOND_ORDERS[str(order)]) for order in table.orders[kept_bonds]], dtype=np.uint8)
    component = Component(
        code=table.code,
        name=table.name,
        type=table.type,
        one_letter=table.one_letter,
        parent=table.parent,
        atom_names=table.atom_names[heavy],
        elements=elements[heavy].astype(np.uint8),
        charges=table.charges[heavy].astype(np.int64),
        leaving=table.leaving[heavy],
        stereo=table.stereo[heavy],
        bonds=position[ends[kept_bonds]].reshape(-1, 2),
        orders=orders,
        bond_stereo=table.bond_stereo[kept_bonds],
        ideal=None if table.ideal is None else table.ideal[heavy],
        model=None if table.model is None else table.model[heavy],
        hydrogens=hydrogens[heavy],
    )
    return read_only(component)


def read_only(component: Component) -> Component:
    """Mark the arrays of ``component`` as read-only: components are cached and shared."""
    for value in vars(component).values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return component


def _element(table: ComponentTable, row: int) -> int:
    number = atomic_number(str(table.symbols[row]))
    if number is None:
        raise ChemistryError(
            f"Component {table.code}: atom {table.atom_names[row]!r} has the element {table.symbols[row]!r}, "
            "which does not exist; expected a symbol such as C, N or FE."
        )
    return number


def _ends(table: ComponentTable, row: int, index: dict[str, int]) -> tuple[int, int]:
    names = str(table.first[row]), str(table.second[row])
    for name in names:
        if name not in index:
            raise ChemistryError(
                f"Component {table.code} has a bond {names[0]}-{names[1]}, but lists no atom {name!r}: "
                f"its atoms are {', '.join(index)}."
            )
    return index[names[0]], index[names[1]]
