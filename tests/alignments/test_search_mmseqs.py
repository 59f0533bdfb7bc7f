"""MMseqs2: relatives are found, headers kept, its database made once; the GPU is passed on; failures are told."""

import shutil
import stat

import pytest
from made_up_families import BASES, database, sequence

from anfinsen.alignments import MmseqsConfig, MmseqsEngine, Query, SearchConfig, open_database, parse_msa, species_of
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError, MissingExtraError
from anfinsen.common.progress import Silent

PROTEIN = ChainKind.PROTEIN
HEADER = "sp|Q{species:05d}|X{species}_HUMAN {name} OS=Homo sapiens OX={species}"


@pytest.fixture
def mmseqs():
    if shutil.which("mmseqs") is None:
        pytest.skip("needs mmseqs (Debian: apt-get install mmseqs2)")


def ask(engine, *letters):
    queries = [Query(each, PROTEIN) for each in letters]
    found = dict(engine.search(queries, Silent()))
    return [found[query] for query in queries]


def test_relatives_with_their_species(mmseqs, tmp_path):
    queries = [sequence(1, 90), sequence(2, 120), sequence(77, 100)]
    names = database(tmp_path / "db.fasta", queries[:2], header=HEADER)
    config = SearchConfig(cpus=1, iterations=2)
    engine = MmseqsEngine(open_database(tmp_path / "db.fasta"), config, folder=tmp_path / "kept")
    texts = ask(engine, *queries)
    for query, text, wanted in zip(queries, texts, [*names, set()], strict=True):
        msa = parse_msa(text, query, PROTEIN, "MSA")
        found = {description.split()[1] for description in msa.descriptions[1:]}
        assert found <= wanted
        assert len(found) >= 0.8 * len(wanted)
        assert all(species_of(description).isdigit() for description in msa.descriptions[1:])
        same = (msa.restypes[1:] == msa.restypes[0]).mean(axis=1)
        assert (same > 0.3).all()
    (kept,) = (tmp_path / "kept").iterdir()
    made = (kept / "db").stat().st_mtime_ns
    assert ask(engine, queries[0]) == texts[:1]
    assert (kept / "db").stat().st_mtime_ns == made


def test_only_proteins(mmseqs, tmp_path):
    database(tmp_path / "rna.fasta", [sequence(1, 60, BASES)], BASES)
    assert not any(MmseqsEngine(open_database(tmp_path / "rna.fasta")).accepts(kind) for kind in ChainKind)


def test_failure_is_one_sentence(mmseqs, tmp_path):
    (tmp_path / "db.fasta").write_text(">a\nACDEF\n")
    engine = MmseqsEngine(open_database(tmp_path / "db.fasta"), SearchConfig(cpus=1))
    (tmp_path / "db.fasta").write_text("")
    with pytest.raises(AlignmentError, match=r"MMseqs2 \(createdb\) over .* failed with exit code") as caught:
        ask(engine, sequence(1, 60))
    assert "\n" not in str(caught.value)


FAULTS = {
    "NUL": (b"ACDEF" * 500_000 + b"\x00\n>b\nACDEF\n", r"line 2 has the illegal character '\\x00'"),
    "NUL in a name": (b"ACDEF\n" * 20_000 + b">b\x00c\nACDEF\n", "line 20002 has a NUL byte in its name"),
    "digits": (b"ACDEF\n" * 20_000 + b"AC3EF\n", "line 20002 has the illegal character '3'"),
    "gaps": (b"ACDEF\n>b\nAC-EF\n", "line 4 has the illegal character '-'"),
}


@pytest.mark.parametrize(("rest", "saying"), FAULTS.values(), ids=FAULTS)
def test_faults_far_inside_a_database(mmseqs, tmp_path, rest, saying):
    (tmp_path / "db.fasta").write_bytes(b">a\n" + rest)
    engine = MmseqsEngine(open_database(tmp_path / "db.fasta"), SearchConfig(cpus=1), folder=tmp_path / "kept")
    with pytest.raises(AlignmentError, match=saying):
        ask(engine, sequence(1, 60))
    assert list((tmp_path / "kept").iterdir()) == []


def program(folder, script):
    """A stand-in for MMseqs2."""
    path = folder / "mmseqs"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return MmseqsConfig(program=str(path), gpu=True)


def test_absent_or_too_old(tmp_path):
    (tmp_path / "db.fasta").write_text(">a\nACDEF\n")
    db = open_database(tmp_path / "db.fasta")
    with pytest.raises(MissingExtraError, match="install MMseqs2"):
        MmseqsEngine(db, program=MmseqsConfig(program="no-such-program"))
    with pytest.raises(MissingExtraError, match="cannot use a GPU"):
        MmseqsEngine(db, program=program(tmp_path, "echo 14"))


def test_the_gpu_is_passed_on(tmp_path):
    (tmp_path / "db.fasta").write_text(">a\nACDEF\n")
    script = f"""echo "$@" >> {tmp_path}/calls
case "$1" in
  version) echo 17;;
  search) echo "--gpu INT";;
  convertalis) printf '0\\t2\\t4\\t5\\t8\\tC-DE\\tCWDE\\tsp|P1|A_HUMAN x OX=9606\\n' > "$5";;
esac"""
    engine = MmseqsEngine(
        open_database(tmp_path / "db.fasta"), SearchConfig(), program(tmp_path, script), tmp_path / "k"
    )
    (text,) = ask(engine, "ACDEFG")
    assert text == ">query\nACDEFG\n>sp|P1|A_HUMAN/5-8 x OX=9606\n-CwDE--\n"
    calls = (tmp_path / "calls").read_text()
    assert "makepaddedseqdb" in calls
    assert "--gpu 1" in next(line for line in calls.splitlines() if line.startswith("search /"))
    assert "gpu" in engine.identity(Query("ACDEFG", PROTEIN))["program"]
