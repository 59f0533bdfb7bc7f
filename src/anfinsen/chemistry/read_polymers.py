"""From a parsed file to chains of residues: sequence records, alternate conformers, ligands, glycans.

Every choice made here becomes one sentence in ``notes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import gemmi

from ..common.errors import StructureError
from ..common.text import listed
from .read_content import Content
from .read_residues import (
    Site,
    choose_conformer,
    is_monomer,
    is_stray,
    linked,
    mean_occupancy,
    monomer_kind,
    without_strays,
)
from .read_unnamed import letters
from .structure import ChainKind

_KINDS = {
    gemmi.PolymerType.PeptideL: ChainKind.PROTEIN,
    gemmi.PolymerType.PeptideD: ChainKind.PROTEIN,
    gemmi.PolymerType.CyclicPseudoPeptide: ChainKind.PROTEIN,
    gemmi.PolymerType.Dna: ChainKind.DNA,
    gemmi.PolymerType.Rna: ChainKind.RNA,
}
# Before 2007 the PDB wrote DNA with the names that now mean RNA.
_DEOXY = {"A": "DA", "C": "DC", "G": "DG", "T": "DT", "U": "DU", "I": "DI"}


@dataclass(frozen=True)
class FileChain:
    """One chain of the file.

    Attributes:
        chain_id, author_id, kind: as in `Chain`.
        entity: what distinguishes entities of equal components (branched entities), "" otherwise.
        sites: residues in order, numbered from 1.
        broken: numbers of residues that are not linked to the next one (gaps in chains without a sequence record).
    """

    chain_id: str
    author_id: str
    kind: ChainKind
    entity: str
    sites: tuple[Site, ...]
    broken: frozenset[int] = frozenset()


def split_chains(content: Content, model_number: int, notes: list[str]) -> list[FileChain]:
    """Return the chains of one model, deposited waters and hydrogens left out.

    Raises:
        StructureError: the model does not exist, holds nothing but water, or a residue names an atom twice.
    """
    structure = content.structure
    if not 1 <= model_number <= len(structure):
        raise StructureError(
            f"{content.name} holds {_count(len(structure), 'model')}: model {model_number} does not exist."
        )
    if len(structure) > 1:
        notes.append(f"The file holds {len(structure)} models; model {model_number} was read.")
    if content.unnamed:
        notes.append(f"Chains without a name in the file were called {', '.join(content.unnamed)}.")
    model = structure[model_number - 1]
    labelled = _ensure_entities(content, model)
    groups = _group(model, notes)
    if not groups:
        raise StructureError(f"{content.name} holds no atoms besides water and hydrogen.")
    reader = _Reader(content, structure, notes)
    chains: list[FileChain] = []
    for key, residues in groups.items():
        author, subchain = key
        entity = structure.get_entity_of(model.get_subchain(subchain)) if subchain else None
        chains.extend(reader.read(author, subchain, residues, entity))
    notes.extend(reader.repeated)
    for letter, places in sorted(reader.conformers.items()):
        notes.append(f"Alternate conformer {letter} (most occupied) chosen in {listed(places, 3)}.")
    if not chains:
        raise StructureError(f"{content.name} holds no atoms besides water and hydrogen.")
    return chains if labelled else _name_chains(chains)


def _ensure_entities(content: Content, model: gemmi.Model) -> bool:
    """Give PDB files, and mmCIF files without them, entities and label chains; return whether the file had labels."""
    residues = [residue for chain in model for residue in chain]
    labelled = (
        content.block is not None
        and len(content.block.find_values("_atom_site.label_asym_id")) > 0
        and all(residue.subchain for residue in residues)
    )
    if content.block is None and _ligands_last(model):
        content.structure.add_entity_types(True)
        content.structure.assign_subchains(True)
        residues = [residue for chain in model for residue in chain]
    if not labelled or any(residue.entity_type == gemmi.EntityType.Unknown for residue in residues):
        content.structure.setup_entities()
    if not any(residue.label_seq for residue in residues):
        content.structure.assign_label_seq_id()
    return labelled


def _ligands_last(model: gemmi.Model) -> bool:
    """Move ligands that stand before a chain's first monomer behind its last; without that no polymer is found."""
    moved = False
    for chain in model:
        leading = 0
        while leading + 1 < len(chain) and is_stray(chain[leading], [chain[leading + 1]]):
            leading += 1
        if leading and is_monomer(chain[leading].name):
            ligands = [chain[index].clone() for index in range(leading)]
            for _ in range(leading):
                del chain[0]
            for ligand in ligands:
                chain.add_residue(ligand)
            moved = True
    return moved


def _group(model: gemmi.Model, notes: list[str]) -> dict[tuple[str, str], list[gemmi.Residue]]:
    """Residues by (author chain, label chain), without waters, hydrogens and residues left empty by that."""
    groups: dict[tuple[str, str], list[gemmi.Residue]] = {}
    waters = bare = 0
    for chain in model:
        for residue in chain:
            if residue.is_water() or residue.entity_type == gemmi.EntityType.Water:
                waters += 1
            elif all(atom.is_hydrogen() for atom in residue):
                bare += 1
            else:
                groups.setdefault((chain.name, residue.subchain), []).append(residue)
    if waters:
        notes.append(f"{_count(waters, 'water molecule')} dropped.")
    if bare:
        notes.append(f"{_count(bare, 'residue')} with nothing but hydrogen atoms dropped.")
    return groups


class _Reader:
    """Reads one chain after another; holds what the chains share."""

    def __init__(self, content: Content, structure: gemmi.Structure, notes: list[str]) -> None:
        self.content = content
        self.structure = structure
        self.notes = notes
        self.repeated: list[str] = []
        self.conformers: dict[str, list[str]] = {}
        self.scheme = _numbering(content.block)
        self.variants = self._choose_variants()

    def read(
        self, author: str, subchain: str, residues: list[gemmi.Residue], entity: gemmi.Entity | None
    ) -> Iterator[FileChain]:
        """Yield one polymer or branched chain, or one ligand chain per residue."""
        kind = entity.entity_type if entity is not None else gemmi.EntityType.NonPolymer
        if kind == gemmi.EntityType.Polymer and entity is not None:
            chain, rest = self._polymer(author, subchain, residues, entity)
            yield chain
            residues = rest
        elif kind == gemmi.EntityType.Branched and entity is not None:
            sites = tuple(self._site(author, [residue]) for residue in residues)
            yield FileChain(subchain, author, ChainKind.LIGAND, entity.name, sites)
            return
        places: dict[tuple[int | None, str], list[gemmi.Residue]] = {}
        for residue in residues:
            places.setdefault((residue.seqid.num, residue.seqid.icode), []).append(residue)
        alone = len(places) == 1 and kind != gemmi.EntityType.Polymer
        if not alone and places and subchain and self.content.block is not None:
            self.notes.append(
                f"Chain {subchain} mixes {_count(len(places), 'non-polymer residue')}; each became a chain of its own."
            )
        for index, place in enumerate(places.values(), start=1):
            name = subchain if alone else f"{subchain}-lig{index}"
            yield FileChain(name, author, ChainKind.LIGAND, "", (self._site(author, place),))

    def _polymer(
        self, author: str, subchain: str, residues: list[gemmi.Residue], entity: gemmi.Entity
    ) -> tuple[FileChain, list[gemmi.Residue]]:
        """Return the chain, and the residues that are no part of it."""
        where = f"Chain {subchain if self.content.block is not None else author}"
        record = [option.split(",") for option in entity.full_sequence]
        sites, rest, broken = self._along_record(author, subchain, residues, entity, where) if record else ([], [], ())
        if not sites:
            residues, rest = without_strays(residues)
            sites, broken = self._along_atoms(author, residues, where, bool(record))
        kind = self._polymer_kind(entity, [site.name for site in sites], where)
        sites = self._deoxy(sites, kind, where)
        if kind is ChainKind.RNA and sites and all(site.name in _DEOXY.values() for site in sites):
            kind = ChainKind.DNA
        return FileChain(subchain, author, kind, "", tuple(sites), frozenset(broken)), rest

    def _along_record(
        self, author: str, subchain: str, residues: list[gemmi.Residue], entity: gemmi.Entity, where: str
    ) -> tuple[list[Site], list[gemmi.Residue], Sequence[int]]:
        """Place residues on the sequence record; empty where they do not fit it."""
        options = [option.split(",") for option in entity.full_sequence]
        places: dict[int, list[gemmi.Residue]] = {}
        rest = []
        for residue in residues:
            if residue.label_seq is not None and 1 <= residue.label_seq <= len(options):
                places.setdefault(residue.label_seq, []).append(residue)
            else:
                rest.append(residue)
        wrong = [n for n, place in places.items() if not any(residue.name in options[n - 1] for residue in place)]
        # A het residue off the record is a ligand that shares the chain; an amino acid off it means a wrong record.
        stray = [residue for residue in rest if is_monomer(residue.name)]
        if stray or 2 * len(wrong) > len(places):
            self.notes.append(
                f"{where}: the sequence record does not match the atoms "
                f"({_count(len(stray) + len(wrong), 'residue')} out of place); the sequence was taken from the atoms."
            )
            return [], [], ()
        if wrong:
            pairs = (f"{n} ({'/'.join(options[n - 1])} read as {places[n][0].name})" for n in sorted(wrong))
            self.notes.append(
                f"{where}: the atoms contradict the sequence record at {listed(pairs, 5)}; the atoms' components were "
                "taken."
            )
        sites = []
        for number, names in enumerate(options, start=1):
            chosen = self.variants.get((entity.name, number), names[0])
            place = [residue for residue in places.get(number, []) if residue.name == chosen]
            if not place and number in wrong:
                place = places[number][:1]
            if place:
                sites.append(self._site(author, place))
            else:
                author_number, code = self.scheme.get((subchain, number), ("", ""))
                sites.append(Site(chosen, author_number, code, None, ()))
        return sites, rest, ()

    def _along_atoms(
        self, author: str, residues: list[gemmi.Residue], where: str, told: bool
    ) -> tuple[list[Site], Sequence[int]]:
        """Take the sequence from the atoms, and find its gaps."""
        places: dict[tuple[int | None, str], list[gemmi.Residue]] = {}
        for residue in residues:
            places.setdefault((residue.seqid.num, residue.seqid.icode), []).append(residue)
        sites = [self._site(author, place) for place in places.values()]
        numbers = [place[0].seqid.num for place in places.values()]
        broken = [n for n in range(1, len(sites)) if not linked(sites[n - 1], sites[n], numbers[n - 1], numbers[n])]
        if not told:
            self.notes.append(f"{where}: the file has no sequence record; the sequence was taken from the atoms.")
        if broken:
            gaps = (
                f"{sites[n - 1].author_number}{sites[n - 1].insertion_code} and "
                f"{sites[n].author_number}{sites[n].insertion_code}"
                for n in broken
            )
            named = listed(gaps, 5, "more places")
            self.notes.append(f"{where}: not linked between {named} (missing residues, number unknown).")
        return sites, broken

    def _polymer_kind(self, entity: gemmi.Entity, names: Sequence[str], where: str) -> ChainKind:
        known = _KINDS.get(entity.polymer_type)
        if known is not None:
            return known
        votes = Counter(kind for name in names if (kind := monomer_kind(name)) is not None)
        if not votes:
            self.notes.append(f"{where}: a polymer of unknown type was read as a ligand of several residues.")
            return ChainKind.LIGAND
        kind = votes.most_common(1)[0][0]
        if len(votes) > 1:
            parts = ", ".join(f"{number} {name}" for name, number in votes.most_common())
            self.notes.append(f"{where}: a mixed polymer ({parts} residues) was read as {kind}.")
        return kind

    def _deoxy(self, sites: list[Site], kind: ChainKind, where: str) -> list[Site]:
        """Translate DNA written with the one-letter names of before 2007."""
        if kind is ChainKind.PROTEIN or not any(site.name in _DEOXY for site in sites):
            return sites
        found = {atom.name.replace("*", "'") for site in sites if site.name in _DEOXY for atom in site.atoms}
        if "O2'" in found or "C2'" not in found:
            return sites
        self.notes.append(f"{where}: nucleotides without O2' written as A, C, G, T were read as DNA.")
        return [replace(site, name=_DEOXY.get(site.name, site.name)) for site in sites]

    def _choose_variants(self) -> dict[tuple[str, int], str]:
        """Choose one component for every place of an entity where the sequence record allows several."""
        occupancy: dict[tuple[str, int], dict[str, float]] = {}
        entities = {e.name: e for e in self.structure.entities if any("," in option for option in e.full_sequence)}
        owners = {subchain: e.name for e in entities.values() for subchain in e.subchains}
        for chain in self.structure[0] if entities else ():
            for residue in chain:
                if residue.subchain in owners and residue.label_seq is not None:
                    sums = occupancy.setdefault((owners[residue.subchain], residue.label_seq), {})
                    sums[residue.name] = sums.get(residue.name, 0.0) + mean_occupancy(list(residue))
        chosen = {}
        for name, entity in entities.items():
            for number, option in enumerate(entity.full_sequence, start=1):
                if "," in option:
                    names = option.split(",")
                    best = _most_occupied(names, occupancy.get((name, number), {}))
                    chosen[name, number] = best
                    self.notes.append(f"Entity {name}, residue {number}: {best} chosen among {' and '.join(names)}.")
        return chosen

    def _site(self, author: str, residues: list[gemmi.Residue]) -> Site:
        """One residue; several candidates are alternatives at one place, of which the most occupied is taken."""
        residue = residues[0]
        if len(residues) > 1:
            best = max(residues, key=lambda r: (round(mean_occupancy(list(r)), 4), -residues.index(r)))
            options = " and ".join(dict.fromkeys(r.name for r in residues))
            self.repeated.append(f"Residue {author} {residue.seqid}: {best.name} chosen among {options} (occupancy).")
            residue = best
        heavy = [atom for atom in residue if not atom.is_hydrogen()]
        atoms, letters = choose_conformer(heavy)
        label = f"{residue.name} {author} {residue.seqid}"
        names = [atom.name for atom in atoms]
        if len(set(names)) < len(names):
            twice = next(name for name, number in Counter(names).items() if number > 1)
            raise StructureError(f"{self.content.name} holds atom {twice} of residue {label} more than once.")
        if len(letters) > 1:
            self.conformers.setdefault(letters[0], []).append(label)
        number = residue.seqid.num
        code = residue.seqid.icode.strip()
        address = (author, number, code, residue.name)
        return Site(residue.name, "" if number is None else str(number), code, address, tuple(atoms))


def _most_occupied(names: list[str], occupancy: dict[str, float]) -> str:
    return max(names, key=lambda name: (round(occupancy.get(name, 0.0), 4), -names.index(name)))


def _numbering(block: gemmi.cif.Block | None) -> dict[tuple[str, int], tuple[str, str]]:
    """Depositors' numbers of residues without coordinates, by (label chain, position)."""
    if block is None:
        return {}
    tags = ["asym_id", "seq_id", "pdb_seq_num", "?pdb_ins_code"]
    numbers = {}
    for row in block.find("_pdbx_poly_seq_scheme.", tags):
        code = row.str(3) if row.has(3) else ""
        position = gemmi.cif.as_int(row[1], 0)
        numbers[row.str(0), position] = (row.str(2), "" if code in (".", "?") else code)
    return numbers


def _name_chains(chains: list[FileChain]) -> list[FileChain]:
    """Chain ids for files that have none: polymers keep their author's name, ligands get the next free letters."""
    taken: set[str] = set()
    named: dict[int, str] = {}
    for index, chain in enumerate(chains):
        if chain.kind is not ChainKind.LIGAND and chain.author_id.strip() and chain.author_id not in taken:
            named[index] = chain.author_id
            taken.add(chain.author_id)
    fresh = (name for name in letters() if name not in taken)
    return [
        replace(chain, chain_id=named.get(index) or next(fresh), author_id=chain.author_id.strip())
        for index, chain in enumerate(chains)
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
