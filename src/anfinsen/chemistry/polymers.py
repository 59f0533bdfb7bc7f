"""What links residues: polymer letters, the atoms that join, and the atoms that leave."""

from __future__ import annotations

from .component import Component
from .structure import ChainKind
from .tokens import AMINO_ACIDS, RESTYPE_INDEX, UNKNOWN_DNA, UNKNOWN_PROTEIN, UNKNOWN_RNA

_AMINO_LETTERS = dict(zip("ARNDCQEGHILKMFPSTWYV", AMINO_ACIDS, strict=True))
# Letters a sequence may hold, and the component each stands for.
COMPONENT_OF_LETTER: dict[ChainKind, dict[str, str]] = {
    # U and O are the two further genetically encoded amino acids; B and Z stand for either of two.
    ChainKind.PROTEIN: {**_AMINO_LETTERS, "X": "UNK", "U": "SEC", "O": "PYL", "B": "ASX", "Z": "GLX"},
    ChainKind.RNA: {letter: letter for letter in "AGCUN"},
    ChainKind.DNA: {**{letter: f"D{letter}" for letter in "AGCT"}, "N": "DN"},
}
UNKNOWN_LETTER = {ChainKind.PROTEIN: "X", ChainKind.RNA: "N", ChainKind.DNA: "N"}
_UNKNOWN_TYPE = {
    ChainKind.PROTEIN: UNKNOWN_PROTEIN,
    ChainKind.RNA: UNKNOWN_RNA,
    ChainKind.DNA: UNKNOWN_DNA,
    ChainKind.LIGAND: UNKNOWN_PROTEIN,
}
_PROTEIN_TYPES = frozenset((*AMINO_ACIDS, "UNK"))
_NUCLEIC_TYPES = frozenset(("A", "G", "C", "U", "N", "DA", "DG", "DC", "DT", "DN"))

# An unknown amino acid is modelled down to CB; the CCD's UNK also draws a CG.
UNKNOWN_AMINO_ACID_ATOMS = frozenset(("N", "CA", "C", "O", "CB", "OXT"))


def standard_type(name: str, kind: ChainKind) -> int | None:
    """Return the index in `RESTYPES` of a residue that is one whole token in such a chain, else None.

    As in AlphaFold 3's released code, ribo- and deoxyribonucleotides are standard in either kind of nucleic acid.
    """
    standard = _PROTEIN_TYPES if kind is ChainKind.PROTEIN else _NUCLEIC_TYPES
    return RESTYPE_INDEX[name] if kind.is_polymer and name in standard else None


def residue_letter(component: Component, kind: ChainKind) -> str:
    """Return the one-letter code of a residue of a polymer: a modified one as its parent, else X or N."""
    letters = COMPONENT_OF_LETTER[kind]
    by_name = {code: letter for letter, code in letters.items()}
    for name in (component.code, component.parent):
        if name in by_name:
            return by_name[name]
        # A ribonucleotide in DNA, or a parent given as one: the base decides.
        if kind is ChainKind.DNA and f"D{name}" in by_name:
            return by_name[f"D{name}"]
        if kind is ChainKind.RNA and name.startswith("D") and name[1:] in by_name:
            return by_name[name[1:]]
    return component.one_letter if component.one_letter in letters else UNKNOWN_LETTER[kind]


def residue_type(component: Component, kind: ChainKind) -> int:
    """Return the index in `RESTYPES` of any residue (supplement table 5).

    As in the released code, the atoms of a modified residue have the type of its parent, found by its one-letter
    code (unknown where there is none); ligands are unknown amino acids.
    """
    if not kind.is_polymer:
        return UNKNOWN_PROTEIN
    standard = standard_type(component.code, kind)
    if standard is not None:
        return standard
    # The parent comes first: selenocysteine has a letter of its own, and cysteine's type.
    for name in (component.parent, COMPONENT_OF_LETTER[kind][residue_letter(component, kind)]):
        standard = standard_type(name, kind)
        if standard is not None and _same_polymer(name, kind):
            return standard
    return _UNKNOWN_TYPE[kind]


def _same_polymer(name: str, kind: ChainKind) -> bool:
    return kind is ChainKind.PROTEIN or name.startswith("D") == (kind is ChainKind.DNA)


def chain_sequence(components: tuple[Component, ...], kind: ChainKind) -> str:
    """Return one letter per residue of a polymer, "" for ligands."""
    return "".join(residue_letter(component, kind) for component in components) if kind.is_polymer else ""


def link_atoms(component: Component, kind: ChainKind) -> tuple[str | None, str | None]:
    """Return the names of the atoms that bond to the residue before and to the residue after, None where it has none.

    Proteins link C to N, nucleic acids O3' to P. Residues with names of their own (chromophores such as CRO, with
    N1 and C3) link the carbon that bears the leaving OXT, and the nitrogen called N1.
    """
    names = set(component.atom_names.tolist())
    if kind is not ChainKind.PROTEIN:
        return "P" if "P" in names else None, "O3'" if "O3'" in names else None
    before = next((name for name in ("N", "N1") if name in names), None)
    after = _acid_carbon(component) or ("C" if "C" in names else None)
    return before, after


def _acid_carbon(component: Component) -> str | None:
    """Return the carbon that bears a leaving OXT."""
    names = component.atom_names.tolist()
    if "OXT" not in names or not component.leaving[names.index("OXT")]:
        return None
    oxygen = names.index("OXT")
    for first, second in component.bonds.tolist():
        if oxygen in (first, second):
            return str(names[second if first == oxygen else first])
    return None
