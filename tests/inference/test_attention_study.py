"""Heads made by hand are found for what they do; maps are what the weights say; the prediction does not notice."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from anfinsen.chemistry import read_structure
from anfinsen.common.errors import ConfigError, MemoryLimitError, StructureError
from anfinsen.inference import PredictOptions, attention_study, predict
from anfinsen.inference.attention_maps import AttentionRecorder, Layer, attention_layers
from anfinsen.inference.attention_scores import RANKINGS, Setting, contact_scores, rank_correlation, ranked, score_heads
from anfinsen.inference.attention_study import study_attention
from anfinsen.jobs import Job, Ligand, Polymer
from anfinsen.models.alphafold3 import AlphaFold3, alphafold3_config
from anfinsen.nn import (
    AttentionPairBias,
    AttentionPairBiasConfig,
    MsaColumnAttention,
    Shown,
    TriangleAttention,
    chunk_budget,
    make_windows,
    watch,
)
from anfinsen.reports import model_cif

N, BORDER = 40, 25  # tokens; the second chain begins at BORDER
MUCH = 2**40


def setting(contacts: np.ndarray | None = None) -> Setting:
    chain = (np.arange(N) >= BORDER).astype(np.int64)
    number = np.where(chain == 0, np.arange(N), np.arange(N) - BORDER).astype(np.int64) + 1
    if contacts is None:
        contacts = np.zeros((N, N), dtype=bool)
        for i, j in ((1, 12), (2, 15), (5, 20), (8, 22), (3, 30), (11, 36)):
            contacts[i, j] = contacts[j, i] = True
    rng = np.random.default_rng(0)
    return Setting(
        chain=chain,
        number=number,
        contacts=contacts,
        known=np.ones(N, dtype=bool),
        depth=rng.integers(1, 50, N),
        plddt=rng.uniform(20, 95, N),
    )


def handmade() -> tuple[AttentionPairBias, torch.Tensor]:
    """Five heads whose weights read one channel of the pairs each; and the pairs."""
    where = setting()
    module = AttentionPairBias(AttentionPairBiasConfig(c_a=10, c_z=5, heads=5, pair_norm="none"))
    with torch.no_grad():
        module.attention.projection.weight.zero_()
        module.pair.linear.weight.copy_(30 * torch.eye(5))
    same = where.chain[:, None] == where.chain[None, :]
    apart = np.abs(where.number[:, None] - where.number[None, :])
    pairs = np.zeros((N, N, 5), dtype=np.float32)
    pairs[..., 0] = same & (apart == 1)  # the neighbour
    pairs[..., 1] = where.contacts
    pairs[..., 2] = ~same
    pairs[..., 3] = np.eye(N)  # itself
    return module, torch.from_numpy(pairs)  # the last head sees nothing: all keys alike


def recorded(module, call, layer: Layer, tokens: int, token_of_atom=None):
    recorder = AttentionRecorder({"it": layer})
    recorder.begin(tokens, MUCH, token_of_atom)
    with torch.no_grad(), watch({"it": module}, weights=recorder.weights, gates=recorder.gates):
        call()
    return recorder.result()


def test_heads_made_by_hand_are_ranked_first_for_what_they_do():
    module, pairs = handmade()
    layers = recorded(
        module.attention, lambda: module(torch.randn(N, 10), pairs), Layer("it", "by hand", "tokens", 5), N
    )
    heads = score_heads(layers, setting())
    first = {ranking.title: ranked(heads, ranking, 1)[0].head for ranking in RANKINGS if ranked(heads, ranking, 1)}
    assert first["Neighbours along the chain"] == 0
    assert first["Contacts"] == 1
    assert first["Other chains"] == 2
    assert first["Themselves"] == 3
    assert first["All keys alike"] == 4
    neighbour, contact, other, itself, nothing = heads
    assert neighbour.scores["local"] == pytest.approx(1, abs=1e-6)
    assert neighbour.scores["mean_separation"] == pytest.approx(1, abs=1e-6)
    assert contact.scores["contact_auc"] == pytest.approx(1)
    # The 6 contacts come first; the other 34 of the strongest N pairs are no contacts.
    assert contact.scores["contact_precision"] == pytest.approx(6 / N)
    assert other.scores["cross_chain"] == pytest.approx(1, abs=1e-6)
    assert itself.scores["relative_entropy"] == pytest.approx(0, abs=1e-6)
    # Uniform attention: what chance gives.
    assert nothing.scores["contact_auc"] == pytest.approx(0.5)
    assert nothing.scores["contact_precision"] == pytest.approx(setting().base_rate)
    assert nothing.scores["cross_chain"] == pytest.approx(2 * BORDER * (N - BORDER) / N**2)
    assert nothing.scores["entropy"] == pytest.approx(np.log2(N), abs=1e-4)
    assert nothing.scores["relative_entropy"] == pytest.approx(1, abs=1e-5)
    assert nothing.scores["symmetry"] == pytest.approx(1)
    for head in heads:
        assert sum(head.bins) + head.scores["cross_chain"] == pytest.approx(1, abs=1e-5)
        assert head.scores["gate"] == pytest.approx(0.5)
        assert head.scores["gate_by_depth"] is None  # all gates are alike


@pytest.mark.parametrize("shape", [(0, 2, 9, 9), (9, 2, 0)])
def test_attention_over_no_rows_is_left_out(shape):
    """AlphaFold 2 as published, without extra rows of the alignment."""
    recorder = AttentionRecorder({"it": Layer("it", "empty", "rows" if len(shape) == 3 else "tokens", 2)})
    recorder.begin(9, MUCH)
    recorder.weights("it", Shown(torch.zeros(shape)))
    recorder.gates("it", Shown(torch.zeros(0, 9, 2, 4)))
    assert recorder.result() == ()


def test_attention_that_is_never_returned():
    weights = torch.zeros(1, N, N)
    weights[0, torch.arange(N), (torch.arange(N) + 7) % N] = 1
    recorder = AttentionRecorder({"it": Layer("it", "shift", "tokens", 1)})
    recorder.begin(N, MUCH)
    recorder.weights("it", Shown(weights))
    (head,) = score_heads(recorder.result(), setting())
    assert head.scores["symmetry"] == 0
    assert head.scores["to_self"] == 0
    assert head.scores["to_first"] == pytest.approx(1 / N)


@pytest.mark.parametrize("node", ["starting", "ending"])
@pytest.mark.parametrize("budget", [1, 2**30])
def test_triangle_attention_is_averaged_over_the_third_token(node, budget):
    n = 9
    torch.manual_seed(0)
    module = TriangleAttention(node, 8, 2, 4)
    torch.nn.init.normal_(module.projection.weight)
    pair = torch.randn(n, n, 8)
    kept, gates = [], []
    with (
        torch.no_grad(),
        watch({"it": module}, weights=lambda _, s: kept.append(s), gates=lambda _, s: gates.append(s)),
    ):
        module(pair, torch.ones(n, dtype=torch.bool))
    weights, opened = (torch.cat([part.values for part in parts]) for parts in (kept, gates))
    with chunk_budget(budget):
        (found,) = recorded(
            module,
            lambda: module(pair, torch.ones(n, dtype=torch.bool)),
            Layer("it", "triangle", "tokens", 2),
            n,
        )
    expected = weights.mean(0)
    np.testing.assert_allclose(found.maps, expected, atol=1e-6)
    entropy = -(weights * weights.log2()).sum(-1).mean((0, 2))
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-5)
    np.testing.assert_allclose(found.gates, opened.mean((0, 3)).T, atol=1e-6)


def test_atoms_are_added_up_by_token():
    """The same, atom by atom in loops."""
    token = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4])
    windows = make_windows(torch.ones(11, dtype=torch.bool), 4, 8, "masked")
    logits = torch.randn(windows.count, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.softmax(logits.masked_fill(~windows.key_mask[:, None, None], -1e9), -1)
    recorder = AttentionRecorder({"it": Layer("it", "atoms", "atoms", 2)})
    recorder.begin(5, MUCH, token)
    recorder.weights("it", Shown(weights, windows=windows))
    recorder.gates("it", Shown(token[:, None, None].expand(11, 2, 4).float()))
    (found,) = recorder.result()
    expected, entropy = np.zeros((2, 5, 5)), np.zeros(2)
    for window in range(windows.count):
        for query in range(4):
            atom = 4 * window + query
            if atom >= 11:
                continue
            share = 1 / int((token == token[atom]).sum())
            for head in range(2):
                for key in range(8):
                    weight = float(weights[window, head, query, key])
                    expected[head, token[atom], token[windows.key_index[window, key]]] += share * weight
                    entropy[head] -= weight * np.log2(weight) / 11 if weight > 0 else 0
    np.testing.assert_allclose(found.maps, expected, atol=1e-6)
    np.testing.assert_allclose(found.maps.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-5)
    np.testing.assert_allclose(found.gates, np.tile(np.arange(5), (2, 1)), atol=1e-6)


def test_column_attention_has_no_map_but_gates_by_residue():
    torch.manual_seed(0)
    module = MsaColumnAttention(8, 2, 4)
    torch.nn.init.normal_(module.projection.weight)
    msa, mask = torch.randn(6, 9, 8), torch.ones(6, 9, dtype=torch.bool)
    with chunk_budget(1):
        (found,) = recorded(module, lambda: module(msa, mask), Layer("it", "columns", "rows", 2), 9)
    assert found.maps is None
    assert found.gates.shape == (2, 9)
    assert found.most == pytest.approx(np.log2(6))
    hidden = module.norm(msa) @ module.projection.weight[24:].T + module.gate_bias
    expected = torch.sigmoid(hidden).unflatten(-1, (2, 4)).mean((0, 3)).T
    np.testing.assert_allclose(found.gates, expected.detach(), atol=1e-6)


def test_the_last_pass_counts_and_the_diffusion_is_averaged():
    one, two = torch.eye(4)[None], torch.full((1, 4, 4), 0.25)
    for mean, expected in ((False, two), (True, (one + two) / 2)):
        recorder = AttentionRecorder({"it": Layer("it", "", "tokens", 1, mean=mean)})
        recorder.begin(4, MUCH)
        for weights in (one, two):
            recorder.weights("it", Shown(weights))
        np.testing.assert_allclose(recorder.result()[0].maps, expected)
    shared = AttentionRecorder({"it": Layer("it", "", "tokens", 1, repeats=2)})
    shared.begin(4, MUCH)
    for weights in (two, two, one, two):  # two passes of two layers
        shared.weights("it", Shown(weights))
    first, second = shared.result()
    assert (first.label, second.label) == ("it, layer 1", "it, layer 2")
    np.testing.assert_allclose(first.maps, one)
    np.testing.assert_allclose(second.maps, two)


# ---- numbers


def test_contact_scores_agree_with_counting():
    rng = np.random.default_rng(3)
    attention, contact = np.round(rng.random(60), 1), rng.random(60) < 0.3  # many ties
    precision, area = contact_scores(attention, contact, 10)
    wins = [
        (attention[i] > attention[j]) + 0.5 * (attention[i] == attention[j])
        for i in np.flatnonzero(contact)
        for j in np.flatnonzero(~contact)
    ]
    assert area == pytest.approx(np.mean(wins))
    shuffled = []
    for _ in range(4000):
        order = rng.permutation(60)
        shuffled.append(contact[order][np.argsort(-attention[order], kind="stable")[:10]].mean())
    assert precision == pytest.approx(np.mean(shuffled), abs=0.01)
    assert contact_scores(attention, np.zeros(60, dtype=bool), 10) == (None, None)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(1)
    x, y = np.round(rng.random(30), 1), rng.random(30)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation(np.ones(30), y) is None


def test_maps_that_would_not_fit_are_refused():
    recorder = AttentionRecorder(attention_layers(AlphaFold3(alphafold3_config("mini")).eval()))
    with pytest.raises(MemoryLimitError, match=r"184 heads over 20000 tokens .* would fit"):
        recorder.begin(20_000, 2**30)
    recorder.begin(100, 2**30)


# ---- whole networks

PROTEIN = Polymer(kind="protein", ids=("A",), sequence="GSWKAAAAAAEE")
ALONE = Job(name="one", entities=(PROTEIN,))
WITH_ION = Job(name="two", entities=(PROTEIN, Ligand(ids=("M",), ccd_codes=("MG",))))


# Heads, layer by layer: atoms in, MSA module, Pairformer, diffusion (atoms, tokens, atoms), confidence; and extra
# rows, Evoformer, structure module.
HEADS3 = 2 * 4 + 8 + 4 * (4 + 4 + 8) + (2 * 4 + 6 * 8 + 2 * 4) + 2 * (4 + 4 + 8)
HEADS2 = (4 + 4 + 4 + 4) + 4 * (4 + 4 + 4 + 4) + 6 * 6


@pytest.mark.parametrize(
    ("model", "job", "heads"), [("alphafold3-mini", WITH_ION, HEADS3), ("alphafold2-mini", ALONE, HEADS2)]
)
def test_a_trained_network_is_watched_without_noticing(model, job, heads, tmp_path):
    options = PredictOptions(model=model, samples=1, recycles=1, steps=2, device="cpu")
    expected = predict(job, options)
    study = study_attention(job, options)
    assert np.array_equal(study.prediction.seeds[0].coordinates, expected.seeds[0].coordinates)
    assert np.array_equal(study.prediction.seeds[0].contact_probs, expected.seeds[0].contact_probs)
    ours, theirs = study.prediction.seeds[0].confidences[0], expected.seeds[0].confidences[0]
    assert np.array_equal(ours.pae, theirs.pae)
    assert np.array_equal(ours.atom_plddt, theirs.atom_plddt)
    n = len(study.names)
    assert len(study.heads) == heads
    for layer in study.layers:
        assert (layer.entropy >= -1e-6).all()
        assert (layer.entropy <= layer.most + 1e-4).all()
        if layer.maps is not None:
            assert layer.maps.shape == (layer.layer.heads, n, n)
            np.testing.assert_allclose(layer.maps.sum(-1), 1, atol=1e-4)
        if layer.gates is not None:
            assert layer.gates.shape == (layer.layer.heads, n)
            assert ((layer.gates >= 0) & (layer.gates <= 1)).all()
    kinds = {layer.layer.kind for layer in study.layers}
    if model == "alphafold3-mini":
        assert study.names[-1] == "M 1 MG"
        assert kinds == {
            "atom transformer",
            "token transformer",
            "attention with pair bias",
            "triangle attention, starting node",
            "triangle attention, ending node",
        }
        # A structure of the job's own chain: its contacts are those of the predicted structure.
        path = tmp_path / "known.cif"
        path.write_text(model_cif(study.prediction, study.prediction.ranking[0]))
        contacts, known = attention_study.known_contacts(study.prediction, read_structure(path))
        assert known.tolist() == [True] * (n - 1) + [False]  # ions are matched with nothing
        assert np.array_equal(contacts[:-1, :-1], study.setting.contacts[:-1, :-1])
        other = Polymer(kind="protein", ids=("A",), sequence="MKTIIALSYIFCLVFADYKDDDDK")
        with pytest.raises(StructureError, match="none of the chains"):
            study_attention(Job(name="other", entities=(other,)), options, structure=path)
    else:
        assert {"MSA column attention", "MSA row attention with pair bias", "invariant point attention"} <= kinds
        assert "MSA column attention, one query" in kinds
        assert sum(layer.layer.kind == "invariant point attention" for layer in study.layers) == 6


def test_what_cannot_be_studied_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="has no attention"):
        study_attention(ALONE, PredictOptions(model="alphafold1-mini", device="cpu"))
    missing = tmp_path / "none.cif"
    with pytest.raises(StructureError, match=r"none\.cif"):
        study_attention(ALONE, PredictOptions(device="cpu"), structure=missing)
    monkeypatch.setattr(attention_study, "available_bytes", lambda device: 1000)
    with pytest.raises(MemoryLimitError, match="attention maps"):
        study_attention(ALONE, PredictOptions(device="cpu", steps=1))


def test_a_setting_without_far_pairs_has_no_base_rate():
    one = setting()
    few = dataclasses.replace(one, known=np.arange(N) < 3)
    assert few.base_rate is None
    assert 0 < one.base_rate < 0.05
