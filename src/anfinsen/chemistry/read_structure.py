"""Structures from mmCIF, BinaryCIF and PDB files.

A file is parsed (`read_content`), cut into chains (`read_polymers`), its residues matched to components
(`read_components`), its bonds collected (`read_bonds`) and its assembly expanded (`read_assembly`). The molecules so
described are assembled exactly as a job's are (`assemble`), and then the file's coordinates are filled in: atoms
that the file lacks are there, not resolved.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from ..common.errors import ChemistryError, StructureError
from ..common.text import listed
from .assemble import ChainSpec, assemble
from .bonding import AtomRef, BondSpec
from .ccd import ComponentLibrary
from .read_assembly import Copy, copies
from .read_bonds import FileBond, Recorded, read_bonds
from .read_components import Named, name_atoms
from .read_content import Content, load, parse
from .read_glycans import merge_glycans
from .read_polymers import FileChain, split_chains
from .read_residues import Site
from .structure import BondOrder, Chain, ChainKind, Structure


def read_structure(
    path: str | Path, *, library: ComponentLibrary | None = None, assembly: str | None = None, model: int = 1
) -> Structure:
    """Read one model of an mmCIF, BinaryCIF or PDB file, plain or gzipped (recognised by content).

    Every residue of the sequence record is there with all heavy atoms of its component; `AtomTable.resolved` tells
    which of them the file holds. Waters and hydrogens are dropped. `Structure.notes` lists every choice made.

    Args:
        path: the file.
        library: components beyond the Chemical Component Dictionary; those embedded in the file are added to it.
        assembly: which biological assembly to build, None for the chains as they stand in the file.
        model: 1-based model number.

    Raises:
        StructureError: the file cannot be read; one sentence says what is wrong with it.
    """
    return read_structure_and_library(path, library=library, assembly=assembly, model=model)[0]


def read_structure_and_library(
    path: str | Path, *, library: ComponentLibrary | None = None, assembly: str | None = None, model: int = 1
) -> tuple[Structure, ComponentLibrary]:
    """Read a structure, and the library that also knows the file's own components.

    Arguments and errors are those of `read_structure`.
    """
    return structure_from_bytes(load(path), Path(path).name, library=library, assembly=assembly, model=model)


def structure_from_bytes(
    content: bytes | str,
    name: str,
    *,
    library: ComponentLibrary | None = None,
    assembly: str | None = None,
    model: int = 1,
) -> tuple[Structure, ComponentLibrary]:
    """Read a structure from a file's content; ``name`` is what messages call it.

    Arguments and errors are those of `read_structure`.
    """
    try:
        return _read(content.encode() if isinstance(content, str) else content, name, library, assembly, model)
    except UnicodeDecodeError as error:
        # gemmi cuts one-letter fields out of longer characters.
        raise StructureError(
            f"{name} has characters outside ASCII where a one-letter code is expected (chain, conformer or insertion)."
        ) from error


def _read(
    content: bytes, name: str, library: ComponentLibrary | None, assembly: str | None, model: int
) -> tuple[Structure, ComponentLibrary]:
    notes: list[str] = []
    parsed = parse(content, name)
    chains = split_chains(parsed, model, notes)
    named = name_atoms(parsed, chains, library or ComponentLibrary(), notes)
    recorded = read_bonds(parsed, chains, named, notes)
    if parsed.block is None:
        chains, recorded = merge_glycans(chains, recorded, named.library, notes)
    placed = copies(parsed, chains, assembly, notes)
    structure = _assemble(parsed, *_specifications(chains, recorded, placed), named.library, notes)
    structure = _without_gaps(structure, chains, placed)
    structure = _fill(structure, chains, placed, named, notes)
    resolution = parsed.structure.resolution
    metadata = {"format": parsed.form, "model": str(model)}
    if assembly is not None:
        metadata["assembly"] = assembly
    structure = replace(
        structure,
        notes=(*notes, *structure.notes),
        release_date=parsed.release_date,
        resolution=float(resolution) if resolution > 0 else None,
        metadata=metadata,
    )
    return structure, named.library


def _assemble(
    content: Content, specs: list[ChainSpec], bonds: list[BondSpec], library: ComponentLibrary, notes: list[str]
) -> Structure:
    """Assemble the molecules; bonds that their atoms' valences forbid are left out, one by one."""
    name = _entry_name(content)
    while True:
        try:
            return assemble(name, specs, bonds, library)
        except ChemistryError as error:
            _check_without_bonds(content, specs, library)
            notes.append(f"A recorded bond was left out: {error}")
        good, bad = 0, len(bonds)
        # The first bond that does not fit ends the shortest list that cannot be assembled.
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                assemble(name, specs, bonds[:middle], library)
                good = middle
            except ChemistryError:
                bad = middle
        bonds = bonds[: bad - 1] + bonds[bad:]


def _check_without_bonds(content: Content, specs: list[ChainSpec], library: ComponentLibrary) -> None:
    try:
        assemble(content.name, specs, [], library)
    except ChemistryError as error:
        raise StructureError(f"{content.name} describes molecules that cannot be built: {error}") from error


def _entry_name(content: Content) -> str:
    entries = [value for key, value in content.structure.info.items() if key == "_entry.id"]
    name = "".join(entries).strip() or (content.block.name if content.block is not None else "")
    return str(name) or content.name.split(".", maxsplit=1)[0]


def _specifications(
    chains: list[FileChain], recorded: Recorded, placed: list[Copy]
) -> tuple[list[ChainSpec], list[BondSpec]]:
    """What `assemble` takes: entities are numbered by content, copies within an entity counted."""
    # Branched entities of equal residues may differ in their linkages.
    inner: dict[int, list[FileBond]] = {}
    for bond in recorded.bonds:
        if bond.first.chain == bond.second.chain:
            inner.setdefault(bond.first.chain, []).append(bond)
    entities: dict[tuple[object, ...], int] = {}
    numbers: Counter[int] = Counter()
    specs = []
    for copy in placed:
        chain = chains[copy.chain]
        components = tuple(site.name for site in chain.sites)
        links = tuple(sorted((b.first[1:], b.second[1:]) for b in inner.get(copy.chain, ())))
        cyclic = copy.chain in recorded.cyclic
        key = (chain.kind, components, cyclic, links if chain.kind is ChainKind.LIGAND else ())
        entity = entities.setdefault(key, len(entities) + 1)
        numbers[entity] += 1
        specs.append(ChainSpec(copy.chain_id, entity, numbers[entity], chain.kind, components, cyclic))
    where = {(copy.chain, copy.operator): copy.chain_id for copy in placed}
    bonds = []
    for bond in recorded.bonds:
        for operator in dict.fromkeys(copy.operator for copy in placed):
            ends = [
                AtomRef(where[end.chain, operator], end.number, end.atom)
                for end in (bond.first, bond.second)
                if (end.chain, operator) in where
            ]
            if len(ends) == 2:
                bonds.append(BondSpec(ends[0], ends[1], _order(bond.order)))
    return specs, bonds


def _order(order: BondOrder) -> BondOrder:
    """`assemble` makes every single bond to a metal a coordination bond, and takes no other word for it."""
    return BondOrder.SINGLE if order is BondOrder.COORDINATION else order


def _without_gaps(structure: Structure, chains: list[FileChain], placed: list[Copy]) -> Structure:
    """Remove polymer links where a chain without a sequence record is interrupted."""
    keep = np.ones(len(structure.bonds), dtype=np.bool_)
    rows = structure.atoms.residue[structure.bonds.atoms]
    for index, copy in enumerate(placed):
        broken = chains[copy.chain].broken
        if broken:
            start = int(np.searchsorted(structure.residues.chain, index))
            for number in broken:
                pair = (start + number - 1, start + number)
                keep &= ~((rows.min(axis=1) == pair[0]) & (rows.max(axis=1) == pair[1]))
    if keep.all():
        return structure
    bonds = structure.bonds
    kept = replace(bonds, atoms=bonds.atoms[keep], order=bonds.order[keep], is_inter=bonds.is_inter[keep])
    return replace(structure, bonds=kept)


def _fill(
    structure: Structure, chains: list[FileChain], placed: list[Copy], named: Named, notes: list[str]
) -> Structure:
    """Put the file's coordinates, occupancies and authors' names into the assembled structure."""
    atoms, residues = structure.atoms, structure.residues
    coordinates = np.zeros((len(atoms), 3), dtype=np.float64)
    resolved = np.zeros(len(atoms), dtype=np.bool_)
    b_factor = np.zeros(len(atoms), dtype=np.float64)
    occupancy = np.zeros(len(atoms), dtype=np.float64)
    author_numbers: list[str] = []
    codes: list[str] = []
    starts = np.searchsorted(atoms.residue, np.arange(len(residues) + 1)).tolist()
    atom_names = atoms.name.tolist()
    homeless: Counter[str] = Counter()
    row = 0
    for copy in placed:
        rows: list[int] = []
        found: list[gemmi.Atom] = []
        for site in chains[copy.chain].sites:
            offsets = {name: index for index, name in enumerate(atom_names[starts[row] : starts[row + 1]], starts[row])}
            for atom, name in zip(site.atoms, _names(named, site), strict=True):
                if name in offsets:
                    rows.append(offsets[name])
                    found.append(atom)
                elif not copy.operator:
                    homeless[f"{atom.name} of {site.name}"] += 1
            author_numbers.append(site.author_number)
            codes.append(site.insertion_code)
            row += 1
        if rows:
            positions = np.array([atom.pos.tolist() for atom in found], dtype=np.float64)
            coordinates[rows] = positions @ copy.rotation.T + copy.translation if copy.operator else positions
            resolved[rows] = True
            b_factor[rows] = [atom.b_iso for atom in found]
            occupancy[rows] = [atom.occ for atom in found]
    if homeless:
        kinds = listed((f"{what} ({number})" for what, number in homeless.most_common()), 8, "more kinds")
        notes.append(f"Atoms that their component, as linked here, does not have were dropped: {kinds}.")
    _check_resolved(resolved, structure.name)
    table = replace(
        atoms,
        coordinates=coordinates,
        resolved=resolved,
        b_factor=_finite(b_factor, "B-factors", notes),
        occupancy=_finite(occupancy, "occupancies", notes),
    )
    return replace(
        structure,
        atoms=table,
        residues=replace(
            residues,
            author_number=np.array(author_numbers, dtype=np.str_),
            insertion_code=np.array(codes, dtype=np.str_),
        ),
        chains=tuple(
            _with_author(chain, chains[copy.chain]) for chain, copy in zip(structure.chains, placed, strict=True)
        ),
    )


def _names(named: Named, site: Site) -> tuple[str, ...]:
    return named.names.get(id(site), ("",) * len(site.atoms))


def _with_author(chain: Chain, source: FileChain) -> Chain:
    return replace(chain, author_id=source.author_id or chain.chain_id)


def _check_resolved(resolved: NDArray[np.bool_], name: str) -> None:
    if not resolved.any():
        raise StructureError(f"{name} holds no atom that belongs to a known component.")


def _finite(values: NDArray[np.float64], what: str, notes: list[str]) -> NDArray[np.float64]:
    """Replace values that are no numbers by 0 and say so; gemmi holds the rest as float32, so that 4 decimals count."""
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        notes.append(f"{wrong} {what} of atoms are not numbers and were read as 0.")
    finite: NDArray[np.float64] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return finite.round(4)
