"""Which component each residue of a file is: the dictionary's, one that the file embeds, or the atoms as found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import gemmi
import numpy as np
from rdkit import Chem

from ..common.errors import ChemistryError
from ..common.text import listed
from .ccd import ComponentLibrary
from .component import Component
from .component_mmcif import components_from_mmcif
from .read_content import Content
from .read_polymers import FileChain
from .read_residues import Site
from .structure import BondOrder, ChainKind

# Who wrote a SMILES into pdbx_chem_comp_descriptor: one that gives the component's atoms in the component's order.
OWN_DESCRIPTOR = "Anfinsen"
# Slack on the sum of covalent radii within which two atoms of an undescribed component count as bonded, Å.
_BOND_SLACK = 0.4
# Atom names of before 2007, and of molecular dynamics programs.
_ALIASES = {"O1P": "OP1", "O2P": "OP2", "O3P": "OP3", "C5M": "C7", "OT1": "O", "OT2": "OXT", "OT": "OXT"}
_ALIASES_OF = {("MET", "SE"): "SD", ("MET", "S"): "SD", ("ILE", "CD"): "CD1"}
_TYPES = {
    ChainKind.PROTEIN: "L-PEPTIDE LINKING",
    ChainKind.RNA: "RNA LINKING",
    ChainKind.DNA: "DNA LINKING",
    ChainKind.LIGAND: "NON-POLYMER",
}


@dataclass(frozen=True)
class Named:
    """The component library of one file, and the place of every atom: ``names[id(site)]`` lists component atom
    names, "" for atoms that their component does not have."""

    library: ComponentLibrary
    names: Mapping[int, tuple[str, ...]]


def name_atoms(content: Content, chains: list[FileChain], library: ComponentLibrary, notes: list[str]) -> Named:
    """Find the component of every residue and the component's name of every atom."""
    uses: dict[str, list[tuple[ChainKind, Site]]] = {}
    for chain in chains:
        for site in chain.sites:
            uses.setdefault(site.name, []).append((chain.kind, site))
    added: dict[str, Component] = {}
    for code, component in _embedded(content, uses, notes).items():
        if code not in library:
            notes.append(f"Component {code} was taken from the file: the dictionary does not have it.")
            added[code] = component
        elif code not in library.extra and not _agree(component, library.get(code)):
            notes.append(
                f"Component {code} was taken from the file: it differs from the dictionary's component {code}."
            )
            added[code] = component
    names: dict[int, tuple[str, ...]] = {}
    for code, sites in uses.items():
        known = added.get(code) or (library.get(code) if code in library else None)
        placed = {id(site): _place(site, known) for _, site in sites} if known is not None and len(known) else None
        ligand = all(kind is ChainKind.LIGAND for kind, _ in sites)
        if placed is not None and not (ligand and any("" in found for found in placed.values())):
            names.update(placed)
        elif any(site.atoms for _, site in sites):
            added[code] = _as_found(code, sites)
            names.update({id(site): tuple(atom.name for atom in site.atoms) for _, site in sites})
            reason = "is not in the dictionary" if placed is None else "has other atoms in the dictionary"
            notes.append(
                f"Component {code} {reason}; its {len(added[code])} atoms were used as found, "
                "bonded by distance, every bond taken as single."
            )
    renamed = {
        f"{atom.name} of {site.name} to {name}": None
        for chain in chains
        for site in chain.sites
        for atom, name in zip(site.atoms, names.get(id(site), ()), strict=False)
        if name and name != atom.name
    }
    if renamed:
        notes.append(f"Atoms renamed as in the dictionary: {listed(renamed, 6, 'more names')}.")
    return Named(library.with_components(added.values()) if added else library, names)


def _place(site: Site, component: Component) -> tuple[str, ...]:
    """The component's name of each atom, "" where it has none."""
    elements = dict(zip(component.atom_names.tolist(), component.elements.tolist(), strict=True))
    direct = {atom.name for atom in site.atoms if atom.name in elements}
    placed: list[str] = []
    for atom in site.atoms:
        if atom.name in elements:
            placed.append(atom.name)
            continue
        plain = atom.name.replace("*", "'")
        options = (plain, _ALIASES_OF.get((site.name, atom.name), ""), _ALIASES.get(plain, ""), atom.name.upper())
        found = next((name for name in options if name in elements and name not in direct), "")
        same = found and (elements[found] == atom.element.atomic_number or (site.name, atom.name) in _ALIASES_OF)
        placed.append(found if same and found not in placed else "")
    return tuple(placed)


def _embedded(content: Content, codes: Iterable[str], notes: list[str]) -> dict[str, Component]:
    """Components that the file itself describes with atoms (``chem_comp_atom``), among ``codes``."""
    if content.block is None:
        return {}
    texts = _component_blocks(content.block, set(codes))
    found = {}
    for code, text in texts.items():
        try:
            (component,) = components_from_mmcif(text)
        except (ChemistryError, ValueError) as error:
            notes.append(f"The file's description of component {code} was not used: {error}")
            continue
        found[code] = _with_smiles(component, content.block)
    return found


def _with_smiles(component: Component, block: gemmi.cif.Block) -> Component:
    """Give back the SMILES that a component of one of our own predictions was made from."""
    for row in block.find("_pdbx_chem_comp_descriptor.", ["comp_id", "program", "descriptor"]):
        if row.str(0) == component.code and row.str(1) == OWN_DESCRIPTOR:
            made = replace(component, smiles=row.str(2))
            molecule = Chem.MolFromSmiles(made.smiles)
            elements = [atom.GetAtomicNum() for atom in molecule.GetAtoms()] if molecule is not None else []
            if elements == component.elements.tolist():
                return made
    return component


def _component_blocks(block: gemmi.cif.Block, codes: set[str]) -> dict[str, str]:
    """One CIF text per component of ``codes`` whose atoms the file lists."""
    tables = {name: block.get_mmcif_category(f"_{name}.") for name in ("chem_comp", "chem_comp_atom", "chem_comp_bond")}
    atoms = tables["chem_comp_atom"]
    if not atoms or "comp_id" not in atoms:
        return {}
    rows: dict[str, dict[str, list[int]]] = {}
    for name, key in (("chem_comp", "id"), ("chem_comp_atom", "comp_id"), ("chem_comp_bond", "comp_id")):
        for row, code in enumerate(tables[name].get(key, []) if tables[name] else []):
            if code in codes:
                rows.setdefault(code, {}).setdefault(name, []).append(row)
    texts = {}
    for code, parts in rows.items():
        if "chem_comp_atom" not in parts:
            continue
        document = gemmi.cif.Document()
        part = document.add_new_block(code)
        if "chem_comp" not in parts:
            part.set_pair("_chem_comp.id", gemmi.cif.quote(code))
        for name, picked in parts.items():
            part.set_mmcif_category(f"_{name}.", {k: [v[row] for row in picked] for k, v in tables[name].items()})
        texts[code] = document.as_string()
    return texts


def _agree(embedded: Component, known: Component) -> bool:
    """Whether a file's description of a component is the dictionary's, as far as heavy atoms and bonds go."""
    if set(embedded.atom_names.tolist()) != set(known.atom_names.tolist()):
        return False
    mine, theirs = _bonds(embedded), _bonds(known)
    if not mine:
        return True
    loose = BondOrder.AROMATIC in mine.values() or BondOrder.UNKNOWN in mine.values()
    return mine.keys() == theirs.keys() if loose else mine == theirs


def _bonds(component: Component) -> dict[frozenset[str], int]:
    names = component.atom_names.tolist()
    return {
        frozenset((names[i], names[j])): order
        for (i, j), order in zip(component.bonds.tolist(), component.orders.tolist(), strict=True)
    }


def _as_found(code: str, uses: list[tuple[ChainKind, Site]]) -> Component:
    """A component made of all atoms that residues called ``code`` have in the file."""
    atoms: dict[str, gemmi.Atom] = {}
    bonds: dict[tuple[str, str], BondOrder] = {}
    for _, site in uses:
        for atom in site.atoms:
            atoms.setdefault(atom.name, atom)
        for index, first in enumerate(site.atoms):
            for second in site.atoms[:index]:
                reach = first.element.covalent_r + second.element.covalent_r + _BOND_SLACK
                if first.pos.dist(second.pos) <= reach:
                    bonds.setdefault((min(first.name, second.name), max(first.name, second.name)), BondOrder.SINGLE)
    names = list(atoms)
    row_of = {name: row for row, name in enumerate(names)}
    size = len(names)
    # Positions are comparable within one residue only, so that a union of several has no geometry.
    whole = next((site for _, site in uses if len(site.atoms) == size), None)
    model = None
    if whole is not None:
        places = {atom.name: atom.pos.tolist() for atom in whole.atoms}
        model = np.array([places[name] for name in names], dtype=np.float64)
        model -= model.mean(axis=0)
    return Component(
        code=code,
        name=f"{code} (atoms as found in the file)",
        type=_TYPES[uses[0][0]],
        one_letter="",
        parent="",
        atom_names=np.array(names, dtype=np.str_),
        elements=np.array([atom.element.atomic_number for atom in atoms.values()], dtype=np.uint8),
        charges=np.array([atom.charge for atom in atoms.values()], dtype=np.int64),
        leaving=np.zeros(size, dtype=np.bool_),
        stereo=np.full(size, "N", dtype=np.str_),
        bonds=np.array([(row_of[a], row_of[b]) for a, b in bonds], dtype=np.int64).reshape(-1, 2),
        orders=np.array(list(bonds.values()), dtype=np.uint8),
        bond_stereo=np.full(len(bonds), "N", dtype=np.str_),
        ideal=None,
        model=model,
        hydrogens=np.zeros(size, dtype=np.int64),
    )
