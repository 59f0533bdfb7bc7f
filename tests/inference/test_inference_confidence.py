"""Confidence scores against a published implementation, against plain loops, and where the answer is known."""

import math
from pathlib import Path

import biotite.structure as biotite_structure
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from anfinsen.chemistry import read_structure_and_library
from anfinsen.common.errors import NonFiniteError
from anfinsen.inference import contact_probabilities, ranking_score
from anfinsen.inference.alignment_scores import alignment_scores, expected_errors
from anfinsen.inference.confidence import expected_plddt
from anfinsen.inference.disorder import accessible_area, fraction_disordered


@pytest.fixture(scope="module")
def chai(golden: Path) -> dict[str, torch.Tensor]:
    return load_file(golden / "chai" / "ranking.safetensors")


def _logits(tokens: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(tokens, tokens, 64, generator=torch.Generator().manual_seed(seed))


class TestChai:
    """Chai counts pairs of clashing atoms, AlphaFold 3 atoms, so that its clash flag is not comparable."""

    def test_ptm_and_iptm(self, chai):
        real = chai["input.token_exists_mask"][0]  # the file pads by one token, a `Prediction` never does
        scores = alignment_scores(
            chai["input.pae_logits"][0][real][:, real],
            chai["input.token_asym_id"][0][real] - 1,
            chai["input.token_valid_frames_mask"][0][real],
        )
        assert scores.ptm == pytest.approx(float(chai["output.ptm_scores.complex_ptm"]), rel=1e-5)
        assert scores.iptm == pytest.approx(float(chai["output.ptm_scores.interface_ptm"]), rel=1e-5)

    def test_plddt(self, chai):
        ours = expected_plddt(chai["input.lddt_logits"][0]) / 100
        torch.testing.assert_close(ours, chai["output.plddt_scores.per_atom_plddt"][0], rtol=1e-5, atol=1e-6)


def _tm(probabilities: np.ndarray, count: int) -> float:
    d0 = 1.24 * (max(count, 19) - 15) ** (1 / 3) - 1.8
    return sum(p / (1 + ((b + 0.5) / 2 / d0) ** 2) for b, p in enumerate(probabilities))


def test_scores_agree_with_plain_loops():
    chain = [0] * 25 + [1] * 22 + [2]
    frame = [index % 3 != 0 for index in range(48)]
    logits = _logits(48, 0)
    scores = alignment_scores(logits, torch.tensor(chain), torch.tensor(frame))
    p = torch.softmax(logits.double(), -1).numpy()
    assert scores.pae[3, 30] == pytest.approx(sum((b + 0.5) / 2 * x for b, x in enumerate(p[3, 30])), rel=1e-5)

    def best(rows, columns, count, other):
        values = [0.0]
        for i in rows:
            if frame[i]:
                kept = [_tm(p[i, j], count) for j in columns if not other or chain[i] != chain[j]]
                values.append(sum(kept) / len(kept))
        return max(values)

    every = range(48)
    members = [[i for i in every if chain[i] == c] for c in range(3)]
    assert scores.ptm == pytest.approx(best(every, every, 48, False), rel=1e-5)
    assert scores.iptm == pytest.approx(best(every, every, 48, True), rel=1e-5)
    for a in range(3):
        for b in range(3):
            count = len(set(members[a] + members[b]))
            expected = max(best(members[a], members[b], count, False), best(members[b], members[a], count, False))
            assert scores.chain_pair_iptm[a, b] == pytest.approx(expected, rel=1e-4), (a, b)
            least = min(float(scores.pae[i, j]) for i in members[a] for j in members[b])
            assert scores.chain_pair_pae_min[a, b] == pytest.approx(least)


def test_single_chain_has_no_iptm():
    scores = alignment_scores(_logits(30, 1), torch.zeros(30, dtype=torch.long), torch.ones(30, dtype=torch.bool))
    assert scores.iptm is None
    assert scores.chain_pair_iptm[0, 0] == pytest.approx(scores.ptm, rel=1e-5)


def test_two_ions_without_frames_score_zero():
    scores = alignment_scores(_logits(2, 1), torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool))
    assert (scores.ptm, scores.iptm) == (0.0, 0.0)
    assert torch.isfinite(scores.chain_pair_iptm).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_scores_are_bounded_and_follow_a_reordering_of_chains(seed, sizes):
    chain = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    frames = torch.rand(len(chain), generator=torch.Generator().manual_seed(seed)) < 0.8
    logits = _logits(len(chain), seed)
    scores = alignment_scores(logits, chain, frames)
    order = torch.argsort(-chain, stable=True)
    turned = alignment_scores(logits[order][:, order], len(sizes) - 1 - chain[order], frames[order])
    assert 0 <= scores.ptm <= 1
    assert turned.ptm == pytest.approx(scores.ptm, abs=1e-6)
    assert turned.iptm == (None if scores.iptm is None else pytest.approx(scores.iptm, abs=1e-6))
    torch.testing.assert_close(turned.chain_pair_iptm.flip(0, 1), scores.chain_pair_iptm)
    torch.testing.assert_close(turned.chain_pair_pae_min.flip(0, 1), scores.chain_pair_pae_min)


def test_certainty_gives_the_bins_own_values():
    logits = torch.full((4, 4, 64), -1e4)
    logits[..., 2] = 0
    torch.testing.assert_close(expected_errors(logits), torch.full((4, 4), 1.25))
    plddt = torch.full((3, 50), -1e4)
    plddt[:, 49] = 0
    torch.testing.assert_close(expected_plddt(plddt), torch.full((3,), 99.0))


@pytest.mark.parametrize(("distance", "contact"), [(2.0, 1.0), (7.9, 1.0), (8.3, 0.0), (22.5, 0.0)])
def test_contacts_are_the_bins_below_8_angstrom(distance, contact):
    edges = np.linspace(2.3125, 21.6875, 63)
    logits = torch.full((2, 2, 64), -1e4)
    logits[..., int(np.searchsorted(edges, distance))] = 0
    np.testing.assert_allclose(contact_probabilities(logits), contact)


def test_non_finite_logits_are_refused():
    logits = torch.zeros(2, 2, 64)
    logits[0, 1, 3] = math.nan
    with pytest.raises(NonFiniteError, match="contact probabilities"):
        contact_probabilities(logits)


def test_ranking_score():
    assert ranking_score(0.5, 0.7, 0.2, False) == pytest.approx(0.8 * 0.7 + 0.2 * 0.5 + 0.5 * 0.2)
    assert ranking_score(0.5, None, 0.2, False) == pytest.approx(0.5 + 0.1)
    assert ranking_score(1.0, 1.0, 1.0, True) < -98


def test_a_folded_protein_is_ordered_and_a_stretched_one_is_not(shared):
    structure, _ = read_structure_and_library(shared / "data" / "structures" / "mixed" / "1A8O.cif.gz")
    folded = structure.atoms.coordinates.astype(np.float32)
    stretched = folded.copy()
    # Residues pulled 6 Å apart along a line touch nobody.
    stretched[:, 0] += 6.0 * structure.atoms.residue
    assert fraction_disordered(structure, folded) < 0.3
    assert fraction_disordered(structure, stretched) == 1.0


def test_accessible_area_agrees_with_biotite():
    rng = np.random.default_rng(0)
    x, radii = 6 * rng.normal(size=(300, 3)), rng.uniform(1.4, 1.9, 300)
    array = biotite_structure.AtomArray(300)
    array.coord, array.element[:] = x.astype(np.float32), "C"
    theirs = biotite_structure.sasa(array, probe_radius=1.4, point_number=5000, vdw_radii=radii.astype(np.float32))
    ours = accessible_area(x, radii)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.01)
    np.testing.assert_allclose(ours, theirs, atol=0.05 * 4 * np.pi * 3.3**2)


def test_accessible_area_where_it_is_known():
    # A sphere alone; and two that overlap: each loses the cap beyond the plane between them (height R - d/2).
    reach, d = 1.8 + 1.4, 2.0
    alone = 4 * np.pi * reach**2
    cap = 2 * np.pi * reach * (reach - d / 2)
    far = accessible_area(np.array([[0.0, 0, 0], [1e7, 0, 0]]), np.full(2, 1.8))
    np.testing.assert_allclose(far, alone)
    near = accessible_area(np.array([[0.0, 0, 0], [d, 0, 0]]), np.full(2, 1.8))
    np.testing.assert_allclose(near, alone - cap, rtol=0.02)
