"""From bytes to a parsed file: mmCIF, BinaryCIF and PDB, plain or gzipped, recognised by content and never by suffix.

Everything after this module works on one form: a `gemmi.Structure`, with the mmCIF block beside it where there is one.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from ..common.errors import StructureError
from .read_unnamed import has_unnamed, name_chains

# More than the largest entry of the PDB, unpacked, by a factor of two; stops decompression bombs.
_MAX_BYTES = 4 * 1024**3
# No deposited model spans more than a micrometre; a larger number is a broken field.
_MAX_COORDINATE = 10_000.0
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_PDB_RECORDS = re.compile(
    rb"^(HEADER|OBSLTE|TITLE |SPLIT |CAVEAT|COMPND|SOURCE|KEYWDS|EXPDTA|NUMMDL|MDLTYP|AUTHOR|REVDAT|SPRSDE|JRNL  |"
    rb"REMARK|DBREF|SEQADV|SEQRES|MODRES|HET   |HETNAM|HETSYN|FORMUL|HELIX |SHEET |SSBOND|LINK  |CISPEP|SITE  |"
    rb"CRYST1|ORIGX|SCALE|MTRIX|MODEL |ATOM  |HETATM|ANISOU|TER|CONECT|PARENT|USER  )",
    re.MULTILINE,
)
# What reading a structure looks at; other BinaryCIF categories are not decoded.
_CATEGORIES = (
    "entry", "entity", "entity_poly", "entity_poly_seq", "pdbx_entity_branch", "pdbx_entity_branch_link",
    "pdbx_entity_branch_list", "pdbx_entity_nonpoly", "pdbx_poly_seq_scheme", "struct_asym", "struct_conn",
    "struct_conn_type", "atom_site", "chem_comp", "chem_comp_atom", "chem_comp_bond", "cell", "symmetry",
    "pdbx_struct_assembly", "pdbx_struct_assembly_gen", "pdbx_struct_oper_list", "pdbx_audit_revision_history",
    "refine", "em_3d_reconstruction", "reflns", "exptl", "pdbx_branch_scheme",
)  # fmt: skip
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"BZh": "a bzip2 file; unpack it first, or use gzip",
    b"\xfd7zXZ": "an xz file; unpack it first, or use gzip",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it first, or use gzip",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\x89HDF": "an HDF5 file",
    b"\xce\xfa\xed\xfe": "a program",
    b"\x7fELF": "a program",
    b"MMTF": "an MMTF file; convert it to mmCIF",
}


@dataclass(frozen=True)
class Content:
    """A parsed file.

    Attributes:
        name: what the file is called in messages. form: "mmCIF", "BinaryCIF" or "PDB".
        structure: gemmi's parse. block: the mmCIF block, None for PDB.
        release_date: ISO date, "" where unknown.
        serials: whether atom serial numbers are those of the file, so that CONECT may be used.
        unnamed: letters given to chains that have no name in the file.
    """

    name: str
    form: str
    structure: gemmi.Structure
    block: gemmi.cif.Block | None
    release_date: str
    serials: bool
    unnamed: tuple[str, ...] = ()


def load(path: str | Path) -> bytes:
    """Read a file's bytes.

    Raises:
        StructureError: the file is missing, a folder, or not readable.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StructureError(f"Cannot read the structure file {path}: {reason}.") from error


def parse(content: bytes, name: str) -> Content:
    """Recognise and parse a structure file.

    Raises:
        StructureError: the content is none of mmCIF, BinaryCIF and PDB, is broken, or holds no atoms.
    """
    content = _decompress(content, name)
    if not content.strip():
        raise StructureError(f"{name} is empty: expected an mmCIF, BinaryCIF or PDB file.")
    for signature, what in _SIGNATURES.items():
        if content.startswith(signature):
            raise StructureError(f"{name} is {what}; expected an mmCIF, BinaryCIF or PDB file.")
    # MessagePack maps begin with 0x80-0x8f, 0xde or 0xdf; no text file does.
    if 0x80 <= content[0] <= 0x8F or content[0] in (0xDE, 0xDF):
        return _from_cif(_binary_block(content, name), name, "BinaryCIF")
    return _parse_text(content, name)


def _decompress(content: bytes, name: str) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise StructureError(
            f"{name} is a damaged or truncated gzip file ({error}); fetch or compress it again."
        ) from error
    if len(unpacked) > _MAX_BYTES:
        raise StructureError(f"{name} unpacks to more than {_MAX_BYTES // 1024**3} GiB: this is not a structure file.")
    return unpacked


def _parse_text(content: bytes, name: str) -> Content:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            content = content.decode(encoding, errors="replace").encode()
    if b"\0" in content:
        raise StructureError(
            f"{name} contains NUL bytes at offset {content.index(0)}: it is damaged, or not a text structure file."
        )
    head = content[:4096].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        what = "an XML file (PDBML is not supported)" if b"<?xml" in head and b"<html" not in head else "a web page"
        raise StructureError(f"{name} is {what}, not an mmCIF, BinaryCIF or PDB file; download the structure itself.")
    if re.search(rb"^\s*data_", content[:1_000_000], re.MULTILINE | re.IGNORECASE) and not content.startswith(
        (b"HEADER", b"ATOM  ")
    ):
        return _from_cif(_text_block(content, name), name, "mmCIF")
    if _PDB_RECORDS.search(content):
        return _from_pdb(content, name)
    raise StructureError(
        f"{name} is not a structure file: expected mmCIF (data_ block), BinaryCIF, or PDB (ATOM records), "
        f"but it begins with {content[:40].decode('ascii', errors='replace')!r}."
    )


def _text_block(content: bytes, name: str) -> gemmi.cif.Block:
    try:
        document = gemmi.cif.read_string(content.decode("utf-8", errors="replace"))
    except (ValueError, RuntimeError) as error:
        raise StructureError(f"{name} is not valid mmCIF: {_sentence(error)}.") from error
    for block in document:
        if len(block.find_values("_atom_site.Cartn_x")) > 0 or len(block.find_values("_atom_site.cartn_x")) > 0:
            # The document owns the block: detach a copy that lives on.
            lone = gemmi.cif.Document()
            return lone.add_copied_block(block)
    if any(len(block.find_values("_chem_comp_atom.atom_id")) for block in document):
        raise StructureError(
            f"{name} defines chemical components but holds no atom_site records; give it as a user component instead."
        )
    raise StructureError(f"{name} holds no atoms: no data block has atom_site records with coordinates.")


def _binary_block(content: bytes, name: str) -> gemmi.cif.Block:
    from biotite.structure.io.pdbx import BinaryCIFFile

    try:
        file = BinaryCIFFile.read(io.BytesIO(content))
        for block_name, source in file.items():
            if "atom_site" in source:
                block = gemmi.cif.Document().add_new_block(str(block_name))
                for category in _CATEGORIES:
                    if category in source:
                        block.set_mmcif_category(f"_{category}.", _text_columns(source[category]))
                return block
    # A damaged MessagePack stream can fail anywhere inside the decoders, with any exception.
    except Exception as error:
        raise StructureError(f"{name} is not valid BinaryCIF: {_sentence(error)}.") from error
    raise StructureError(f"{name} holds no atoms: no data block has atom_site records.")


def _text_columns(category: object) -> dict[str, list[str | bool | None]]:
    """Columns as gemmi takes them: text, False for '.', None for '?'."""
    columns: dict[str, list[str | bool | None]] = {}
    for key, column in category.items():  # type: ignore[attr-defined]  # biotite is not typed
        values: list[str | bool | None] = [str(value) for value in column.as_array(str).tolist()]
        if column.mask is not None:
            for index in np.flatnonzero(column.mask.array):
                values[index] = False if column.mask.array[index] == 1 else None
        columns[key] = values
    return columns


def _from_cif(block: gemmi.cif.Block, name: str, form: str) -> Content:
    try:
        structure = gemmi.make_structure_from_block(block)
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise StructureError(f"{name} is not valid mmCIF: {_sentence(error)}.") from error
    _check_columns(block, name)
    _check_atoms(structure, name)
    dates = list(block.find_values("_pdbx_audit_revision_history.revision_date"))
    valid = sorted(text for date in dates if re.fullmatch(r"\d{4}-\d\d-\d\d", text := gemmi.cif.as_string(date)))
    return Content(name, form, structure, block, valid[0] if valid else "", serials=False)


def _check_columns(block: gemmi.cif.Block, name: str) -> None:
    for axis in "xyz":
        for row, text in enumerate(block.find_values(f"_atom_site.Cartn_{axis}"), start=1):
            if not np.isfinite(gemmi.cif.as_number(text)):
                raise StructureError(
                    f"{name} has Cartn_{axis} = {text[:20]!r} in atom_site row {row}: expected a finite number in Å."
                )


def _from_pdb(content: bytes, name: str) -> Content:
    # One character per byte, so that columns stay in place; titles may hold any letters, atoms may not.
    text = content.decode("latin-1")
    _check_pdb_lines(text, name)
    text = text.encode("ascii", errors="replace").decode("ascii")
    try:
        structure = gemmi.read_pdb_string(text)
        unnamed: tuple[str, ...] = ()
        if has_unnamed(structure):
            structure = gemmi.read_pdb_string(text, split_chain_on_ter=True)
            unnamed = name_chains(structure)
    except (ValueError, RuntimeError, IndexError) as error:
        raise StructureError(f"{name} is not a valid PDB file: {_sentence(error)}.") from error
    _check_atoms(structure, name)
    release = ""
    for match in re.finditer(r"^REVDAT +1 +(\d\d)-([A-Z]{3})-(\d\d)", text, re.MULTILINE):
        day, month, year = match.groups()
        if month in _MONTHS:
            # The PDB opened in 1971, so that two digits are enough.
            century = 1900 if int(year) >= 71 else 2000
            release = f"{century + int(year)}-{_MONTHS.index(month) + 1:02d}-{day}"
    return Content(name, "PDB", structure, None, release, serials=True, unnamed=unnamed)


def _check_pdb_lines(text: str, name: str) -> None:
    """Refuse coordinate fields that gemmi would read as zero."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith(("ATOM  ", "HETATM")):
            continue
        if not line.isascii():
            raise StructureError(f"{name} has characters outside ASCII in the atom record on line {number}.")
        if len(line) < 54:
            raise StructureError(
                f"{name} has a cut-off {line[:6].strip()} record on line {number}: expected columns up to 54."
            )
        for start, axis in ((30, "x"), (38, "y"), (46, "z")):
            try:
                finite = bool(np.isfinite(float(line[start : start + 8])))
            except ValueError:
                finite = False
            if not finite:
                raise StructureError(
                    f"{name} has {axis} = {line[start : start + 8].strip()!r} on line {number}: "
                    f"expected a finite number in columns {start + 1}-{start + 8}."
                )


def _check_atoms(structure: gemmi.Structure, name: str) -> None:
    if len(structure) == 0 or not any(len(residue) for model in structure for chain in model for residue in chain):
        raise StructureError(f"{name} holds no atoms.")
    for model in structure:
        for chain in model:
            for residue in chain:
                for atom in residue:
                    position = atom.pos
                    largest = max(abs(position.x), abs(position.y), abs(position.z))
                    if not largest <= _MAX_COORDINATE:
                        raise StructureError(
                            f"{name} places atom {atom.name} of residue {residue} in chain {chain.name!r} at "
                            f"({position.x:g}, {position.y:g}, {position.z:g}) Å: expected finite coordinates "
                            f"within {_MAX_COORDINATE:g} Å of the origin."
                        )


def _sentence(error: Exception) -> str:
    """One line of a parser's complaint, short and without its final stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
