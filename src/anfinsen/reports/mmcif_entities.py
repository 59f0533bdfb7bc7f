"""Entities, sequences and chains of a ModelCIF file.

Polymers are polymer entities; ligands of one residue non-polymer entities; linked sugars branched ones (see
`mmcif_chains`, which parts ligands so that there are no others).
"""

from __future__ import annotations

import gemmi

from ..chemistry import ChainKind, ComponentLibrary, Structure, standard_type
from .mmcif_table import Categories, Value, columns

_POLYMER_TYPES = {
    ChainKind.PROTEIN: "polypeptide(L)",
    ChainKind.DNA: "polydeoxyribonucleotide",
    ChainKind.RNA: "polyribonucleotide",
}
_LINE = 80


def is_polymer_residue(structure: Structure, residue: int) -> bool:
    """Whether a residue is a standard one of a polymer."""
    kind = structure.chains[int(structure.residues.chain[residue])].kind
    return standard_type(str(structure.residues.name[residue]), kind) is not None


def entity_categories(structure: Structure, library: ComponentLibrary) -> Categories:
    """Return entity, entity_poly, entity_poly_seq, the three schemes, struct_asym, and the ligand tables."""
    names = [
        [str(name) for name in structure.residues.name[structure.residues.chain == index]]
        for index in range(len(structure.chains))
    ]
    first = {chain.entity_id: index for index, chain in reversed(list(enumerate(structure.chains)))}
    entities, polymers, sequences, nonpolymers, branches, parts = [], [], [], [], [], []
    for entity in sorted(first):
        chain = structure.chains[first[entity]]
        components = names[first[entity]]
        members = [other.chain_id for other in structure.chains if other.entity_id == entity]
        kind = _entity_type(chain.kind, len(components))
        description = _description(chain.kind, components, library)
        entities.append(
            (str(entity), kind, "man", description, f"{_weight(components, library):.3f}", str(len(members)))
        )
        if kind == "polymer":
            standard = [standard_type(code, chain.kind) is not None for code in components]
            letters = [
                letter if usual else f"({code})"
                for letter, code, usual in zip(chain.sequence, components, standard, strict=True)
            ]
            polymers.append(
                (
                    str(entity),
                    _POLYMER_TYPES[chain.kind],
                    "yes" if chain.cyclic else "no",
                    "no" if all(standard) else "yes",
                    ",".join(members),
                    _wrap(letters if chain.kind is not ChainKind.DNA else [f"({code})" for code in components]),
                    _wrap(list(chain.sequence)),
                )
            )
            sequences += [(str(entity), str(n), code, "n") for n, code in enumerate(components, start=1)]
        elif kind == "non-polymer":
            nonpolymers.append((str(entity), description, components[0], "explicit"))
        else:
            branches.append((str(entity), "oligosaccharide"))
            parts += [(str(entity), code, str(n), "n") for n, code in enumerate(components, start=1)]
    categories: Categories = {
        "entity": columns(
            ("id", "type", "src_method", "pdbx_description", "formula_weight", "pdbx_number_of_molecules"), entities
        ),
        "entity_poly": columns(
            (
                "entity_id",
                "type",
                "nstd_linkage",
                "nstd_monomer",
                "pdbx_strand_id",
                "pdbx_seq_one_letter_code",
                "pdbx_seq_one_letter_code_can",
            ),
            polymers,
        ),
        "entity_poly_seq": columns(("entity_id", "num", "mon_id", "hetero"), sequences),
        "pdbx_entity_nonpoly": columns(("entity_id", "name", "comp_id", "ma_model_mode"), nonpolymers),
        "pdbx_entity_branch": columns(("entity_id", "type"), branches),
        "pdbx_entity_branch_list": columns(("entity_id", "comp_id", "num", "hetero"), parts),
        "struct_asym": columns(
            ("id", "entity_id", "details"), [(chain.chain_id, str(chain.entity_id), None) for chain in structure.chains]
        ),
    }
    return {**categories, **_schemes(structure, names)}


def _entity_type(kind: ChainKind, size: int) -> str:
    if kind.is_polymer:
        return "polymer"
    return "non-polymer" if size == 1 else "branched"


def _description(kind: ChainKind, components: list[str], library: ComponentLibrary) -> str:
    if kind.is_polymer:
        return f"{'protein' if kind is ChainKind.PROTEIN else kind.value.upper()}, {len(components)} residues"
    return "-".join(library.get(code).name or code for code in components)


def _weight(components: list[str], library: ComponentLibrary) -> float:
    """Mass of the components with their hydrogens, less one water per link, in dalton."""
    total = 0.0
    for code in components:
        component = library.get(code)
        total += sum(gemmi.Element(int(number)).weight for number in component.elements)
        total += gemmi.Element("H").weight * int(component.hydrogens.sum())
    return total - 18.015 * (len(components) - 1)


def _wrap(letters: list[str]) -> str:
    lines, line = [], ""
    for letter in letters:
        if len(line) + len(letter) > _LINE:
            lines.append(line)
            line = ""
        line += letter
    return "\n".join([*lines, line])


def _schemes(structure: Structure, names: list[list[str]]) -> Categories:
    """Which residue of which chain is which monomer; author's numbers are our own."""
    polymer: list[tuple[Value, ...]] = []
    single: list[tuple[Value, ...]] = []
    branched: list[tuple[Value, ...]] = []
    for index, (chain, components) in enumerate(zip(structure.chains, names, strict=True)):
        asym, entity = chain.chain_id, str(chain.entity_id)
        authors = structure.residues.author_number[structure.residues.chain == index].tolist()
        for number, (code, author) in enumerate(zip(components, authors, strict=True), start=1):
            n, strand = str(number), chain.author_id
            if chain.kind.is_polymer:
                polymer.append((asym, entity, n, code, n, author, author, code, code, strand, False, "n"))
            elif len(components) == 1:
                single.append((asym, entity, code, n, author, author, code, code, strand, False))
            else:
                branched.append((asym, entity, code, n, strand, code, author, strand, code, author, "n"))
    return {
        "pdbx_poly_seq_scheme": columns(
            (
                *("asym_id", "entity_id", "seq_id", "mon_id", "ndb_seq_num", "pdb_seq_num", "auth_seq_num"),
                *("pdb_mon_id", "auth_mon_id", "pdb_strand_id", "pdb_ins_code", "hetero"),
            ),
            polymer,
        ),
        "pdbx_nonpoly_scheme": columns(
            (
                *("asym_id", "entity_id", "mon_id", "ndb_seq_num", "pdb_seq_num", "auth_seq_num"),
                *("pdb_mon_id", "auth_mon_id", "pdb_strand_id", "pdb_ins_code"),
            ),
            single,
        ),
        "pdbx_branch_scheme": columns(
            (
                *("asym_id", "entity_id", "mon_id", "num", "pdb_asym_id", "pdb_mon_id", "pdb_seq_num"),
                *("auth_asym_id", "auth_mon_id", "auth_seq_num", "hetero"),
            ),
            branched,
        ),
    }
