"""The chains of a structure as a PDBx file names them.

PDBx knows polymers, non-polymers of one component, and branched entities, which are oligosaccharides and nothing else
(dictionary items `_entity.type` and `_pdbx_entity_branch.type`). A ligand of several components in a job is one chain;
in the file its bonded sugars stay together as a branched entity and every other component becomes a non-polymer of its
own, bonded by `struct_conn`. All keep the job's chain id as their author's id (`auth_asym_id`), and their number in it
as `auth_seq_id`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..chemistry import Chain, ComponentLibrary, Structure

Link = tuple[int, str, int, str]
"""A bond between two sugars of a chain: row of the residue table and atom name of each end."""


@dataclass(frozen=True)
class _Part:
    """Residues (rows of the table) that become one chain, the chain they come from, and what makes their entity."""

    rows: range
    chain: int
    entity: tuple[object, ...]


def file_structure(structure: Structure, library: ComponentLibrary) -> Structure:
    """Return ``structure`` with the chains of the file; the order of residues, atoms and bonds stays as it is.

    Of a ligand chain X that is parted, the first part is called X, the others X-2, X-3, … by the number of their first
    component; entities are then numbered anew.
    """
    links = _sugar_links(structure, library)
    parts = [part for index in range(len(structure.chains)) for part in _parts(structure, index, links)]
    numbers = {entity: n for n, entity in enumerate(dict.fromkeys(part.entity for part in parts), start=1)}
    chains, residues = structure.chains, structure.residues
    author = replace(residues, author_number=residues.number.astype(np.str_))
    if len(parts) == len(chains) and len(numbers) == len({chain.entity_id for chain in chains}):
        same = tuple(replace(chain, author_id=chain.chain_id) for chain in chains)
        return replace(structure, chains=same, residues=author)
    chain_of, number = residues.chain.copy(), residues.number.copy()
    made: list[Chain] = []
    for index, part in enumerate(parts):
        old, entity = chains[part.chain], numbers[part.entity]
        first = int(residues.number[part.rows.start])
        is_first = index == 0 or parts[index - 1].chain != part.chain
        made.append(
            replace(
                old,
                # No chain of a job has a dash in its name.
                chain_id=old.chain_id if is_first else f"{old.chain_id}-{first}",
                author_id=old.chain_id,
                entity_id=entity,
                symmetry_id=1 + sum(1 for other in made if other.entity_id == entity),
            )
        )
        chain_of[part.rows] = index
        if not old.kind.is_polymer:
            number[part.rows] = np.arange(1, len(part.rows) + 1)
    return replace(structure, chains=tuple(made), residues=replace(author, chain=chain_of, number=number))


def _sugar_links(structure: Structure, library: ComponentLibrary) -> list[Link]:
    residues, atoms = structure.residues, structure.atoms
    codes = residues.name.tolist()
    sugars = {code for code in set(codes) if "SACCHARIDE" in library.get(code).type}
    links = []
    for first, second in structure.bonds.atoms[structure.bonds.is_inter].tolist():
        a, b = int(atoms.residue[first]), int(atoms.residue[second])
        together = (
            residues.chain[a] == residues.chain[b] and not structure.chains[int(residues.chain[a])].kind.is_polymer
        )
        if together and codes[a] in sugars and codes[b] in sugars:
            links.append((a, str(atoms.name[first]), b, str(atoms.name[second])))
    return links


def _parts(structure: Structure, chain: int, links: list[Link]) -> list[_Part]:
    rows = np.flatnonzero(structure.residues.chain == chain)
    whole = range(int(rows[0]), int(rows[-1]) + 1)
    old = structure.chains[chain]
    if old.kind.is_polymer:
        return [_Part(whole, chain, ("polymer", old.entity_id))]
    parts = []
    for part in _connected(whole, links):
        codes = tuple(structure.residues.name[list(part)].tolist())
        inside = sorted(
            (a - part.start, name, b - part.start, other) for a, name, b, other in links if a in part and b in part
        )
        parts.append(_Part(part, chain, ("ligand", codes, tuple(inside))))
    return parts


def _connected(rows: range, links: list[Link]) -> list[range]:
    """Part ``rows`` into stretches of residues that are linked to each other."""
    inside = [(a - rows.start, b - rows.start) for a, _, b, _ in links if a in rows and b in rows]
    first, second = [a for a, _ in inside], [b for _, b in inside]
    graph = coo_array((np.ones(len(inside)), (first, second)), shape=(len(rows), len(rows)))
    count, labels = connected_components(graph, directed=False)
    stretches = [
        [row for row, _ in group] for _, group in groupby(zip(rows, labels.tolist(), strict=True), lambda x: x[1])
    ]
    runs = [range(stretch[0], stretch[-1] + 1) for stretch in stretches]
    if len(runs) == count:
        return runs
    # Something stands between the sugars of a glycan, so that they are not one stretch.
    return [part for run in runs for part in _connected(run, links)]
