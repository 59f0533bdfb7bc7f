"""`Job`: what the user asks for, validated once, at construction, and frozen from then on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Modification(_Frozen):
    """A residue replaced by another component: ``position`` is 1-based, ``code`` a component code."""

    position: int
    code: str


class TemplateAlignment(_Frozen):
    """A known structure laid over a protein chain: ``mmcif`` text of one chain, and 0-based index pairs (query, template)."""

    mmcif: str
    query_indices: tuple[int, ...]
    template_indices: tuple[int, ...]


class Polymer(_Frozen):
    """A protein, DNA or RNA entity and its copies.

    ``unpaired_msa`` and ``paired_msa`` are a3m texts whose first row is the sequence. None means "not given";
    "" means "none, and do not search".
    """

    kind: Literal["protein", "dna", "rna"]
    ids: tuple[str, ...]
    sequence: str
    modifications: tuple[Modification, ...] = ()
    unpaired_msa: str | None = None
    paired_msa: str | None = None
    templates: tuple[TemplateAlignment, ...] | None = None
    cyclic: bool = False
    description: str = ""


class Ligand(_Frozen):
    """A non-polymer entity (ligand, ion, glycan) and its copies: exactly one of the three sources is given."""

    kind: Literal["ligand"] = "ligand"
    ids: tuple[str, ...]
    ccd_codes: tuple[str, ...] | None = None
    smiles: str | None = None
    molblock: str | None = None
    description: str = ""


Entity = Annotated[Polymer | Ligand, Field(discriminator="kind")]


class AtomAddress(_Frozen):
    """One atom: chain id, 1-based residue number in the chain (component number in a ligand), atom name."""

    chain: str
    residue: int
    atom: str


class JobBond(_Frozen):
    """A covalent bond between two atoms of the complex."""

    first: AtomAddress
    second: AtomAddress


class Job(_Frozen):
    """One complex to predict. ``user_components`` is the mmCIF text of components that the CCD lacks."""

    name: str
    seeds: tuple[int, ...] = (1,)
    entities: tuple[Entity, ...]
    bonds: tuple[JobBond, ...] = ()
    user_components: str | None = None
