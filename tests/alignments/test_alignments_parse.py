"""Alignment files of each format, read to the same numbers; broken ones answered by one sentence."""

import gzip
import lzma
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anfinsen.alignments import parse_msa, query_msa, read_msa
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import AMINO_ACIDS, GAP, RESTYPE_INDEX
from anfinsen.common.errors import AlignmentError

PROTEIN, RNA, DNA = ChainKind.PROTEIN, ChainKind.RNA, ChainKind.DNA
quick = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

A3M = ">query a\nACDEF\n>hit 1\nA-DEF\n>hit/2\nACDEFxy\n>hit 3\nxxACyDE\nF\n>hit 4\n-----\n"
STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID made by hand
#=GS query DE the query itself

query  ..AC.D
hit1   ..A-.D
hit2   ..AC.D
hit3   xxACyD
#=GC RF xxAC.D
hit4   ..--.-

query  EF..
hit1   EF..
hit2   EFxy
hit3   EF..
hit4   --..
//
"""
FASTA = ">query\n--AC-DEF--\n>hit1\n--A--DEF--\n>hit2\n--AC-DEFXY\n>hit3\nXXACYDEF--\n>hit4\n----------\n"
DELETIONS = np.array([[0, 0, 0, 0, 0]] * 3 + [[2, 0, 1, 0, 0]] + [[0] * 5])


def types(row):
    return [
        GAP if letter == "-" else RESTYPE_INDEX[dict(zip("ARNDCQEGHILKMFPSTWYV", AMINO_ACIDS, strict=True))[letter]]
        for letter in row
    ]


@pytest.mark.parametrize(
    "text", [A3M, STOCKHOLM, FASTA, FASTA.lower(), A3M.replace("\n", "\r\n"), "\ufeff" + A3M, "#A3M#\n" + A3M]
)
def test_every_format_gives_the_same_alignment(text):
    msa = parse_msa(text, "ACDEF", PROTEIN, "MSA")
    assert msa.restypes.tolist() == [types(row) for row in ("ACDEF", "A-DEF", "ACDEF", "ACDEF", "-----")]
    assert (msa.deletions == DELETIONS).all()
    assert msa.depth == 5


def test_descriptions():
    assert parse_msa(A3M, "ACDEF", PROTEIN, "MSA").descriptions == ("query a", "hit 1", "hit/2", "hit 3", "hit 4")
    assert parse_msa(STOCKHOLM, "ACDEF", PROTEIN, "MSA").descriptions[0] == "query the query itself"


def test_letters_of_proteins():
    msa = parse_msa(">q\nAAAAAAA\n>h\nBZUJOX-\n", "AAAAAAA", PROTEIN, "MSA")
    names = ["ASP", "GLU", "CYS", "UNK", "UNK", "UNK", "GAP"]
    assert msa.restypes[1].tolist() == [RESTYPE_INDEX[name] for name in names]


def test_letters_of_nucleic_acids():
    rna = parse_msa(">q\nACGUN\n>h\nRTT-U\n", "ACGUN", RNA, "MSA")
    assert rna.restypes.tolist() == [
        [RESTYPE_INDEX[n] for n in ("A", "C", "G", "U", "N")],
        [RESTYPE_INDEX[n] for n in ("N", "U", "U", "GAP", "U")],
    ]
    dna = parse_msa(">q\nACGTN\n>h\nYUT-G\n", "ACGTN", DNA, "MSA")
    assert dna.restypes.tolist() == [
        [RESTYPE_INDEX[n] for n in ("DA", "DC", "DG", "DT", "DN")],
        [RESTYPE_INDEX[n] for n in ("DN", "DT", "DT", "GAP", "DG")],
    ]
    assert (
        parse_msa(">q\nACGT\n", "ACGU", RNA, "MSA").restypes == parse_msa(">q\nACGU\n", "ACGU", RNA, "MSA").restypes
    ).all()


def test_hh_suite_annotation_and_colabfold_comments_are_passed_over():
    text = "#5\t1\n>ss_pred predicted\nCCHHC\n>ss_conf\n98765\n" + A3M
    assert parse_msa(text, "ACDEF", PROTEIN, "MSA").depth == 5


def test_max_rows_reads_no_further():
    assert parse_msa(A3M + ">bad\n???\n", "ACDEF", PROTEIN, "MSA", max_rows=3).depth == 3
    assert parse_msa(STOCKHOLM, "ACDEF", PROTEIN, "MSA", max_rows=2).depth == 2


def test_files_plain_and_compressed(tmp_path):
    expected = parse_msa(A3M, "ACDEF", PROTEIN, "MSA")
    for name, data in {"a": A3M.encode(), "b": gzip.compress(A3M.encode()), "c": lzma.compress(A3M.encode())}.items():
        (tmp_path / name).write_bytes(data)
        msa = read_msa(tmp_path / name, "ACDEF", PROTEIN)
        assert (msa.restypes == expected.restypes).all()
        assert (msa.deletions == expected.deletions).all()
        assert msa.descriptions == expected.descriptions


def slow_parse(rows, query):
    """The definition of an a3m, letter by letter."""
    types_of, counts = [], []
    for row in rows:
        letters, inserted, pending = [], [], 0
        for letter in row:
            if letter.islower():
                pending += 1
            elif letter != ".":
                letters.append(letter)
                inserted.append(pending)
                pending = 0
        assert len(letters) == len(query)
        types_of.append(types(letters))
        counts.append(inserted)
    return types_of, counts


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 30))
@quick
def test_against_the_definition_letter_by_letter(seed, length, depth):
    rng = random.Random(seed)
    query = "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=length))
    rows = [query]
    for _ in range(depth - 1):
        letters = rng.choices("ACDEFGHIKLMNPQRSTVWY-", k=length)
        rows.append(
            "".join("".join(rng.choices("acdwy.", k=rng.choice([0, 0, 0, 1, 5]))) + x for x in letters)
            + "pq" * rng.randint(0, 1)
        )
    msa = parse_msa("".join(f">r{i}\n{row}\n" for i, row in enumerate(rows)), query, PROTEIN, "MSA")
    expected = slow_parse(rows, query)
    assert msa.restypes.tolist() == expected[0]
    assert msa.deletions.tolist() == expected[1]
    assert msa.descriptions == tuple(f"r{i}" for i in range(depth))


def test_rows_in_several_chunks(monkeypatch):
    whole = parse_msa(A3M, "ACDEF", PROTEIN, "MSA")
    columns = parse_msa(FASTA, "ACDEF", PROTEIN, "MSA")
    monkeypatch.setattr("anfinsen.alignments.parse._CHUNK_LETTERS", 12)
    for text, expected in ((A3M, whole), (FASTA, columns)):
        msa = parse_msa(text, "ACDEF", PROTEIN, "MSA")
        assert (msa.restypes == expected.restypes).all()
        assert (msa.deletions == expected.deletions).all()
    with pytest.raises(AlignmentError, match="row 4"):
        parse_msa(A3M.replace("yDE\nF", "yD"), "ACDEF", PROTEIN, "MSA")
    with pytest.raises(AlignmentError, match="row 4 has '5' at position 5"):
        parse_msa(A3M.replace("xxACyDE", "xxAC5DE"), "ACDEF", PROTEIN, "MSA")


BROKEN = {
    "empty": ("", "is empty"),
    "blank": (" \n \n", "is empty"),
    "prose": ("Hello\n", "begins with 'Hello'"),
    "clustal": ("CLUSTAL W (1.8)\n\nq ACDEF\n", "a CLUSTAL alignment"),
    "comment only": ("#A3M#\n", "no row that begins with '>'"),
    "annotation only": (">ss_pred\nCCC\n", "no rows of sequence"),
    "no letters": (">q\nACDEF\n>h\n>i\nACDEF\n", "row 2 ('h') has no letters"),
    "another sequence": (">q\nACDEG\n", "position 5 is 'G' in the alignment and 'F' in the chain"),
    "longer": (">q\nACDEFG\n", "it has 6 residues and the chain has 5"),
    "shorter": (">q\nACDE\n", "it has 4 residues and the chain has 5"),
    "ragged": (">q\nACDEF\n>h\nACDE\n", "row 2 ('h') has 4 columns: expected 5"),
    "ragged columns": (">q\n-ACDEF\n>h\nACDEF\n", "row 2 ('h') is 5 columns wide and the first row 6"),
    "bad letter": (">q\nACDEF\n>h\nAC*EF\n", "row 2 has '*' at position 3"),
    "digit": (">q\nACDEF\n>h\nAC3EF\n", "row 2 has '3' at position 3"),
    "NUL": (">q\nACDEF\n>h\nAC\x00EF\n", "a NUL byte in line 4"),
    "NUL in a name": (">q\nACDEF\n>h\x00\nACDEF\n", "a NUL byte in line 3"),
    "small letters alone": (">q\nacdef\n>h\nacdef\n", "has its query ('q') in small letters alone"),
    "small letters in a row": (">q\nACDEF\n>h\nacdef\n", "row 2 ('h') has 0 columns: expected 5"),
    "beyond ASCII": (">q\nACDEF\n>h\nACÅEF\n", "row 2 has 'Å'"),
    "query beyond ASCII": (">q\nACÅEF\n", "position 3 is 'Å'"),
    "stockholm empty": ("# STOCKHOLM 1.0\n//\n", "without rows"),
    "stockholm cut": ("# STOCKHOLM 1.0\nq ACDEF\n", "seems to be cut off"),
    "stockholm twice": ("# STOCKHOLM 1.0\nq ACDEF\n//\n# STOCKHOLM 1.0\n", "more after its end"),
    "stockholm line": ("# STOCKHOLM 1.0\nq ACDEF extra\n//\n", "at line 2: expected a name and a row"),
    "stockholm ragged": ("# STOCKHOLM 1.0\nq ACDEF\nh ACD\n//\n", "3 columns wide"),
}


@pytest.mark.parametrize(("text", "fragment"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_alignments(text, fragment):
    with pytest.raises(AlignmentError) as caught:
        parse_msa(text, "ACDEF", PROTEIN, "MSA of chain A")
    message = str(caught.value)
    assert message.startswith("MSA of chain A")
    assert fragment in message
    assert "\n" not in message
    assert message.endswith(".")


def test_broken_calls_and_files(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(A3M.encode() * 50)[:-12])
    calls = {
        "ligand": lambda: parse_msa(A3M, "ACDEF", ChainKind.LIGAND, "MSA"),
        "at most 0 rows": lambda: parse_msa(A3M, "ACDEF", PROTEIN, "MSA", max_rows=0),
        "does not exist": lambda: read_msa(tmp_path / "absent", "ACDEF", PROTEIN),
        "not a file": lambda: read_msa(tmp_path, "ACDEF", PROTEIN),
        "not text": lambda: read_msa(tmp_path / "binary", "ACDEF", PROTEIN),
        "is damaged": lambda: read_msa(tmp_path / "cut.gz", "ACDEF", PROTEIN),
        "cannot be read": lambda: read_msa(tmp_path / ("x" * 400), "ACDEF", PROTEIN),
        "no letter of a dna alignment": lambda: query_msa("ACDEF", DNA),
    }
    for fragment, call in calls.items():
        with pytest.raises(AlignmentError, match=fragment):
            call()


@given(st.sampled_from([A3M, STOCKHOLM, FASTA, ""]), st.data())
@settings(quick, max_examples=600)
def test_mutated_text_gives_an_alignment_or_one_sentence(base, data):
    text = base
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = at + data.draw(st.integers(0, 6))
        text = text[:at] + data.draw(st.one_of(st.text(max_size=5), st.text(">#/\n -.acDEF", max_size=8))) + text[end:]
    try:
        msa = parse_msa(text, "ACDEF", data.draw(st.sampled_from([PROTEIN, RNA])), "MSA")
    except AlignmentError as error:
        assert "\n" not in str(error)
        assert str(error).endswith(".")
        return
    assert msa.restypes.shape == msa.deletions.shape == (len(msa.descriptions), 5)
    assert msa.restypes[0].tolist() == types("ACDEF")
    assert (msa.deletions >= 0).all()


def test_real_alignments(shared):
    """Very deep families: depth and width agree with counting lines, and every deletion is a small letter."""
    for path in sorted((shared / "data" / "families").glob("*.a3m.gz"))[:4]:
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")
        rows = [line for line in lines if line and not line.startswith(">")]
        msa = read_msa(path, rows[0], PROTEIN)
        assert msa.restypes.shape == (len(rows), len(rows[0]))
        trailing = [len(row) - len(row.rstrip("abcdefghijklmnopqrstuvwxyz")) for row in rows]
        small = [sum(letter.islower() for letter in row) - end for row, end in zip(rows, trailing, strict=True)]
        assert msa.deletions.sum(axis=1).tolist() == small
