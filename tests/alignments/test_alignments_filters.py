"""Filters by coverage and identity, against their definition, and while an alignment is read."""

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.alignments import FilterConfig, filter_rows, parse_msa
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import GAP

PROTEIN = ChainKind.PROTEIN


def random_msa(seed, length, depth):
    rng = random.Random(seed)
    query = "".join(rng.choices("ACDEFG", k=length))
    rows = ["".join(rng.choice(("-", letter, rng.choice("ACDEFG"))) for letter in query) for _ in range(depth)]
    return query, "".join(f">{i}\n{row}\n" for i, row in enumerate([query, *rows]))


def slow_filter(restypes, config):
    """The definition, row by row."""
    kept = []
    for row, letters in enumerate(restypes):
        residues = letters != GAP
        same = (letters == restypes[0]) & residues
        ok = residues.sum() >= config.min_coverage * len(letters) - 1e-9
        ok = ok and same.sum() >= config.min_identity * residues.sum() - 1e-9
        for other in kept if config.max_identity < 1 else []:
            both = ((letters == restypes[other]) & residues).sum()
            shorter = min(residues.sum(), (restypes[other] != GAP).sum())
            ok = ok and both <= config.max_identity * shorter + 1e-9
        if ok or row == 0:
            kept.append(row)
    return kept


@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(0, 16),
    st.tuples(*[st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0])] * 3),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_against_the_definition(seed, length, depth, fractions):
    query, text = random_msa(seed, length, depth)
    config = FilterConfig(*fractions)
    msa = parse_msa(text, query, PROTEIN, "MSA")
    kept = [int(name) for name in filter_rows(msa, config).descriptions]
    assert kept == slow_filter(msa.restypes, config)
    # Reading with the filter keeps the same rows as filtering what was read.
    relaxed = FilterConfig(config.min_coverage, config.min_identity)
    streamed = parse_msa(text, query, PROTEIN, "MSA", filters=relaxed)
    expected = filter_rows(msa, relaxed)
    assert streamed.descriptions == expected.descriptions
    assert (streamed.restypes == expected.restypes).all()
    assert (streamed.deletions == expected.deletions).all()


def test_more_rows_than_one_block(monkeypatch):
    monkeypatch.setattr("anfinsen.alignments.filters._BLOCK", 16)
    query, text = random_msa(3, 8, 70)
    msa = parse_msa(text, query, PROTEIN, "MSA")
    config = FilterConfig(0.2, 0.2, 0.6)
    assert [int(name) for name in filter_rows(msa, config).descriptions] == slow_filter(msa.restypes, config)


def test_most_rows_counts_those_that_pass(monkeypatch):
    monkeypatch.setattr("anfinsen.alignments.parse._CHUNK_LETTERS", 25)
    text = ">q\nACDEF\n" + "".join(f">bad{i}\n-----\n>good{i}\nACDEG\n" for i in range(20)) + ">broken\nA\n"
    msa = parse_msa(text, "ACDEF", PROTEIN, "MSA", max_rows=4, filters=FilterConfig(min_coverage=0.5))
    assert msa.descriptions == ("q", "good0", "good1", "good2")


def test_long_insertions_are_counted_exactly():
    msa = parse_msa(f">q\nACDEF\n>h\nAC{'x' * 40_000}DEF\n>i\nACxDEF\n", "ACDEF", PROTEIN, "MSA")
    assert msa.deletions[1:, 2].tolist() == [40_000, 1]


MILLION = """
import resource, sys
from anfinsen.alignments import FilterConfig, read_msa
from anfinsen.chemistry import ChainKind
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
query = open(sys.argv[1]).readlines()[1].strip()
msa = read_msa(sys.argv[1], query, ChainKind.PROTEIN, max_rows=eval(sys.argv[2]), filters=eval(sys.argv[3]))
print(msa.depth, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """An a3m of a million rows and 200 columns."""
    rng = np.random.default_rng(0)
    query = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 200))
    path = tmp_path_factory.mktemp("million") / "million.a3m"
    rows = ["".join(row) for row in rng.choice(list("ACDEFGHIKLMNPQRSTVWY-"), (1000, 200))]
    with path.open("w") as file:
        file.write(f">query\n{query}\n")
        for start in range(0, 999_999, 1000):
            file.writelines(
                f">UniRef100_A0A{start + i:09d}/1-200 OX={i}\n{row[:100]}abc{row[100:]}\n"
                for i, row in enumerate(rows[: min(1000, 999_999 - start)])
            )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "filters", "depth", "limit"),
    [("None", "None", 1_000_000, 2000), ("16384", "None", 16_384, 1000), ("None", "FilterConfig(0.96)", None, 1200)],
)
def test_a_million_rows_in_bounded_memory(million, most, filters, depth, limit):
    command = [sys.executable, "-c", MILLION, str(million), most, filters]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if depth is None:
        assert 1 < int(printed[0]) < 500_000
    else:
        assert int(printed[0]) == depth
    assert int(printed[1]) < limit  # MiB, PyTorch and RDKit included
