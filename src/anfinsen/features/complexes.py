"""`Complex`: one complex before it becomes tensors: structure, tokens, atoms and what is known about each chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anfinsen.alignments import Msa, parse_msa
from anfinsen.chemistry import Atoms, ChainKind, ComponentLibrary, Structure, Tokens, tokenise
from anfinsen.common.errors import AlignmentError, JobError
from anfinsen.jobs import Job, Polymer, TemplateAlignment, job_structure


@dataclass(frozen=True)
class ChainAlignments:
    """What is known about one chain from its relatives.

    Attributes:
        unpaired: rows of this chain alone; None where there is no alignment.
        paired: rows whose species are to be matched with those of other chains.
        templates: known structures laid over the chain.
    """

    unpaired: Msa | None = None
    paired: Msa | None = None
    templates: tuple[TemplateAlignment, ...] = ()


@dataclass(frozen=True)
class Complex:
    """A complex ready for `featurise`.

    Attributes:
        structure: chains, residues, atoms, bonds (coordinates only where it was read from a file).
        library: chemical components, those made for this complex included.
        tokens, atoms: the AlphaFold 3 view of ``structure``, same order.
        alignments: one per chain of ``structure``.
    """

    structure: Structure
    library: ComponentLibrary
    tokens: Tokens
    atoms: Atoms
    alignments: tuple[ChainAlignments, ...]


def complex_from_structure(
    structure: Structure,
    library: ComponentLibrary,
    alignments: Mapping[str, Msa | ChainAlignments] | None = None,
    seed: int = 0,
) -> Complex:
    """Tokenise ``structure`` and lay alignments, given by chain id, over its chains.

    Raises:
        AlignmentError: an alignment names a chain that is not there, is given for a ligand, or has another length.
        ChemistryError: a component has no reference conformer.
    """
    given = dict(alignments or {})
    known = {chain.chain_id for chain in structure.chains}
    for chain_id in given:
        if chain_id not in known:
            raise AlignmentError(
                f"An alignment is given for chain {chain_id!r}, which {structure.name!r} does not have: "
                f"expected one of {', '.join(sorted(known))}."
            )
    per_chain = []
    for chain in structure.chains:
        entry = given.get(chain.chain_id, ChainAlignments())
        entry = ChainAlignments(unpaired=entry) if isinstance(entry, Msa) else entry
        for msa in (entry.unpaired, entry.paired):
            _check_length(msa, chain.chain_id, chain.kind, len(chain.sequence))
        per_chain.append(entry)
    tokens, atoms = tokenise(structure, library, seed)
    return Complex(structure, library, tokens, atoms, tuple(per_chain))


def prepare_job(job: Job, seed: int) -> Complex:
    """Turn a job into a `Complex`: chains, components, bonds, alignments and templates.

    ``seed`` decides reference conformers only.

    Raises:
        JobError, ChemistryError, AlignmentError: what the job asks for cannot be built; the message names the entity.
    """
    structure, library = job_structure(job)
    by_chain: dict[str, Msa | ChainAlignments] = {}
    for entity in job.entities:
        if isinstance(entity, Polymer):
            alignments = _polymer_alignments(entity, job.name)
            by_chain.update(dict.fromkeys(entity.ids, alignments))
    return complex_from_structure(structure, library, by_chain, seed)


def _polymer_alignments(entity: Polymer, job_name: str) -> ChainAlignments:
    kind = ChainKind(entity.kind)
    where = f"{kind} {'/'.join(entity.ids)} of job {job_name!r}"
    templates = entity.templates or ()
    if templates and kind is not ChainKind.PROTEIN:
        raise JobError(f"Templates are given for {where}: only protein chains can have templates.")
    return ChainAlignments(
        unpaired=_parse(entity.unpaired_msa, entity.sequence, kind, f"unpaired MSA of {where}"),
        paired=_parse(entity.paired_msa, entity.sequence, kind, f"paired MSA of {where}"),
        templates=templates,
    )


def _parse(text: str | None, query: str, kind: ChainKind, where: str) -> Msa | None:
    return parse_msa(text, query, kind, where) if text else None


def _check_length(msa: Msa | None, chain_id: str, kind: ChainKind, length: int) -> None:
    if msa is None:
        return
    if not kind.is_polymer:
        raise AlignmentError(f"An alignment is given for chain {chain_id!r}, which is a ligand: remove it.")
    if msa.restypes.shape[1] != length:
        raise AlignmentError(
            f"The alignment of chain {chain_id!r} has {msa.restypes.shape[1]} columns: "
            f"expected {length}, one per residue."
        )
