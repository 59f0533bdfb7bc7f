"""AlphaFold 1's features: frequencies and gap transitions counted by hand, couplings against the full inverse."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from anfinsen.alignments import parse_msa
from anfinsen.alignments.couplings import infer_couplings
from anfinsen.chemistry import ChainKind
from anfinsen.chemistry.tokens import AMINO_ACIDS
from anfinsen.features.alphafold1 import (
    COUPLING_BLOCK,
    PAIR_CHANNELS,
    SINGLE_CHANNELS,
    alphafold1_features,
    coupling_detail,
    evolution_of_msa,
    evolution_of_profile,
    features_of_msa,
)
from anfinsen.features.coupling_scores import (
    CLASS_CHANNELS,
    COUPLINGS,
    coupling_blocks,
    coupling_scores,
    has_couplings,
    pair_couplings_of,
)
from anfinsen.models.alphafold1 import PRESETS

LETTERS = "ARNDCQEGHILKMFPSTWYV"


def _msa(text: str, query: str):
    return parse_msa(text, query, ChainKind.PROTEIN, "test")


def _random_msa(rows: int, length: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    query = "".join(rng.choice(list(LETTERS), length))
    lines = [query]
    for _ in range(rows - 1):
        kept = rng.random(length) < 0.4
        other = rng.choice(list(LETTERS + "--"), length)
        lines.append("".join(q if k else o for q, k, o in zip(query, kept, other, strict=True)))
    return _msa("".join(f">r{i}\n{row}\n" for i, row in enumerate(lines)), query)


def test_presets_read_as_many_channels_as_there_are():
    assert PRESETS["mini"].c_single_in == PRESETS["full"].c_single_in == SINGLE_CHANNELS
    assert PRESETS["mini"].c_pair_in == PAIR_CHANNELS + CLASS_CHANNELS
    assert PRESETS["full"].c_pair_in == PAIR_CHANNELS + COUPLING_BLOCK
    assert coupling_detail(PRESETS["mini"].c_pair_in) == "classes"
    assert coupling_detail(PRESETS["full"].c_pair_in) == "blocks"
    with pytest.raises(ValueError, match="9 channels of pairs"):
        coupling_detail(PAIR_CHANNELS + 1)


def test_frequencies_and_gap_transitions_by_hand():
    # The first two rows are alike (weight 1/2 each), the third stands alone.
    msa = _msa(">q\nACDEF\n>a\nACDEF\n>b\nW--wwYW\n", "ACDEF")
    found = evolution_of_msa(msa)
    assert found.depth == 3
    assert found.effective_depth == pytest.approx(2.0)
    np.testing.assert_allclose(found.frequencies.sum(1), 1.0)
    assert found.frequencies[0, LETTERS.index("A")] == pytest.approx(0.5)
    assert found.frequencies[0, LETTERS.index("W")] == pytest.approx(0.5)
    np.testing.assert_allclose(found.frequencies[:, 20], [0, 0.5, 0.5, 0, 0])
    # The third row opens an insertion of two before the fourth column, and a deletion at the second.
    np.testing.assert_allclose(found.gap_steps[:, 0], [0, 0, 0, 0.5, 0])
    np.testing.assert_allclose(found.gap_steps[:, 1], [0, 0, 0, 0.5 * np.arctan(2 / 3) * 2 / np.pi, 0])
    np.testing.assert_allclose(found.gap_steps[:, 2], [0, 0.5, 0, 0, 0])
    np.testing.assert_allclose(found.gap_steps[:, 3], [0, 0, 0.5, 0, 0])


@pytest.mark.parametrize(("rows", "length"), [(2, 9), (30, 25), (150, 24)])
def test_scores_by_the_short_way_are_those_of_the_full_inverse(rows, length):
    msa = _random_msa(rows, length)
    expected = infer_couplings(msa, COUPLINGS, device="cpu").scores
    found = coupling_scores(msa)
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_deep_alignments_go_the_long_way_to_the_same_scores(monkeypatch):
    msa = _random_msa(200, 10)
    long_way = coupling_scores(msa)
    monkeypatch.setattr("anfinsen.features.coupling_scores.LOW_RANK_BELOW", 1e9)
    np.testing.assert_allclose(coupling_scores(msa), long_way, atol=2e-4 * np.abs(long_way).max())


def test_too_few_rows_have_no_couplings():
    assert coupling_scores(_msa(">q\nACDEF\n", "ACDEF")) is None
    assert coupling_scores(_msa(">q\nACDEF\n>a\nA----\n", "ACDEF")) is None


def test_features_of_every_kind_of_knowledge_are_finite_and_say_what_they_are():
    msa = _random_msa(40, 30)
    query = msa.restypes[0].astype(np.int64)
    evolution, scores = evolution_of_msa(msa), coupling_scores(msa)
    profile = evolution_of_profile(np.full((30, 20), 0.05))
    flags = []
    for known, coupled in ((None, None), (profile, None), (evolution, None), (evolution, scores)):
        found = alphafold1_features(query, known, coupled)
        assert found.single.shape == (30, SINGLE_CHANNELS) and found.pair.shape == (30, 30, PAIR_CHANNELS)
        assert found.single.dtype == found.pair.dtype == torch.float32
        assert torch.isfinite(found.single).all() and torch.isfinite(found.pair).all()
        assert found.single.abs().max() < 10 and found.pair.abs().max() < 10
        flags.append((float(found.single[0, -5]), float(found.single[0, -4]), float(found.pair[0, 1, 3])))
    assert flags == [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]
    assert found.single[:, :21].argmax(1).tolist() == query.tolist()


def test_pair_features_are_seen_from_both_sides():
    msa = _random_msa(40, 30)
    pair = alphafold1_features(msa.restypes[0].astype(np.int64), evolution_of_msa(msa), coupling_scores(msa)).pair
    back = pair.transpose(0, 1)
    torch.testing.assert_close(pair[..., :6], back[..., :6])
    torch.testing.assert_close(pair[..., 6], back[..., 7])


def test_strongest_pair_ranks_first_on_any_scale():
    scores = np.random.default_rng(0).random((20, 20), dtype=np.float32)
    scores = scores + scores.T
    np.fill_diagonal(scores, 0.0)
    scores[3, 15] = scores[15, 3] = 5.0
    query = np.zeros(20, dtype=np.int64)
    one, other = (alphafold1_features(query, None, np.float32(factor) * scores).pair for factor in (1.0, 1000.0))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert one[..., 5].argmax() in (3 * 20 + 15, 15 * 20 + 3)
    assert float(one[3, 15, 6]) == float(one[3, 15, 7]) == 1.0


def test_coupling_blocks_are_those_of_the_full_inverse():
    msa = _random_msa(30, 12)
    expected = infer_couplings(msa, COUPLINGS, device="cpu", keep=True).couplings
    found = coupling_blocks(msa).reshape(12, 12, 20, 20)
    for i, j in ((0, 5), (7, 2), (3, 4)):
        np.testing.assert_allclose(found[i, j], expected[i, :, j], atol=1e-5 * float(np.abs(expected).max()) + 1e-6)
    assert not found[6, 6].any()


@pytest.mark.parametrize(("rows", "length"), [(30, 12), (150, 12)])  # by the short way, and by the full inverse
def test_class_couplings_sum_the_couplings_of_their_members(rows, length):
    msa = _random_msa(rows, length)
    found = pair_couplings_of(msa)
    whole = infer_couplings(msa, COUPLINGS, device="cpu", keep=True)
    np.testing.assert_allclose(found.scores, whole.scores, atol=2e-4 * np.abs(whole.scores).max())
    classes = found.classes.reshape(length, length, 6, 6)
    different = ~np.eye(length, dtype=bool)
    unit = np.sqrt((whole.couplings.swapaxes(1, 2)[different] ** 2).mean())
    positive, negative = ([AMINO_ACIDS.index(name) for name in names] for names in (("LYS", "ARG"), ("ASP", "GLU")))
    for i, j in ((0, 5), (7, 2), (11, 10)):
        charges = whole.couplings[i][:, j][np.ix_(positive, negative)].sum() / 2  # the root of two by two members
        assert float(classes[i, j, 3, 4]) == pytest.approx(math.asinh(charges / unit), abs=1e-3)
    np.testing.assert_allclose(classes, classes.transpose(1, 0, 3, 2), atol=1e-5)
    assert not classes[4, 4].any()


@pytest.mark.parametrize("rows", [3, 40, 900])
def test_rows_that_do_not_differ_are_not_coupled(rows):
    query = "MKVLAAGIVGLCAKDYEQWH"
    found = pair_couplings_of(_msa("".join(f">{n}\n{query}\n" for n in range(rows)), query))
    assert found is not None and not found.classes.any()


def test_alignments_say_whether_they_have_couplings():
    query = "MKVLAAGIVG"
    for others, expected in (("", False), (">a\nMKV-------\n", False), (">a\nMKVLAAGIVC\n", True)):
        msa = _msa(f">q\n{query}\n{others}", query)
        assert has_couplings(msa) is expected and (pair_couplings_of(msa) is not None) is expected


def test_opposite_charges_that_go_together_show_as_such():
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        row = rng.choice(list("AVILFWSTNQ"), 20)
        row[3], row[15] = ("K", "E") if rng.random() < 0.5 else ("D", "R")
        rows.append("".join(row))
    msa = _msa("".join(f">r{i}\n{row}\n" for i, row in enumerate(rows)), rows[0])
    classes = pair_couplings_of(msa).classes.reshape(20, 20, 6, 6)[3, 15]
    assert classes[3, 4] > 2 and classes[4, 3] > 2
    assert classes[3, 3] < -2 and classes[4, 4] < -2


def test_features_of_an_alignment_hold_what_the_network_reads():
    msa = _random_msa(40, 30)
    query = msa.restypes[0].astype(np.int64)
    few = features_of_msa(query, msa, PAIR_CHANNELS)
    for extra, expected in ((CLASS_CHANNELS, pair_couplings_of(msa).classes), (COUPLING_BLOCK, coupling_blocks(msa))):
        found = features_of_msa(query, msa, PAIR_CHANNELS + extra)
        torch.testing.assert_close(found.single, few.single)
        torch.testing.assert_close(found.pair[..., :PAIR_CHANNELS], few.pair, atol=1e-4, rtol=1e-4)
        np.testing.assert_array_equal(found.pair[..., PAIR_CHANNELS:].numpy(), expected)
        one_row = _msa(">q\nACDEF\n", "ACDEF")
        for alone in (None, one_row, _msa(">q\nACDEF\n>a\nA----\n", "ACDEF")):
            assert (
                not features_of_msa(one_row.restypes[0].astype(np.int64), alone, PAIR_CHANNELS + extra)
                .pair[..., 3:]
                .any()
            )


def test_coupling_blocks_are_appended():
    query = np.zeros(6, dtype=np.int64)
    blocks = np.random.default_rng(0).random((6, 6, COUPLING_BLOCK), dtype=np.float32)
    pair = alphafold1_features(query, None, None, blocks).pair
    np.testing.assert_array_equal(pair[..., PAIR_CHANNELS:].numpy(), blocks)


def test_unknown_residues_and_empty_columns_are_no_trouble():
    msa = _msa(">q\nAXC\n>a\n---\n>b\nX-C\n", "AXC")
    found = evolution_of_msa(msa)
    assert np.isfinite(found.frequencies).all()
    features = alphafold1_features(msa.restypes[0].astype(np.int64), found)
    assert torch.isfinite(features.single).all()
    again = alphafold1_features(msa.restypes[0].astype(np.int64), dataclasses.replace(found, depth=0))
    assert float(again.single[0, -4]) == 0.0
