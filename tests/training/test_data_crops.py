"""Crops: sizes, contiguity, nearness; and what a sampler draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.common.errors import ConfigError
from anfinsen.training.crops import (
    INTERFACE_DISTANCE,
    MIN_RESOLVED,
    CropConfig,
    choose_crop,
    contiguous_crop,
    interface_tokens,
    spatial_crop,
)
from anfinsen.training.sampling import ClusterSampler, EntryWeights, entry_weights

chain_lengths = st.lists(st.integers(1, 60), min_size=1, max_size=6)


def _complex(lengths, seed):
    rng = np.random.default_rng(seed)
    asym_id = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    steps = rng.normal(size=(len(asym_id), 3)) * 2.5
    return asym_id, np.cumsum(steps, axis=0), rng.random(len(asym_id)) < 0.8, rng


@settings(deadline=None, max_examples=80)
@given(chain_lengths, st.integers(4, 80), st.integers(0, 2**32))
def test_every_crop_is_ascending_and_has_the_asked_size(lengths, size, seed):
    asym_id, centers, resolved, rng = _complex(lengths, seed)
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        crop = choose_crop(asym_id, centers, resolved, CropConfig(size, *weights), rng)
        assert (np.diff(crop) > 0).all()
        assert len(crop) <= size
        if len(asym_id) <= size:
            assert len(crop) == len(asym_id)
        elif weights[0] and resolved[crop].sum() >= MIN_RESOLVED and not resolved[crop].all():
            assert len(crop) == size
        elif resolved.any():
            assert len(crop) == min(size, resolved.sum())
            assert resolved[crop].all()


@settings(deadline=None, max_examples=80)
@given(chain_lengths, st.integers(4, 80), st.integers(0, 2**32))
def test_contiguous_crops_are_one_stretch_per_chain(lengths, size, seed):
    asym_id, _, _, rng = _complex(lengths, seed)
    crop = contiguous_crop(asym_id, min(size, len(asym_id)), rng)
    for chain in np.unique(asym_id[crop]):
        mine = crop[asym_id[crop] == chain]
        assert (np.diff(mine) == 1).all()


@settings(deadline=None, max_examples=50)
@given(chain_lengths, st.integers(1, 80), st.integers(0, 2**32))
def test_spatial_crops_hold_the_nearest_tokens(lengths, size, seed):
    _, centers, resolved, rng = _complex(lengths, seed)
    resolved[0] = True
    reference = int(rng.choice(np.flatnonzero(resolved)))
    crop = spatial_crop(centers, resolved, reference, size)
    distance = np.linalg.norm(centers - centers[reference], axis=1)
    assert reference in crop
    left_out = np.setdiff1d(np.flatnonzero(resolved), crop)
    if left_out.size:
        assert distance[crop].max() <= distance[left_out].min() + 1e-3


def test_interface_tokens_agree_with_all_distances():
    asym_id, centers, resolved, _ = _complex([30, 20, 25], 3)
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    other = (asym_id[:, None] != asym_id[None]) & resolved[:, None] & resolved[None]
    expected = ((distance < INTERFACE_DISTANCE) & other).any(axis=1)
    assert expected.any()
    assert not expected.all()
    np.testing.assert_array_equal(interface_tokens(asym_id, centers, resolved), expected)
    between = other & np.isin(asym_id, (1, 3))[:, None] & np.isin(asym_id, (1, 3))[None]
    expected = ((distance < INTERFACE_DISTANCE) & between).any(axis=1)
    np.testing.assert_array_equal(interface_tokens(asym_id, centers, resolved, (1, 3)), expected)


def test_spatial_crops_start_at_the_chains_asked_for():
    asym_id = np.repeat([1, 2], 50)
    centers = np.concatenate([np.zeros((50, 3)), np.full((50, 3), 500.0)]) + np.arange(100)[:, None] * 0.01
    rng = np.random.default_rng(0)
    everything = np.ones(100, dtype=bool)
    for _ in range(20):
        crop = choose_crop(asym_id, centers, everything, CropConfig(20, 0.0, 1.0, 0.0), rng, chains=(2,))
        assert (asym_id[crop] == 2).all()


def test_contiguous_crops_reach_every_token_of_every_chain():
    asym_id = np.repeat([1, 2], [20, 10])
    rng = np.random.default_rng(0)
    seen = np.zeros(30, dtype=int)
    for _ in range(400):
        seen[contiguous_crop(asym_id, 12, rng)] += 1
    assert (seen > 20).all()


def test_a_contiguous_crop_without_known_atoms_gives_way_to_a_spatial_one():
    asym_id, everywhere = np.ones(1000, dtype=int), np.random.default_rng(0).normal(size=(1000, 3))
    resolved = np.zeros(1000, dtype=bool)
    resolved[490:500] = True
    rng = np.random.default_rng(0)
    for _ in range(20):
        crop = choose_crop(asym_id, everywhere, resolved, CropConfig(20, 1.0, 0.0, 0.0), rng)
        assert resolved[crop].sum() >= MIN_RESOLVED


def test_a_senseless_crop_is_refused():
    with pytest.raises(ConfigError, match="at least 4 tokens"):
        CropConfig(0)
    with pytest.raises(ConfigError, match="weights"):
        CropConfig(16, 0.0, 0.0, 0.0)


def test_clusters_are_drawn_equally_often_whatever_their_size():
    clusters = np.array([7] * 90 + [3] * 9 + [5])
    sampler, rng = ClusterSampler(clusters), np.random.default_rng(0)
    drawn = np.bincount(clusters[[sampler.draw(rng) for _ in range(6000)]], minlength=8)
    assert sampler.n_clusters == 3
    # Three standard deviations of a binomial with n = 6000 and p = 1/3.
    np.testing.assert_allclose(drawn[[3, 5, 7]], 2000, atol=110)


def test_entry_weights_follow_the_supplement():
    # A protein chain in a cluster of 4, a protein-ligand interface and a protein-DNA interface in clusters of 2 and 1.
    counts = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 0]])
    weights = entry_weights(counts, np.array([4, 2, 1]), np.array([False, True, True]), EntryWeights())
    np.testing.assert_allclose(weights, [0.5 / 4 * 3, 1.0 / 2 * 4, 1.0 * 6])
