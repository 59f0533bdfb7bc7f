"""What a job is made of, chemically: its component library, the components of each chain, and its `Structure`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ..chemistry import (
    COMPONENT_OF_LETTER,
    AtomRef,
    BondSpec,
    ChainKind,
    ChainSpec,
    Component,
    ComponentLibrary,
    Structure,
    assemble,
    component_from_molblock,
    component_from_smiles,
    components_from_mmcif,
)
from ..chemistry.tokens import GAP, RESTYPES
from ..common.errors import ChemistryError
from ..common.text import listed, shown
from .job import KIND_NAMES, AtomAddress, Job, Ligand, Polymer

# Atoms through which a residue is linked to the one before it and to the one after it.
_LINK_ATOMS = {"protein": ("N", "C"), "dna": ("P", "O3'"), "rna": ("P", "O3'")}
_STANDARD = frozenset(RESTYPES) - {RESTYPES[GAP]}


@dataclass(frozen=True)
class JobComponents:
    """The library a job needs, and the component codes of each chain."""

    library: ComponentLibrary
    chains: dict[str, tuple[str, ...]]


def job_components(job: Job) -> JobComponents:
    """Return the library with the job's own components, and every chain's component codes, by chain id.

    A SMILES or SDF ligand becomes a component of its own, called ``LIG-`` and the first chain that has it; the
    same text twice is the same component.

    Raises:
        ChemistryError: the user's components, a SMILES or an SDF block cannot be read.
    """
    own = _user_components(job.user_components) if job.user_components is not None else ()
    taken = {component.code for component in own}
    made: dict[tuple[str, str], Component] = {}
    chains: dict[str, tuple[str, ...]] = {}
    for entity in job.entities:
        if isinstance(entity, Polymer):
            codes = _polymer_codes(entity)
        elif entity.ccd_codes is not None:
            codes = entity.ccd_codes
        else:
            source = ("smiles", entity.smiles) if entity.smiles is not None else ("sdf", entity.molblock or "")
            if source not in made:
                code = f"LIG-{entity.ids[0]}"
                while code in taken:
                    code += "x"
                taken.add(code)
                made[source] = _made_component(source[0], source[1], code, entity.ids[0])
            codes = (made[source].code,)
        chains |= dict.fromkeys(entity.ids, codes)
    return JobComponents(ComponentLibrary().with_components([*own, *made.values()]), chains)


def check_components(job: Job) -> None:
    """Check that every component the job names exists, can stand where it stands, and has the bonded atoms.

    Raises:
        ChemistryError: it is not so; the message names the chain.
    """
    parts = job_components(job)
    for entity in job.entities:
        if isinstance(entity, Ligand):
            for code in entity.ccd_codes or ():
                _component(parts.library, code, f"Ligand chain {listed(entity.ids, 5)}")
        else:
            _check_modified(entity, parts.library)
    for bond in job.bonds:
        for atom in (bond.first, bond.second):
            _check_atom(atom, parts)


def job_structure(job: Job) -> tuple[Structure, ComponentLibrary]:
    """Return the complex as a `Structure` without coordinates, and the library its components come from.

    Chains with the same components are copies of one entity. Leaving atoms of linked residues are removed.

    Raises:
        ChemistryError: a bond is impossible (see `chemistry.assemble`).
    """
    parts = job_components(job)
    entities: dict[tuple[str, tuple[str, ...], bool], int] = {}
    copies: dict[int, int] = {}
    chains = []
    for chain_id, kind, cyclic in _chains(job):
        codes = parts.chains[chain_id]
        entity_id = entities.setdefault((kind, codes, cyclic), len(entities) + 1)
        copies[entity_id] = copies.get(entity_id, 0) + 1
        chains.append(ChainSpec(chain_id, entity_id, copies[entity_id], kind, codes, cyclic))
    bonds = [BondSpec(_atom_ref(bond.first), _atom_ref(bond.second)) for bond in job.bonds]
    return assemble(job.name, chains, bonds, parts.library), parts.library


def _chains(job: Job) -> Iterator[tuple[str, ChainKind, bool]]:
    for entity in job.entities:
        cyclic = isinstance(entity, Polymer) and entity.cyclic
        for chain_id in entity.ids:
            yield chain_id, ChainKind(entity.kind), cyclic


def _atom_ref(atom: AtomAddress) -> AtomRef:
    return AtomRef(atom.chain, atom.residue, atom.atom)


def _polymer_codes(entity: Polymer) -> tuple[str, ...]:
    table = COMPONENT_OF_LETTER[ChainKind(entity.kind)]
    codes = [table[letter] for letter in entity.sequence]
    for modification in entity.modifications:
        codes[modification.position - 1] = modification.code
    return tuple(codes)


@lru_cache(maxsize=16)
def _user_components(text: str) -> tuple[Component, ...]:
    """Return the components of ``text`` without those of standard residues, which may be repeated but not changed."""
    dictionary = ComponentLibrary()
    components = components_from_mmcif(text)
    for component in components:
        if component.code in _STANDARD and not _same_chemistry(component, dictionary.get(component.code)):
            raise ChemistryError(
                f"The job's own components redefine {component.code}, a standard residue, and the network knows those "
                "as the Chemical Component Dictionary has them: give yours another code and place it as a modification."
            )
    return tuple(component for component in components if component.code not in _STANDARD)


def _same_chemistry(given: Component, known: Component) -> bool:
    """Whether a component has the atoms, bonds and hands of another; leaving flags and hands may be left out."""
    order = {name: row for row, name in enumerate(known.atom_names.tolist())}
    names = given.atom_names.tolist()
    if order.keys() != set(names):
        return False
    rows = [order[name] for name in names]
    hands = (given.stereo == known.stereo[rows]) | (given.stereo == "N")
    same = (given.elements == known.elements[rows]) & (given.charges == known.charges[rows]) & hands
    return bool(same.all()) and _named_bonds(given) == _named_bonds(known)


def _named_bonds(component: Component) -> set[tuple[frozenset[str], int]]:
    names = component.atom_names.tolist()
    bonds = zip(component.bonds.tolist(), component.orders.tolist(), strict=True)
    return {(frozenset((names[a], names[b])), order) for (a, b), order in bonds}


@lru_cache(maxsize=256)
def _made_component(source: str, text: str, code: str, chain: str) -> Component:
    try:
        return component_from_smiles(text, code) if source == "smiles" else component_from_molblock(text, code)
    except ChemistryError as error:
        raise ChemistryError(f"Ligand chain {chain}: {error}") from error


def _component(library: ComponentLibrary, code: str, where: str) -> Component:
    try:
        return library.get(code)
    except ChemistryError as error:
        raise ChemistryError(f"{where}: {error}") from error


def _check_modified(entity: Polymer, library: ComponentLibrary) -> None:
    """Each modified residue must have the atoms through which its neighbours are linked to it."""
    before, after = _LINK_ATOMS[entity.kind]
    for modification in entity.modifications:
        where = f"{KIND_NAMES[entity.kind]} chain {listed(entity.ids, 5)}, position {modification.position}"
        component = _component(library, modification.code, where)
        needed = []
        if modification.position > 1 or entity.cyclic:
            needed.append(before)
        if modification.position < len(entity.sequence) or entity.cyclic:
            needed.append(after)
        missing = [atom for atom in needed if atom not in set(component.atom_names.tolist())]
        if missing:
            raise ChemistryError(
                f"{where}: component {modification.code} ({component.type.lower()}) has no atom {missing[0]}, so it "
                f"cannot stand there."
            )


def _check_atom(atom: AtomAddress, parts: JobComponents) -> None:
    code = parts.chains[atom.chain][atom.residue - 1]
    names = _component(parts.library, code, f"Bond atom {atom}").atom_names.tolist()
    if atom.atom not in names:
        raise ChemistryError(
            f"Bond atom {shown(str(atom))} does not exist: residue {atom.residue} of chain {atom.chain} is {code}, "
            f"whose atoms are {listed(names, 40)}."
        )
