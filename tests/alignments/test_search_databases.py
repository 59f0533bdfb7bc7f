"""Databases as people have them: linked, packed, masked, with stops, empty records, repeated names; kept or told."""

import gzip
import lzma
import shutil

import pytest
from made_up_families import relative, sequence

from anfinsen.alignments import (
    HmmerEngine,
    MmseqsEngine,
    Query,
    SearchConfig,
    database_version,
    open_database,
    search_alignments,
)
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError

LETTERS = sequence(4, 70)
QUERY = Query(LETTERS, ChainKind.PROTEIN)


def records():
    import random

    rng = random.Random(0)
    changed = [relative(rng, LETTERS, "ACDEFGHIKLMNPQRSTVWY", 0.2) for _ in range(8)]
    return [(f"sp|P1000{i}|X{i}_HUMAN OX={i}", row) for i, row in enumerate(changed)]


def fasta(rows):
    return "".join(f">{header}\n{letters}\n" for header, letters in rows)


def engines(path, program):
    config = SearchConfig(cpus=1, iterations=2)
    if program == "mmseqs" and shutil.which("mmseqs") is None:
        pytest.skip("needs mmseqs (Debian: apt-get install mmseqs2)")
    return (HmmerEngine if program == "pyhmmer" else MmseqsEngine)(open_database(path), config)


def find(path, program):
    """What one engine found, as pairs of name and letters."""
    found = search_alignments([QUERY], [engines(path, program)])[QUERY]
    lines = found.unpaired.splitlines()[2:]
    return [(header.split()[0][1:], row) for header, row in zip(lines[::2], lines[1::2], strict=True)]


SAME = {
    "symbolic link": fasta(records()).encode(),
    "gzip": gzip.compress(fasta(records()).encode()),
    "xz": lzma.compress(fasta(records()).encode()),
    "small letters": fasta((header, row.lower()) for header, row in records()).encode(),
    "stop at the end": fasta((header, f"{row}*") for header, row in records()).encode(),
    "empty records": fasta([("nothing", ""), *records(), ("end", "")]).encode(),
    "Windows line ends": fasta(records()).replace("\n", "\r\n").encode(),
    "blank lines": ("\n\n" + fasta(records()).replace("\n>", "\n\n>")).encode(),
    "long headers": fasta((f"{header} {'x' * 99_999}", row) for header, row in records()).encode(),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_sequences_in_another_dress(tmp_path, case):
    (tmp_path / "plain.fasta").write_text(fasta(records()))
    expected = find(tmp_path / "plain.fasta", "pyhmmer")
    assert len(expected) == 8
    path = tmp_path / "other.fasta"
    if case == "symbolic link":
        path.symlink_to("plain.fasta")
        assert database_version(path) == database_version(tmp_path / "plain.fasta")
    else:
        path.write_bytes(SAME[case])
    assert find(path, "pyhmmer") == expected


def test_all_at_once_for_mmseqs(tmp_path):
    rows = [(header, f"{row.lower()}*") for header, row in records()]
    text = fasta([("nothing", ""), *rows, (rows[0][0], rows[0][1]), ("end", "")])
    (tmp_path / "plain.fasta.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "other.fasta").symlink_to("plain.fasta.gz")  # MMseqs2 goes by the name's end
    found = find(tmp_path / "other.fasta", "mmseqs")
    assert sorted(name.split("/")[0] for name, _ in found) == sorted(header.split()[0] for header, _ in records())
    for _, row in found:
        aligned = "".join(letter for letter in row if not letter.islower())
        assert sum(a == b for a, b in zip(aligned, LETTERS, strict=True)) > 40


@pytest.mark.parametrize("program", ["pyhmmer", "mmseqs"])
def test_stops_inside_are_unknown_residues(tmp_path, program):
    rows = [(header, f"{row[:30]}*{row[31:]}") for header, row in records()]
    rows += [("inserted", f"{LETTERS[:30]}*{LETTERS[30:]}"), ("in place", f"{LETTERS[:30]}*{LETTERS[31:]}")]
    (tmp_path / "db.fasta").write_text(fasta(rows))
    found = {name.split("/")[0]: row for name, row in find(tmp_path / "db.fasta", program)}
    assert len(found) == 10
    assert found["inserted"].replace("x", "") == LETTERS
    assert "x" in found["in"].lower()
    assert "*" not in "".join(found.values())


def test_repeated_names_are_different_sequences(tmp_path):
    repeated = [("one OX=7", row) for _, row in records()]
    (tmp_path / "db.fasta").write_text(fasta([*repeated, ("one OX=7", repeated[0][1])]))
    assert len(find(tmp_path / "db.fasta", "pyhmmer")) == 8  # the ninth is the first once more


def test_headers_that_are_not_utf8(tmp_path):
    rows = [
        (f"{'é' if i == 0 else ''}{header} {'ü' if i == 1 else ''}", row) for i, (header, row) in enumerate(records())
    ]
    (tmp_path / "db.fasta").write_bytes(fasta(rows).encode("latin-1"))
    names = {name.split("/")[0] for name, _ in find(tmp_path / "db.fasta", "pyhmmer")}
    assert len(names) == 8
    assert "unreadable" in names


WRONG = {
    "an alignment with dashes": (
        fasta((h, f"{r[:9]}-{r[9:]}") for h, r in records()).encode(),
        "illegal character '-'",
    ),
    "an alignment with dots": (
        fasta((h, f"{r[:9]}.{r[9:]}") for h, r in records()).encode(),
        "line 2 has the illegal character '.'; sequences here have no gaps",
    ),
    "headers alone": (b">a\n>b\n\n>c\n", "holds headers and no sequences"),
    "byte order mark": (b"\xef\xbb\xbf>a\nACDEF\n", "byte order mark"),
    "no names": (fasta(("", row) for _, row in records()).encode(), "no FASTA name"),
    "zip": (b"PK\x03\x04\x00\x00", "NUL bytes"),
    "broken link": (None, "does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_database(tmp_path, case):
    content, saying = WRONG[case]
    path = tmp_path / "db.fasta"
    if content is None:
        path.symlink_to("absent.fasta")
    else:
        path.write_bytes(content)
    with pytest.raises(AlignmentError) as caught:
        find(path, "pyhmmer")
    message = str(caught.value)
    assert saying in message
    assert message.startswith("Sequence database")
    assert message.endswith(".")
    assert message.isprintable()
