"""HMMER inside this process finds what HMMER's own programs find, in blocks as in one piece, and the real relatives."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_families import BASES, database, sequence
from pyarrow import parquet

from anfinsen.alignments import (
    HmmerEngine,
    Query,
    SearchConfig,
    open_database,
    parse_msa,
    search_alignments,
    species_of,
)
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError, ConfigError, MissingExtraError
from anfinsen.common.progress import Silent

PROTEIN, RNA = ChainKind.PROTEIN, ChainKind.RNA
HEADER = "sp|Q{species:05d}|X{species}_HUMAN {name} OS=Homo sapiens OX={species} GN=x"


def find(query, path, **settings):
    """Rows (description, letters) of the alignment of one query."""
    engine = HmmerEngine(open_database(path), SearchConfig(**{"cpus": 1, **settings}))
    ((found, text),) = engine.search([query], Silent())
    assert found == query
    lines = text.splitlines()
    assert lines[:2] == [">query", query.sequence]
    return list(zip([line[1:] for line in lines[2::2]], lines[3::2], strict=True))


def hits(rows):
    return {description.split("/")[0] for description, _ in rows}


@pytest.fixture
def family(tmp_path):
    query = sequence(1, 90)
    names = database(tmp_path / "db.fasta", [query, sequence(2, 70)])
    return Query(query, PROTEIN), tmp_path / "db.fasta", names[0]


def test_relatives_are_found_and_strangers_are_not(family):
    query, path, names = family
    for iterations in (1, 3):
        rows = find(query, path, iterations=iterations)
        assert hits(rows) == names
    msa = parse_msa("".join(f">{d}\n{r}\n" for d, r in [("q", query.sequence), *rows]), query.sequence, PROTEIN, "MSA")
    same = (msa.restypes == msa.restypes[0]).mean(axis=1)
    assert same[1:].min() > 0.3  # laid over the right columns; strangers agree in 5 %


def test_blocks_threads_and_compression_change_nothing(family, monkeypatch):
    query, path, _ = family
    whole = find(query, path)
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert find(query, packed) == whole
    monkeypatch.setattr("anfinsen.alignments.search_hmmer._BLOCK_RESIDUES", 500)
    assert find(query, path) == whole
    assert find(query, path, cpus=3) == whole
    monkeypatch.setattr("anfinsen.alignments.search_hmmer._KEPT_BYTES", 0)  # read anew in every round
    monkeypatch.setattr("anfinsen.alignments.search_hmmer._MERGE", 3)
    assert find(query, path) == whole
    assert find(query, packed, cpus=2) == whole


def test_headers_carry_the_species(tmp_path):
    query = sequence(1, 90)
    database(tmp_path / "db.fasta", [query], header=HEADER)
    rows = find(Query(query, PROTEIN), tmp_path / "db.fasta")
    assert {species_of(description) for description, _ in rows} == {str(number) for number in range(12)}


def test_most_rows_and_least_significance(family):
    query, path, _ = family
    rows = find(query, path)
    assert find(query, path, max_rows=4) == rows[:4]
    assert len(find(query, path, e_value=1e-30, iterations=1)) < len(find(query, path, iterations=1))


@pytest.mark.parametrize("letters", ["A", "MKV", "X" * 30, "UOX" * 9])
def test_queries_that_nothing_is_like(family, letters):
    assert find(Query(letters, PROTEIN), family[1]) == []


def test_short_nucleotides(tmp_path):
    database(tmp_path / "rna.fasta", [sequence(3, 80, BASES)], BASES)
    for letters in ("A", "GC", "N" * 30):
        assert find(Query(letters, RNA), tmp_path / "rna.fasta") == []


BROKEN = {
    "missing": (None, "does not exist"),
    "empty": (b"", "is empty"),
    "blank": (b" \n\n", "is empty"),
    "prose": (b"Hello\n", "begins with 'Hello'"),
    "binary": (bytes(range(256)), "not text"),
    "illegal letter": (b">a\nACDEF\n>b\nAC1EF\n", "line 4 has the illegal character '1'"),
    "NUL": (b">a\nACDEF\n>b\nAC" + b"A" * 70_000 + b"\x00EF\n", "illegal character '.x00'"),
    "cut gzip": (gzip.compress(b">a\nACDEFGHIKL\n" * 9999)[:-30], "damaged"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_databases(tmp_path, case):
    content, saying = BROKEN[case]
    path = tmp_path / "db.fasta"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AlignmentError, match=saying) as caught:
        find(Query("ACDEFGHIKL" * 3, PROTEIN), path)
    message = str(caught.value)
    assert message.startswith("Sequence database")
    assert message.endswith(".")
    assert message.isprintable()


@pytest.mark.parametrize(
    "name", ["plain.fasta.gz", "a;touch made;.fasta.gz", "$(touch made).FASTA.GZ", "-", "b;touch made;.fasta"]
)
@pytest.mark.parametrize("linked", [False, True])
def test_names_of_databases_are_only_names(tmp_path, monkeypatch, family, name, linked):
    """HMMER gives names in .gz to a shell; what the file holds says whether it is compressed."""
    monkeypatch.chdir(tmp_path)
    query, path, _ = family
    (tmp_path / name).write_bytes(path.read_bytes())
    if linked:
        (tmp_path / "link").symlink_to(name)
    found = find(query, Path("link" if linked else name))
    assert found == find(query, path)
    assert not (tmp_path / "made").exists()


def test_kinds_are_kept_apart(tmp_path):
    database(tmp_path / "protein.fasta", [sequence(1, 60)])
    database(tmp_path / "rna.fasta", [sequence(1, 60, BASES)], BASES)
    protein, rna = (HmmerEngine(open_database(tmp_path / f"{name}.fasta")) for name in ("protein", "rna"))
    assert [protein.accepts(kind) for kind in ChainKind] == [kind is PROTEIN for kind in ChainKind]
    assert [rna.accepts(kind) for kind in ChainKind] == [kind in (RNA, ChainKind.DNA) for kind in ChainKind]


def test_settings_out_of_range():
    for settings in ({"iterations": 0}, {"max_rows": 0}, {"cpus": -1}, {"e_value": 0.0}, {"e_value": 11.0}):
        with pytest.raises(ConfigError, match="expected a number"):
            SearchConfig(**settings)
    assert SearchConfig().threads >= 1


def test_without_pyhmmer(family, monkeypatch):
    def absent(name):
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(name)

    monkeypatch.setattr("anfinsen.alignments.search_hmmer.version", absent)
    with pytest.raises(MissingExtraError, match=r"anfinsen\[search\]"):
        HmmerEngine(open_database(family[1]))


def needs(program):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} (Debian: apt-get install hmmer)")


def table(path):
    """Targets and E-values of HMMER's table."""
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [line[0] for line in lines], lines


@pytest.fixture(scope="module")
def swissprot(shared, tmp_path_factory):
    """A few hundred real sequences: ten families of the validation split, 40 members each; and the queries."""
    rows = parquet.read_table(shared / "data" / "msas" / "validation.parquet").to_pylist()
    path = tmp_path_factory.mktemp("swissprot") / "db.fasta"
    queries, members = {}, {}
    with path.open("w") as file:
        for row in [row for row in rows if row["depth"] >= 40][:10]:
            lines = row["a3m"].split("\n")
            queries[row["id"]] = lines[1]
            for header, letters in list(zip(lines[2::2], lines[3::2], strict=False))[:40]:
                name = header[1:].split()[0]
                if name not in members:
                    members[name] = row["id"]
                    file.write(f">{name}\n{letters.replace('-', '').upper()}\n")
    return path, queries, members


@pytest.mark.parametrize(
    ("command", "iterations"), [(["phmmer"], 1), (["jackhmmer", "-N", "2"], 2), (["jackhmmer", "-N", "3"], 3)]
)
def test_same_hits_as_hmmer(swissprot, tmp_path, command, iterations):
    needs(command[0])
    path, queries, _ = swissprot
    limits = [word for name in ("-E", "--incE", "--domE", "--incdomE") for word in (name, "0.001")]
    from anfinsen.alignments.search_hmmer import _Search, _Targets

    targets = _Targets(open_database(path))
    for name in list(queries)[:4]:
        (tmp_path / "q.fasta").write_text(f">query\n{queries[name]}\n")
        files = ["--tblout", tmp_path / "table", "-A", tmp_path / "sto", "-o", "/dev/null"]
        subprocess.run([*command, "--cpu", "0", "--noali", *limits, *files, tmp_path / "q.fasta", path], check=True)
        expected, lines = table(tmp_path / "table")
        assert len(expected) >= 10
        config = SearchConfig(iterations=iterations, cpus=1)
        search = _Search(Query(queries[name], PROTEIN), targets, config, None)
        found = [hit for hit in search.hits() if hit.included]
        assert [hit.name for hit in found] == expected
        np.testing.assert_allclose([hit.evalue for hit in found], [float(line[4]) for line in lines], rtol=0.05)
        np.testing.assert_allclose([hit.score for hit in found], [float(line[5]) for line in lines], atol=0.051)
        # The same parts of the same targets, row by row.
        theirs = {line.split()[0] for line in (tmp_path / "sto").read_text().splitlines() if "/" in line[:40]} - {"//"}
        rows = find(Query(queries[name], PROTEIN), path, iterations=iterations)
        ours = {description.split()[0] for description, _ in rows}
        assert ours == {row for row in theirs if not row.startswith("#")}


def test_recall_of_real_families(swissprot):
    path, queries, members = swissprot
    asked = {name: Query(letters, PROTEIN) for name, letters in list(queries.items())[:4]}
    found = search_alignments(asked.values(), [HmmerEngine(open_database(path), SearchConfig(cpus=1))])
    for name, query in asked.items():
        family = {member for member, owner in members.items() if owner == name}
        names = {line[1:].split("/")[0] for line in found[query].unpaired.splitlines() if line.startswith(">")}
        assert len(family & names) >= 0.95 * len(family)
        assert found[query].n_eff > 5


def test_same_hits_as_nhmmer(tmp_path):
    needs("nhmmer")
    query = sequence(5, 120, BASES)
    database(tmp_path / "rna.fasta", [query], BASES, relatives=15)
    (tmp_path / "q.fasta").write_text(f">query\n{query}\n")
    limits = ["-E", "0.001", "--incE", "0.001"]
    command = ["nhmmer", "--rna", "--watson", "--cpu", "0", *limits, "--tblout", tmp_path / "table", "-o", "/dev/null"]
    subprocess.run([*command, tmp_path / "q.fasta", tmp_path / "rna.fasta"], check=True)
    expected, lines = table(tmp_path / "table")
    assert len(expected) >= 10
    from anfinsen.alignments.search_hmmer import _Search, _Targets

    search = _Search(Query(query, RNA), _Targets(open_database(tmp_path / "rna.fasta")), SearchConfig(cpus=1), None)
    found = [hit for hit in search.hits() if hit.included]
    assert [hit.name for hit in found] == expected
    np.testing.assert_allclose([hit.evalue for hit in found], [float(line[12]) for line in lines], rtol=0.05)
    rows = find(Query(query, RNA), tmp_path / "rna.fasta")
    assert [d.split("/")[1].split()[0] for d, _ in rows] == [f"{line[6]}-{line[7]}" for line in lines]


FLAT = """
import resource, sys
from anfinsen.alignments import HmmerEngine, Query, SearchConfig, open_database, search_hmmer
from anfinsen.chemistry import ChainKind
from anfinsen.common.progress import Silent
search_hmmer._KEPT_BYTES = 0  # as for a database that does not fit
search_hmmer._BLOCK_RESIDUES = 100_000
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
engine = HmmerEngine(open_database(sys.argv[1]), SearchConfig(iterations=1, cpus=2))
queries = [Query(line.strip(), ChainKind.PROTEIN) for line in open(sys.argv[2])]
for _ in engine.search(queries[:10], Silent()):
    pass
after_ten = peak()
rows = sum(text.count(">") - 1 for _, text in engine.search(queries[10:], Silent()))
print(rows, after_ten, peak())
"""


@pytest.mark.slow
def test_memory_is_flat_over_10000_sequences_and_100_queries(tmp_path):
    queries = [sequence(seed, 60) for seed in range(100)]
    database(tmp_path / "db.fasta", queries, relatives=10, strangers=9000)
    (tmp_path / "queries").write_text("\n".join(queries))
    command = [sys.executable, "-c", FLAT, str(tmp_path / "db.fasta"), str(tmp_path / "queries")]
    rows, early, late = map(int, subprocess.run(command, check=True, capture_output=True).stdout.split())
    print(f"{rows} rows, {early} MiB after 10 queries, {late} MiB after 100")
    assert rows >= 0.8 * 90 * 10
    assert late - early < 60  # MiB, for ninety more queries
