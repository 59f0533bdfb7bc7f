"""Confidence files and ranking: AlphaFold 3's names, the right numbers, nothing that is not a number."""

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest
from made_prediction import made_prediction
from rich.console import Console

from anfinsen.inference import Fingerprint
from anfinsen.reports import confidences_json, ranking_csv, ranking_table, summary_json, write_results


@pytest.fixture(scope="module")
def prediction():
    return made_prediction()


def test_confidences(prediction):
    best = prediction.ranking[0]
    confidence, contacts = prediction.confidence(best), prediction.seeds[best.index].contact_probs
    found = json.loads(confidences_json(prediction.structure, prediction.tokens, confidence, contacts))
    atoms, tokens = len(prediction.structure.atoms), len(prediction.tokens)
    assert set(found) == {
        "atom_chain_ids", "atom_plddts", "contact_probs", "pae", "pde", "token_chain_ids", "token_res_ids",
    }  # fmt: skip
    assert len(found["atom_chain_ids"]) == len(found["atom_plddts"]) == atoms
    for name in ("pae", "pde", "contact_probs"):
        assert np.shape(found[name]) == (tokens, tokens)
    np.testing.assert_allclose(found["pae"], confidence.pae, atol=0.00501)
    assert found["token_chain_ids"][:10] == ["A"] * 10
    assert found["token_res_ids"][:10] == list(range(1, 11))
    # ATP has 31 heavy atoms, one token each, all of residue 1.
    assert [r for c, r in zip(found["token_chain_ids"], found["token_res_ids"], strict=True) if c == "D"] == [1] * 31


def test_summary(prediction):
    confidence = prediction.confidence(prediction.ranking[0])
    found = json.loads(summary_json(confidence))
    assert set(found) == {
        "chain_iptm", "chain_pair_iptm", "chain_pair_pae_min", "chain_ptm", "fraction_disordered", "has_clash", "iptm",
        "ptm", "ranking_score",
    }  # fmt: skip
    assert found["ranking_score"] == pytest.approx(confidence.ranking_score, abs=1e-4)
    assert np.shape(found["chain_pair_iptm"]) == (5, 5)


def test_single_chain_has_null_iptm(prediction):
    one = np.array([[0.5]])
    confidence = dataclasses.replace(
        prediction.confidence(prediction.ranking[0]),
        iptm=None,
        chain_iptm=None,
        chain_ptm=one[0],
        chain_pair_iptm=one,
        chain_pair_pae_min=one,
    )
    found = json.loads(summary_json(confidence))
    assert found["iptm"] is None
    assert found["chain_iptm"] == [None]


def test_nan_is_never_written(prediction):
    confidence = dataclasses.replace(prediction.confidence(prediction.ranking[0]), ptm=math.nan)
    with pytest.raises(ValueError, match="JSON compliant"):
        summary_json(confidence)


def test_ranking(prediction):
    rows = list(csv.DictReader(io.StringIO(ranking_csv(prediction))))
    assert [(row["seed"], row["sample"]) for row in rows] == [("1", "0"), ("1", "1"), ("7", "0"), ("7", "1")]
    assert float(rows[0]["ranking_score"]) == pytest.approx(prediction.seeds[0].confidences[0].ranking_score, abs=1e-6)
    screen = Console(file=io.StringIO(), width=100)
    screen.print(ranking_table(prediction, limit=3))
    text = screen.file.getvalue()
    assert "best 3 of 4" in text


def test_equal_predictions_give_equal_files(prediction, tmp_path):
    folders = [tmp_path / "a" / "small", tmp_path / "b" / "small"]
    run = Fingerprint(job="j", seeds=(1, 7), weights="w", samples=2, recycles=1, steps=20, version="0.1.0")
    for folder in folders:
        folder.mkdir(parents=True)
        write_results(prediction, folder, run)
    first, second = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    )
    assert first == second
    best = prediction.ranking[0]
    label = f"seed-{best.seed}_sample-{best.sample}"
    copy = first[f"{label}/small_{label}_summary_confidences.json"]
    assert first["small_summary_confidences.json"] == copy
