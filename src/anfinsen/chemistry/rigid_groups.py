"""Amino acids as rigid groups: which atoms turn with which torsion, and where they are in the group's frame.

A residue has eight frames: 0 backbone, 1 pre-omega, 2 phi, 3 psi, 4-7 chi1 to chi4 (supplement of AlphaFold 2, section
1.8.4 and table 2). Frame 0 has its origin at CA, its first axis towards C, and N in the upper half of its xy plane.
Frames 3 to 7 stand at the far end of the bond their torsion turns, with the first axis along that bond; the atom that
sets the torsion lies in the upper half of their xy plane. Frames 1 and 2 move no heavy atom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from .rigid_groups_data import IDEAL_ATOMS
from .tokens import AMINO_ACIDS

RESIDUE_TYPES = (*AMINO_ACIDS, "UNK")
"""The 21 residue types of AlphaFold 2, in its order; also the first 21 of `RESTYPES`."""
MAX_ATOMS, GROUPS, CHIS = 14, 8, 4
BACKBONE_GROUP, PHI_GROUP, PSI_GROUP, FIRST_CHI_GROUP = 0, 2, 3, 4

ATOM37 = (
    "N", "CA", "C", "CB", "O", "CG", "CG1", "CG2", "OG", "OG1", "SG", "CD", "CD1", "CD2", "ND1", "ND2", "OD1", "OD2",
    "SD", "CE", "CE1", "CE2", "CE3", "NE", "NE1", "NE2", "OE1", "OE2", "CH2", "NH1", "NH2", "OH", "CZ", "CZ2", "CZ3",
    "NZ", "OXT",
)  # fmt: skip
"""The order of AlphaFold 2's one place for every atom name."""

# The path that chi1, chi2, ... turn about (IUPAC-IUB 1970); every four atoms in a row are a torsion. Arginine's fifth
# is flat: NH1 and NH2 move with the fourth.
CHI_PATHS = {
    "ARG": "N CA CB CG CD NE CZ", "ASN": "N CA CB CG OD1", "ASP": "N CA CB CG OD1", "CYS": "N CA CB SG",
    "GLN": "N CA CB CG CD OE1", "GLU": "N CA CB CG CD OE1", "HIS": "N CA CB CG ND1", "ILE": "N CA CB CG1 CD1",
    "LEU": "N CA CB CG CD1", "LYS": "N CA CB CG CD CE NZ", "MET": "N CA CB CG SD CE", "PHE": "N CA CB CG CD1",
    "PRO": "N CA CB CG CD", "SER": "N CA CB OG", "THR": "N CA CB OG1", "TRP": "N CA CB CG CD1", "TYR": "N CA CB CG CD1",
    "VAL": "N CA CB CG1",
}  # fmt: skip
# Atoms whose names are a matter of taste: a half turn of the last chi exchanges them (supplement, table 3).
SYMMETRIC_ATOMS = {
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
}
# Van der Waals radii by the element a name begins with, Å (Bondi 1964).
_RADII = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80}


@dataclass(frozen=True)
class RigidGroups:
    """Tables by residue type (T = 21, rows of `RESIDUE_TYPES`); Å. An unknown residue is alanine, without a name.

    Attributes:
        atom_mask: which of the 14 places hold an atom. atom_group: group of the atom.
        atom_position: of the atom in its group's frame; 0 where there is none.
        atom_radius: van der Waals radius; 0 where there is no atom.
        atom37: place of the atom among the 37 names of `ATOM37`; 0 where there is none.
        atom_partner: place of the atom it may change names with; its own where there is none.
        group_mask: whether atoms define the group's frame (never for 1 and 2).
        group_rotation, group_origin: the frame at torsion 0, seen from frame 0, and for chi2 to chi4 from the chi frame
            before; the identity where the type has no such chi.
        group_atoms: places of three atoms from which to find the frame: one in its xy plane, its origin, and the atom
            that its first axis points to (group 0) or comes from (others); 0 where group_mask is False.
        chi_atoms: places of the four atoms of each chi, 0 where there is none. chi_mask: whether the type has it.
        chi_symmetric: whether a half turn of the chi gives the same molecule.
    """

    atom_mask: Bool[np.ndarray, "T 14"]
    atom_group: Int[np.ndarray, "T 14"]
    atom_position: Float[np.ndarray, "T 14 3"]
    atom_radius: Float[np.ndarray, "T 14"]
    atom37: Int[np.ndarray, "T 14"]
    atom_partner: Int[np.ndarray, "T 14"]
    group_mask: Bool[np.ndarray, "T 8"]
    group_rotation: Float[np.ndarray, "T 8 3 3"]
    group_origin: Float[np.ndarray, "T 8 3"]
    group_atoms: Int[np.ndarray, "T 8 3"]
    chi_atoms: Int[np.ndarray, "T 4 4"]
    chi_mask: Bool[np.ndarray, "T 4"]
    chi_symmetric: Bool[np.ndarray, "T 4"]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the tables by name, for `geometry.ResidueTables.of`."""
        return dict(vars(self))


@cache
def atom14_names(residue_type: str) -> tuple[str, ...]:
    """Return the atom names of a residue type ("ALA", or "UNK") in the order of its at most 14 places, without OXT.

    Raises:
        KeyError: not one of `RESIDUE_TYPES`.
    """
    return tuple(_ideal_atoms()[residue_type])


@cache
def rigid_groups() -> RigidGroups:
    """Return the tables of the 20 amino acids and of the unknown one; the arrays are shared and read-only."""
    types = len(RESIDUE_TYPES)
    tables = RigidGroups(
        atom_mask=np.zeros((types, MAX_ATOMS), dtype=bool),
        atom_group=np.zeros((types, MAX_ATOMS), dtype=np.int64),
        atom_position=np.zeros((types, MAX_ATOMS, 3)),
        atom_radius=np.zeros((types, MAX_ATOMS)),
        atom37=np.zeros((types, MAX_ATOMS), dtype=np.int64),
        atom_partner=np.tile(np.arange(MAX_ATOMS), (types, 1)),
        group_mask=np.zeros((types, GROUPS), dtype=bool),
        group_rotation=np.tile(np.eye(3), (types, GROUPS, 1, 1)),
        group_origin=np.zeros((types, GROUPS, 3)),
        group_atoms=np.zeros((types, GROUPS, 3), dtype=np.int64),
        chi_atoms=np.zeros((types, CHIS, 4), dtype=np.int64),
        chi_mask=np.zeros((types, CHIS), dtype=bool),
        chi_symmetric=np.zeros((types, CHIS), dtype=bool),
    )
    for row, code in enumerate(RESIDUE_TYPES):
        _fill_atoms(tables, row, code)
        _fill_groups(tables, row, code)
    return with_positions(tables, tables.atom_position)


def with_positions(tables: RigidGroups, position: Float[np.ndarray, "T 14 3"]) -> RigidGroups:
    """Return the tables with other ideal places of the atoms, and with the frames at torsion 0 that follow from them.

    Args:
        tables: of any positions.
        position: Å, in the atoms' groups: 0 for CA, and on the axes as the module says.
    """
    rotation = np.tile(np.eye(3), (len(position), GROUPS, 1, 1))
    origin = np.zeros((len(position), GROUPS, 3))
    n, ca, c = range(3)
    for row, own in enumerate(position):
        # Pre-omega stays the backbone's frame. Phi turns about CA-N, and is 0 with C before and after on one side.
        rotation[row, PHI_GROUP], origin[row, PHI_GROUP] = _axes(own[n] - own[ca], own[c]), own[n]
        # Psi turns about CA-C; its atom, O, is opposite the next N, so it lies away from N at psi 0.
        rotation[row, PSI_GROUP], origin[row, PSI_GROUP] = _axes(own[c] - own[ca], -own[n]), own[c]
        for chi in np.flatnonzero(tables.chi_mask[row]):
            first, _, end, _ = tables.chi_atoms[row, chi]
            # The bond begins at the origin of the frame before it: CA for chi1. A chi's frame has the atom before its
            # origin on the negative first axis.
            aside = own[first] if chi == 0 else np.array([-1.0, 0.0, 0.0])
            group = FIRST_CHI_GROUP + chi
            rotation[row, group], origin[row, group] = _axes(own[end], aside), own[end]
    result = replace(tables, atom_position=position, group_rotation=rotation, group_origin=origin)
    for array in result.arrays().values():
        array.setflags(write=False)
    return result


@cache
def _ideal_atoms() -> dict[str, dict[str, tuple[int, tuple[float, ...]]]]:
    """Group and place of every atom, by residue type and name."""
    result: dict[str, dict[str, tuple[int, tuple[float, ...]]]] = {}
    for line in IDEAL_ATOMS.split("\n"):
        if line:
            code, group, name, *place = line.split()
            result.setdefault(code, {})[name] = int(group), tuple(float(value) for value in place)
    result["UNK"] = result["ALA"]
    return result


def _fill_atoms(tables: RigidGroups, row: int, code: str) -> None:
    names = atom14_names(code)
    for place, (name, (group, position)) in enumerate(_ideal_atoms()[code].items()):
        tables.atom_mask[row, place] = True
        tables.atom_group[row, place] = group
        tables.atom_position[row, place] = position
        tables.atom_radius[row, place] = _RADII[name[0]]
        tables.atom37[row, place] = ATOM37.index(name)
    for first, second in SYMMETRIC_ATOMS.get(code, ()):
        i, j = names.index(first), names.index(second)
        tables.atom_partner[row, [i, j]] = j, i


def _fill_groups(tables: RigidGroups, row: int, code: str) -> None:
    names, path = atom14_names(code), CHI_PATHS.get(code, "").split()
    n, ca, c, o = range(4)
    tables.group_mask[row, [BACKBONE_GROUP, PSI_GROUP]] = True
    tables.group_atoms[row, [BACKBONE_GROUP, PSI_GROUP]] = (n, ca, c), (o, c, ca)
    for chi in range(len(path) - 3):
        atoms = [names.index(name) for name in path[chi : chi + 4]]
        tables.chi_atoms[row, chi], tables.chi_mask[row, chi] = atoms, True
        tables.group_mask[row, FIRST_CHI_GROUP + chi] = True
        tables.group_atoms[row, FIRST_CHI_GROUP + chi] = atoms[3], atoms[2], atoms[1]
    if code in SYMMETRIC_ATOMS:
        tables.chi_symmetric[row, len(path) - 4] = True


def _axes(first: Float[np.ndarray, "3"], aside: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Axes (columns): along ``first``, and with ``aside`` in the upper half of the xy plane."""
    x = first / np.linalg.norm(first)
    y = aside - (aside @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
