"""Components that the CCD lacks, given by the user in the CCD's own mmCIF format."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import gemmi
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ..common.errors import ChemistryError
from .component import Component
from .component_table import BOND_ORDERS, MAX_NAME_LENGTH, ComponentTable, component_from_table, read_only
from .elements import HYDROGEN, atomic_number
from .molecules import BOND_TYPES
from .structure import BondOrder

_OPTIONAL_ATOM_COLUMNS = (
    "charge",
    "pdbx_leaving_atom_flag",
    "pdbx_stereo_config",
    *(f"pdbx_model_Cartn_{axis}_ideal" for axis in "xyz"),
    *(f"model_Cartn_{axis}" for axis in "xyz"),
)
# The elements whose missing hydrogens can be counted from the valence.
_ORGANIC = frozenset({5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})


def components_from_mmcif(text: str) -> tuple[Component, ...]:
    """Return the components of an mmCIF text in the CCD's format, one per data block.

    Needed: `_chem_comp.id`, `_chem_comp_atom.atom_id` and `.type_symbol`; for more than one atom `_chem_comp_bond`
    with `atom_id_1`, `atom_id_2` and `value_order`. Optional: name, type, one-letter code, parent, charges, leaving
    flags, stereo, coordinates. Where a component lists no hydrogens at all, they are counted from its valences.

    Raises:
        ChemistryError: not mmCIF, or something needed is missing or inconsistent.
    """
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "syntax error"
        raise ChemistryError(f"The user-given components are not valid mmCIF: {reason}.") from error
    blocks = [block for block in document if block.find_value("_chem_comp.id") or block.find_values("_chem_comp.id")]
    if not blocks:
        raise ChemistryError(
            "The user-given components hold no _chem_comp.id: expected the format of the Chemical Component "
            "Dictionary, one data block per component."
        )
    components = tuple(_from_block(block) for block in blocks)
    repeated = [code for code, count in Counter(component.code for component in components).items() if count > 1]
    if repeated:
        raise ChemistryError(f"The user-given components define {repeated[0]} more than once: keep one of them.")
    return components


def _from_block(block: gemmi.cif.Block) -> Component:
    code = _value(block, "_chem_comp.id")
    if not code:
        raise ChemistryError(f"Data block {block.name!r} of the user-given components has no _chem_comp.id.")
    atoms = block.find(
        "_chem_comp_atom.",
        ["atom_id", "type_symbol", *(f"?{name}" for name in _OPTIONAL_ATOM_COLUMNS)],
    )
    if not len(atoms):
        raise ChemistryError(
            f"Component {code} lists no atoms: expected _chem_comp_atom with at least atom_id and type_symbol."
        )
    bonds = block.find("_chem_comp_bond.", ["atom_id_1", "atom_id_2", "value_order", "?pdbx_stereo_config"])
    names = np.array([gemmi.cif.as_string(row[0]) for row in atoms], dtype=np.str_)
    _check_names(code, names)
    columns = {
        name: [gemmi.cif.as_string(row[2 + k]) if row.has(2 + k) else "" for row in atoms]
        for k, name in enumerate(_OPTIONAL_ATOM_COLUMNS)
    }
    symbols = np.array([gemmi.cif.as_string(row[1]) for row in atoms], dtype=np.str_)
    heavy = np.array([atomic_number(str(symbol)) != HYDROGEN for symbol in symbols])
    if heavy.sum() > 1 and not len(bonds):
        raise ChemistryError(
            f"Component {code} has {int(heavy.sum())} heavy atoms but no bonds: expected _chem_comp_bond with "
            "atom_id_1, atom_id_2 and value_order."
        )
    parent = _value(block, "_chem_comp.mon_nstd_parent_comp_id")
    table = ComponentTable(
        code=code,
        name=_value(block, "_chem_comp.name") or code,
        type=(_value(block, "_chem_comp.type") or "non-polymer").upper(),
        one_letter=_value(block, "_chem_comp.one_letter_code"),
        parent="" if "," in parent else parent,
        atom_names=names,
        symbols=symbols,
        charges=np.array([_charge(code, text) for text in columns["charge"]], dtype=np.int64),
        leaving=np.array([text.upper() == "Y" for text in columns["pdbx_leaving_atom_flag"]]),
        stereo=_labels(columns["pdbx_stereo_config"], "RS"),
        first=np.array([gemmi.cif.as_string(row[0]) for row in bonds], dtype=np.str_),
        second=np.array([gemmi.cif.as_string(row[1]) for row in bonds], dtype=np.str_),
        orders=np.array([_order(code, gemmi.cif.as_string(row[2])) for row in bonds], dtype=np.str_),
        bond_stereo=_labels([gemmi.cif.as_string(row[3]) if row.has(3) else "" for row in bonds], "EZ"),
        ideal=_positions(code, columns, "pdbx_model_Cartn_{}_ideal", heavy),
        model=_positions(code, columns, "model_Cartn_{}", heavy),
    )
    return _complete(component_from_table(table), hydrogens_listed=bool((~heavy).any()))


def _value(block: gemmi.cif.Block, tag: str) -> str:
    """Return a single value, whether written as a pair or as a loop of one row; "" where missing."""
    values = block.find_values(tag)
    return gemmi.cif.as_string(values[0]) if len(values) else ""


def _check_names(code: str, names: NDArray[np.character]) -> None:
    for name in names.tolist():
        printable = name.isascii() and all("!" <= letter <= "_" for letter in name.upper())
        if not 0 < len(name) <= MAX_NAME_LENGTH or not printable:
            raise ChemistryError(
                f"Component {code} has an atom named {name!r}: expected 1 to {MAX_NAME_LENGTH} printable ASCII "
                "characters without spaces, and none of ` { | } ~."
            )


def _labels(texts: list[str], allowed: str) -> NDArray[np.character]:
    return np.array([text.upper() if text.upper() in {*allowed} else "N" for text in texts], dtype="<U1")


def _charge(code: str, text: str) -> int:
    if not text:
        return 0
    try:
        return int(text)
    except ValueError as error:
        raise ChemistryError(
            f"Component {code} has the charge {text!r}: expected a whole number such as -1."
        ) from error


def _order(code: str, text: str) -> str:
    order = text.upper()[:4]
    if order not in BOND_ORDERS:
        raise ChemistryError(
            f"Component {code} has a bond of order {text!r}: expected one of {', '.join(BOND_ORDERS)}."
        )
    return order


def _positions(
    code: str, columns: dict[str, list[str]], pattern: str, heavy: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "n 3"] | None:
    """Return coordinates in Å, or None where a heavy atom lacks them."""
    texts = np.array([columns[pattern.format(axis)] for axis in "xyz"]).T
    if not heavy.any() or (texts[heavy] == "").any():
        return None
    values = np.zeros(texts.shape, dtype=np.float64)
    for index in np.ndindex(*texts.shape):
        value = float(gemmi.cif.as_number(str(texts[index]))) if texts[index] else 0.0
        if not math.isfinite(value):
            raise ChemistryError(
                f"Component {code} has the coordinate {str(texts[index])!r}: expected a finite number in Å."
            )
        values[index] = value
    return values


def _complete(component: Component, hydrogens_listed: bool) -> Component:
    """Turn aromatic bonds into their Kekulé form, and count hydrogens where the file lists none at all."""
    aromatic = bool((component.orders == BondOrder.AROMATIC).any())
    if not aromatic and hydrogens_listed:
        return component
    molecule = Chem.RWMol()
    for row in range(len(component)):
        atom = Chem.Atom(int(component.elements[row]))
        atom.SetFormalCharge(int(component.charges[row]))
        if hydrogens_listed or int(component.elements[row]) not in _ORGANIC:
            atom.SetNoImplicit(True)
            atom.SetNumExplicitHs(int(component.hydrogens[row]))
        molecule.AddAtom(atom)
    for (first, second), order in zip(component.bonds.tolist(), component.orders.tolist(), strict=True):
        molecule.AddBond(first, second, BOND_TYPES[order])
        if order == BondOrder.AROMATIC:
            molecule.GetBondBetweenAtoms(first, second).SetIsAromatic(True)
            for row in (first, second):
                molecule.GetAtomWithIdx(row).SetIsAromatic(True)
    orders, hydrogens = component.orders.copy(), component.hydrogens.copy()
    with rdBase.BlockLogs():
        molecule.UpdatePropertyCache(strict=False)
        if aromatic:
            try:
                Chem.Kekulize(molecule, clearAromaticFlags=True)
            except (ValueError, RuntimeError) as error:
                raise ChemistryError(
                    f"Component {component.code} has aromatic bonds that no pattern of single and double bonds "
                    "satisfies: give SING and DOUB orders, or list the hydrogens."
                ) from error
            for row, (first, second) in enumerate(component.bonds.tolist()):
                kind = molecule.GetBondBetweenAtoms(first, second).GetBondType()
                orders[row] = next(order for order, bond_type in BOND_TYPES.items() if bond_type == kind)
        if not hydrogens_listed:
            molecule.UpdatePropertyCache(strict=False)
            hydrogens = np.array([atom.GetTotalNumHs() for atom in molecule.GetAtoms()], dtype=np.int64)
    return read_only(replace(component, orders=orders, hydrogens=hydrogens))
