"""Chemical components of a ModelCIF file: every component used, with its atoms and bonds.

Components that the Chemical Component Dictionary has are written with heavy atoms only; those that a user gave are
written whole, with hydrogens (named by us) and coordinates, since the file is the only place they are described.
"""

from __future__ import annotations

import gemmi
import numpy as np
from jaxtyping import Float

from ..chemistry import Component, ComponentLibrary, Structure, element_symbol
from ..chemistry.read_components import OWN_DESCRIPTOR
from ..chemistry.structure import BondOrder
from .mmcif_table import Categories, Columns, Value, columns

# mmCIF has no word for coordination within a component; the dictionary itself writes single bonds there.
VALUE_ORDERS = {
    BondOrder.UNKNOWN: "sing",
    BondOrder.SINGLE: "sing",
    BondOrder.DOUBLE: "doub",
    BondOrder.TRIPLE: "trip",
    BondOrder.QUADRUPLE: "quad",
    BondOrder.AROMATIC: "arom",
    BondOrder.COORDINATION: "sing",
}
_IDEAL = tuple(f"pdbx_model_Cartn_{axis}_ideal" for axis in "xyz")
_MODEL = tuple(f"model_Cartn_{axis}" for axis in "xyz")


def component_categories(structure: Structure, library: ComponentLibrary) -> Categories:
    """Return chem_comp, chem_comp_atom, chem_comp_bond, and the descriptors of components made from SMILES."""
    codes = sorted(set(structure.residues.name.tolist()))
    components = {code: library.get(code) for code in codes}
    own = {code for code in codes if code in library.extra}
    atoms: list[tuple[Value, ...]] = []
    bonds: list[tuple[Value, ...]] = []
    for code, component in components.items():
        names = component.atom_names.tolist()
        hydrogens = _hydrogen_names(component) if code in own else []
        atoms += _atom_rows(component, hydrogens)
        for (first, second), order, stereo in zip(
            component.bonds.tolist(), component.orders.tolist(), component.bond_stereo.tolist(), strict=True
        ):
            word = VALUE_ORDERS[BondOrder(order)]
            aromatic = "Y" if order == BondOrder.AROMATIC else "N"
            bonds.append((code, names[first], names[second], word, aromatic, stereo or "N"))
        bonds += [(code, parent, name, "sing", "N", "N") for parent, name in hydrogens]
    heads = (*("comp_id", "atom_id", "type_symbol", "charge", "pdbx_aromatic_flag"), "pdbx_leaving_atom_flag")
    return {
        "chem_comp": _chem_comp(components, own),
        "chem_comp_atom": _numbered((*heads, "pdbx_stereo_config", *_IDEAL, *_MODEL), atoms),
        "chem_comp_bond": _numbered(
            ("comp_id", "atom_id_1", "atom_id_2", "value_order", "pdbx_aromatic_flag", "pdbx_stereo_config"), bonds
        ),
        "pdbx_chem_comp_descriptor": columns(
            ("comp_id", "type", "program", "program_version", "descriptor"),
            [
                (code, "SMILES", OWN_DESCRIPTOR, "1", components[code].smiles)
                for code in sorted(own)
                if components[code].smiles
            ],
        ),
    }


def _numbered(names: tuple[str, ...], rows: list[tuple[Value, ...]]) -> Columns:
    ordinals = [str(n) for n in range(1, len(rows) + 1)]
    return {**columns(names, rows), "pdbx_ordinal": ordinals}


def _chem_comp(components: dict[str, Component], own: set[str]) -> Columns:
    rows: list[tuple[Value, ...]] = []
    for code, component in components.items():
        formula, weight = _formula(component)
        rows.append(
            (
                code,
                component.type or "NON-POLYMER",
                component.name or code,
                formula,
                f"{weight:.3f}",
                component.one_letter or None,
                component.parent or None,
                "CCD local" if code in own else "CCD Core",
            )
        )
    names = ("id", "type", "name", "formula", "formula_weight", "one_letter_code", "mon_nstd_parent_comp_id")
    return columns((*names, "ma_provenance"), rows)


def _formula(component: Component) -> tuple[str, float]:
    """Formula in Hill order, and mass in dalton."""
    counts: dict[str, int] = {}
    for number in component.elements.tolist():
        symbol = element_symbol(number)
        counts[symbol] = counts.get(symbol, 0) + 1
    hydrogens = int(component.hydrogens.sum())
    if hydrogens:
        counts["H"] = counts.get("H", 0) + hydrogens
    order = sorted(counts, key=lambda symbol: (symbol != "C", symbol != "H", symbol) if "C" in counts else (symbol,))
    weight = sum(gemmi.Element(symbol).weight * number for symbol, number in counts.items())
    return " ".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in order), weight


def _hydrogen_names(component: Component) -> list[tuple[str, str]]:
    """(heavy atom, hydrogen) names: H1, H2, … as far as they are free."""
    taken = set(component.atom_names.tolist())
    named = []
    number = 0
    for parent, count in zip(component.atom_names.tolist(), component.hydrogens.tolist(), strict=True):
        for _ in range(count):
            number += 1
            while f"H{number}" in taken:
                number += 1
            named.append((parent, f"H{number}"))
    return named


def _atom_rows(component: Component, hydrogens: list[tuple[str, str]]) -> list[tuple[Value, ...]]:
    rows: list[tuple[Value, ...]] = []
    for index, name in enumerate(component.atom_names.tolist()):
        rows.append(
            (
                component.code,
                name,
                element_symbol(int(component.elements[index])).upper(),
                str(component.charges[index]),
                None,
                "Y" if component.leaving[index] else "N",
                str(component.stereo[index]) or "N",
                *_position(component.ideal, index),
                *_position(component.model, index),
            )
        )
    nowhere: tuple[Value, ...] = (None,) * 6
    rows += [(component.code, name, "H", "0", None, "N", "N", *nowhere) for _, name in hydrogens]
    return rows


def _position(coordinates: Float[np.ndarray, "n 3"] | None, index: int) -> tuple[Value, ...]:
    if coordinates is None:
        return (None, None, None)
    return tuple(f"{value:.3f}" for value in coordinates[index].tolist())
