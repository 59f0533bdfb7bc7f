"""`anfinsen search`, and `predict` with a database: completed jobs that run again, and one sentence where it fails."""

import gzip
import json
import random

import pytest

from anfinsen.alignments import parse_msa
from anfinsen.chemistry import ChainKind
from anfinsen.cli.app import run
from anfinsen.jobs import load_jobs

QUICK = ["--model", "alphafold3-mini:random", "--samples", "1", "--steps", "1", "--recycles", "0", "--device", "cpu"]
FIRST = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"
SECOND = "GSHMRYWDDTCEVLPQNAWKTPFDGHIVKSLE"


def relatives(seed, parent, count):
    rng = random.Random(seed)
    for species in range(count):
        letters = "".join(rng.choice("ACDEFGHIKLMNPQRSTVWY") if rng.random() < 0.25 else x for x in parent)
        yield f">sp|P{seed}{species:04d}|X{species}_HUMAN made up OX={species}\n{letters}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "db.fasta").write_text("".join([*relatives(1, FIRST, 8), *relatives(2, SECOND, 8)]))
    (tmp_path / "own.a3m").write_text(f">q\n{SECOND}\n>h\n{SECOND}\n")
    (tmp_path / "job.yaml").write_text(
        f"name: two\nchains:\n  - {{protein: {FIRST}, copies: 2}}\n  - {{protein: {SECOND}}}\n  - {{dna: GATTACA}}\n"
        "  - {rna: GGCUAGCC}\n  - {ion: MG}\n"
    )
    return tmp_path


def test_search_completes_a_job(here, capsys):
    assert run(["search", "job.yaml", "--db", "db.fasta", "--cpus", "1"]) == 0
    shown = capsys.readouterr().out
    assert "pyhmmer in db.fasta: 8" in shown
    assert "no database suits it" in shown  # the RNA
    (job,) = load_jobs("msas/two/two_data.json")
    first, second, dna, rna, _ion = job.entities
    assert first.ids == ("A", "B")
    assert first.unpaired_msa.count(">") == 9
    assert second.paired_msa.count("OX=") == 8
    assert (dna.unpaired_msa, rna.unpaired_msa) == (None, None)
    for chain in "AC":
        assert (here / "msas" / "two" / "msas" / f"{chain}.a3m").read_text().count(">") == 9
        assert (here / "msas" / "two" / "msas" / f"{chain}_paired.a3m").is_file()
    summary = json.loads((here / "msas" / "two" / "two_search.json").read_text())
    assert [each["source"] for each in summary["entities"]] == ["search", "search", "none", "none"]
    assert summary["entities"][0]["rows"] == 9
    assert summary["entities"][0]["n_eff"] > 1
    # Searching the completed job finds nothing to do, and leaves it as it is.
    data = (here / "msas" / "two" / "two_data.json").read_bytes()
    assert run(["search", "msas/two/two_data.json", "--db", "db.fasta", "--out", "again"]) == 0
    assert (here / "again" / "two" / "two_data.json").read_bytes() == data
    # And the same search comes from the cache.
    assert run(["search", "job.yaml", "--db", "db.fasta", "--out", "third", "--cpus", "1"]) == 0
    assert "from the cache" in capsys.readouterr().out
    assert (here / "third" / "two" / "two_data.json").read_bytes() == data


def test_msa_only_and_filters(here):
    options = ["--msa-only", "--out", "x", "--iterations", "1", "--cpus", "1", "--min-identity", "0.99"]
    assert run(["search", "job.yaml", "--db", "db.fasta", *options]) == 0
    assert sorted(path.name for path in (here / "x" / "two").iterdir()) == ["msas", "two_search.json"]
    assert (here / "x" / "two" / "msas" / "A.a3m").read_text() == f">query\n{FIRST}\n"


def test_dna_is_searched_for_its_own_sake(here, capsys):
    rng = random.Random(3)
    gene = "".join(rng.choice("ACGT") for _ in range(120))
    other, third = (
        gene[:40] + "".join(rng.choice("ACGT") if rng.random() < 0.1 else base for base in gene[40:80]) + gene[80:]
        for _ in range(2)
    )
    opposite = third.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    (here / "genes.fasta").write_text(f">same way\n{other}\n>other_strand\n{opposite}\n")
    (here / "gene.yaml").write_text(f"name: gene\nchains:\n  - {{dna: {gene}, copies: 2}}\n  - {{protein: {FIRST}}}\n")
    options = ["--db", "genes.fasta", "--cpus", "1", "--out", "x"]
    assert run(["search", "gene.yaml", *options, "--msa-only"]) == 0
    text = (here / "x" / "gene" / "msas" / "A.a3m").read_text()
    assert text.startswith(f">query\n{gene}\n")
    assert {line.split("/")[0] for line in text.splitlines() if line[0] == ">"} == {">query", ">same", ">other_strand"}
    assert set("".join(line for line in text.splitlines() if line[0] != ">")) <= set("ACGT-acgt")
    found = parse_msa(text, gene, ChainKind.DNA, "MSA")
    reversed_row = next(i for i, name in enumerate(found.descriptions) if name.startswith("other_strand"))
    assert (found.restypes[reversed_row] == parse_msa(f">q\n{third}\n", third, ChainKind.DNA, "MSA").restypes[0]).all()
    summary = json.loads((here / "x" / "gene" / "gene_search.json").read_text())
    assert [each["rows"] for each in summary["entities"]] == [3, None]
    capsys.readouterr()
    assert run(["search", "gene.yaml", "--db", "db.fasta", "--cpus", "1", "--out", "y", "--msa-only"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if " dna " in line)
    assert "no database suits it" in line
    # A second search, without it, takes the file away; a job has no place for it, and says so.
    (here / "db.fasta").rename(here / "proteins.fasta")
    assert run(["search", "gene.yaml", "--db", "proteins.fasta", *options[2:]]) == 0
    assert "no model reads alignments of DNA" in capsys.readouterr().out
    assert not (here / "x" / "gene" / "msas" / "A.a3m").exists()


def test_a_second_search_leaves_nothing_of_the_first(here):
    options = ["--db", "db.fasta", "--out", "x", "--iterations", "1", "--cpus", "1"]
    assert run(["search", "job.yaml", *options]) == 0
    folder = here / "x" / "two"
    (folder / "msas" / "mine.a3m").write_text("mine")
    (here / "less.yaml").write_text(f"name: two\nchains:\n  - {{protein: {FIRST}}}\n")
    assert run(["search", "less.yaml", *options, "--msa-only"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["msas", "two_search.json"]
    assert "C.a3m" not in {path.name for path in (folder / "msas").iterdir()}
    assert (folder / "msas" / "mine.a3m").read_text() == "mine"


def test_predict_searches_and_says_so(here, capsys):
    (here / "mixed.yaml").write_text(
        f"name: mixed\nchains:\n  - protein: {FIRST}\n  - {{protein: {SECOND}, msa: own.a3m}}\n"
        f"  - {{protein: {SECOND[:20]}, msa: none}}\n"
    )
    arguments = ["predict", "mixed.yaml", "--db", "db.fasta", "--cpus", "1", "--iterations", "1", *QUICK]
    assert run(arguments) == 0
    said = capsys.readouterr().err
    assert "protein A 9 rows, N_eff" in said
    assert "protein B the job's own" in said
    assert "protein C none (as the job says)" in said
    (job,) = load_jobs("output/mixed/mixed_data.json")
    assert job.entities[0].unpaired_msa.count(">") == 9
    # The next run finds the alignment in the cache, and so the same job, which is done.
    assert run(arguments) == 0
    assert "skipped" in capsys.readouterr().out


def test_one_job_that_fails_does_not_stop_the_others(here, capsys):
    (here / "bad.yaml").write_text("name: bad\nchains: []\n")
    assert run(["search", "bad.yaml", "job.yaml", "--db", "db.fasta", "--iterations", "1", "--cpus", "1"]) == 2
    assert "1 of 2 jobs failed" in capsys.readouterr().err
    assert (here / "msas" / "two" / "two_data.json").is_file()


def test_results_of_a_prediction_are_not_touched(here, capsys):
    folder = here / "msas" / "two"
    folder.mkdir(parents=True)
    (folder / "two_settings.json").write_text("{}")
    assert run(["search", "job.yaml", "--db", "db.fasta", "--iterations", "1", "--cpus", "1"]) == 2
    assert "holds the results of a prediction" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["two_settings.json"]


WRONG = {
    "nothing to search": ([], "There is nothing to search"),
    "missing database": (["--db", "absent.fasta"], "Sequence database 'absent.fasta' does not exist"),
    "database is a job": (["--db", "job.yaml"], "expected FASTA"),
    "unknown engine": (["--db", "db.fasta", "--engine", "blast"], "Unknown engine 'blast'"),
    "server without address": (["--engine", "server"], "--url"),
    "address of nothing": (["--url", "example"], "--url is 'example'"),
    "host of nothing": (["--url", "http://a..b"], "--url is 'http://a..b'"),
    "host too long": (["--url", f"http://{'a' * 64}.org"], "--url is"),
    "address with a blank": (["--url", "http://a b"], "--url is 'http://a b'"),
    "path beyond ASCII": (["--url", "http://localhost:1/é"], "--url is 'http://localhost:1/é'"),
    "port beyond all ports": (["--url", "https://example.org:99999"], "--url is 'https://example.org:99999'"),
    "no rounds": (["--db", "db.fasta", "--iterations", "0"], "'iterations' is 0"),
    "negative threads": (["--db", "db.fasta", "--cpus", "-1"], "'cpus' is -1"),
    "coverage in per cent": (["--db", "db.fasta", "--min-coverage", "50"], "'min_coverage' is 50"),
    "cache is a file": (["--db", "db.fasta", "--cache", "own.a3m"], "Cannot make the cache folder own.a3m"),
    "output is a file": (["--db", "db.fasta", "--out", "own.a3m"], "Cannot write own.a3m"),
    "database is a folder": (["--db", "."], "does not exist, or is not a file"),
    "database of headers": (["--db", "headers.fasta"], "holds headers and no sequences"),
    "database of DNA for proteins": (["--db", "dna.fasta"], "the jobs have no others but DNA, which no model reads"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options(here, capsys, case):
    options, saying = WRONG[case]
    (here / "headers.fasta").write_text(">a\n>b\n")
    (here / "dna.fasta").write_text(">a\nGATTACAGATTACA\n")
    if "dna.fasta" in options:
        (here / "job.yaml").write_text(f"name: two\nchains:\n  - {{protein: {FIRST}}}\n  - {{dna: GATTACA}}\n")
    assert run(["search", "job.yaml", *options]) == 2
    captured = capsys.readouterr()
    assert saying in captured.err
    assert len([line for line in captured.err.splitlines() if line.startswith("anfinsen: ")]) == 1
    assert not (here / "msas").exists()


BROKEN = {
    "wrong query": (f">q\n{SECOND}\n", "MSA of another sequence"),
    "ragged": (f">q\n{FIRST}\n>h\n{FIRST[:-1]}\n", "has 32 columns: expected 33"),
    "no rows": ("#A3M#\n", "begins with '>'"),
    "small letters alone": (f">q\n{FIRST.lower()}\n>h\n{FIRST.lower()}\n", "in small letters alone"),
    "small letters only": (f">q\n{FIRST}\n>h\n{FIRST.lower()}\n", "has 0 columns: expected 33"),
    "NUL": (f">q\n{FIRST}\n>h\n{FIRST[:-1]}\x00\n", "NUL"),
    "empty": ("", "is empty"),
    "not UTF-8": (f">q\n{FIRST}\n>h\xe9\n{FIRST}\n".encode("latin-1"), "not valid UTF-8"),
    "cut gzip": (gzip.compress(f">q\n{FIRST}\n".encode() * 99)[:-12], "cannot be decompressed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_alignments_of_a_job(here, capsys, case):
    content, saying = BROKEN[case]
    (here / "broken.a3m").write_bytes(content if isinstance(content, bytes) else content.encode())
    (here / "broken.yaml").write_text(f"name: b\nchains:\n  - {{protein: {FIRST}, msa: broken.a3m}}\n")
    assert run(["predict", "broken.yaml", *QUICK]) == 2
    captured = capsys.readouterr()
    assert saying in captured.err, captured.err
    assert len([line for line in captured.err.splitlines() if line.startswith("anfinsen: ")]) == 1
    assert not [*(here / "output").glob("*")]


def test_interrupted_and_run_again(here, capsys, monkeypatch):
    from anfinsen.cli.terminal import Terminal

    def interrupt(self, steps=1):
        raise KeyboardInterrupt

    arguments = ["search", "job.yaml", "--db", "db.fasta", "--cpus", "1", "--iterations", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(Terminal, "advance", interrupt)
        assert run(arguments) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not [*(here / "msas").glob("*")]
    assert run(arguments) == 0
    assert capsys.readouterr().out.count("from the cache") == 1  # the chain whose search was whole


def test_predict_filters_what_it_finds(here):
    (here / "one.yaml").write_text(f"name: one\nchains:\n  - protein: {FIRST}\n")
    options = ["--db", "db.fasta", "--cpus", "1", "--iterations", "1", "--min-identity", "0.99", *QUICK]
    assert run(["predict", "one.yaml", *options]) == 0
    (job,) = load_jobs("output/one/one_data.json")
    assert job.entities[0].unpaired_msa == f">query\n{FIRST}\n"
