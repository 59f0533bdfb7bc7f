"""Bonds between residues in a ModelCIF file: struct_conn, and pdbx_entity_branch_link within branched entities.

Links that a polymer's sequence implies are not written, as in the PDB.
"""

from __future__ import annotations

from ..chemistry import ComponentLibrary, Structure
from ..chemistry.polymers import link_atoms
from ..chemistry.structure import BondOrder
from .mmcif_components import VALUE_ORDERS
from .mmcif_table import Categories, Value, columns


def link_categories(structure: Structure, library: ComponentLibrary) -> Categories:
    """Return struct_conn, struct_conn_type and pdbx_entity_branch_link."""
    connections: list[tuple[Value, ...]] = []
    branches: list[tuple[Value, ...]] = []
    counts: dict[str, int] = {}
    for bond in range(len(structure.bonds)):
        if not structure.bonds.is_inter[bond] or _is_implied(structure, library, bond):
            continue
        first, second = (int(atom) for atom in structure.bonds.atoms[bond])
        order = BondOrder(int(structure.bonds.order[bond]))
        kind = _kind(structure, first, second, order)
        counts[kind] = counts.get(kind, 0) + 1
        word = None if order in (BondOrder.COORDINATION, BondOrder.UNKNOWN) else VALUE_ORDERS[order]
        ends = (*_partner(structure, first), "1_555", *_partner(structure, second), "1_555")
        connections.append((f"{kind}{counts[kind]}", kind, *ends, word))
        chain = structure.chains[int(structure.atom_chain[first])]
        inside = structure.atom_chain[first] == structure.atom_chain[second] and not chain.kind.is_polymer
        # Linkages belong to the entity: its first chain describes them for all.
        if inside and chain.symmetry_id == 1:
            branches.append(_branch(structure, library, (first, second), word))
    partners = [
        f"ptnr{n}_{item}"
        for n in (1, 2)
        for item in (
            *("label_asym_id", "label_comp_id", "label_seq_id", "label_atom_id", "auth_asym_id", "auth_comp_id"),
            *("auth_seq_id", "symmetry"),
        )
    ]
    return {
        "struct_conn": columns(("id", "conn_type_id", *partners, "pdbx_value_order"), connections),
        "struct_conn_type": {"id": sorted(counts)},
        "pdbx_entity_branch_link": {
            "link_id": [str(n) for n in range(1, len(branches) + 1)],
            **columns(
                (
                    "entity_id",
                    *("entity_branch_list_num_1", "comp_id_1", "atom_id_1", "leaving_atom_id_1"),
                    *("entity_branch_list_num_2", "comp_id_2", "atom_id_2", "leaving_atom_id_2"),
                    "value_order",
                ),
                branches,
            ),
        },
    }


def _is_implied(structure: Structure, library: ComponentLibrary, bond: int) -> bool:
    """Whether a bond links neighbours of a polymer by the atoms that polymers link by."""
    atoms, residues = structure.atoms, structure.residues
    first, second = (int(atom) for atom in structure.bonds.atoms[bond])
    before, after = int(atoms.residue[first]), int(atoms.residue[second])
    chain = structure.chains[int(residues.chain[before])]
    if residues.chain[before] != residues.chain[after] or not chain.kind.is_polymer or after != before + 1:
        return False
    tail = link_atoms(library.get(str(residues.name[before])), chain.kind)[1]
    head = link_atoms(library.get(str(residues.name[after])), chain.kind)[0]
    return (tail, head) == (str(atoms.name[first]), str(atoms.name[second]))


def _kind(structure: Structure, first: int, second: int, order: BondOrder) -> str:
    if order is BondOrder.COORDINATION:
        return "metalc"
    names = structure.residues.name[structure.atoms.residue[[first, second]]].tolist()
    atoms = structure.atoms.name[[first, second]].tolist()
    return "disulf" if names == ["CYS", "CYS"] and atoms == ["SG", "SG"] else "covale"


def _partner(structure: Structure, atom: int) -> tuple[Value, ...]:
    row = int(structure.atoms.residue[atom])
    chain = structure.chains[int(structure.residues.chain[row])]
    code, number = str(structure.residues.name[row]), str(structure.residues.number[row])
    label: Value = number if chain.kind.is_polymer else False
    author = (chain.author_id, code, str(structure.residues.author_number[row]))
    return (chain.chain_id, code, label, str(structure.atoms.name[atom]), *author)


def _branch(
    structure: Structure, library: ComponentLibrary, ends: tuple[int, int], order: str | None
) -> tuple[Value, ...]:
    row: list[Value] = [str(structure.chains[int(structure.atom_chain[ends[0]])].entity_id)]
    for atom in ends:
        residue = int(structure.atoms.residue[atom])
        code, name = str(structure.residues.name[residue]), str(structure.atoms.name[atom])
        left = _left(structure, library, residue, name)
        row += [str(structure.residues.number[residue]), code, name, left]
    return (*row, order or "sing")


def _left(structure: Structure, library: ComponentLibrary, residue: int, name: str) -> str:
    """The atom that left for a linkage: a neighbour in the component that the residue lacks, else its hydrogen."""
    component = library.get(str(structure.residues.name[residue]))
    names = component.atom_names.tolist()
    present = set(structure.atoms.name[structure.atoms.residue == residue].tolist())
    for first, second in component.bonds.tolist():
        pair = (names[first], names[second])
        if name in pair:
            other = pair[1] if pair[0] == name else pair[0]
            if other not in present:
                return str(other)
    return f"H{name}"[:6]
