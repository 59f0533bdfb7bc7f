"""Structure files as sources of templates: their protein chains, and one chain cut out as mmCIF text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gemmi

from ..chemistry import ChainKind, ComponentLibrary, residue_letter
from ..chemistry.read_content import Content, load, parse
from ..chemistry.read_polymers import FileChain, split_chains
from ..common.errors import ChemistryError, StructureError

SUFFIXES = (".cif", ".mmcif", ".bcif")
_COMPRESSED = ".gz"
_NO_CONFORMER = "\0"


@dataclass(frozen=True)
class ProteinChain:
    """One protein chain of a file.

    Attributes:
        chain_id: label (``label_asym_id``). author_id: the depositors' name.
        sequence: one letter per residue of the sequence record, unresolved ones included, unknown ones as X.
        resolved: number of residues that have coordinates.
    """

    chain_id: str
    author_id: str
    sequence: str
    resolved: int


@dataclass(frozen=True)
class StructureFile:
    """What a file holds for templates.

    Attributes:
        entry: name of the entry. release_date: ISO date, "" where the file tells none.
        resolution: Å, 0 where unknown. chains: its protein chains.
    """

    entry: str
    release_date: str
    resolution: float
    chains: tuple[ProteinChain, ...]


def structure_paths(folder: Path) -> Iterator[Path]:
    """Yield mmCIF and BinaryCIF files below ``folder``, plain or gzipped, hidden ones left out, in order."""
    for path in sorted(folder.rglob("*")):
        name = path.name.lower().removesuffix(_COMPRESSED)
        if name.endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file():
            yield path


def read_protein_chains(path: Path) -> StructureFile:
    """Return the protein chains of the first model of a file.

    Raises:
        StructureError: the file cannot be read.
    """
    content, chains = _chains(path)
    return StructureFile(
        entry=_entry(content),
        release_date=content.release_date,
        resolution=max(float(content.structure.resolution), 0.0),
        chains=tuple(
            ProteinChain(
                chain.chain_id,
                chain.author_id or chain.chain_id,
                _sequence(chain),
                sum(bool(site.atoms) for site in chain.sites),
            )
            for chain in chains
        ),
    )


def cut_chain(path: Path, chain_id: str) -> tuple[str, str, tuple[bool, ...]]:
    """Return one protein chain of a file as mmCIF text, its sequence, and which of its residues have coordinates.

    The text holds the whole sequence record, the release date, and one conformer of the heavy atoms, so that indices
    of residues are those of the sequence.

    Raises:
        StructureError: the file cannot be read, or has no such chain.
    """
    content, chains = _chains(path)
    chain = next((chain for chain in chains if chain.chain_id == chain_id), None)
    if chain is None:
        raise StructureError(f"{path.name} has no protein chain {chain_id!r} any more: it changed while it was read.")
    return _text(content, chain), _sequence(chain), tuple(bool(site.atoms) for site in chain.sites)


def _chains(path: Path) -> tuple[Content, list[FileChain]]:
    content = parse(load(path), path.name)
    try:
        chains = split_chains(content, 1, [])
    except UnicodeDecodeError as error:
        # gemmi cuts one-letter fields out of longer characters.
        raise StructureError(
            f"{path.name} has characters outside ASCII where a one-letter code is expected."
        ) from error
    return content, [chain for chain in chains if chain.kind is ChainKind.PROTEIN]


def _entry(content: Content) -> str:
    entry = str(dict(content.structure.info.items()).get("_entry.id", ""))
    return entry.strip() or (content.block.name if content.block is not None else "") or content.name.split(".")[0]


def _sequence(chain: FileChain) -> str:
    return "".join(_letter(site.name) for site in chain.sites)


@cache
def _letter(code: str) -> str:
    try:
        return residue_letter(_library().get(code), ChainKind.PROTEIN)
    except ChemistryError:  # a component that only its file knows
        return "X"


@cache
def _library() -> ComponentLibrary:
    return ComponentLibrary()


def _text(content: Content, chain: FileChain) -> str:
    structure = gemmi.Structure()
    structure.name = _entry(content)
    copy = gemmi.Chain(chain.author_id or chain.chain_id)
    for number, site in enumerate(chain.sites, start=1):
        if not site.atoms:
            continue
        residue = gemmi.Residue()
        residue.name = site.name
        residue.seqid = gemmi.SeqId((site.author_number or str(number)) + site.insertion_code)
        residue.label_seq, residue.subchain, residue.entity_id = number, chain.chain_id, "1"
        residue.entity_type = gemmi.EntityType.Polymer
        for atom in site.atoms:
            kept = atom.clone()
            kept.altloc = _NO_CONFORMER
            residue.add_atom(kept)
        copy.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(copy)
    structure.add_model(model)
    entity = gemmi.Entity("1")
    entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
    entity.full_sequence, entity.subchains = [site.name for site in chain.sites], [chain.chain_id]
    structure.entities = gemmi.EntityList([entity])
    groups = gemmi.MmcifOutputGroups(False)
    for group in (
        "block_name",
        "entry",
        "atoms",
        "group_pdb",
        "entity",
        "entity_poly",
        "entity_poly_seq",
        "struct_asym",
    ):
        setattr(groups, group, True)
    document = structure.make_mmcif_document(groups)
    block = document.sole_block()
    if content.release_date:
        block.set_pairs(
            "_pdbx_audit_revision_history.",
            {"ordinal": "1", "data_content_type": "'Structure model'", "revision_date": content.release_date},
        )
    return str(document.as_string())
