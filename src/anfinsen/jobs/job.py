"""`Job`: what the user asks for, validated once, at construction, and frozen from then on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..common.errors import JobError
from ..common.seeding import MAX_SEED
from ..common.text import listed, shown
from .chain_ids import check_chain_id

# Limits that keep a slip of the pen (copies: 100000) from becoming a frozen machine; the largest
# structures ever predicted whole stay well below them.
MAX_CHAINS = 2_000
MAX_RESIDUES = 50_000
MAX_SEEDS = 10_000
MAX_NAME = 200
MAX_SMILES = 10_000

LETTERS = {"protein": "ACDEFGHIKLMNPQRSTVWYUOX", "dna": "ACGTN", "rna": "ACGUN"}
_LETTER_HELP = {
    "protein": "expected the 20 amino acids, U (selenocysteine), O (pyrrolysine) or X (unknown)",
    "dna": "expected A, C, G, T or N (unknown)",
    "rna": "expected A, C, G, U or N (unknown)",
}
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class _Frozen(BaseModel):
    """Base of all parts of a job: frozen, strict, and answering bad input with a JobError of one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or cls.__name__
            problem = first["msg"][:1].lower() + first["msg"][1:].rstrip(".")
            raise JobError(f"{cls.__name__} field {where} is {shown(first['input'])}: {problem}.") from None


class Modification(_Frozen):
    """A residue replaced by another component: ``position`` is 1-based, ``code`` a component code."""

    position: int
    code: str

    @model_validator(mode="after")
    def _check(self) -> Modification:
        check_code(self.code)
        return self


class TemplateAlignment(_Frozen):
    """A known structure laid over a protein chain: ``mmcif`` text of one chain, and 0-based pairs (query, template)."""

    mmcif: str
    query_indices: tuple[int, ...]
    template_indices: tuple[int, ...]

    @model_validator(mode="after")
    def _check(self) -> TemplateAlignment:
        if not self.mmcif.strip():
            raise JobError("A template's mmCIF text is empty: give the text of a structure with one protein chain.")
        if len(self.query_indices) != len(self.template_indices):
            raise JobError(
                f"A template has {len(self.query_indices)} query indices and {len(self.template_indices)} template "
                "indices: the two lists must be equally long."
            )
        negative = [index for index in (*self.query_indices, *self.template_indices) if index < 0]
        if negative:
            raise JobError(f"A template index is {negative[0]}: template indices count from 0.")
        if twice := _repeated(self.query_indices):
            raise JobError(f"Query index {twice[0]} is mapped twice by one template: each may appear once.")
        return self


class Polymer(_Frozen):
    """A protein, DNA or RNA entity and its copies.

    ``unpaired_msa`` and ``paired_msa`` are alignment texts (a3m) whose first row is the sequence. None means
    "not given"; "" means "none, and do not search".
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

    @model_validator(mode="after")
    def _check(self) -> Polymer:
        where = f"{KIND_NAMES[self.kind]} chain {_check_ids(self.ids)}"
        self._check_sequence(where)
        self._check_modifications(where)
        if self.kind == "dna" and self.unpaired_msa is not None:
            raise JobError(f"{where} has an alignment, but DNA chains are predicted without one: remove it.")
        if self.kind != "protein" and (self.paired_msa is not None or self.templates is not None):
            raise JobError(f"{where} has a paired alignment or templates: only protein chains can have them.")
        if self.cyclic and len(self.sequence) < 3:
            raise JobError(f"{where} cannot be cyclic: a ring needs at least 3 residues, got {len(self.sequence)}.")
        for text in (self.unpaired_msa, self.paired_msa):
            _check_msa_query(text, self.kind, self.sequence, where)
        for template in self.templates or ():
            if template.query_indices and max(template.query_indices) >= len(self.sequence):
                raise JobError(
                    f"{where} has a template for query index {max(template.query_indices)}, past the end of its "
                    f"{len(self.sequence)} residues (indices count from 0)."
                )
        return self

    def _check_sequence(self, where: str) -> None:
        if not self.sequence:
            raise JobError(f"{where} has an empty sequence: give at least one residue.")
        allowed = LETTERS[self.kind]
        if set(self.sequence) <= set(allowed):
            return
        position, letter = next((i, x) for i, x in enumerate(self.sequence, start=1) if x not in allowed)
        hint = f" (write {letter.upper()}: small letters are not read)" if letter.upper() in allowed else ""
        raise JobError(
            f"{where} has {shown(letter)} at position {position} of its sequence: {_LETTER_HELP[self.kind]}{hint}."
        )

    def _check_modifications(self, where: str) -> None:
        for modification in self.modifications:
            if not 1 <= modification.position <= len(self.sequence):
                raise JobError(
                    f"{where} has a modification {modification.code} at position {modification.position}, outside its "
                    f"{len(self.sequence)} residues (positions count from 1)."
                )
        if twice := _repeated(modification.position for modification in self.modifications):
            raise JobError(f"{where} has two modifications at position {twice[0]}: one residue takes one.")


class Ligand(_Frozen):
    """A non-polymer entity (ligand, ion, glycan) and its copies: exactly one of the three sources is given."""

    kind: Literal["ligand"] = "ligand"
    ids: tuple[str, ...]
    ccd_codes: tuple[str, ...] | None = None
    smiles: str | None = None
    molblock: str | None = None
    description: str = ""

    @model_validator(mode="after")
    def _check(self) -> Ligand:
        where = f"Ligand chain {_check_ids(self.ids)}"
        given = [source for source in (self.ccd_codes, self.smiles, self.molblock) if source is not None]
        if len(given) != 1:
            raise JobError(
                f"{where} has {len(given)} descriptions: give one, either CCD codes, a SMILES string or an SDF block."
            )
        if self.ccd_codes is not None and not self.ccd_codes:
            raise JobError(f"{where} has an empty list of CCD codes: give at least one, such as ATP.")
        for code in self.ccd_codes or ():
            check_code(code)
        if self.smiles is not None and not 0 < len(self.smiles.strip()) <= MAX_SMILES:
            raise JobError(f"{where} has a SMILES of {len(self.smiles)} characters: expected 1 to {MAX_SMILES}.")
        if self.molblock is not None and not self.molblock.strip():
            raise JobError(f"{where} has an empty SDF block: give a MOL or SDF record with atoms.")
        return self


Entity = Annotated[Polymer | Ligand, Field(discriminator="kind")]


class AtomAddress(_Frozen):
    """One atom: chain id, 1-based residue number in the chain (component number in a ligand), atom name."""

    chain: str
    residue: int
    atom: str

    def __str__(self) -> str:
        return f"{self.chain}:{self.residue}:{self.atom}"


class JobBond(_Frozen):
    """A covalent bond between two atoms of the complex."""

    first: AtomAddress
    second: AtomAddress

    @model_validator(mode="after")
    def _check(self) -> JobBond:
        if self.first == self.second:
            raise JobError(f"A bond joins atom {shown(str(self.first))} to itself: name two different atoms.")
        return self


class Job(_Frozen):
    """One complex to predict. ``user_components`` is the mmCIF text of components that the CCD lacks.

    Raises:
        JobError: at construction, when anything in it is not valid.
        ChemistryError: at construction, when a component, SMILES or SDF block cannot be read.
    """

    name: str
    seeds: tuple[int, ...] = (1,)
    entities: tuple[Entity, ...]
    bonds: tuple[JobBond, ...] = ()
    user_components: str | None = None

    @property
    def file_name(self) -> str:
        """The name with everything but ASCII letters, digits, ``_``, ``-`` and ``.`` removed, for files and folders."""
        return re.sub(r"[^A-Za-z0-9_.-]", "", self.name.strip().replace(" ", "_")).lstrip(".-")

    @property
    def lengths(self) -> dict[str, int]:
        """Number of residues (ligands: components) of each chain, by chain id, in order."""
        return {name: _length(entity) for entity in self.entities for name in entity.ids}

    def with_seeds(self, seeds: tuple[int, ...]) -> Job:
        """Return the same job with other seeds, checked again (``model_copy`` would not).

        Raises:
            JobError: as at construction.
        """
        return Job(**(dict(self) | {"seeds": seeds}))

    @model_validator(mode="after")
    def _check(self) -> Job:
        if len(self.name) > MAX_NAME or _CONTROL.search(self.name) or "\n" in self.name or not self.file_name:
            raise JobError(
                f"Job name {shown(self.name)} must be one line of at most {MAX_NAME} characters with at least one "
                "ASCII letter or digit, because output files are named after it."
            )
        self._check_seeds()
        self._check_chains()
        self._check_texts()
        lengths = self.lengths
        for bond in self.bonds:
            for atom in (bond.first, bond.second):
                if atom.chain not in lengths:
                    raise JobError(f"Bond atom {shown(str(atom))} names a chain that the job lacks; {_known(lengths)}.")
                if not 1 <= atom.residue <= lengths[atom.chain]:
                    raise JobError(
                        f"Bond atom {shown(str(atom))} names residue {atom.residue}, but chain {atom.chain} has "
                        f"residues 1 to {lengths[atom.chain]}."
                    )
        if twice := _repeated(frozenset((str(bond.first), str(bond.second))) for bond in self.bonds):
            raise JobError(f"The bond {' – '.join(sorted(twice[0]))} is given twice: give each bond once.")
        # Imported here because that module needs the classes above.
        from .components import check_components

        check_components(self)
        return self

    def _check_seeds(self) -> None:
        if not self.seeds:
            raise JobError("The job has no seeds: give at least one, such as 1.")
        if len(self.seeds) > MAX_SEEDS:
            raise JobError(f"The job has {len(self.seeds)} seeds: at most {MAX_SEEDS} are run in one job.")
        wrong = [seed for seed in self.seeds if not 0 <= seed <= MAX_SEED]
        if wrong:
            raise JobError(f"Seed {shown(wrong[0])} is out of range: expected 0 to {MAX_SEED}.")
        if twice := _repeated(self.seeds):
            raise JobError(f"Seed {twice[0]} is given twice: the same seed gives the same structure.")

    def _check_texts(self) -> None:
        """Every text must be writable as UTF-8 JSON, so that the completed job can be read again."""
        texts = [self.name, self.user_components or ""]
        for entity in self.entities:
            texts.append(entity.description)
            if isinstance(entity, Polymer):
                texts += [entity.unpaired_msa or "", entity.paired_msa or ""]
                texts += [template.mmcif for template in entity.templates or ()]
            else:
                texts += [entity.smiles or "", entity.molblock or ""]
        for text in texts:
            if "\x00" in text or not (text.isascii() or _SURROGATE.search(text) is None):
                raise JobError(f"The job holds text that is not valid Unicode, or a NUL character: {shown(text)}.")

    def _check_chains(self) -> None:
        if not self.entities:
            raise JobError("The job has no chains: give at least one protein, DNA, RNA or ligand.")
        ids = [name for entity in self.entities for name in entity.ids]
        if twice := _repeated(ids):
            raise JobError(f"Chain id {shown(twice[0])} is used twice: every chain needs an id of its own.")
        if len(ids) > MAX_CHAINS:
            raise JobError(f"The job has {len(ids)} chains: at most {MAX_CHAINS} are read.")
        total = sum(self.lengths.values())
        if total > MAX_RESIDUES:
            raise JobError(f"The job has {total} residues in all its chains: at most {MAX_RESIDUES} are read.")


KIND_NAMES = {"protein": "Protein", "dna": "DNA", "rna": "RNA"}


def check_code(code: str) -> None:
    """Refuse what cannot be a component code (whether a component has it is the library's business).

    Raises:
        JobError: the code is empty, long, or holds blanks or characters that mmCIF reserves.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+.-]{0,31}", code):
        raise JobError(f"Component code {shown(code)} is not one: expected letters, digits and dashes, such as ATP.")


def _length(entity: Polymer | Ligand) -> int:
    if isinstance(entity, Polymer):
        return len(entity.sequence)
    return len(entity.ccd_codes or (None,))


def _known(lengths: dict[str, int]) -> str:
    return f"its chains are {listed(lengths)}"


def _repeated(values: Any) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _check_ids(ids: tuple[str, ...]) -> str:
    if not ids:
        raise JobError("A chain has no id: give one, such as A.")
    for name in ids:
        check_chain_id(name)
    return listed(ids, limit=5)


def _check_msa_query(text: str | None, kind: str, sequence: str, where: str) -> None:
    """Refuse an a3m of another sequence at the door; everything else in it is checked when it is parsed."""
    if not text:
        return
    if not text.lstrip("\ufeff \t\r\n").startswith((">", "#")):
        raise JobError(
            f"{where} has an alignment that begins with {shown(text[:20])}: expected a3m, aligned FASTA or Stockholm "
            "text (a path belongs in the field for paths)."
        )
    start = text.find(">")
    if start < 0 or text.lstrip("\ufeff \t\r\n").startswith("# STOCKHOLM"):
        return
    end = text.find("\n>", start)
    first = text[start : end if end >= 0 else len(text)].partition("\n")[2]
    letters = re.sub(r"[-.\s]", "", first).upper()
    if kind == "rna":
        letters = letters.replace("T", "U")
    if letters != sequence:
        place = next((i for i, (a, b) in enumerate(zip(letters, sequence, strict=False), start=1) if a != b), None)
        differs = f"they differ first at position {place}" if place else "one is the beginning of the other"
        raise JobError(
            f"{where} has an MSA of another sequence: its first row is {shown(letters, 40)} ({len(letters)} residues), "
            f"the chain is {shown(sequence, 40)} ({len(sequence)} residues); {differs}."
        )
