"""Files that cannot be read: one `StructureError`, one sentence that names the fault; nothing else ever escapes."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_files import SEQRES, TINY_PDB, pdb, pdb_line, peptide, to_binary_cif, to_mmcif

from anfinsen.chemistry import read_structure, structure_from_bytes
from anfinsen.common.errors import StructureError

MMCIF = to_mmcif(TINY_PDB)
BINARY = to_binary_cif(MMCIF)
FIRST = peptide()[0]
# One atom's line of the mmCIF text, and what each broken copy says instead.
ATOM_ROW = next(line for line in MMCIF.splitlines() if line.startswith("ATOM 5 "))


def with_x(text):
    fields = ATOM_ROW.split()
    names = [line for line in MMCIF.splitlines() if line.startswith("_atom_site.")]
    fields[names.index("_atom_site.Cartn_x")] = text
    return MMCIF.replace(ATOM_ROW, " ".join(fields))


BROKEN = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\n", "is empty"),
    "empty gzip": (gzip.compress(b""), "is empty"),
    "truncated gzip": (gzip.compress(MMCIF.encode())[:200], "truncated gzip"),
    "damaged gzip": (gzip.compress(MMCIF.encode())[:-8] + b"12345678", "gzip"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "bzip2": (b"BZh91AY", "bzip2"),
    "xz": (b"\xfd7zXZ\x00", "xz"),
    "pdf": (b"%PDF-1.4", "PDF"),
    "web page": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "web page"),
    "xml": (b'<?xml version="1.0"?><PDBx:datablock/>', "PDBML"),
    "prose": (b"This is not a structure.\n" * 5, "is not a structure file"),
    "fasta": (b">1abc|A\nMKTAYIAKQR\n", "is not a structure file"),
    "json": (b'{"name": "job"}', "is not a structure file"),
    "nul bytes": (MMCIF.encode()[:500] + b"\0\0" + MMCIF.encode()[500:], "NUL bytes"),
    "binary noise": (bytes(range(1, 255)), "is not"),
    "cif without atoms": (b"data_x\n_entry.id x\n", "holds no atoms"),
    "component": (b"data_X\nloop_\n_chem_comp_atom.comp_id\n_chem_comp_atom.atom_id\nX C1\n", "user component"),
    "cif syntax": (b"data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1\n", "not valid mmCIF"),
    "duplicate tag": ((MMCIF + "\n_entry.id again\n").encode(), "not valid mmCIF"),
    "cif cut": (MMCIF.encode()[: MMCIF.index(ATOM_ROW) + 20], "mmCIF"),
    "nan": (with_x("nan").encode(), "expected a finite number"),
    "infinity": (with_x("inf").encode(), "expected a finite number"),
    "unknown x": (with_x("?").encode(), "expected a finite number"),
    "word for x": (with_x("abc").encode(), "expected a finite number"),
    "absurd x": (with_x("1e9").encode(), "within 10000 Å"),
    "binary cut": (BINARY[: len(BINARY) // 2], "not valid BinaryCIF"),
    "binary map": (b"\x81\xa3foo\x01", "BinaryCIF"),
    "pdb header only": (b"HEADER    HYDROLASE\nREMARK   2\nEND\n", "holds no atoms"),
    "pdb cut line": (pdb([FIRST, peptide()[1][:40]]).encode(), "cut-off ATOM record on line 2"),
    "pdb stars": (pdb([FIRST[:30] + "********" + FIRST[38:]]).encode(), "x = '********' on line 1"),
    "pdb nan": (pdb([FIRST[:38] + "     nan" + FIRST[46:]]).encode(), "expected a finite number"),
    "pdb blank": (pdb([FIRST[:46] + "        " + FIRST[54:]]).encode(), "columns 47-54"),
    "duplicate atom": (pdb([*peptide(), *peptide()[:2]]).encode(), "more than once"),
    "only water": (pdb([pdb_line(1, "O", "HOH", "A", 1, (0, 0, 0), het=True)]).encode(), "besides water"),
    "only hydrogen": (pdb([pdb_line(1, "H", "ALA", "A", 1, (0, 0, 0), element="H")]).encode(), "besides water"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_get_one_sentence(case):
    content, words = BROKEN[case]
    with pytest.raises(StructureError) as caught:
        structure_from_bytes(content, "broken.cif")
    message = str(caught.value)
    assert words in message
    assert "broken.cif" in message
    assert "\n" not in message
    assert len(message) < 400


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(StructureError, match="No such file"):
        read_structure(tmp_path / "nothing.cif")
    with pytest.raises(StructureError, match="directory"):
        read_structure(tmp_path)
    with pytest.raises(StructureError, match="null"):
        read_structure("nul\0byte")


def test_model_and_assembly_that_do_not_exist():
    for model in (0, 2, -1):
        with pytest.raises(StructureError, match=f"holds 1 model: model {model} does not exist"):
            structure_from_bytes(TINY_PDB, "x", model=model)
    biomt = "\n".join(
        [
            "REMARK 350 BIOMOLECULE: 1",
            "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A",
            *(
                f"REMARK 350   BIOMT{k}   1  {'  '.join(f'{float(j == k):.6f}' for j in (1, 2, 3))}        0.00000"
                for k in (1, 2, 3)
            ),
        ]
    )
    with pytest.raises(StructureError, match="no assembly '7': it describes 1"):
        structure_from_bytes(TINY_PDB.replace(SEQRES, f"{biomt}\n{SEQRES}"), "x", assembly="7")


def read_or_refuse(content, **options):
    """Whatever the content, a sound structure or a StructureError."""
    try:
        structure, library = structure_from_bytes(content, "fuzz", **options)
    except StructureError as error:
        assert len(str(error).splitlines()) == 1
        return
    atoms = structure.atoms
    assert np.isfinite(atoms.coordinates).all()
    assert np.isfinite(atoms.b_factor).all()
    assert atoms.resolved.any()
    assert (np.diff(atoms.residue) >= 0).all()
    assert (np.diff(structure.residues.chain) >= 0).all()
    assert len({chain.chain_id for chain in structure.chains}) == len(structure.chains)
    assert all(name in library for name in structure.residues.name.tolist())
    if len(structure.bonds):
        assert structure.bonds.atoms.max() < len(atoms)


TEXTS = {"pdb": TINY_PDB.encode(), "mmcif": MMCIF.encode(), "bcif": BINARY}
FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@FUZZ
@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_truncated_files(kind, data):
    content = TEXTS[kind]
    read_or_refuse(content[: data.draw(st.integers(0, len(content)))])


@FUZZ
@given(
    st.sampled_from(sorted(TEXTS)), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=6)
)
def test_files_with_bytes_changed(kind, changes):
    content = bytearray(TEXTS[kind])
    for place, new in changes:
        start = int(place * (len(content) - len(new)))
        content[start : start + len(new)] = new
    read_or_refuse(bytes(content))


@FUZZ
@given(
    st.sampled_from(["pdb", "mmcif"]),
    st.lists(st.tuples(st.sampled_from(["drop", "twice", "swap"]), st.floats(0, 1), st.floats(0, 1)), max_size=5),
    st.sampled_from([None, "1"]),
)
def test_files_with_lines_changed(kind, changes, assembly):
    lines = TEXTS[kind].decode().splitlines()
    for what, first, second in changes:
        a, b = (int(place * (len(lines) - 1)) for place in (first, second))
        if what == "drop":
            del lines[a]
        elif what == "twice":
            lines.insert(b, lines[a])
        else:
            lines[a], lines[b] = lines[b], lines[a]
    read_or_refuse("\n".join(lines).encode(), assembly=assembly)


@FUZZ
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["?", ".", "''", "1e99", "-5", "ZZ", "A,B", "0", "H"])), max_size=4
    )
)
def test_mmcif_values_changed(changes):
    words = MMCIF.replace("\n", " \n ").split(" ")
    for place, new in changes:
        words[int(place * (len(words) - 1))] = new
    read_or_refuse(" ".join(words).encode())


@given(st.binary(max_size=300))
@FUZZ
def test_arbitrary_bytes(content):
    read_or_refuse(content)
