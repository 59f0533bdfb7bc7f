"""One search per distinct sequence and database version, whatever is interrupted, shared, damaged or raced."""

import multiprocessing
import os
import threading

import pytest
from made_up_families import BASES, database, sequence

from anfinsen.alignments import (
    FilterConfig,
    HmmerEngine,
    Query,
    SearchCache,
    SearchConfig,
    SearchOptions,
    database_version,
    default_cache_folder,
    open_database,
    pair_rows,
    parse_msa,
    search_alignments,
)
from anfinsen.alignments.cache import cache_key
from anfinsen.chemistry import ChainKind
from anfinsen.common.errors import AlignmentError, ConfigError, OutputError

PROTEIN = ChainKind.PROTEIN


class Counting:
    """An engine that invents an alignment, and counts; it fails at the query ``broken``."""

    def __init__(self, rows=(), version="1", broken=None, kinds=(PROTEIN,)):
        self.rows, self.version, self.broken, self.kinds = tuple(rows), version, broken, kinds
        self.asked, self.closed = [], False

    @property
    def name(self):
        return f"counting {self.version}"

    def accepts(self, kind):
        return kind in self.kinds

    def identity(self, query):
        return {"program": "counting", "database": self.version}

    def search(self, queries, progress):
        try:
            for query in queries:
                if query.sequence == self.broken:
                    raise KeyboardInterrupt
                self.asked.append(query.sequence)
                rows = [f">{name}\n{letters or query.sequence}\n" for name, letters in self.rows]
                yield query, f">query\n{query.sequence}\n{''.join(rows)}"
        finally:
            self.closed = True


class Told:
    """A progress that remembers what it was told."""

    def __init__(self):
        self.stages, self.steps = [], 0

    def stage(self, name, total):
        self.stages.append((name, total))

    def advance(self, steps=1):
        self.steps += steps

    def note(self, message):
        pass


def proteins(*letters):
    return [Query(each, PROTEIN) for each in letters]


@pytest.fixture
def cache(tmp_path):
    return SearchCache(tmp_path / "cache")


def test_equal_sequences_are_searched_once_and_never_again(cache):
    engine, told = Counting([("a", "")]), Told()
    queries = proteins("ACDEF", "GHIKL", "ACDEF")
    found = search_alignments(queries, [engine], cache, progress=told)
    assert engine.asked == ["ACDEF", "GHIKL"]
    assert told.stages == [("Search: counting 1", 2)]
    assert told.steps == 2
    assert [source.cached for result in found.values() for source in result.sources] == [False, False]
    again = search_alignments(queries, [engine], cache)
    assert engine.asked == ["ACDEF", "GHIKL"]
    assert [source.cached for result in again.values() for source in result.sources] == [True, True]
    assert [result.unpaired for result in again.values()] == [result.unpaired for result in found.values()]
    # Another version of the database, other letters of the same kind, another kind: none of them is the same search.
    search_alignments(proteins("ACDEF"), [Counting(version="2")], cache)
    every = Counting(kinds=tuple(ChainKind))
    search_alignments([Query("ACG", ChainKind.RNA), *proteins("ACG")], [every], cache)
    assert every.asked == ["ACG", "ACG"]


def test_ligands_are_never_searched(cache):
    engine = Counting(kinds=tuple(ChainKind))
    with pytest.raises(AlignmentError, match="ligand"):
        search_alignments([Query("C", ChainKind.LIGAND)], [engine], cache)
    assert engine.asked == []


def test_an_interrupted_search_goes_on_where_it_stopped(cache):
    engine = Counting(broken="GHIKL")
    with pytest.raises(KeyboardInterrupt):
        search_alignments(proteins("ACDEF", "GHIKL", "MNPQR"), [engine], cache)
    assert engine.asked == ["ACDEF"]
    assert engine.closed
    engine.broken = None
    search_alignments(proteins("ACDEF", "GHIKL", "MNPQR"), [engine], cache)
    assert engine.asked == ["ACDEF", "GHIKL", "MNPQR"]


def test_threads_of_an_abandoned_search_end(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("anfinsen.alignments.search_hmmer._BLOCK_RESIDUES", 500)
    queries = [sequence(seed, 80) for seed in range(4)]
    database(tmp_path / "db.fasta", queries)

    class Impatient(Told):
        def advance(self, steps=1):
            raise KeyboardInterrupt

    engine = HmmerEngine(open_database(tmp_path / "db.fasta"), SearchConfig(cpus=2, iterations=1))
    with pytest.raises(KeyboardInterrupt):
        search_alignments(proteins(*queries), [engine], cache, progress=Impatient())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("search", "block"))]
    kept = len(list(cache.folder.rglob("*.gz")))
    assert 1 <= kept < 4  # what was finished is kept, whole
    assert not list(cache.folder.rglob("*.tmp"))
    found = search_alignments(proteins(*queries), [engine], cache)
    assert sum(result.sources[0].cached for result in found.values()) == kept


def test_a_stopped_search_looks_at_no_more_blocks(tmp_path, monkeypatch):
    from anfinsen.alignments.search_hmmer import _CancelledError, _Targets

    monkeypatch.setattr("anfinsen.alignments.search_hmmer._BLOCK_RESIDUES", 500)
    database(tmp_path / "db.fasta", [sequence(1, 80)])
    for kept in (64 * 2**20, 0):  # in memory, or read anew
        monkeypatch.setattr("anfinsen.alignments.search_hmmer._KEPT_BYTES", kept)
        stop = threading.Event()
        blocks = _Targets(open_database(tmp_path / "db.fasta"), stop).blocks()
        next(blocks)
        stop.set()
        with pytest.raises(_CancelledError):
            next(blocks)


def test_damaged_entries_are_searched_again(cache):
    engine = Counting()
    search_alignments(proteins("ACDEF"), [engine], cache)
    (entry,) = cache.folder.rglob("*.gz")
    for damage in (entry.read_bytes()[:-4], b"", b"garbage"):
        entry.write_bytes(damage)
        search_alignments(proteins("ACDEF"), [engine], cache)
    assert len(engine.asked) == 4


def _write(folder, barrier, name):
    cache = SearchCache(folder)
    barrier.wait()
    for number in range(40):
        cache.put(cache_key({"n": number}), f"{number} " * 20_000)
        assert cache.get(cache_key({"n": number})) == f"{number} " * 20_000, name


def test_two_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_write, args=(tmp_path, barrier, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(tmp_path.rglob("*.gz"))) == 40
    assert not list(tmp_path.rglob("*.tmp"))


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "anfinsen" / "alignments"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="--cache"):
        SearchCache(tmp_path / "file" / "cache")


def test_versions_of_a_database(tmp_path, monkeypatch):
    path = tmp_path / "db.fasta"
    path.write_text(">a\nACDEF\n" * 1000)
    first = database_version(path)
    os.utime(path, (1, 1))
    assert database_version(path) == first  # small: only the content counts
    path.write_text(">a\nACDEF\n" * 999 + ">a\nACDEG\n")
    assert database_version(path) != first
    monkeypatch.setattr("anfinsen.alignments.database._WHOLE", 100)
    monkeypatch.setattr("anfinsen.alignments.database._SAMPLE_BYTES", 50)
    large = database_version(path)
    assert database_version(path) == large
    os.utime(path, (2, 2))
    assert database_version(path) != large  # large: the date counts, because not every byte is looked at


def test_filters_and_repeated_rows(cache):
    rows = [
        ("whole OX=1", "ACDEFGHIKL"),
        ("again OX=2", "ACDEFGHIKL"),
        ("near OX=3", "ACDEFGHIKV"),
        ("half", "ACDEF-----"),
        ("other", "VVVVVVVVKL"),
    ]
    engine = Counting(rows)
    query = Query("ACDEFGHIKL", PROTEIN)

    def headers(text):
        return [line[1:].split()[0] for line in text.splitlines() if line.startswith(">")]

    found = search_alignments([query], [engine], cache)[query]
    # The first row repeats the query itself, the second too: both are left out, but both have a species.
    assert headers(found.unpaired) == ["query", "near", "half", "other"]
    assert headers(found.paired) == ["query", "whole", "again", "near"]
    assert (found.depth, found.species) == (4, 3)
    # Query, near and half are alike at 80 % (half: of its own five residues); other is on its own.
    assert found.n_eff == pytest.approx(2)
    for filters, kept in (
        (FilterConfig(min_coverage=0.8), ["query", "near", "other"]),
        (FilterConfig(min_identity=0.5), ["query", "near", "half"]),
        (FilterConfig(max_identity=0.85), ["query", "other"]),
    ):
        assert headers(search_alignments([query], [engine], cache, filters)[query].unpaired) == kept
    assert len(engine.asked) == 1  # filters are no other search


def test_what_engines_found_stands_one_below_the_other(cache):
    first, second = Counting([("a", "ACDEG")], "1"), Counting([("b", "ACDEG"), ("c", "ACDEH")], "2")
    (found,) = search_alignments(proteins("ACDEF"), [first, second], cache).values()
    assert [line for line in found.unpaired.splitlines() if line[0] == ">"] == [">query", ">a", ">c"]
    assert [(source.engine, source.rows) for source in found.sources] == [("counting 1", 1), ("counting 2", 2)]


def test_an_engine_that_gives_no_alignment(cache):
    with pytest.raises(AlignmentError, match="columns"):
        search_alignments(proteins("ACDEF"), [Counting([("a", "ACDE")])], cache)


def test_found_alignments_pair_by_species(tmp_path):
    queries = [sequence(1, 90), sequence(2, 80)]
    header = "sp|Q{species:05d}|X{species}_HUMAN {name} OX={species}"
    database(tmp_path / "db.fasta", queries, header=header)
    engine = HmmerEngine(open_database(tmp_path / "db.fasta"), SearchConfig(cpus=1, iterations=1))
    found = search_alignments(proteins(*queries), [engine])
    msas = [parse_msa(found[q].paired, q.sequence, PROTEIN, "MSA") for q in proteins(*queries)]
    rows = pair_rows(msas, max_rows=100)
    assert len(rows) == 13
    for one, other in rows[1:]:
        assert msas[0].descriptions[one].split("OX=")[1] == msas[1].descriptions[other].split("OX=")[1]


def test_options_choose_the_engine(tmp_path, cache):
    database(tmp_path / "a.fasta", [sequence(1, 60)])
    database(tmp_path / "b.fasta", [sequence(1, 60, BASES)], BASES)
    engines = SearchOptions(databases=(tmp_path / "a.fasta", tmp_path / "b.fasta")).open(cache)
    assert [engine.name for engine in engines] == ["pyhmmer in a.fasta", "pyhmmer in b.fasta"]
    (server,) = SearchOptions(url="https://msa.example.org").open(cache)
    assert server.name == "the MSA server https://msa.example.org"
    assert not SearchOptions().searches
    for wrong, saying in (
        ({"engine": "blast"}, "Unknown engine 'blast'"),
        ({"engine": "server"}, "give --url"),
        ({"engine": "mmseqs", "url": "https://x"}, "belongs to the engine server"),
        ({"url": "https://x", "databases": (tmp_path,)}, "give one"),
        ({"engine": "pyhmmer"}, "needs a sequence database"),
        ({"databases": (tmp_path,), "gpu": True}, "--engine mmseqs"),
    ):
        with pytest.raises(ConfigError, match=saying):
            SearchOptions(**wrong)
    with pytest.raises(ConfigError, match="--url is 'ftp://x'"):
        SearchOptions(url="ftp://x").open(cache)
    with pytest.raises(ConfigError, match="min_coverage"):
        FilterConfig(min_coverage=40.0)
