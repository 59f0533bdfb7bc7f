"""What of a structure a protein force field can move, and what is held in place instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from anfinsen.chemistry import ChainKind, Structure, atom14_names, is_metal
from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.common.text import listed

# Sulphur atoms of two cysteines this near are bonded (as OpenMM reads PDB files, and so AlphaFold 2's relaxation).
DISULFIDE = 3.0  # Å
# Nitrogen, oxygen and sulphur this near a metal hold it: the force field knows nothing of such bonds.
METAL_CONTACT = 3.0  # Å
_LIGATING = (7, 8, 16)
_OXT_LENGTH, _OXT_OFF = 1.25, 0.3  # C-OXT, and an error of it that means that it was not placed; Å


@dataclass(frozen=True)
class RelaxParts:
    """The k atoms of the chains that are relaxed, and the rest of the structure.

    Attributes:
        atoms: their places in the structure, ascending. chains: places of their chains.
        bonds: among them, as places in ``atoms``; with the disulfides that were recognised.
        held: which of them do not move: those of residues that are bonded to what the force field does not know.
        others: heavy atoms of the rest that they must not run into (metals are none), as places in the structure.
        notes: what is held and why, one sentence each.
    """

    atoms: Int[np.ndarray, "k"]
    chains: tuple[int, ...]
    bonds: Int[np.ndarray, "b 2"]
    held: Bool[np.ndarray, "k"]
    others: Int[np.ndarray, "m"]
    notes: tuple[str, ...]


def relax_parts(structure: Structure, coordinates: Float[np.ndarray, "A 3"]) -> RelaxParts:
    """Part the atoms of a complete structure (A atoms, Å) into what is relaxed and what is not."""
    chain = structure.atom_chain
    notes: list[str] = []
    chosen = []
    for index, each in enumerate(structure.chains):
        if each.kind is ChainKind.PROTEIN:
            reason = _unknown(structure, index)
            if not reason:
                chosen.append(index)
                continue
            notes.append(f"Relaxation left protein chain {each.chain_id} in place: {reason}.")
    rest = [each for each in structure.chains if each.kind is not ChainKind.PROTEIN]
    if rest and chosen:
        named = ", ".join(f"{each.chain_id} ({each.kind.value})" for each in rest)
        notes.append(f"Relaxation moves proteins only and left in place: {named}.")
    mine = np.isin(chain, chosen)
    atoms = np.flatnonzero(mine)
    held = _held_residues(structure, coordinates, mine)
    if held.any():
        notes.append(
            f"Relaxation left in place residues that are bonded to other molecules or near metals: "
            f"{_names(structure, held)}."
        )
    place = np.full(len(structure.atoms), -1, dtype=np.int64)
    place[atoms] = np.arange(len(atoms))
    sulphur = _disulfides(structure, coordinates, mine & ~held[structure.atoms.residue])
    pairs = structure.bonds.atoms[mine[structure.bonds.atoms].all(1)]
    # Bonds that the force field has no name for are left out; their residues are held.
    pairs = pairs[_peptide_or_within(structure, pairs)]
    metal = np.array([is_metal(int(number)) for number in structure.atoms.element], dtype=bool)
    return RelaxParts(
        atoms=atoms,
        chains=tuple(chosen),
        bonds=place[np.concatenate([pairs, sulphur])],
        held=held[structure.atoms.residue][atoms],
        others=np.flatnonzero(~mine & ~metal),
        notes=tuple(notes),
    )


def with_terminal_oxygens(
    structure: Structure, coordinates: Float[np.ndarray, "A 3"], parts: RelaxParts
) -> Float[np.ndarray, "A 3"]:
    """Return the coordinates with each OXT of a relaxed chain, that is not where it is bonded, put there.

    Models that know 14 atoms of a residue leave it where it may.
    """
    result: Float[np.ndarray, "A 3"] = coordinates.astype(np.float64)
    table = structure.atoms
    for oxygen in parts.atoms[table.name[parts.atoms] == "OXT"].tolist():
        around = np.flatnonzero(table.residue == table.residue[oxygen])
        ca, c, o = (result[around[table.name[around] == name][0]] for name in ("CA", "C", "O"))
        if abs(float(np.linalg.norm(result[oxygen] - c)) - _OXT_LENGTH) < _OXT_OFF:
            continue
        # In the plane of CA, C and O, opposite the first oxygen.
        along = _unit(c - ca)
        across = _unit(along * ((o - c) @ along) - (o - c))
        result[oxygen] = c + _OXT_LENGTH * (0.5 * along + np.sqrt(0.75) * across)
    return result


def _unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    unit: Float[np.ndarray, "3"] = vector / max(float(np.linalg.norm(vector)), 1e-6)
    return unit


def _unknown(structure: Structure, index: int) -> str:
    """Why the force field does not know protein chain ``index``; "" where it does."""
    residues, table = structure.residues, structure.atoms
    rows = np.flatnonzero(residues.chain == index)
    strange = [row for row in rows.tolist() if str(residues.name[row]) not in AMINO_ACIDS]
    if strange:
        named = listed((f"{residues.name[row]} {residues.number[row]}" for row in strange), 5)
        return f"the force field knows the 20 standard amino acids only, and it has {named}"
    if len(rows) < 2:
        return "it is a single residue"
    starts = np.searchsorted(table.residue, np.arange(len(residues) + 1))
    for row in rows.tolist():
        wanted = set(atom14_names(str(residues.name[row])))
        if row == rows[-1] and not structure.chains[index].cyclic:
            wanted.add("OXT")
        if set(table.name[starts[row] : starts[row + 1]].tolist()) != wanted:
            return (
                f"a bond to another molecule has changed which atoms {residues.name[row]} {residues.number[row]} "
                "has, and the force field does not know that residue"
            )
    return ""


def _peptide_or_within(structure: Structure, pairs: Int[np.ndarray, "b 2"]) -> Bool[np.ndarray, "b"]:
    """Which bonds are within a residue, or from C to N along one chain (also around a cyclic one)."""
    table = structure.atoms
    residue, name, chain = table.residue[pairs], table.name[pairs], structure.residues.chain[table.residue[pairs]]
    ends = ((name[:, 0] == "C") & (name[:, 1] == "N")) | ((name[:, 0] == "N") & (name[:, 1] == "C"))
    known: Bool[np.ndarray, "b"] = (residue[:, 0] == residue[:, 1]) | (ends & (chain[:, 0] == chain[:, 1]))
    return known


def _held_residues(
    structure: Structure, coordinates: Float[np.ndarray, "A 3"], mine: Bool[np.ndarray, "A"]
) -> Bool[np.ndarray, "R"]:
    """Residues of relaxed chains with a bond that is neither of a peptide nor a disulfide, or next to a metal."""
    table = structure.atoms
    pairs = structure.bonds.atoms
    sulphur = (table.name == "SG") & (structure.residues.name[table.residue] == "CYS") & mine
    usual = _peptide_or_within(structure, pairs) | sulphur[pairs].all(1)
    ends = pairs[~usual].ravel()
    held = np.zeros(len(structure.residues), dtype=bool)
    held[table.residue[ends[mine[ends]]]] = True
    metals = np.array([is_metal(int(number)) for number in table.element], dtype=bool)
    ligating = np.flatnonzero(mine & np.isin(table.element, _LIGATING))
    if metals.any() and len(ligating):
        distance, _ = cKDTree(coordinates[metals]).query(coordinates[ligating])
        held[table.residue[ligating[distance < METAL_CONTACT]]] = True
    return held


def _disulfides(
    structure: Structure, coordinates: Float[np.ndarray, "A 3"], free: Bool[np.ndarray, "A"]
) -> Int[np.ndarray, "d 2"]:
    """Pairs of bonded SG atoms: first those that the structure says, then the nearest, each atom once."""
    table = structure.atoms
    cysteine = (table.name == "SG") & (structure.residues.name[table.residue] == "CYS") & free
    said = structure.bonds.atoms[cysteine[structure.bonds.atoms].all(1)].tolist()
    sulphur = np.flatnonzero(cysteine)
    near = sulphur[cKDTree(coordinates[sulphur]).query_pairs(DISULFIDE, output_type="ndarray")] if len(sulphur) else []
    # Ties, which do not occur in predictions, go by the order of atoms.
    found = sorted((float(np.linalg.norm(coordinates[i] - coordinates[j])), int(i), int(j)) for i, j in near)
    pairs, used = [], set()
    for i, j in [*said, *((i, j) for _, i, j in found)]:
        if i not in used and j not in used:
            pairs.append((i, j))
            used |= {i, j}
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _names(structure: Structure, which: Bool[np.ndarray, "R"]) -> str:
    residues, rows = structure.residues, np.flatnonzero(which).tolist()
    chains = structure.chains
    return listed((f"{chains[residues.chain[r]].chain_id} {residues.name[r]} {residues.number[r]}" for r in rows), 8)
