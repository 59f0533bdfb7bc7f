"""Small structure files, written by hand, and what the reading tests ask of a structure."""

import io

import gemmi
from biotite.structure.io.pdbx import BinaryCIFBlock, BinaryCIFCategory, BinaryCIFColumn, BinaryCIFFile, CIFFile

from anfinsen.chemistry import BondOrder, structure_from_bytes

# Ideal-ish backbone of a residue about its own origin (Å); residues are laid out 3.8 Å apart so that C-N is bonded.
BACKBONE = {"N": (0.0, 0.0, 0.0), "CA": (1.0, 1.0, 0.0), "C": (2.4, 0.6, 0.0), "O": (2.6, -0.6, 0.3)}
SIDE_CHAINS = {"GLY": (), "ALA": ("CB",), "SER": ("CB", "OG"), "CYS": ("CB", "SG"), "MSE": ("CB", "CG", "SE", "CE")}


def pdb_line(serial, name, residue, chain, number, position, **options):
    """One ATOM or HETATM line; options: alt, code, occupancy, b, element, het, charge."""
    element = options.get("element") or (name[:2] if name in {"ZN", "SE", "MG"} else name[0])
    padded = f"{name:<4}" if len(element) == 2 or len(name) == 4 else f" {name:<3}"
    x, y, z = position
    return (
        f"{'HETATM' if options.get('het') else 'ATOM  '}{serial:5d} {padded}{options.get('alt', ' ')}{residue:>3} "
        f"{chain}{number:4d}{options.get('code', ' ')}   {x:8.3f}{y:8.3f}{z:8.3f}{options.get('occupancy', 1.0):6.2f}"
        f"{options.get('b', 20.0):6.2f}          {element:>2}{options.get('charge', '')}"
    )


def residue_lines(serial, residue, chain, number, step, **options):
    """All heavy atoms of a residue, ``step`` places along the chain."""
    atoms = list(BACKBONE.items())
    atoms += [(name, (1.0, 2.5 + 1.5 * k, 0.5)) for k, name in enumerate(SIDE_CHAINS[residue])]
    return [
        pdb_line(serial + k, name, residue, chain, number, (x + 3.5 * step, y, z + 10 * ord(chain[0])), **options)
        for k, (name, (x, y, z)) in enumerate(atoms)
    ]


def pdb(lines, *headers):
    return "\n".join([*headers, *lines, "END", ""])


def peptide(chain="A", names=("GLY", "SER", "ALA", "CYS"), first=1, serial=1, start=0):
    """A chain of residues without gaps."""
    lines = []
    for k, name in enumerate(names):
        lines += residue_lines(serial + len(lines), name, chain, first + k, start + k, het=name == "MSE")
    return lines


def to_mmcif(text):
    """gemmi's conversion of a PDB text."""
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    structure.assign_label_seq_id()
    structure.name = structure.name or "TINY"
    return structure.make_mmcif_document().as_string()


def to_binary_cif(text):
    """biotite's conversion of an mmCIF text."""
    source = CIFFile.read(io.StringIO(text))
    file = BinaryCIFFile()
    for name, block in source.items():
        file[name] = BinaryCIFBlock(
            {
                key: BinaryCIFCategory(
                    {
                        column: BinaryCIFColumn(values.data.array, None if values.mask is None else values.mask.array)
                        for column, values in category.items()
                    }
                )
                for key, category in block.items()
            }
        )
    out = io.BytesIO()
    file.write(out)
    return out.getvalue()


SEQRES = "SEQRES   1 A    6  GLY SER ALA CYS GLY ALA"
TINY_PDB = pdb(
    [
        *peptide("A", ("GLY", "SER", "ALA", "CYS"), serial=1),
        "TER      22      CYS A   4",
        pdb_line(30, "ZN", "ZN", "A", 101, (5.0, 6.0, 655.0), het=True),
        pdb_line(31, "O", "HOH", "A", 201, (9.0, 9.0, 650.0), het=True),
    ],
    "HEADER    TEST                                    01-JAN-99   1TNY",
    "REVDAT   2   05-MAY-09 1TNY    1       VERSN",
    "REVDAT   1   21-JAN-99 1TNY    0",
    "REMARK   2 RESOLUTION.    1.80 ANGSTROMS.",
    SEQRES,
    "CRYST1   50.000   50.000   50.000  90.00  90.00  90.00 P 1           1",
)


def read(content, **options):
    return structure_from_bytes(content, "test", **options)[0]


def names(structure, residue, resolved=None):
    rows = structure.atoms.residue == residue
    if resolved is not None:
        rows &= structure.atoms.resolved == resolved
    return structure.atoms.name[rows].tolist()


def inter_bonds(structure):
    """{(residue, atom, residue, atom): order} of bonds across residues."""
    found = {}
    for (a, b), order, inter in zip(
        structure.bonds.atoms.tolist(), structure.bonds.order.tolist(), structure.bonds.is_inter.tolist(), strict=True
    ):
        if inter:
            ends = [(int(structure.atoms.residue[k]), str(structure.atoms.name[k])) for k in (a, b)]
            found[(*ends[0], *ends[1])] = BondOrder(order)
    return found


def noted(structure, *words):
    return any(all(word in note for word in words) for note in structure.notes)
