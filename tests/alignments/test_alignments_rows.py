"""Pairing by species, rows put together and taken apart, sequence weights."""

import numpy as np
import pytest
from pyarrow import parquet

from anfinsen.alignments import (
    Msa,
    effective_depth,
    pair_rows,
    parse_msa,
    sequence_weights,
    species_of,
    take_rows,
)
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import GAP


def msa_of(*descriptions, width=3):
    rng = np.random.default_rng(len(descriptions))
    shape = (len(descriptions), width)
    return Msa(rng.integers(0, 20, shape).astype(np.int8), rng.integers(0, 3, shape).astype(np.int32), descriptions)


@pytest.mark.parametrize(
    ("header", "species"),
    [
        ("sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606 GN=INS PE=1 SV=1", "9606"),
        ("sp|P01308|INS_HUMAN/25-110", "HUMAN"),
        ("tr|A0A146SKV9|A0A146SKV9_FUNHE/18-120 [subseq from] x", "FUNHE"),
        ("tr|A0A146SKV9_1|A0A146SKV9_FUNHE", "FUNHE"),
        ("UniRef100_P01308 Insulin n=5 Tax=Homininae TaxID=207598 RepID=INS_HUMAN", "207598"),
        ("UniRef90_A0A2R9", ""),
        ("NP_000198.1/25-110 insulin isoform 1 preproprotein [Homo sapiens]", "Homo sapiens"),
        ("WP_1.1 hypothetical [NiFe] protein [Escherichia coli str. K-12]", "Escherichia coli str. K-12"),
        ("AAA1.1 first [Mus musculus]\x01BBB2.1 second [Rattus rattus]", "Mus musculus"),
        ("WP_2.1 MULTISPECIES: ribosomal protein [Escherichia]", ""),
        ("AAC1 made up [synthetic construct]", ""),
        ("X beta-ketoacyl-[acyl-carrier-protein]", ""),
        ("query", ""),
        ("", ""),
        ("BOX=12", ""),
    ],
)
def test_species(header, species):
    assert species_of(header) == species


def sp(name, species):
    return f"sp|P{name:05d}|X{name}_{species}"


def test_pairing():
    first = msa_of("q", sp(1, "HUMAN"), sp(2, "MOUSE"), sp(3, "YEAST"), sp(4, "HUMAN"), "anonymous", sp(5, "ECOLI"))
    second = msa_of("q", sp(6, "YEAST"), sp(7, "HUMAN"), sp(8, "HUMAN"), sp(9, "HUMAN"))
    third = msa_of("q", "anonymous", sp(10, "ARATH"), sp(11, "HUMAN"))
    table = pair_rows([first, second, third], max_rows=100)
    assert table.tolist() == [[0, 0, 0], [1, 2, 3], [3, 1, -1]]
    # Without the third chain, two of HUMAN can be paired; it comes first because it appears first.
    assert pair_rows([first, second], max_rows=100).tolist() == [[0, 0], [1, 2], [4, 3], [3, 1]]
    assert pair_rows([first, second], max_rows=100, max_per_species=1).tolist() == [[0, 0], [1, 2], [3, 1]]
    assert pair_rows([first, second], max_rows=2).tolist() == [[0, 0], [1, 2]]


def test_copies_pair_with_themselves_and_strangers_not_at_all():
    msa = msa_of("q", sp(1, "HUMAN"), sp(2, "MOUSE"), sp(3, "HUMAN"))
    assert pair_rows([msa, msa], max_rows=9).tolist() == [[0, 0], [1, 1], [3, 3], [2, 2]]
    assert pair_rows([msa, msa_of("q", sp(4, "YEAST"))], max_rows=9).tolist() == [[0, 0]]
    assert pair_rows([msa], max_rows=9).tolist() == [[0]]


def test_rows_are_taken_in_order_and_gaps_stand_for_none():
    msa = msa_of("a", "b", "c")
    taken = take_rows(msa, np.array([2, -1, 0]))
    assert taken.descriptions == ("c", "", "a")
    assert (taken.restypes[1] == GAP).all()
    assert (taken.deletions[1] == 0).all()
    assert (taken.restypes[[0, 2]] == msa.restypes[[2, 0]]).all()
    assert (taken.deletions[[0, 2]] == msa.deletions[[2, 0]]).all()


def slow_weights(restypes, identity, min_coverage):
    counted = [
        row for row in range(len(restypes)) if (restypes[row] != GAP).sum() >= max(1, min_coverage * restypes.shape[1])
    ]
    weights = np.zeros(len(restypes))
    for s in counted:
        alike = 0
        for t in counted:
            same = sum(a == b != GAP for a, b in zip(restypes[s], restypes[t], strict=True))
            shorter = min((restypes[s] != GAP).sum(), (restypes[t] != GAP).sum())
            alike += same >= identity * shorter - 1e-9
        weights[s] = 1 / alike
    return weights


@pytest.mark.parametrize(("identity", "coverage"), [(0.8, 0.0), (0.8, 0.5), (0.62, 0.9), (1.0, 0.0)])
def test_weights_against_the_definition(identity, coverage, monkeypatch):
    monkeypatch.setattr("anfinsen.alignments.weights._BLOCK", 7)
    rng = np.random.default_rng(0)
    parents = rng.integers(0, 20, (4, 270))
    restypes = parents[rng.integers(0, 4, 40)]
    changed = rng.random(restypes.shape) < rng.choice([0.05, 0.2, 0.4], (40, 1))
    restypes = np.where(changed, rng.integers(0, 20, restypes.shape), restypes)
    restypes = np.where(rng.random(restypes.shape) < rng.choice([0, 0.3, 0.6, 1.0], (40, 1)), GAP, restypes)
    expected = slow_weights(restypes, identity, coverage)
    assert 0 < (expected == 0).sum() < 40
    assert len(set(expected.round(6))) > (1 if identity == 1 else 2)
    np.testing.assert_allclose(sequence_weights(restypes, identity, coverage), expected, rtol=1e-12)


def test_effective_depth_of_known_alignments():
    same = parse_msa(">q\nACDEF\n" + ">h\nACDEF\n" * 9, "ACDEF", ChainKind.PROTEIN, "MSA")
    assert effective_depth(same) == pytest.approx(1)
    # Four of five alike is 80 %.
    assert effective_depth(parse_msa(">q\nACDEF\n>h\nACDEG\n", "ACDEF", ChainKind.PROTEIN, "MSA")) == pytest.approx(1)
    assert effective_depth(parse_msa(">q\nACDEF\n>h\nACDGG\n", "ACDEF", ChainKind.PROTEIN, "MSA")) == pytest.approx(2)


def test_effective_depth_of_real_alignments(shared):
    """Beside the published table, whose Neff was counted by another program and before its 800-row cap."""
    table = parquet.read_table(shared / "data" / "msas" / "test.parquet").slice(0, 40).to_pydict()
    ratios = []
    for depth, neff, a3m in zip(table["depth"], table["neff"], table["a3m"], strict=True):
        if depth < 800:
            msa = parse_msa(a3m, a3m.split("\n")[1], ChainKind.PROTEIN, "MSA")
            assert msa.depth == depth
            ratios.append(effective_depth(msa, min_coverage=0.5) / neff)
    assert np.median(np.abs(np.array(ratios) - 1)) < 0.002
    assert max(abs(ratio - 1) for ratio in ratios) < 0.05
